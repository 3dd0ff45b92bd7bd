"""Kills for want of memory, as a cgroup counts them and tells of them, in both versions (cgroups(7)).

Version 1: an eventfd that is registered at memory.oom_control (Documentation/admin-guide/cgroup-v1/memory.rst, 9 and
10). It is told when a limit is hit, which is some milliseconds before the kill is counted; it is not told of a kill
because the whole machine is out of memory, and is told when the cgroup is removed. Version 2: memory.events wakes those
who poll it (cgroup-v2.rst), after the kill was counted.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

from wherry.linux import cgroup

_COUNTER = b"oom_kill "
#: More than either file has.
_MAX_BYTES = 4096


class Notices:
    """A descriptor that is readable once something may have been killed; must be closed."""

    def __init__(self, source: int, epoll: select.epoll | None = None) -> None:
        self._source = source
        self._epoll = epoll
        self.fd = source if epoll is None else epoll.fileno()

    def clear(self) -> None:
        """Take note of what was told so far: `fd` is readable again when there is more."""
        try:
            if self._epoll is None:
                os.eventfd_read(self._source)
            else:
                os.pread(self._source, _MAX_BYTES, 0)  # kernfs is quiet until the next change once it was read
        except OSError:
            pass  # cleared already, or the cgroup is gone

    def close(self) -> None:
        """Close what is open; not twice."""
        if self._epoll is not None:
            self._epoll.close()
        os.close(self._source)


def find_counter(path: str) -> Path | None:
    """Return the file that counts the kills in the cgroup `path`; None when no memory controller is mounted there."""
    relative = path.strip("/")
    if cgroup.read_mode() == "v2":
        file = cgroup.ROOT / relative / "memory.events"
    else:
        file = cgroup.ROOT / "memory" / relative / "memory.oom_control"
    return file if file.exists() else None


def read_count(path: str) -> int | None:
    """Return how many processes were killed in the cgroup `path` for want of memory; None when it does not tell."""
    file = find_counter(path)
    try:
        lines = file.read_bytes().splitlines() if file else []
    except OSError:
        return None  # removed meanwhile
    return next((int(line[len(_COUNTER) :]) for line in lines if line.startswith(_COUNTER)), None)


def open_notices(path: str) -> Notices | None:
    """Return what tells of kills in the cgroup `path`; None when no memory controller is mounted. Raises OSError."""
    file = find_counter(path)
    if file is None:
        return None
    return watch_file(file) if file.name == "memory.events" else _register(file)


def watch_file(file: Path) -> Notices:
    """Return notices of the changes of a file of cgroup version 2. Raises OSError."""
    source = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    # The file itself is always readable, so a loop would spin; only a change is EPOLLPRI as well.
    epoll: select.epoll | None = None
    try:
        epoll = select.epoll()
        epoll.register(source, select.EPOLLPRI)
    except OSError:
        os.close(source)
        if epoll is not None:
            epoll.close()
        raise
    notices = Notices(source, epoll)
    notices.clear()
    return notices


def _register(file: Path) -> Notices:
    """Return notices by the eventfd that the kernel is asked to write to."""
    notices = Notices(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
    try:
        source = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            file.with_name("cgroup.event_control").write_bytes(b"%d %d" % (notices.fd, source))
        finally:
            os.close(source)
    except OSError:
        notices.close()
        raise
    return notices
