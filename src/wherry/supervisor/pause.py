"""Frozen containers: paused on request, kept so over a restart, thawed for what must reach them."""

from __future__ import annotations

import logging

from wherry import errors
from wherry.linux import cgroup, failpoint
from wherry.model import ids
from wherry.model.lifecycle import Change, State
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer

_logger = logging.getLogger(__name__)


async def pause(core: Core, live: LiveContainer) -> None:
    """Freeze every process of a running container. When the runtime fails, the container runs on."""
    async with live.lock:
        live.change(Change.PAUSE)
        failpoint.hit("pause.recorded")
        try:
            await core.driver(live).pause(live.id)
        except errors.WherryError:
            await go_on(core, live)  # one that is killed, or takes too long, may have frozen it all the same
            await core.insist(lambda: live.change(Change.PAUSE_FAILED))
            raise
        failpoint.hit("pause.paused")
        await paused(core, live)


async def paused(core: Core, live: LiveContainer) -> None:
    """Record that a container is frozen."""
    await core.insist(lambda: live.change(Change.PAUSED))
    set_init(live, State.PAUSED)
    await core.emit(live, "pause", process="")


async def resume(core: Core, live: LiveContainer) -> None:
    """Let a paused container go on."""
    async with live.lock:
        live.check(Change.RESUMED)
        try:
            await core.driver(live).resume(live.id)
        except errors.WherryError as error:
            if await is_frozen(core, live):
                raise
            _logger.warning("container %s goes on all the same: %s", live.id, error)
        failpoint.hit("resume.resumed")
        await resumed(core, live)


async def resumed(core: Core, live: LiveContainer) -> None:
    """Record that a container goes on."""
    await core.insist(lambda: live.change(Change.RESUMED))
    set_init(live, State.RUNNING)
    await core.emit(live, "resume", process="")


def set_init(live: LiveContainer, state: State) -> None:
    """Show the container's own process in the state of the container."""
    live.process(ids.INIT).state = state


async def recover(core: Core, live: LiveContainer) -> None:
    """After a restart, find out whether a pause or a resume had happened, and finish it."""
    frozen = await is_frozen(core, live)
    if live.state is State.PAUSING and frozen:
        await paused(core, live)
    elif live.state is State.PAUSING:
        await core.insist(lambda: live.change(Change.PAUSE_FAILED))
        set_init(live, State.RUNNING)
    elif live.state is State.PAUSED and not frozen:
        await resumed(core, live)


async def thaw(core: Core, live: LiveContainer) -> None:
    """Let signals reach a frozen container that is to end: a frozen cgroup of version 1 holds even SIGKILL back."""
    if live.saved.cgroup:
        await core.thread(cgroup.thaw, live.saved.cgroup)


async def is_frozen(core: Core, live: LiveContainer) -> bool:
    """Tell whether a container stands still: the kernel knows, when a runtime hangs, or is just being replaced.

    The runtime is asked only where the cgroup is not known. Raises what it says.
    """
    found = await core.thread(cgroup.is_frozen, live.saved.cgroup)
    return await core.driver(live).state(live.id) == "paused" if found is None else found


async def go_on(core: Core, live: LiveContainer) -> None:
    """Let a container go on, if need be by the runtime; never fails, since what follows must not depend on it."""
    await thaw(core, live)
    try:
        if await is_frozen(core, live):
            await core.driver(live).resume(live.id)
    except errors.WherryError as error:
        _logger.error("container %s: %s", live.id, error)
