"""Processes and the boot as /proc shows them (proc(5))."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from wherry.linux import cgroup
from wherry.model import status as st

_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
#: More than status and stat have.
_MAX_BYTES = 16384


def read_starttime(pid: int) -> int | None:
    """Return when `pid` started, in clock ticks since boot (field 22 of /proc/PID/stat); None when it is not there."""
    stat = _read_stat(pid)
    return int(stat[19]) if stat else None


def read_state(pid: int) -> str:
    """Return the letter of a process's state (proc(5), /proc/PID/stat), "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def read_name(pid: int) -> str:
    """Return the name that `ps -e` shows of a process (proc(5), /proc/PID/comm), as ASCII; "" when there is none."""
    try:
        return ascii(Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n"))[1:-1]
    except OSError:
        return ""


def is_zombie(pid: int) -> bool:
    """Tell whether `pid` has ended and waits to be reaped; False when it is not there at all."""
    stat = _read_stat(pid)
    return bool(stat) and stat[0] == b"Z"


def descendants(pid: int) -> list[int]:
    """Return the processes below `pid` (proc(5), task/TID/children), also those that wait to be reaped."""
    found: list[int] = []
    todo = [pid]
    while todo:
        for child in _children(todo.pop()):
            found.append(child)
            todo.append(child)
    return found


def _children(pid: int) -> Iterator[int]:
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            yield from map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return  # it has ended meanwhile; who is below it belongs to somebody else now


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


def read_process(pid: int, cgroup_path: str, max_command: int) -> st.HostProcess | None:
    """Return what is known of a process, with at most `max_command` bytes of its arguments.

    None when it has ended, or is not (or no longer) in the cgroup `cgroup_path`: the number may be a stranger's.
    """
    try:
        directory = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # All of one process: once it has ended, reading below `directory` fails, whoever has its number.
        if not f"{cgroup.read_path(pid)}/".startswith(f"{cgroup_path.rstrip('/')}/"):
            return None
        command = _read_below(directory, "cmdline", max_command + 1)
        status = _read_below(directory, "status", _MAX_BYTES)
        stat = _read_below(directory, "stat", _MAX_BYTES)
    except OSError:
        return None
    finally:
        os.close(directory)
    return parse_process(pid, stat, status, command, max_command)


def _read_below(directory: int, name: str, limit: int) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    with open(fd, "rb", buffering=0) as file:
        data = b""
        while len(data) < limit and (more := file.read(limit - len(data))):
            data += more
        return data


def parse_process(pid: int, stat: bytes, status: bytes, command: bytes, max_command: int) -> st.HostProcess:
    """Return a process from the content of its files; a `command` longer than `max_command` bytes is cut short.

    Raises ValueError or IndexError for what no kernel writes (proc(5)).
    """
    name, _, rest = stat.partition(b" (")[2].rpartition(b") ")
    fields = rest.split()
    uid = next((line.split()[2] for line in status.splitlines() if line.startswith(b"Uid:")), b"0")
    booted_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return st.HostProcess(
        pid=pid,
        parent=int(fields[1]),
        uid=int(uid),
        state=fields[0].decode(),
        threads=int(fields[17]),
        cpu_us=(int(fields[11]) + int(fields[12])) * _TICK_US,
        rss_bytes=int(fields[21]) * os.sysconf("SC_PAGESIZE"),
        started_at_ns=booted_ns + int(fields[19]) * _TICK_US * 1000,
        command=_split_command(command, max_command) or (f"[{name.decode(errors='replace')}]",),
    )


def _split_command(command: bytes, limit: int) -> tuple[str, ...]:
    """Return arguments as text, whatever the process has written over them; none for a zombie."""
    text = command[:limit].rstrip(b"\0").decode(errors="replace") + ("…" if len(command) > limit else "")
    return tuple(text.split("\0")) if text else ()


def read_boot_id() -> str:
    """Return the identity of this boot (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
