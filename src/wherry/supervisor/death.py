"""How processes and containers end: noticed once, told once, in order, and cleaned up."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from pathlib import Path

from wherry import errors
from wherry.linux import cgroup, pidfd, proc
from wherry.model import ids, signals
from wherry.model import status as st
from wherry.model.lifecycle import ALIVE, Change, State
from wherry.runtime import container as containers
from wherry.runtime.process import Process
from wherry.supervisor import birth, failpoint, pause
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)

#: Status and signal of a process whose shim was killed: the field's 128 + SIGKILL.
SHIM_LOST = 137
#: Seconds for a killed process to be gone.
KILL_TIMEOUT = 5.0
#: Seconds for a shim to tell the end of a process that is dead; then the shim itself is killed.
SHIM_TIMEOUT = 10.0


def watch(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    """Wait for the hang-up of the process's exit FIFO: the end of its shim."""
    loop = asyncio.get_running_loop()
    loop.add_reader(process.opened().exit_fd, hang_up, core, live, process)


def unwatch(process: LiveProcess) -> None:
    """Let go of a process; it is not touched."""
    if process.disk is not None and process.disk.exit_fd >= 0:
        asyncio.get_running_loop().remove_reader(process.disk.exit_fd)
        process.disk.close()


def hang_up(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    """Begin to tell the end of a process whose shim is gone."""
    # Gone before we opened the FIFO: there is no hang-up then, ever, so recovery calls this itself; and never twice.
    if asyncio.get_running_loop().remove_reader(process.opened().exit_fd):
        work = _on_init_end if process.id == ids.INIT else _on_exec_end
        core.tasks.start(work(core, live, process), f"exit {live.id}/{process.id}")


async def _on_exec_end(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    record = await _conclude(core, live, process)
    failpoint.hit("exec.exit-noticed")
    await _tell_exit(core, live, process, record)
    process.change(Change.EXITED)
    process.opened().close()
    process.settle(record)
    await birth.prune_execs(core, live)


async def _on_init_end(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    # The lock: a start under way is journaled first, so `start` is before `exit` by construction.
    async with live.lock:
        record = await _conclude(core, live, init)
        failpoint.hit("exit.noticed")
        await finish(core, live, init, record)
    if live.saved.request.auto_remove:
        await remove_unread(core, live)


async def finish(core: Core, live: LiveContainer, init: LiveProcess, record: st.ExitRecord) -> None:
    """Tell the end of a container: execs first, `oom`, then `exit`. The caller holds the lock."""
    # New execs are refused from here on: the state below is set before this coroutine gives way again.
    init.state = State.STOPPING
    await core.insist(lambda: live.save(state=State.STOPPING.value))
    await _settle_execs(core, live)
    if record.oom:
        await core.emit(live, "oom", process=ids.INIT, pid=init.pid)
    await _tell_exit(core, live, init, record)
    failpoint.hit("exit.journaled")
    await core.insist(lambda: live.change(Change.EXITED))
    init.state = State.STOPPED
    init.opened().close()
    init.settle(record)
    failpoint.hit("exit.saved")
    try:
        await release(core, live)
    except errors.WherryError as error:
        _logger.warning("container %s: %s; deleting it will try again", live.id, error)


async def _settle_execs(core: Core, live: LiveContainer) -> None:
    """Wait for every exec to be told: their processes die with the container's, or are killed here."""
    # One that still waits for its turn is refused when that comes: it never was.
    waiting = [process for process in live.execs if process.disk is not None and not process.settled.is_set()]
    for process in waiting:
        if process.pid:
            await core.thread(kill_now, live, process)
    for process in waiting:
        await _wait_settled(core, live, process)


async def _wait_settled(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    """Wait for the end of a killed process to be told, by killing its shim if need be."""
    try:
        async with asyncio.timeout(SHIM_TIMEOUT):
            await process.settled.wait()
    except TimeoutError:
        _logger.error("container %s: the shim of %s does not tell its end; killing the shim", live.id, process.id)
        await core.thread(end_shim, process.opened())
        async with asyncio.timeout(SHIM_TIMEOUT):
            await process.settled.wait()


async def _tell_exit(core: Core, live: LiveContainer, process: LiveProcess, record: st.ExitRecord) -> None:
    await core.emit(
        live,
        "exit",
        process=process.id,
        pid=process.pid,
        status=record.status,
        signal=record.signal,
        reason=record.reason,
    )


async def _conclude(core: Core, live: LiveContainer, process: LiveProcess) -> st.ExitRecord:
    """Return how a process without a shim has ended, ending it if need be, and have that on disk."""
    record = process.opened().exit_record()
    if record is None:
        _logger.warning("container %s: the shim of process %s was killed; ending the process", live.id, process.id)
        await core.thread(kill_now, live, process)
        record = st.ExitRecord(status=SHIM_LOST, signal=signal.SIGKILL, exited_at_ns=time.time_ns(), reason="shim-lost")
    if process.opened().exit_status() is None:  # the shim was killed before it wrote that, or between the two files
        found = record
        await core.insist(lambda: process.opened().write_exit_record(found))
    return record


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


async def release(core: Core, live: LiveContainer) -> None:
    """Remove what the OCI runtime keeps of an ended container, and its cgroup."""
    if live.saved.runtime:
        await core.driver(live).delete(live.id)
    if live.saved.cgroup:
        try:
            await core.thread(cgroup.remove, live.saved.cgroup)
        except OSError as error:
            raise errors.Internal(f"cannot remove cgroup {live.saved.cgroup}: {error.strerror}") from error


async def undo(core: Core, live: LiveContainer) -> None:
    """Take back a creation that failed, or that nobody finished."""
    init = live.init
    try:
        if init is not None and init.disk is not None:
            await core.thread(end_shim, init.disk)
            await core.thread(kill_now, live, init)
            unwatch(init)
        if live.disk.is_made:
            await release(core, live)
            await remove_directories(core, live)
    except (errors.WherryError, OSError) as error:
        _logger.error("cannot undo the creation of container %s: %s", live.id, error)
    finally:
        if init is not None:
            init.settle(None)
        forget(core, live)


async def remove_directories(core: Core, live: LiveContainer) -> None:
    """Remove everything of a container from both trees."""
    await core.discard(live.disk.storage)
    await core.discard(live.disk.directory)


def forget(core: Core, live: LiveContainer) -> None:
    """Take a container out of the map, and its namespace's directories away with the last one."""
    live.is_gone = True
    if core.containers.get(live.key) is live:
        del core.containers[live.key]
    namespace = live.disk.namespace
    # Registered containers count, so nobody is about to make a directory below these.
    if all(other != namespace for other, _ in core.containers):
        for parent in (live.disk.directory.parent, live.disk.storage.parent):
            _remove_empty(parent)


def _remove_empty(directory: Path) -> None:
    try:
        for child in directory.iterdir():
            if child.name.startswith(".") and child.is_dir():
                child.rmdir()  # a runtime's --root without containers
        directory.rmdir()
    except OSError:
        pass  # something is in it; it stays


def end_shim(disk: Process) -> None:
    """Kill the shim of a process, when there is one and it really is the shim of this directory."""
    pid = disk.shim_pid
    if not pid:
        return
    directory = str(disk.directory.resolve())
    _kill_in(directory, pid)
    # A runtime dies with its shim, but what it has started (a hook, the program behind a wrapper) does not.
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _session(int(entry.name)) == pid:
            _kill_in(directory, int(entry.name))


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _kill_in(directory: str, pid: int) -> None:
    """Kill a process if that is its current directory, and wait for its end: the number may be a stranger's by now."""
    starttime = proc.read_starttime(pid)
    try:
        if os.readlink(f"/proc/{pid}/cwd") != directory:
            return
        pidfd.send_signal(pid, starttime, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return
    pidfd.wait_end(pid, starttime, KILL_TIMEOUT)


async def stop(core: Core, live: LiveContainer, timeout: float) -> st.ExitRecord:
    """Send the stop signal, SIGKILL after `timeout` seconds, and return how the container ended."""
    init = live.process(ids.INIT)
    if not init.settled.is_set():
        async with live.lock:
            was = live.state
            if not init.settled.is_set():
                live.change(Change.STOP, stop_deadline_ns=time.time_ns() + int(timeout * 1e9))
                init.state = State.STOPPING
        if was in (State.RUNNING, State.PAUSED, State.STOPPING):
            await _ask_to_end(core, live, init, timeout)
        await end(core, live)
    if init.exit is None:
        raise errors.Aborted(f"cannot stop container {live.id}: it was deleted meanwhile")
    return init.exit


async def _ask_to_end(core: Core, live: LiveContainer, init: LiveProcess, timeout: float) -> None:
    try:
        init.opened().send_signal(signals.parse(live.saved.request.stop_signal or "SIGTERM"))
        await pause.thaw(core, live)  # a frozen container sees the signal only then
        async with asyncio.timeout(timeout):
            await init.settled.wait()
    except (errors.FailedPrecondition, TimeoutError):
        pass  # ended already, or to be killed


async def end(core: Core, live: LiveContainer) -> None:
    """Kill a container and wait until its end is told, with or without the help of its shim."""
    init = live.process(ids.INIT)
    if init.settled.is_set():
        return
    await core.thread(kill_now, live, init)
    await _wait_settled(core, live, init)


async def remove_unread(core: Core, live: LiveContainer) -> None:
    """Delete an ended container once those who are reading its output have all of it: the log is deleted as well."""
    await live.wait_unread()
    await delete(core, live, force=False)


async def delete(core: Core, live: LiveContainer, *, force: bool) -> None:
    """Delete a container that has ended; `force` kills it first. Deleting one that is being deleted waits for it."""
    if force and live.state in ALIVE:
        await end(core, live)
    async with live.lock:
        if live.is_gone:
            return
        if live.state is not State.UNKNOWN:
            if live.state in ALIVE:
                raise errors.FailedPrecondition(
                    f"cannot delete container {live.id}: it is {live.state.value}; stop it first, or delete it by force"
                )
            live.change(Change.DELETE)
        elif not force:
            raise errors.FailedPrecondition(f"cannot delete container {live.id}: {live.problem}; only by force")
        failpoint.hit("delete.marked")
        await finish_delete(core, live)


async def finish_delete(core: Core, live: LiveContainer) -> None:
    """Remove a container that is marked for it. The caller holds the lock, or is alone in recovery."""
    if live.state is State.UNKNOWN:
        await core.thread(_end_unknown, live)
        if live.owes_exit:
            await core.emit(live, "exit", process=ids.INIT, status=SHIM_LOST, signal=signal.SIGKILL, reason="unknown")
            live.owes_exit = False
    await release(core, live)
    failpoint.hit("delete.released")
    await core.discard(live.disk.storage)
    failpoint.hit("delete.storage")
    if core.journal.find_told(live.saved.generation, "", 0) != "delete":
        await core.emit(live, "delete", process="")
    failpoint.hit("delete.journaled")
    await core.discard(live.disk.directory)
    for process in live.processes.values():
        unwatch(process)
    forget(core, live)


def _end_unknown(live: LiveContainer) -> None:
    """End what may still run of a container whose state cannot be read."""
    for process_id in live.disk.process_ids():
        try:
            disk = live.disk.load_process(process_id)
        except errors.DataLoss:
            continue
        try:
            path = cgroup.read_path(disk.pid) if proc.read_starttime(disk.pid) == disk.starttime else ""
            if path:
                cgroup.kill_all(path, KILL_TIMEOUT)
                cgroup.remove(path)
            end_shim(disk)
        finally:
            disk.close()
    _end_standing(f"{live.disk.directory.resolve()}/")
    # The runtime's own state, whichever runtime it was: else the id could never be used again.
    for kept in live.disk.directory.parent.glob(f".*/{live.id}"):
        containers.discard(kept)


def _end_standing(below: str) -> None:
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
