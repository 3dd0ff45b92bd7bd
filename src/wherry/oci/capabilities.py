"""Capabilities by name: which a container gets.

The default is what a package manager, `su` and a web server need. It is the usual set of the field less two: MKNOD,
because only the device cgroup would then stand between the container and the host's disks, and NET_RAW, because with
the host's network it reads and forges everybody's packets. The inheritable and ambient sets are always empty
(CVE-2022-24769, CVE-2022-29162).
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from typing import Any

from wherry import errors
from wherry.oci import text

_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
_DEFAULT = """
    CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP AUDIT_WRITE
"""
#: Every capability by its number (linux/capability.h).
NAMES = tuple(f"CAP_{name}" for name in _NAMES.split())
DEFAULT = frozenset(f"CAP_{name}" for name in _DEFAULT.split())
_ALL = "ALL"


def parse(name: str) -> str:
    """Return the full name of a capability (`chown` is `CAP_CHOWN`) or `ALL`; raise InvalidArgument if unknown."""
    upper = name.upper() if name.isascii() else name
    full = upper if upper == _ALL or upper.startswith("CAP_") else f"CAP_{upper}"
    if full != _ALL and full not in NAMES:
        raise errors.InvalidArgument(f"capability {text.shorten(name)} is not valid: no capability has that name")
    return full


def check(add: Iterable[str], drop: Iterable[str]) -> None:
    """Raise InvalidArgument for an unknown name and for one that is both added and dropped."""
    both = sorted({parse(name) for name in add} & {parse(name) for name in drop})
    if both:
        raise errors.InvalidArgument(f"capability {both[0]} is not valid here: it is both added and dropped")


def choose(add: Iterable[str], drop: Iterable[str], *, privileged: bool, held: Collection[str]) -> tuple[str, ...]:
    """Return the capabilities of a container, in the kernel's order.

    What the daemon itself lacks (it is not in `held`) is left out of the default and of `ALL`, because a runtime fails
    on it. Raises PermissionDenied when such a capability is added by name.
    """
    adds, drops = {parse(name) for name in add}, {parse(name) for name in drop}
    chosen = set(NAMES) if privileged or _ALL in adds else set() if _ALL in drops else set(DEFAULT)
    named = adds - {_ALL}
    for name in NAMES:
        if name in named and name not in held:
            raise errors.PermissionDenied(f"cannot add capability {name}: the daemon does not have it itself")
    return tuple(name for name in NAMES if name in (chosen | named) - drops and name in held)


def sets(chosen: Collection[str], uid: int) -> dict[str, list[str]]:
    """Return the `capabilities` of an OCI process that runs as `uid`.

    Only root holds them; for anyone else they are the bound of what a file with capabilities may give, as they would
    be after a change of user (capabilities(7)).
    """
    held = list(chosen) if uid == 0 else []
    return {"bounding": list(chosen), "effective": held, "permitted": list(held), "inheritable": [], "ambient": []}


def change_user(given: dict[str, Any], uid: int) -> dict[str, list[str]]:
    """Return the capability sets `given` for a process that runs as another user, `uid`."""
    return sets([str(name) for name in given.get("bounding") or []], uid)


@functools.cache
def held() -> frozenset[str]:
    """Return the capabilities this process has and may pass on."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return parse_status(file.read())


def parse_status(status: str) -> frozenset[str]:
    """Return the names of the capabilities that are both effective and in the bound, from a `/proc/PID/status`."""
    masks = {"CapEff": 0, "CapBnd": 0}
    for line in status.splitlines():
        key, _, value = line.partition(":")
        if key in masks:
            masks[key] = int(value, 16)
    mask = masks["CapEff"] & masks["CapBnd"]
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)
