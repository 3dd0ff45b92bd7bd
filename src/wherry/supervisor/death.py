"""How processes and containers end: noticed once, told once, in order, and cleaned up."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import signal
import time

from wherry import errors
from wherry.linux import failpoint
from wherry.model import ids
from wherry.model import status as st
from wherry.model.lifecycle import Change, State
from wherry.supervisor import birth, checkpoint, deletion, health, kill, migration, oom, restart
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)


def watch(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    """Wait for the hang-up of the process's exit FIFO: the end of its shim."""
    loop = asyncio.get_running_loop()
    loop.add_reader(process.opened().exit_fd, hang_up, core, live, process)


def hang_up(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    """Begin to tell the end of a process whose shim is gone."""
    # Gone before we opened the FIFO: there is no hang-up then, ever, so recovery calls this itself; and never twice.
    if asyncio.get_running_loop().remove_reader(process.opened().exit_fd):
        process.hang_up()
        work = _on_init_end if process.id == ids.INIT else health.on_end if process.is_check else _on_exec_end
        core.tasks.start(work(core, live, process), f"exit {live.id}/{process.id}")


async def _on_exec_end(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    record = await _conclude(core, live, process)
    failpoint.hit("exec.exit-noticed")
    await oom.catch_up(core, live)
    await _tell_exit(core, live, process, record)
    process.change(Change.EXITED)
    process.opened().close()
    process.settle(record)
    await birth.prune_execs(core, live)


async def _on_init_end(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    # The lock: a start under way is journaled first, so `start` is before `exit` by construction.
    async with live.lock:
        await checkpoint.settle(core, live)
        await migration.settle(core, live)
        record = await _conclude(core, live, init)
        failpoint.hit("exit.noticed")
        await finish(core, live, init, record)
    if live.saved.request.auto_remove:
        await deletion.remove_unread(core, live)


async def finish(core: Core, live: LiveContainer, init: LiveProcess, record: st.ExitRecord) -> None:
    """Tell the end of a container: execs first, `oom`, then `exit`. The caller holds the lock."""
    # New execs are refused from here on: the state below is set before this coroutine gives way again.
    init.state = State.STOPPING
    health.end(live)
    # Who dies while paused is not started again: somebody wanted it to stand still.
    if live.state in (State.PAUSING, State.PAUSED):
        await core.insist(lambda: live.save(by_hand=True))
    # On disk it is stopping when the exit is told: until then the next supervisor begins as we did.
    live.show(State.STOPPING)
    await _settle_execs(core, live)
    await oom.conclude(core, live, record)
    oom.end(live)
    await _tell_exit(core, live, init, record)
    failpoint.hit("exit.journaled")
    await restart.conclude(core, live, record)
    init.state = State.STOPPED
    init.opened().close()
    init.settle(record)
    failpoint.hit("exit.saved")
    try:
        await deletion.release(core, live)
    except (errors.WherryError, OSError) as error:
        _logger.warning("container %s: %s; deleting it will try again", live.id, error)
    restart.schedule(core, live)


async def _settle_execs(core: Core, live: LiveContainer) -> None:
    """Wait for every exec to be told: their processes die with the container's, or are killed here."""
    # One that still waits for its turn is refused when that comes: it never was.
    waiting = [process for process in live.execs if process.disk is not None and not process.settled.is_set()]
    for process in waiting:
        if process.pid:
            await _kill(core, live, process)
    await asyncio.gather(*(kill.wait_settled(core, live, process) for process in waiting))


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


async def _kill(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    """Kill a process, with `init` all that is in the container, as soon as there are descriptors to do it with."""
    await core.reread(lambda: core.thread(kill.kill_now, live, process))


async def _conclude(core: Core, live: LiveContainer, process: LiveProcess) -> st.ExitRecord:
    """Return how a process without a shim has ended, ending it if need be, and have that on disk."""
    record = await core.reread(process.read_exit)
    if record is None:
        _logger.warning("container %s: the shim of process %s was killed; ending the process", live.id, process.id)
        await _kill(core, live, process)
        record = st.ExitRecord(
            status=kill.SHIM_LOST, signal=signal.SIGKILL, exited_at_ns=time.time_ns(), reason="shim-lost"
        )
    elif process.id == ids.INIT and not live.saved.private_pid:
        # The kernel has ended nobody with it, and its shim may have been killed before it had, or was not in time.
        await _kill(core, live, process)
    reason = live.saved.end_reason if process.id == ids.INIT and not record.reason else ""
    found = dataclasses.replace(record, reason=reason) if reason else record
    # Without a status the shim was killed before it wrote that, or between the two files.
    if reason or await core.reread(process.read_status) is None:
        await core.insist(lambda: process.opened().write_exit_record(found))
    return found
