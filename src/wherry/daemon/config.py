"""Configuration of wherryd: flags over a TOML file over defaults, each key in one table."""

from __future__ import annotations

import argparse
import math
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wherry
from wherry import errors
from wherry.model.address import TCP, parse_tcp

DEFAULT_FILE = Path("/etc/wherry/wherryd.toml")


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: `kind` is int, float or str; `low` the smallest allowed number."""

    default: Any
    kind: type
    help: str
    low: float = 0
    choices: tuple[str, ...] = ()


KEYS: dict[str, Key] = {
    "state-dir": Key("/run/wherry", str, "live state: sockets, FIFOs, a directory per process; lost at reboot"),
    "root-dir": Key("/var/lib/wherry", str, "journal, bundles, writable layers, logs"),
    "listen": Key(
        "",
        str,
        "addresses of the API, separated by commas: unix://PATH (default: wherry.sock in the state directory), which is"
        " always there, and tcp://HOST:PORT, with TLS",
    ),
    "tls-cert": Key("", str, "for tcp://: file with the certificate of this wherryd and its chain, PEM"),
    "tls-key": Key("", str, "for tcp://: file with its key, PEM, for its owner only"),
    "tls-ca": Key("", str, "for tcp://: file with the certificates that verify those of clients, PEM"),
    "tls-clients": Key(
        "",
        str,
        "for tcp://: who may do what, NAME=ROLE,..., by common name or DNS name in the client's certificate; roles are"
        " all (root on this host), read and migrate",
    ),
    "runtime": Key("", str, "OCI runtime, a name on PATH or a path (default: crun or runc, the first that works here)"),
    "concurrency": Key(10, int, "creations and execs under way at once", low=1),
    "start-timeout": Key(30.0, float, "seconds a runtime may take to create or start a process", low=0.1),
    "event-retention": Key(100_000, int, "events kept at least", low=1),
    "criu": Key(
        "", str, "criu for checkpoints, a path that ends in /criu (default: the first on PATH that works here)"
    ),
    "log-level": Key("info", str, "least level that is logged", choices=("debug", "info", "warning", "error")),
    "log-format": Key("text", str, "form of the log on standard error", choices=("text", "json")),
    "metrics-address": Key("", str, "HOST:PORT for Prometheus metrics over HTTP (default: none)"),
    "idle-exit": Key(0.0, float, "end after so many seconds without containers or clients (0: never)"),
}


@dataclass(frozen=True, slots=True)
class Config:
    """The settings in force, by key."""

    values: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    @property
    def state_dir(self) -> Path:
        """The state directory, absolute."""
        return Path(self["state-dir"]).absolute()

    @property
    def root_dir(self) -> Path:
        """The root directory, absolute."""
        return Path(self["root-dir"]).absolute()

    @property
    def socket(self) -> Path:
        """The path of the API's socket. Raises InvalidArgument for another address, or one too long for sun_path."""
        given = [address for address in self._addresses if not address.startswith(TCP)]
        if len(given) > 1:
            raise errors.InvalidArgument(f"listen: {' and '.join(map(repr, given))}: there is one unix socket only")
        address = given[0] if given else str(self.state_dir / "wherry.sock")
        path = address.removeprefix("unix://")
        if not path.startswith("/") or len(os.fsencode(path)) > 107:
            raise errors.InvalidArgument(
                f"listen: {address!r} is not unix:///PATH of at most 107 bytes, nor tcp://HOST:PORT"
            )
        return Path(path)

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each TCP address to listen at; port 0 is any free one. Raises InvalidArgument."""
        given = [address for address in self._addresses if address.startswith(TCP)]
        try:
            return tuple(parse_tcp(address, lowest=0) for address in given)
        except errors.InvalidArgument as error:
            raise errors.InvalidArgument(f"listen: {error.message}") from None

    @property
    def _addresses(self) -> list[str]:
        # The path of a socket may have a comma in it.
        return [address for address in re.split(r",(?=unix://|tcp://)", str(self["listen"])) if address]


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of wherryd's command line."""
    parser = argparse.ArgumentParser(
        prog="wherryd",
        description="Run and supervise OCI containers; containers outlive it.",
        epilog="example: wherryd --runtime crun --log-format json --metrics-address 127.0.0.1:9323",
    )
    parser.add_argument("--version", action="version", version=f"wherryd {wherry.__version__}")
    parser.add_argument(
        "--config", metavar="FILE", help=f"TOML file with the keys below (default: {DEFAULT_FILE} if there)"
    )
    for name, key in KEYS.items():
        shown = "" if key.default in ("", 0.0) else f" (default: {key.default})"
        parser.add_argument(
            f"--{name}", type=key.kind, choices=key.choices or None, help=key.help.replace("%", "%%") + shown
        )
    return parser


def load(arguments: Sequence[str] | None = None) -> Config:
    """Return the settings of a command line and its file. Raises InvalidArgument or NotFound."""
    given = vars(make_parser().parse_args(arguments))
    values = {name: key.default for name, key in KEYS.items()}
    file = Path(given["config"]) if given["config"] else DEFAULT_FILE
    if given["config"] or file.exists():
        values |= read_file(file)
    for name, key in KEYS.items():
        flag = given[name.replace("-", "_")]
        if flag is not None:
            values[name] = _check(f"--{name}", key, flag)
    if values["metrics-address"]:
        parse_endpoint(values["metrics-address"])
    return Config(values)


def parse_endpoint(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT; no host is this machine's own. Raises InvalidArgument."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal() and len(port) < 6) or not 0 < int(port) < 65536:
        raise errors.InvalidArgument(f"metrics-address: {text!r} is not HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def read_file(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file; an unknown key is an error."""
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise errors.NotFound(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # TOML or UTF-8
        raise errors.InvalidArgument(f"cannot read {path}: {error}") from error
    for name in data:
        if name not in KEYS:
            raise errors.InvalidArgument(f"{path}: unknown key {name!r}; known are {', '.join(KEYS)}")
    return {name: _check(f"{path}: {name}", KEYS[name], value) for name, value in data.items()}


def _check(where: str, key: Key, value: Any) -> Any:
    if key.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**64 else math.inf
    if not isinstance(value, key.kind) or isinstance(value, bool):
        raise errors.InvalidArgument(f"{where}: {_show(value)} is not of type {key.kind.__name__}")
    if isinstance(value, str) and "\0" in value:
        raise errors.InvalidArgument(f"{where}: {value!r} has a NUL")
    if key.choices and value not in key.choices:
        raise errors.InvalidArgument(f"{where}: {value!r} is none of {', '.join(key.choices)}")
    if value == "" and key.default:
        raise errors.InvalidArgument(f"{where}: it is empty")
    if isinstance(value, int | float) and not key.low <= value <= 1e9:
        raise errors.InvalidArgument(f"{where}: {_show(value)} is not between {key.low:g} and 1000000000")
    return value


def _show(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits, and TOML has hexadecimal ones
        return "a huge number"
