"""Processes and the boot as /proc shows them (proc(5))."""

from __future__ import annotations

from pathlib import Path


def read_starttime(pid: int) -> int | None:
    """Return when `pid` started, in clock ticks since boot (field 22 of /proc/PID/stat); None when it is not there."""
    stat = _read_stat(pid)
    return int(stat[19]) if stat else None


def is_zombie(pid: int) -> bool:
    """Tell whether `pid` has ended and waits to be reaped; False when it is not there at all."""
    stat = _read_stat(pid)
    return bool(stat) and stat[0] == b"Z"


def read_parent(pid: int) -> int | None:
    """Return the parent of `pid`, None when it is not there."""
    stat = _read_stat(pid)
    return int(stat[1]) if stat else None


def _read_stat(pid: int) -> list[bytes]:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The name in parentheses may itself hold ") ": the last one ends it.
    return text.rpartition(b") ")[2].split()


def read_boot_id() -> str:
    """Return the identity of this boot (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
