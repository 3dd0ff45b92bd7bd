"""The values that options take, from text: sizes, times, mounts, limits. Pure; every failure is InvalidArgument."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from wherry import errors
from wherry.model import request as req

T = TypeVar("T")

#: The largest number that the wire format carries (int64).
LARGEST = 2**63 - 1
#: The most processes a kernel can number (PID_MAX_LIMIT, include/linux/threads.h).
LARGEST_PIDS = 2**22
#: The largest NR_CPUS there is (arch/x86/Kconfig), as the daemon has it.
LARGEST_CPUS = 8192.0
#: Ten years; a longer wait is a mistake.
LONGEST_SECONDS = 10 * 365 * 86400.0

#: The shortest time that the daemon takes for a wait.
SHORTEST_SECONDS = 0.001
#: The factor of a restart's waits.
LARGEST_FACTOR = 100.0

_CPUSET = re.compile(r"[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,100})(\.[0-9]{1,9})?([kmgtp]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_DURATION_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,9})?", re.ASCII)
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d{2}:\d{2})?", re.ASCII
)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
#: Names of setrlimit(2), lower case and without RLIMIT_.
_ULIMITS = frozenset(
    {"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss"}
    | {"rtprio", "rttime", "sigpending", "stack"}
)
_RESTARTS = ("no", "on-failure", "always", "unless-stopped")
#: setrlimit(2): RLIM_INFINITY is the largest unsigned value; -1 is how it is written in an OCI spec and on the wire.
UNLIMITED = -1


def _refuse(verb: str, text: str, cause: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"cannot {verb} {text[:200]!r}: {cause}")


def check_text(text: str) -> str:
    """Return `text` if it can be sent to the daemon: valid UTF-8 without a NUL. Raises InvalidArgument."""
    if "\0" in text:
        raise _refuse("send", text, "it contains a NUL byte")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _refuse("send", text, "it is not valid UTF-8") from None
    return text


def parse_size(text: str) -> int:
    """Return a size in bytes: `4096`, `20M`, `1.5G`. K, M, G, T and P are powers of 1024."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise _refuse("read size", text, "a number with K, M, G or T is expected, as in 20M")
    scale: int = 1 << 10 * " kmgtp".index(found[3].lower() or " ")
    # Whole and broken part apart: a float would lose the low digits of a large size.
    size = int(found[1]) * scale + int(float("0" + (found[2] or ".0")) * scale)
    if not 1 <= size <= LARGEST:
        raise _refuse("use size", text, f"it must be from 1 byte to {LARGEST}")
    return size


def parse_count(text: str, largest: int = LARGEST, smallest: int = 1) -> int:
    """Return a whole number from `smallest` to `largest`."""
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdecimal() and len(stripped) < 40):
        raise _refuse("read number", text, "a whole number is expected")
    number = int(stripped)
    if not smallest <= number <= largest:
        raise _refuse("use number", text, f"it must be from {smallest} to {largest}")
    return number


def or_none(parse: Callable[[str], T]) -> Callable[[str], T | int]:
    """Return `parse` with one more value: `none` is -1, which is no limit."""
    return lambda text: UNLIMITED if text.strip() == "none" else parse(text)


def parse_shares(text: str) -> int:
    """Return a weight for processor time, in the numbers of cgroup version 1."""
    return parse_count(text, 262_144, 2)


def parse_quota(text: str) -> int:
    """Return microseconds of processor time in a period."""
    return parse_count(text, smallest=1000)


def parse_period(text: str) -> int:
    """Return the length of a period of the processor quota in microseconds."""
    return parse_count(text, 1_000_000, 1000)


def parse_weight(text: str) -> int:
    """Return a weight for block I/O."""
    return parse_count(text, 1000, 10)


def parse_cpuset(text: str) -> str:
    """Return a list of processors or memory nodes: `0-2,7`."""
    if _CPUSET.fullmatch(text.strip()) is None:
        raise _refuse("read list", text, "numbers and ranges are expected, as in 0-2,7")
    return text.strip()


def parse_retries(text: str) -> int:
    """Return after how many failures a container is unhealthy."""
    return parse_count(text, 1000)


def parse_factor(text: str) -> float:
    """Return how many times longer than the last each wait is."""
    text = text.strip()  # float() strips less
    if _NUMBER.fullmatch(text) is None:
        raise _refuse("read factor", text, "a number such as 1.5 or 2 is expected")
    factor = float(text)
    if not 1 <= factor <= LARGEST_FACTOR:
        raise _refuse("use factor", text, f"it must be from 1 to {LARGEST_FACTOR:.0f}")
    return factor


