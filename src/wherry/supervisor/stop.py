"""Containers that are to end: asked first, then killed."""

from __future__ import annotations

import asyncio
import logging
import time

from wherry import errors
from wherry.model import ids, signals
from wherry.model import status as st
from wherry.model.lifecycle import Change, State
from wherry.supervisor import birth, kill, pause, restart
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)

#: Seconds for an unhealthy container to end by its stop signal before it is killed and started again.
UNHEALTHY_GRACE = 10.0


async def stop(core: Core, live: LiveContainer, timeout: float) -> st.ExitRecord:
    """Send the stop signal, SIGKILL after `timeout` seconds, and return how the container ended."""
    await _stop_run(core, live, timeout)
    while live.state is State.RESTARTING:  # from the first, or since it ended by itself before it heard of us
        await restart.give_up(live)
        await _stop_run(core, live, timeout)
    record = live.process(ids.INIT).exit
    if record is None:
        raise errors.Aborted(f"cannot stop container {live.id}: it was deleted meanwhile")
    return record


async def stop_and_start(core: Core, live: LiveContainer, timeout: float) -> None:
    """Stop a container as `stop` does, unless it does not run, and start it once more.

    That it is to be started is saved with the stop, so the next supervisor finishes what this one does not.
    """
    if live.saved.request.auto_remove:
        raise errors.FailedPrecondition(f"cannot restart container {live.id}: it is deleted once it has ended")
    if live.state is State.CREATED:
        await birth.start(core, live)
        return
    await _stop_run(core, live, timeout, wants_restart=True)
    try:
        await restart.start_by_hand(core, live)
    except errors.FailedPrecondition:
        if live.state is not State.RUNNING:
            raise  # else its time had come already


async def go_on(core: Core, live: LiveContainer) -> None:
    """Finish a stop that a dead supervisor was at."""
    left = max(0.0, (live.saved.stop_deadline_ns - time.time_ns()) / 1e9)
    if live.saved.stop_timeout >= 0:  # the clock may have been set back since
        left = min(left, live.saved.stop_timeout)
    if live.saved.wants_restart:
        await _stop_run(core, live, left, wants_restart=True)
    else:
        await stop(core, live, left)


async def _stop_run(core: Core, live: LiveContainer, timeout: float, *, wants_restart: bool = False) -> None:
    init = live.process(ids.INIT)
    if init.settled.is_set():
        return
    async with live.lock:
        was = live.state
        if not init.settled.is_set():
            deadline = time.time_ns() + int(timeout * 1e9)
            fields = {"stop_deadline_ns": deadline, "stop_timeout": float(timeout)}
            live.change(Change.STOP, by_hand=not wants_restart, wants_restart=wants_restart, **fields)
            init.state = State.STOPPING
    if was in (State.RUNNING, State.PAUSED, State.STOPPING):
        await _ask_to_end(core, live, init, timeout)
    await kill.end(core, live)


async def _ask_to_end(core: Core, live: LiveContainer, init: LiveProcess, timeout: float) -> None:
    try:
        init.opened().send_signal(signals.parse(live.saved.request.stop_signal or "SIGTERM"))
        await pause.thaw(core, live)  # a frozen container sees the signal only then
        async with asyncio.timeout(timeout):
            await init.settled.wait()
    except (errors.FailedPrecondition, TimeoutError):
        pass  # ended already, or to be killed


async def end_unhealthy(core: Core, live: LiveContainer, *, restart: bool) -> None:
    """End a running container that is not well, politely when it is to be started again; its exit record says why."""
    # A task of its own: the caller's ends with the container.
    await core.tasks.run(_end_unhealthy(core, live, wants_restart=restart), f"end unhealthy {live.id}")


async def _end_unhealthy(core: Core, live: LiveContainer, *, wants_restart: bool) -> None:
    init = live.process(ids.INIT)
    async with live.lock:
        if live.state is not State.RUNNING:
            return
        live.save(end_reason="unhealthy", wants_restart=wants_restart)
    if wants_restart:
        await _ask_to_end(core, live, init, UNHEALTHY_GRACE)
    await kill.end(core, live)
