"""What is configured: the TOML file, TLS, addresses, and the values of options on the command line."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

from fuzz.pieces import Pieces
from fuzz.target import empty, make_directory, target
from wherry import errors
from wherry.cli import values
from wherry.client import tls
from wherry.daemon import config, tcp
from wherry.model import address
from wherry.wire import convert

_DEFAULTS = {name: key.default for name, key in config.KEYS.items()}


def _files() -> Mapping[str, bytes]:
    lines = {
        "usual": 'state-dir = "/run/w"\nconcurrency = 4\nstart-timeout = 2\nlog-level = "debug"\n',
        "listen": 'listen = "unix:///run/w.sock,tcp://[::1]:4,tcp://host:0"\ntls-clients = "a=all,b=read"\n',
        "metrics": 'metrics-address = "127.0.0.1:9323"\n',
        "table": "[a]\nb = 1\n",
    }
    return {name: text.encode() for name, text in lines.items()}


@target("settings", _files)
def run_settings(data: bytes) -> None:
    """Read a configuration file of these bytes, and whatever is derived from it."""
    path = empty(_configured) / "wherryd.toml"
    path.write_bytes(data)
    with contextlib.suppress(errors.WherryError):
        found = config.load(["--config", str(path)])
        with contextlib.suppress(errors.InvalidArgument):
            assert found.socket.is_absolute()
        with contextlib.suppress(errors.InvalidArgument):
            for host, port in found.hosts:
                assert address.parse_tcp(address.format_tcp(host, port), lowest=0) == (host, port)
        # What the system calls cannot take must have been refused by now.
        assert all("\0" not in value for value in found.values.values() if isinstance(value, str))
        tcp.parse_clients(found["tls-clients"])


_configured = make_directory()


def _certificates() -> Mapping[str, bytes]:
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
    key = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"
    return {"certificate": b"\x00" + begin + b"MIIB\n" + end, "key": b"\x03" + key, "text": b"\x06a=all,b=migrate"}


@target("tls", _certificates)
def run_tls(data: bytes) -> None:
    """Load what TCP needs with these bytes as certificate, key and authorities, or as the list of clients."""
    directory, kind = empty(_secrets), data[0] % 8 if data else 0
    names = ("tls-cert", "tls-key", "tls-ca")
    for number, name in enumerate(names):
        (directory / name).write_bytes(data[1:] if number in (kind % 3, kind // 2) else b"")
        (directory / name).chmod(0o600)
    clients = data[1:].decode("utf-8", "replace") if kind >= 6 else "a=all"
    given = {name: str(directory / name) for name in names} | {"listen": "tcp://a:1", "tls-clients": clients}
    with contextlib.suppress(errors.WherryError):
        tcp.load(config.Config({**_DEFAULTS, **given}))
    with contextlib.suppress(errors.WherryError):
        tls.read(tls.Tls(cert=given["tls-cert"], key=given["tls-key"], ca=given["tls-ca"]))
    with contextlib.suppress(errors.InvalidArgument):
        found = tcp.parse_clients(clients)
        assert tcp.parse_clients(",".join(f"{name}={role}" for name, role in found.items())) == found


_secrets = make_directory()

_NOW = 1_800_000_000_000_000_000
_PARSERS: tuple[tuple[Callable[[str], Any], float, float], ...] = (
    (values.parse_size, 1, values.LARGEST),
    (values.parse_count, 1, values.LARGEST),
    (values.or_none(values.parse_quota), -1, values.LARGEST),
    (values.parse_shares, 2, 262_144),
    (values.parse_period, 1000, 1_000_000),
    (values.parse_weight, 10, 1000),
    (values.parse_retries, 1, 1000),
    (values.parse_factor, 1, 100),
    (values.parse_pids, 1, values.LARGEST_PIDS),
    (values.parse_cpus, 0.01, values.LARGEST_CPUS),
    (values.parse_duration, 0, values.LONGEST_SECONDS),
    (values.parse_time, values.SHORTEST_SECONDS, values.LONGEST_SECONDS),
    (lambda text: values.parse_since(text, _NOW), 0, values.LARGEST),
    (lambda text: values.parse_restart(text)[1], 0, 1_000_000),
)
_OTHERS: tuple[Callable[[str], Any], ...] = (
    *(values.parse_cpuset, values.parse_command, values.parse_pair, values.parse_ulimit, values.parse_address),
    *(lambda text: values.parse_env(text, {"HOME": "/root"}), lambda text: values.parse_mount(text, "/work")),
    *(lambda text: values.parse_volume(text, "/work"), lambda text: values.parse_source(text, "/work")),
    *(lambda text: values.parse_source(text, "/work", here=True), config.parse_endpoint),
)


def _texts() -> Mapping[str, bytes]:
    texts = (
        *("\x0020M", "\x011.5G", "\x020", "\x0a1h30m", "\x0b250ms", "\x0c2026-01-31T12:00:00.5+02:00", "\x0c10m"),
        *("\x0don-failure:3", "\x0e0-2,7", "\x10a=b", "\x11nofile=1024:2048", "\x12unix:///a", "\x12tcp://[::1]:4"),
        *("\x14type=bind,src=a,dst=/b,ro", "\x15a:/b:ro", "\x16rootfs:../a", "\x16host", "\x18localhost:9"),
    )
    return {f"text{number}": text.encode() for number, text in enumerate(texts)}


@target("values", _texts)
def run_values(data: bytes) -> None:
    """Read the text behind the first byte as the value of an option, which that byte chooses."""
    choice = (data[0] if data else 0) % (len(_PARSERS) + len(_OTHERS))
    text = data[1:].decode("utf-8", "surrogateescape")
    with contextlib.suppress(errors.InvalidArgument):
        if choice < len(_PARSERS):
            parse, low, high = _PARSERS[choice]
            found = parse(text)
            assert math.isfinite(found)
            assert low <= found <= high
        elif type(value := _OTHERS[choice - len(_PARSERS)](text)).__name__ in ("Mount", "Source", "Ulimit"):
            convert.to_message(value)


def _addresses() -> Mapping[str, bytes]:
    texts = ("tcp://host:1", "tcp://[fe80::1%eth0]:65535", "tcp://1.2.3.4:0", "unix:///a", "tcp://:1")
    return {f"address{number}": text.encode() for number, text in enumerate(texts)}


@target("address", _addresses)
def run_address(data: bytes) -> None:
    """Read an address: what is understood is written as the same."""
    pieces = Pieces(data)
    with contextlib.suppress(errors.InvalidArgument):
        text = pieces.rest().decode("utf-8", "surrogateescape")
        host, port = address.parse_tcp(text, lowest=0)
        assert address.parse_tcp(address.format_tcp(host, port), lowest=0) == (host, port)
        host.encode("ascii")