def parse_restart(text: str) -> tuple[str, int]:
    """Return a restart policy and how often in a row it applies (0: always): `on-failure:3`, `always`."""
    name, colon, number = text.partition(":")
    if name not in _RESTARTS or (colon and name != "on-failure"):
        raise _refuse("use restart policy", text, "no, on-failure[:N], always or unless-stopped are expected")
    return name, parse_count(number, 1_000_000) if colon else 0


def parse_command(text: str) -> str:
    """Return a command line for a shell."""
    if not text.strip():
        raise _refuse("use command", text, "it is empty")
    return check_text(text)


def parse_pids(text: str) -> int:
    """Return a limit on the number of processes."""
    return parse_count(text, LARGEST_PIDS)


def parse_cpus(text: str) -> float:
    """Return a number of processors; 0.5 is half of one."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        raise _refuse("read number of processors", text, "a number such as 0.5 or 2 is expected")
    cpus = float(text)
    if not 0.01 <= cpus <= LARGEST_CPUS:
        raise _refuse("use number of processors", text, f"it must be from 0.01 to {LARGEST_CPUS:.0f}")
    return cpus


def parse_duration(text: str) -> float:
    """Return a time in seconds: `10`, `1.5`, `250ms`, `10m`, `1h30m`."""
    stripped = text.strip()
    if _NUMBER.fullmatch(stripped):
        seconds = float(stripped)
    else:
        parts = _DURATION_PART.findall(stripped)
        if not parts or "".join(number + unit for number, unit in parts) != stripped:
            raise _refuse("read duration", text, "a number of seconds is expected, or one with ms, s, m, h or d")
        seconds = math.fsum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > LONGEST_SECONDS:
        raise _refuse("use duration", text, "it is longer than ten years")
    return seconds


def parse_time(text: str) -> float:
    """Return a time in seconds that is one: at least a millisecond."""
    seconds = parse_duration(text)
    if seconds < SHORTEST_SECONDS:
        raise _refuse("use duration", text, "it must be at least 1ms")
    return seconds


def parse_since(text: str, now_ns: int) -> int:
    """Return a moment in Unix nanoseconds: a duration back from `now_ns`, Unix seconds, or RFC 3339 (UTC if bare)."""
    stripped = text.strip()
    found = _NUMBER.fullmatch(stripped)
    if found is not None:
        whole, _, fraction = stripped.partition(".")
        moment = int(whole) * 10**9 + int(fraction.ljust(9, "0"))
    elif (date := _RFC3339.fullmatch(stripped)) is not None:
        moment = _parse_date(text, date)
    else:
        try:
            moment = max(1, now_ns - int(parse_duration(stripped) * 1e9))
        except errors.InvalidArgument:
            raise _refuse("read time", text, "10m, Unix seconds or 2026-01-31T12:00:00Z are expected") from None
    if moment > LARGEST:
        raise _refuse("use time", text, "it is too far in the future")
    return moment


def _parse_date(text: str, found: re.Match[str]) -> int:
    day, clock, fraction, zone = found.groups()
    clock = clock or "00:00"
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'' if zone is None or zone in 'zZ' else zone}")
        seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise _refuse("read time", text, str(error)) from None
    if seconds < 0:
        raise _refuse("use time", text, "it is before 1970")
    return seconds * 10**9 + int((fraction or "0").ljust(9, "0"))


def parse_pair(text: str) -> tuple[str, str]:
    """Return NAME and VALUE of `NAME=VALUE`."""
    name, equals, value = check_text(text).partition("=")
    if not name or not equals:
        raise _refuse("read", text, "NAME=VALUE is expected")
    return name, value


def parse_env(text: str, environment: Mapping[str, str]) -> str:
    """Return `NAME=VALUE`; a bare NAME takes its value from `environment`."""
    name, equals, _ = check_text(text).partition("=")
    if not name:
        raise _refuse("read variable", text, "NAME=VALUE or NAME is expected")
    if equals:
        return text
    if name not in environment:
        raise _refuse("pass variable", name, "it is not set here; NAME=VALUE sets it")
    return check_text(f"{name}={environment[name]}")


def parse_ulimit(text: str) -> req.Ulimit:
    """Return a resource limit: `nofile=1024`, `nofile=1024:2048`, `core=unlimited`."""
    name, value = parse_pair(text)
    name = name.lower().removeprefix("rlimit_")
    if name not in _ULIMITS:
        raise _refuse("set ulimit", text, f"{name!r} is none of {', '.join(sorted(_ULIMITS))}")
    soft, colon, hard = value.partition(":")
    limits = [_parse_rlimit(text, part) for part in ((soft, hard) if colon else (soft, soft))]
    if limits[1] != UNLIMITED and (limits[0] == UNLIMITED or limits[0] > limits[1]):
        raise _refuse("set ulimit", text, "the soft limit is above the hard one")
    return req.Ulimit(name=name, soft=limits[0], hard=limits[1])


def _parse_rlimit(text: str, part: str) -> int:
    if part in ("unlimited", "-1"):
        return UNLIMITED
    try:
        return parse_count(part, smallest=0)
    except errors.InvalidArgument:
        raise _refuse("set ulimit", text, "NAME=SOFT[:HARD] is expected, numbers or unlimited") from None


def parse_mount(text: str, directory: str) -> req.Mount:
    """Return a mount: `type=bind,src=PATH,dst=PATH[,ro]` or `type=tmpfs,dst=PATH[,size=64m]`.

    A relative source is taken from `directory`. Other words are mount options, passed on as they are.
    """
    fields = {"type": "bind", "source": "", "target": ""}
    names = {"src": "source", "source": "source", "dst": "target", "target": "target", "type": "type"}
    options: list[str] = []
    for word in check_text(text).split(","):
        key, equals, value = word.partition("=")
        if equals and key in names:
            fields[names[key]] = value
        elif word:
            options.append(word)
    read_only = any(word in ("ro", "readonly") for word in options)
    rest = tuple(word for word in options if word not in ("ro", "rw", "readonly"))
    return _make_mount(text, directory, fields, read_only=read_only, options=rest)


def parse_volume(text: str, directory: str) -> req.Mount:
    """Return the bind mount `SRC:DST[:ro]`; a relative source is taken from `directory`."""
    source, _, rest = check_text(text).partition(":")
    target, _, mode = rest.partition(":")
    if mode not in ("", "ro", "rw"):
        raise _refuse("mount", text, "SRC:DST, SRC:DST:ro or SRC:DST:rw are expected")
    fields = {"type": "bind", "source": source, "target": target}
    return _make_mount(text, directory, fields, read_only=mode == "ro", options=())


def _make_mount(
    text: str, directory: str, fields: Mapping[str, str], *, read_only: bool, options: tuple[str, ...]
) -> req.Mount:
    kind, source, target = fields["type"], fields["source"], fields["target"]
    if kind not in ("bind", "tmpfs"):
        raise _refuse("mount", text, f"type {kind!r} is neither bind nor tmpfs")
    if not target.startswith("/"):
        raise _refuse("mount", text, "the target (dst) must be an absolute path")
    if kind == "tmpfs" and source:
        raise _refuse("mount", text, "a tmpfs has no source")
    if kind == "bind":
        if not source:
            raise _refuse("mount", text, "the source (src) is missing")
        source = make_absolute(source, directory)
    return req.Mount(target=target, source=source, type=kind, read_only=read_only, options=options)


def make_absolute(path: str, directory: str) -> str:
    """Return `path` as an absolute one, seen from `directory`; `~` is the shell's business."""
    return os.path.normpath(os.path.join(directory, path))


