"""Limits: cgroup resources and setrlimit(2), checked and written as the specification has them."""

from __future__ import annotations

import re
import resource
from collections.abc import Collection, Iterable
from dataclasses import fields, replace
from typing import Any

from wherry import errors
from wherry.model.request import Limits, Ulimit
from wherry.oci import text

#: Below this a runtime cannot start its own first process inside the cgroup.
MIN_MEMORY_BYTES = 4 * 1024 * 1024
MAX_MEMORY_BYTES = 2**63 - 1
#: The period of the CPU quota in microseconds: the kernel's own default.
CPU_PERIOD_US = 100_000
#: The kernel takes no quota below 1 ms per period (kernel/sched/core.c, min_cfs_quota_period).
MIN_CPUS = 0.01
#: The largest NR_CPUS there is (arch/x86/Kconfig). More than this host has is allowed: it is no limit, and no error.
MAX_CPUS = 8192
#: PID_MAX_LIMIT of a 64-bit kernel (linux/threads.h).
MAX_PIDS = 4 * 1024 * 1024
#: How a request says that there is to be no limit.
NO_LIMIT = -1
_UNLIMITED = 2**64 - 1
# The kernel takes lists of a page; this is the length of one that names every second processor of the largest machine.
_MAX_CPUSET = 20480
_CPUSET = re.compile(r"[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*", re.ASCII)

#: What each number is called, its range and its unit. Shares: MIN_SHARES and MAX_SHARES of kernel/sched/sched.h; quota
#: and period: min_cfs_quota_period and max_cfs_quota_period of kernel/sched/core.c; a reservation below a page is none.
_RANGES: dict[str, tuple[str, float, float, str]] = {
    "memory_bytes": ("memory limit", MIN_MEMORY_BYTES, MAX_MEMORY_BYTES, "bytes"),
    "memory_reservation_bytes": ("memory reservation", 4096, MAX_MEMORY_BYTES, "bytes"),
    "memory_swap_bytes": ("limit on memory and swap", MIN_MEMORY_BYTES, MAX_MEMORY_BYTES, "bytes"),
    "pids": ("process limit", 1, MAX_PIDS, "processes"),
    "cpus": ("processor limit", MIN_CPUS, MAX_CPUS, "processors"),
    "cpu_shares": ("limit by processor shares", 2, 262_144, "shares"),
    "cpu_quota_us": ("limit by processor quota", 1000, MAX_CPUS * 1_000_000, "microseconds"),
    "cpu_period_us": ("period of the limit on processors", 1000, 1_000_000, "microseconds"),
    "blkio_weight": ("limit by block I/O weight", 10, 1000, "as weight"),
}
#: Those that -1 lifts.
_LIFTED = frozenset({"memory_bytes", "memory_reservation_bytes", "memory_swap_bytes", "pids", "cpus", "cpu_quota_us"})
#: Where each stands in `linux.resources`.
_PLACES = {
    "memory_bytes": ("memory", "limit"),
    "memory_reservation_bytes": ("memory", "reservation"),
    "memory_swap_bytes": ("memory", "swap"),
    "cpu_shares": ("cpu", "shares"),
    "cpu_quota_us": ("cpu", "quota"),
    "cpu_period_us": ("cpu", "period"),
    "cpuset_cpus": ("cpu", "cpus"),
    "cpuset_mems": ("cpu", "mems"),
    "pids": ("pids", "limit"),
    "blkio_weight": ("blockIO", "weight"),
}

# By number (asm-generic/resource.h); Python's `resource` does not have all of them.
_NAMES = "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime"
_RLIMITS = {name: number for number, name in enumerate(_NAMES.split())}


def check(limits: Limits) -> None:
    """Raise InvalidArgument for a limit that is none or that no kernel takes, and for two that are at odds."""
    check_each(limits)
    check_together(limits)


def check_each(limits: Limits) -> None:
    """Raise InvalidArgument for a limit that is none or that no kernel takes, and for one that is said in two ways."""
    for name, (what, low, high, unit) in _RANGES.items():
        value = getattr(limits, name)
        if value is None or (value == NO_LIMIT and name in _LIFTED):
            continue
        check_range(what, value, low, high, unit, can_be_lifted=name in _LIFTED)
    if limits.cpus is not None and (limits.cpu_quota_us is not None or limits.cpu_period_us is not None):
        raise errors.InvalidArgument("processor limit is not valid beside a quota or a period: it stands for both")
    for what, value in (("processor list", limits.cpuset_cpus), ("memory node list", limits.cpuset_mems)):
        if value:
            parse_cpuset(what, value)


def check_range(what: str, value: float, low: float, high: float, unit: str, *, can_be_lifted: bool = False) -> None:
    """Raise InvalidArgument naming `what` for a number out of its range, or none (nan)."""
    if low <= value <= high:
        return
    if value == 0 and can_be_lifted:
        raise errors.InvalidArgument(f"{what} 0 is not valid: leave it out, or say none (-1), for no limit")
    # 10**30 as it was asked for, not a page of digits.
    shown = "of more than 40 digits" if isinstance(value, int) and abs(value) >= 10**40 else str(value)
    lifted = ", and none (-1) for no limit" if can_be_lifted else ""
    raise errors.InvalidArgument(f"{what} {shown} is not valid: {low} to {high} {unit} are allowed{lifted}")


