"""What is taken away once a container has ended, was deleted, or could not be made."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from pathlib import Path

from wherry import errors
from wherry.linux import cgroup, failpoint, proc
from wherry.model import ids
from wherry.model.lifecycle import ALIVE, Change, State
from wherry.runtime import container as containers
from wherry.runtime.driver import Driver
from wherry.supervisor import kill, oom, restart
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)

#: Seconds for what is just ending in a cgroup to have ended, as an exec whose maker was killed. Nobody is killed.
_BUSY = 1.0
#: So many of them are named when they have not.
_NAMED = 8
#: Seconds between tries to remove a container that removes itself: somebody else's process may be in its cgroup.
REMOVAL_RETRY = 2.0


async def release(core: Core, live: LiveContainer) -> None:
    """Remove what the OCI runtime keeps of an ended container, and its cgroup; done once a run."""
    if live.is_released:
        return
    oom.end(live)
    driver, saved = core.driver(live), live.saved
    is_plain = saved.is_plain and bool(saved.cgroup) and driver.is_known
    if saved.runtime and not is_plain:
        await driver.delete(live.id)
    await core.thread(_remove_kept, driver if is_plain else None, live)
    live.is_released = True


def _remove_kept(driver: Driver | None, live: LiveContainer) -> None:
    if driver is not None:
        driver.forget(live.id)
    if live.saved.cgroup:
        _remove_cgroup(live.saved.cgroup)


def _remove_cgroup(path: str) -> None:
    give_up = time.monotonic() + _BUSY
    while True:
        try:
            return cgroup.remove(path)
        except OSError as error:
            if time.monotonic() > give_up:
                raise errors.Internal(f"cannot remove cgroup {path}: {error.strerror}: {_name_left(path)}") from error
        time.sleep(0.01)


def _name_left(path: str) -> str:
    pids = sorted(cgroup.find_pids(path))
    found = (f"process {pid} ({proc.read_name(pid)}, state {proc.read_state(pid)})" for pid in pids[:_NAMED])
    return ", ".join(found) or "no process is in it"


async def undo(core: Core, live: LiveContainer) -> None:
    """Take back a creation that failed, or that nobody finished."""
    init = live.init
    try:
        if init is not None and init.disk is not None:
            await end_half_made(core, live, init)
        if live.disk.is_made:
            await release_half_made(core, live)
            await remove_directories(core, live)
    except (errors.WherryError, OSError) as error:
        _logger.error("cannot undo the creation of container %s: %s", live.id, error)
    finally:
        if init is not None:
            init.settle(None)
        forget(core, live)


async def undo_told(core: Core, live: LiveContainer) -> None:
    """Take back a creation that failed once it was told: its end and its removal are told, too."""
    try:
        await delete(core, live, force=True)
    except (errors.WherryError, OSError) as error:
        _logger.error("cannot undo the creation of container %s: %s", live.id, error)


async def end_told(core: Core, live: LiveContainer) -> None:
    """Kill a process whose start is told, and that has not all that it should have; its end is told like any other.

    No policy starts it again: what was asked for has failed, and the error says so. The caller holds the lock.
    """
    await core.insist(lambda: live.save(by_hand=True))
    await core.thread(kill.kill_now, live, live.process(ids.INIT))


async def end_half_made(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    """Kill a process that was being made, and who was making it."""
    await core.thread(kill.end_shim, init.opened())
    await core.thread(kill.kill_now, live, init)
    init.let_go()


async def release_half_made(core: Core, live: LiveContainer) -> None:
    """Remove what the runtime has made for a container, or still makes, and its cgroup. Raises WherryError, OSError."""
    await _delete_half_made(core, live)
    await core.thread(cgroup.clear, live.saved.cgroup, kill.KILL_TIMEOUT)
    await release(core, live)


async def _delete_half_made(core: Core, live: LiveContainer) -> None:
    """Have the runtime delete what it was at: only it knows of a process that it has made and nobody has heard of."""
    if not live.saved.runtime or not core.driver(live).has(live.id):
        return
    try:
        await core.driver(live).delete(live.id)
    except errors.WherryError as error:
        _logger.warning("container %s was half made: %s", live.id, error)


async def remove_directories(core: Core, live: LiveContainer) -> None:
    """Remove everything of a container from both trees."""
    await core.discard(live.disk.storage)
    await core.discard(live.disk.directory)


def forget(core: Core, live: LiveContainer) -> None:
    """Take a container out of the map, and its namespace's directories away with the last one."""
    live.is_gone = True
    live.pulse()
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


async def remove_unread(core: Core, live: LiveContainer) -> None:
    """Delete an ended container once those who are reading its output have all of it: the log is deleted as well."""
    await live.wait_unread()
    try:
        await delete(core, live, force=False)
    except (errors.WherryError, OSError) as error:
        if live.state not in (State.STOPPED, State.DELETING):
            return  # somebody has started it once more
        _logger.error("container %s: %s; trying again", live.id, error)
        remove_later(core, live, REMOVAL_RETRY)


def remove_later(core: Core, live: LiveContainer, seconds: float) -> None:
    """Delete an ended container after a while, if this supervisor is still there."""

    def remove() -> None:
        core.tasks.start(remove_unread(core, live), f"remove {live.id}")

    if not core.is_closing:
        live.timer = asyncio.get_running_loop().call_later(seconds, remove)


async def delete(core: Core, live: LiveContainer, *, force: bool) -> None:
    """Delete a container that has ended; `force` kills it first. Deleting one that is being deleted waits for it."""
    while force and (live.state in ALIVE or live.state is State.RESTARTING):
        if live.state in ALIVE:
            live.save(by_hand=True)
            init = live.init
            await kill.end(core, live)
            if live.init is init and live.state in ALIVE:  # its end is told, its state is yet to follow
                await live.wait_change()
        await restart.give_up(live)
    async with live.lock:
        if live.is_gone:
            return
        if live.state is not State.UNKNOWN:
            if live.state in ALIVE or live.state is State.RESTARTING:
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
            await core.emit(
                live, "exit", process=ids.INIT, status=kill.SHIM_LOST, signal=signal.SIGKILL, reason="unknown"
            )
            live.owes_exit = False
    await release(core, live)
    failpoint.hit("delete.released")
    await core.discard(live.disk.storage)
    failpoint.hit("delete.storage")
    if not live.is_told_deleted and core.journal.find_told(live.saved.generation, "", 0) != "delete":
        await core.emit(live, "delete", process="")
    live.is_told_deleted = True
    failpoint.hit("delete.journaled")
    await core.discard(live.disk.directory)
    for process in live.processes.values():
        process.let_go()
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
                cgroup.kill_all(path, kill.KILL_TIMEOUT)
                cgroup.remove(path)
            kill.end_shim(disk)
        finally:
            disk.close()
    kill.end_standing(f"{live.disk.directory.resolve()}/")
    # The runtime's own state, whichever runtime it was: else the id could never be used again.
    for kept in live.disk.directory.parent.glob(f".*/{live.id}"):
        containers.discard(kept)