def parse_source(text: str, directory: str, *, here: bool = False, writable: bool = False) -> req.Source:
    """Return the Source `host`, `rootfs:DIR` or `bundle:DIR`; a relative DIR is taken from `directory`."""
    kind, colon, path = check_text(text).partition(":")
    if kind not in ("host", "rootfs", "bundle") or (kind == "host") == bool(colon):
        raise _refuse("use source", text, "host, rootfs:DIR or bundle:DIR are expected")
    if colon and not path:
        raise _refuse("use source", text, "the directory is missing")
    if here and kind == "bundle":
        raise _refuse("use source", text, "--here is for host and rootfs:DIR only")
    if writable and kind != "rootfs":
        raise _refuse("use source", text, "--rootfs-rw is for rootfs:DIR only")
    return req.Source(
        kind=kind,
        path=make_absolute(path, directory) if path else "",
        here=check_text(directory) if here else "",
        writable=writable,
    )


def parse_address(text: str) -> str:
    """Return the address of a daemon: `unix:///PATH`, or a bare absolute path; `tcp://HOST:PORT`."""
    path = check_text(text).removeprefix("unix://")
    if path.startswith("tcp://"):
        from wherry.model import address

        return address.format_tcp(*address.parse_tcp(path))
    if not path.startswith("/"):
        raise _refuse("use address", text, "unix:///PATH or tcp://HOST:PORT is expected")
    return f"unix://{path}"