def check_together(limits: Limits) -> None:
    """Raise InvalidArgument for limits on memory of which one makes the other impossible."""
    memory, both, reserved = limits.memory_bytes, limits.memory_swap_bytes, limits.memory_reservation_bytes
    is_limited = memory is not None and memory != NO_LIMIT
    if both is not None and both != NO_LIMIT:
        if not is_limited:
            raise errors.InvalidArgument(
                f"limit on memory and swap {both} is not valid without a memory limit: it counts both"
            )
        if both < (memory or 0):
            raise errors.InvalidArgument(
                f"limit on memory and swap {both} is not valid: it counts both, and the memory limit is {memory}"
            )
    if is_limited and reserved is not None and reserved > (memory or 0):
        raise errors.InvalidArgument(
            f"memory reservation {reserved} is not valid: it is above the memory limit {memory}"
        )


def parse_cpuset(what: str, value: str) -> frozenset[int]:
    """Return the numbers of a list as in cpuset(7), `0-2,7`. Raises InvalidArgument naming `what`."""
    if len(value) > _MAX_CPUSET or _CPUSET.fullmatch(value) is None:
        raise errors.InvalidArgument(
            f"{what} {text.shorten(value)} is not valid: numbers and ranges are expected, as in 0-2,7"
        )
    found: set[int] = set()
    for part in value.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not low <= high < MAX_CPUS:
            raise errors.InvalidArgument(
                f"{what} {text.shorten(value)} is not valid: {part} is no range from 0 to {MAX_CPUS - 1}"
            )
        found.update(range(low, high + 1))
    return frozenset(found)


def expand(limits: Limits) -> Limits:
    """Return `limits` with `cpus` said as quota and period; -1 lifts the quota and leaves the period."""
    if limits.cpus is None:
        return limits
    if limits.cpus == NO_LIMIT:
        return replace(limits, cpus=None, cpu_quota_us=NO_LIMIT)
    quota = round(limits.cpus * CPU_PERIOD_US)
    return replace(limits, cpus=None, cpu_quota_us=quota, cpu_period_us=CPU_PERIOD_US)


def overlay(base: Limits, changes: Limits) -> Limits:
    """Return `base` with what `changes` sets, both expanded."""
    return replace(expand(base), **names_set(expand(changes)))


def names_set(limits: Limits) -> dict[str, Any]:
    """Return what `limits` sets, by name."""
    found = {field.name: getattr(limits, field.name) for field in fields(limits)}
    return {name: value for name, value in found.items() if value not in (None, "")}


def shown(limits: Limits) -> Limits:
    """Return `limits` as they are shown: None for no limit, and `cpus` beside quota and period."""
    found = {name: value for name, value in names_set(expand(limits)).items() if value != NO_LIMIT}
    quota, period = found.get("cpu_quota_us"), found.get("cpu_period_us", CPU_PERIOD_US)
    return Limits(**found, cpus=quota / period if quota else None)


def resources(limits: Limits) -> dict[str, Any]:
    """Return the `linux.resources` for a new container, without devices; -1 is what it has anyhow."""
    found = {name: value for name, value in names_set(expand(limits)).items() if value != NO_LIMIT}
    return changes(Limits(**found))


def changes(limits: Limits) -> dict[str, Any]:
    """Return `limits` as the specification has them (config-linux.md), -1 for no limit, what is not set left out."""
    found: dict[str, Any] = {}
    for name, value in names_set(expand(limits)).items():
        section, key = _PLACES[name]
        found.setdefault(section, {})[key] = value
    return found


def check_ulimits(ulimits: Iterable[Ulimit]) -> None:
    """Raise InvalidArgument for an unknown or repeated name, a value out of range, and a soft above its hard limit."""
    seen: set[str] = set()
    for item in ulimits:
        if item.name not in _RLIMITS:
            raise errors.InvalidArgument(
                f"ulimit {text.shorten(item.name)} is not valid: the names are {', '.join(sorted(_RLIMITS))}"
            )
        if item.name in seen:
            raise errors.InvalidArgument(f"ulimit {item.name} is not valid: it is given twice")
        seen.add(item.name)
        for value in (item.soft, item.hard):
            if not -1 <= value <= _UNLIMITED:
                raise errors.InvalidArgument(
                    f"ulimit {item.name} is not valid: 0 to 2**64-1 are allowed, and -1 for no limit"
                )
        if _value(item.soft) > _value(item.hard):
            raise errors.InvalidArgument(
                f"ulimit {item.name} is not valid: the soft limit {item.soft} is above the hard limit {item.hard}"
            )


def rlimits(ulimits: Iterable[Ulimit], held: Collection[str]) -> list[dict[str, Any]]:
    """Return the `process.rlimits` for `ulimits`.

    Raises PermissionDenied for a hard limit above the daemon's own when it has no CAP_SYS_RESOURCE (`held`), which
    setrlimit(2) asks of whoever raises one.
    """
    found = []
    for item in ulimits:
        own = resource.getrlimit(_RLIMITS[item.name])[1]
        if "CAP_SYS_RESOURCE" not in held and _value(item.hard) > _value(own):
            raise errors.PermissionDenied(
                f"cannot set ulimit {item.name} to {item.hard}: the daemon's own hard limit is {own} and it lacks "
                "CAP_SYS_RESOURCE"
            )
        name = f"RLIMIT_{item.name.upper()}"
        found.append({"type": name, "soft": _value(item.soft), "hard": _value(item.hard)})
    return found


def _value(limit: int) -> int:
    return _UNLIMITED if limit == -1 else limit
