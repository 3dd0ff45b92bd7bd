"""Containers that are started again: by their policy, because they are unwell, or by hand.

The events of a container's own process tell where it is, and recovery relies on that: `start`, `exit`, then either
nothing more or `restart`, and `start` once more.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from pathlib import Path

from wherry import errors
from wherry.linux import cgroup, failpoint
from wherry.model import ids
from wherry.model import status as st
from wherry.model.lifecycle import Change, State
from wherry.model.request import RestartPolicy
from wherry.oci import bundle
from wherry.runtime.container import Record
from wherry.supervisor import birth, deletion, restoration, storage
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)

#: How much chance may add to a wait, so that what failed together is not tried together.
JITTER = 0.1
#: Beyond this many, further factors change nothing: any wait is at its longest by then.
_MAX_EXPONENT = 64


#: Why a container has ended that goes on from what was written down, or at another supervisor: no policy starts it.
_ELSEWHERE = frozenset({"checkpoint", "migrated"})


def is_wanted(saved: Record, record: st.ExitRecord, attempts: int) -> bool:
    """Tell whether a container that ended with `record`, after `attempts` restarts in a row, is to be started again."""
    if saved.by_hand or saved.end_reason in _ELSEWHERE or not saved.started_at_ns:
        return False
    if saved.wants_restart:
        return True
    policy = saved.request.restart
    if policy.name == "on-failure":
        return record.status != 0 and (not policy.max_retries or attempts < policy.max_retries)
    # A time limit is an end that was asked for.
    return policy.name in ("always", "unless-stopped") and record.reason != "ttl"


def count_attempts(saved: Record, record: st.ExitRecord) -> int:
    """Return how many restarts in a row there were before this end: none once it has run for long enough."""
    if saved.restart_at_ns:
        return saved.attempts  # this time it did not even start
    ran = (record.exited_at_ns - saved.started_at_ns) / 1e9
    return 0 if ran >= saved.request.restart.reset_after else saved.attempts


def find_delay(policy: RestartPolicy, attempts: int, chance: float = 0.0) -> float:
    """Return the seconds to wait after `attempts` restarts in a row; `chance`, 0 to 1, adds up to a tenth."""
    delay = policy.delay * policy.factor ** min(attempts, _MAX_EXPONENT)
    return min(policy.max_delay, delay * (1 + chance * JITTER))


async def conclude(core: Core, live: LiveContainer, record: st.ExitRecord) -> None:
    """Save what comes after an end that was told: nothing more, or a restart. The caller holds the lock."""
    attempts = count_attempts(live.saved, record)
    if live.saved.wants_restart and not live.saved.end_reason:  # asked for by hand
        await _plan(core, live, 0.0, attempts=0, last_exit=record)
    elif is_wanted(live.saved, record, attempts):
        delay = find_delay(live.saved.request.restart, attempts, random.random())
        await _plan(core, live, delay, attempts=attempts + 1, last_exit=record)
    else:
        await core.insist(lambda: live.change(Change.EXITED, last_exit=record))


async def _plan(core: Core, live: LiveContainer, delay: float, **fields: object) -> None:
    """Save that the container is started again in `delay` seconds, and tell so."""
    due = time.time_ns() + int(delay * 1e9)
    changes = {"restart_at_ns": due, "by_hand": False, "wants_restart": False, "end_reason": "", "checkpoint": ""}
    changes |= fields
    number = live.saved.restarts + 1
    await core.insist(lambda: live.change(Change.RESTART, restarts=number, goal=State.RUNNING.value, **changes))
    failpoint.hit("restart.recorded")
    await _tell(core, live)


async def _tell(core: Core, live: LiveContainer) -> None:
    reason = "" if live.saved.attempts else "by-hand"
    await core.emit(live, "restart", process=ids.INIT, count=live.saved.restarts, reason=reason)


def schedule(core: Core, live: LiveContainer) -> None:
    """Start a container that waits for it when its time has come."""
    if live.state is not State.RESTARTING or core.is_closing:
        return
    cancel(live)
    # Never longer than the policy says: the clock may have been set back since that was written down.
    longest = find_delay(live.saved.request.restart, max(0, live.saved.attempts - 1), 1.0)
    left = min(longest, max(0.0, (live.saved.restart_at_ns - time.time_ns()) / 1e9))
    loop = asyncio.get_running_loop()
    live.timer = loop.call_later(left, lambda: core.tasks.start(_start_again(core, live), f"restart {live.id}"))


def cancel(live: LiveContainer) -> None:
    """Let the time of a restart pass, now or for good."""
    if live.timer is not None:
        live.timer.cancel()
        live.timer = None


async def give_up(live: LiveContainer) -> None:
    """Let a container that waits for its restart be ended for good."""
    if live.state is not State.RESTARTING:
        return
    async with live.lock:
        if live.state is State.RESTARTING:
            live.change(Change.STOP, by_hand=True, restart_at_ns=0)
            cancel(live)


async def start_by_hand(core: Core, live: LiveContainer) -> None:
    """Start a container that has ended, or waits for its restart, now."""
    async with live.lock:
        if live.state is State.STOPPED and live.saved.request.auto_remove:
            raise errors.FailedPrecondition(f"cannot start container {live.id}: it has ended and is being deleted")
        live.check(Change.RESTART)
        cancel(live)
        if live.state is State.STOPPED:
            await _plan(core, live, 0.0, attempts=0)
        try:
            await make_and_start(core, live)
        except errors.WherryError:
            if live.state is State.RESTARTING:
                live.change(Change.STOP, restart_at_ns=0, by_hand=True)
            raise


async def _start_again(core: Core, live: LiveContainer) -> None:
    async with live.lock:
        if live.state is not State.RESTARTING:
            return
        try:
            await make_and_start(core, live)
        except errors.WherryError as error:
            _logger.error("container %s: %s", live.id, error)
            live.problem = error.message
            if live.state is State.RESTARTING:  # else its process exists, and its end is told like any other
                await _conclude_failure(core, live)
    schedule(core, live)


async def _conclude_failure(core: Core, live: LiveContainer) -> None:
    """Plan the next try after one that made no process, or give up; counted like an end with a failure."""
    policy, attempts = live.saved.request.restart, live.saved.attempts
    if live.saved.checkpoint:  # a restore is not tried again: it would fail once more
        await core.insist(lambda: live.change(Change.STOP, restart_at_ns=0, by_hand=True, checkpoint=""))
    elif is_wanted(live.saved, st.ExitRecord(status=1), attempts):
        delay = find_delay(policy, attempts, random.random())
        due = time.time_ns() + int(delay * 1e9)
        await core.insist(lambda: live.change(Change.RESTART, attempts=attempts + 1, restart_at_ns=due))
    else:
        await core.insist(lambda: live.change(Change.STOP, restart_at_ns=0))


async def make_and_start(core: Core, live: LiveContainer) -> None:
    """Make the container's process anew and let it run. The caller holds the lock."""
    try:
        async with core.starts:
            await _make(core, live)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        await (_undo if live.state is State.RESTARTING else deletion.end_told)(core, live)
        raise birth.name_error(f"start container {live.id}", error) from error
    if live.state is State.CREATED:
        await birth.start_locked(core, live)
    live.problem = ""


