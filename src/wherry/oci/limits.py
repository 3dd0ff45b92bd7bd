"""Limits: cgroup resources and setrlimit(2), checked and written as the specification has them."""

from __future__ import annotations

import math
import resource
from collections.abc import Collection, Iterable
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
_UNLIMITED = 2**64 - 1

# By number (asm-generic/resource.h); Python's `resource` does not have all of them.
_NAMES = "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime"
_RLIMITS = {name: number for number, name in enumerate(_NAMES.split())}


def check(limits: Limits) -> None:
    """Raise InvalidArgument for a limit that is none or that no kernel takes."""
    _check_range("memory limit", limits.memory_bytes, MIN_MEMORY_BYTES, MAX_MEMORY_BYTES, "bytes")
    _check_range("process limit", limits.pids, 1, MAX_PIDS, "processes")
    if limits.cpus is not None and not math.isfinite(limits.cpus):
        raise errors.InvalidArgument(f"processor limit {limits.cpus} is not valid: it is not a number")
    _check_range("processor limit", limits.cpus, MIN_CPUS, MAX_CPUS, "processors")


def _check_range(what: str, value: float | None, low: float, high: float, unit: str) -> None:
    if value is None or low <= value <= high:
        return
    if value == 0:
        raise errors.InvalidArgument(f"{what} 0 is not valid: leave it out for no limit")
    # 10**30 as it was asked for, not a page of digits.
    shown = str(value) if abs(value) < 10**40 else "of more than 40 digits"
    raise errors.InvalidArgument(f"{what} {shown} is not valid: {low} to {high} {unit} are allowed")


def resources(limits: Limits) -> dict[str, Any]:
    """Return the `linux.resources` for `limits`, without devices."""
    found: dict[str, Any] = {}
    if limits.memory_bytes is not None:
        found["memory"] = {"limit": limits.memory_bytes}
    if limits.cpus is not None:
        found["cpu"] = {"quota": round(limits.cpus * CPU_PERIOD_US), "period": CPU_PERIOD_US}
    if limits.pids is not None:
        found["pids"] = {"limit": limits.pids}
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
