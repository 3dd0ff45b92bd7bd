"""Signals from outside to one process of a container or to all of them, and ends by force."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import time
from pathlib import Path

from wherry import errors
from wherry.linux import cgroup, pidfd, proc
from wherry.model import ids, signals
from wherry.model.lifecycle import State
from wherry.model.request import KillRequest
from wherry.runtime.process import Process
from wherry.supervisor import pause
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)

#: Status and signal of a process whose shim was killed: the field's 128 + SIGKILL.
SHIM_LOST = 137
#: Seconds for a killed process to be gone.
KILL_TIMEOUT = 5.0
#: Seconds for a shim to tell the end of a process that is dead; then the shim itself is killed.
SHIM_TIMEOUT = 10.0
#: Seconds for the end of a killed container to be told before a call gives up; the telling goes on.
TELL_TIMEOUT = 30.0
#: Who sends one of these to a container's own process, or its stop signal, wants it to end: no policy starts it again.
_ENDING = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM})


async def kill(core: Core, live: LiveContainer, request: KillRequest) -> None:
    """Send a signal. Raises InvalidArgument, NotFound, FailedPrecondition."""
    if not 1 <= request.signal <= 64:
        raise errors.InvalidArgument(f"signal {request.signal} is not valid: 1 to 64 are signals")
    process = live.process(request.process or ids.INIT)
    if process.settled.is_set():
        what = "it is restarting; stop it" if live.state is State.RESTARTING else "it has ended"
        raise errors.FailedPrecondition(f"cannot signal process {process.id} of container {live.id}: {what}")
    is_end = process.id == ids.INIT and not live.saved.by_hand and _is_end(live, request.signal)
    if is_end:
        live.save(by_hand=True)  # before the signal: its end may be told at once
    try:
        await _send(core, live, process, request)
    except errors.WherryError:
        if is_end:
            live.save(by_hand=False)
        raise
    # An exec gets it when the container goes on: it alone is no reason for that.
    if request.signal == signal.SIGKILL and live.state is State.PAUSED and (process.id == ids.INIT or request.all):
        await pause.thaw(core, live)


async def _send(core: Core, live: LiveContainer, process: LiveProcess, request: KillRequest) -> None:
    if not request.all:
        process.opened().send_signal(request.signal)
    elif not await core.thread(cgroup.signal_all, live.saved.cgroup, request.signal):
        raise errors.FailedPrecondition(f"cannot signal all of container {live.id}: no process is in its cgroup")


def _is_end(live: LiveContainer, number: int) -> bool:
    request = live.saved.request
    if request.restart.name == "no":
        return False  # nothing to keep from starting; and a write less
    return number in _ENDING or number == signals.parse(request.stop_signal or "SIGTERM")


def kill_now(live: LiveContainer, process: LiveProcess) -> None:
    """Kill a process, with `init` everything in the container, and wait until it is gone. Blocks, bounded."""
    disk = process.opened()
    pid = process.pid or disk.pid
    if process.id == ids.INIT and live.saved.cgroup:
        cgroup.kill_all(live.saved.cgroup, KILL_TIMEOUT)
    elif pid and disk.starttime is None:
        cgroup.send_one(pid, live.saved.cgroup)
    if not pid:
        return
    try:
        pidfd.send_signal(pid, disk.starttime, signal.SIGKILL)
    except ProcessLookupError:
        return
    if not pidfd.wait_end(pid, disk.starttime, KILL_TIMEOUT):
        _logger.error("container %s: process %d does not die", live.id, pid)


def kill_unknown(live: LiveContainer) -> None:
    """Kill what a runtime has started in a container and nobody has heard of: it and its shim were killed before that.

    In a pid namespace of its own, who loses its parent gets the namespace's init for one. So a process there whose
    parent is outside, and below no shim, is known, or was started by a runtime that is gone.
    """
    if not (live.saved.cgroup and live.saved.private_pid):
        return
    pids = cgroup.find_pids(live.saved.cgroup)
    for pid in pids - {process.pid for process in live.processes.values()}:
        if not _is_kept(pid, pids):
            cgroup.send_one(pid, live.saved.cgroup)


def _is_kept(pid: int, inside: set[int]) -> bool:
    """Tell whether a process has a parent `inside` or is below a shim; so is, for us, one that has ended."""
    while parent := proc.read_parent(pid):
        if parent in inside or proc.read_name(parent).startswith("wherry-shim"):
            return True
        pid = parent
    return parent is None


async def end(core: Core, live: LiveContainer) -> None:
    """Kill a container and wait until its end is told, with or without the help of its shim.

    Raises DeadlineExceeded when it cannot be told, because a disk is full for instance; it will be.
    """
    init = live.process(ids.INIT)
    if init.settled.is_set():
        return
    await core.thread(kill_now, live, init)
    try:
        async with asyncio.timeout(TELL_TIMEOUT):
            await wait_settled(core, live, init)
    except TimeoutError:
        raise errors.DeadlineExceeded(
            f"container {live.id} was killed, but its end could not be written down within {TELL_TIMEOUT:g} s"
        ) from None


async def wait_settled(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    """Wait for the end of a killed process to be told, however long that takes, by killing shims if need be."""
    execs = [other for other in live.execs if other.disk is not None] if process.id == ids.INIT else []
    # An init does not die before who was started in its pid namespace is reaped, by their shims: they come first.
    for shims in filter(None, (execs, [process])):
        late = [] if await _settles(process) else [other for other in shims if not other.settled.is_set()]
        for other in late:
            _logger.error("container %s: the shim of %s does not tell its end; killing the shim", live.id, other.id)
            await core.reread(functools.partial(core.thread, end_shim, other.opened()))
    await process.settled.wait()


async def _settles(process: LiveProcess) -> bool:
    try:
        async with asyncio.timeout(SHIM_TIMEOUT):
            await process.settled.wait()
    except TimeoutError:
        return False
    return True


def end_shim(disk: Process) -> None:
    """Kill the shim of a process and what it has started; it must really be that of this directory. Blocks, bounded."""
    pid = disk.shim_pid
    if not pid:
        return
    directory = str(disk.directory.resolve())
    if _stands_in(directory, pid):
        _end_below(pid)
    _kill_in(directory, pid)
    # Of a shim that was dead already: a runtime dies with it, but what that has started (a hook, the program behind a
    # wrapper) does not.
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _session(int(entry.name)) == pid:
            _kill_in(directory, int(entry.name))


def _end_below(shim: int) -> None:
    """Stop a shim and kill all that descends from it: a runtime in the middle of its work, a process nobody knows yet.

    The numbers cannot become a stranger's: the shim inherits every child below it, and reaps none while it is stopped.
    """
    starttime = proc.read_starttime(shim)
    deadline = time.monotonic() + KILL_TIMEOUT
    try:
        pidfd.send_signal(shim, starttime, signal.SIGSTOP)
    except ProcessLookupError:
        return
    while time.monotonic() < deadline:
        alive = [pid for pid in proc.descendants(shim) if not proc.is_zombie(pid)]
        if not alive:
            return
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _stands_in(directory: str, pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") == directory
    except OSError:
        return False


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _kill_in(directory: str, pid: int) -> None:
    """Kill a process if that is its current directory, and wait for its end: the number may be a stranger's by now."""
    starttime = proc.read_starttime(pid)
    if not _stands_in(directory, pid):
        return
    try:
        pidfd.send_signal(pid, starttime, signal.SIGKILL)
    except ProcessLookupError:
        return
    pidfd.wait_end(pid, starttime, KILL_TIMEOUT)


def end_standing(below: str) -> None:
    """End every shim that stands below a directory, whatever its files say, with all that its process has started."""
    for entry in Path("/proc").iterdir():
        try:
            pid, place = int(entry.name), os.readlink(entry / "cwd")
            children = (entry / "task" / entry.name / "children").read_text().split() if place.startswith(below) else []
        except (ValueError, OSError):
            continue
        for child in map(int, children):
            path = cgroup.read_path(child)
            if path and path != cgroup.read_path(pid):  # else it is not in a cgroup of its own yet
                cgroup.kill_all(path, KILL_TIMEOUT)
                cgroup.remove(path)
        if place.startswith(below):
            _kill_in(place, pid)