async def _make(core: Core, live: LiveContainer) -> None:
    await deletion.release(core, live)
    await core.thread(live.disk.remove_process, ids.INIT, with_log=False)
    failpoint.hit("restart.removed")
    await restoration.fill(core, live)
    process = await core.thread(bundle.reopen, Path(live.saved.bundle), is_layered=bool(live.saved.layer))
    await birth.make(core, live, process)


async def _undo(core: Core, live: LiveContainer) -> None:
    """Take back a process that could not be made; the container goes on waiting."""
    init = live.process(ids.INIT)
    if init.disk is not None and init.exit is None:
        await _end_half_made(core, live, init)
    try:
        await core.thread(storage.put_back, live.disk.storage)
    except OSError as error:
        _logger.error("container %s: cannot put back its layer, which is kept for the next start: %s", live.id, error)
    show_last_run(live)


async def _end_half_made(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    await deletion.end_half_made(core, live, init)
    try:
        await deletion.release_half_made(core, live)
    except (errors.WherryError, OSError) as error:
        _logger.warning("container %s: %s; the next start, or deleting it, will try again", live.id, error)


def show_last_run(live: LiveContainer) -> None:
    """Have a process to show while there is none, or only what a dead supervisor has half made."""
    init = LiveProcess(ids.INIT, {}, State.STOPPED)
    init.settle(live.saved.last_exit)
    live.processes[ids.INIT] = init


async def recover(core: Core, live: LiveContainer) -> None:
    """Go on waiting for the restart of a container, after a restart of the supervisor."""
    init = live.init or LiveProcess(ids.INIT, {}, State.STOPPED)
    if init.disk is not None:
        await _end_half_made(core, live, init)
    elif live.saved.cgroup:
        await core.thread(cgroup.kill_all, live.saved.cgroup)
    show_last_run(live)
    if core.journal.find_told(live.saved.generation, ids.INIT, 0) == "exit":
        await (restoration.tell if live.saved.checkpoint else _tell)(core, live)
    schedule(core, live)


def recover_always(core: Core) -> None:
    """Start what was stopped by hand and has the policy `always`: that much "always" means, to everybody who has it."""
    for live in list(core.containers.values()):
        was_stopped = live.state is State.STOPPED and live.saved.by_hand and live.saved.started_at_ns
        if was_stopped and live.saved.end_reason not in _ELSEWHERE and live.saved.request.restart.name == "always":
            core.tasks.start(start_by_hand(core, live), f"start {live.id}")
