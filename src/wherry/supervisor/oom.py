"""Kills for want of memory, told while the container goes on, and before the exit of whom they hit.

One event for each growth of the cgroup's counter. What was told of the present run is known from the journal, so that a
restart of the supervisor neither repeats nor loses a kill.
"""

from __future__ import annotations

import asyncio
import logging

from wherry.linux import oom
from wherry.model import ids
from wherry.model import status as st
from wherry.model.lifecycle import ALIVE, State
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer

_logger = logging.getLogger(__name__)

#: Seconds between looks at the counter after a notice: version 1 tells of a kill before it is counted.
_DELAYS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
#: Seconds between two events of a container at least: what is killed meanwhile is in the next count. One that has a
#: worker killed in a loop must not push everybody else's events out of the journal.
_SPACING = 0.1


class Watch:
    """What is known of the kills in one run of a container. `told` is the count in its last event."""

    def __init__(self, told: int) -> None:
        self.told = told
        self.lock = asyncio.Lock()
        self.notices: oom.Notices | None = None
        #: Looks since the last notice.
        self.looks = 0
        self.task: asyncio.Task[None] | None = None


def begin(core: Core, live: LiveContainer) -> None:
    """Watch the cgroup of a container whose process exists; nothing when it is watched already, or has none."""
    if live.oom is not None or not live.saved.cgroup or live.state not in ALIVE:
        return
    watch = live.oom = Watch(_find_told(core, live))
    try:
        watch.notices = oom.open_notices(live.saved.cgroup)
    except OSError as error:
        _logger.warning("container %s: kills for memory are told with an exit only: %s", live.id, error)
    if watch.notices is not None:
        asyncio.get_running_loop().add_reader(watch.notices.fd, _notice, core, live, watch)
    if (oom.read_count(live.saved.cgroup) or 0) > watch.told:
        _look_again(core, live, watch)


def _find_told(core: Core, live: LiveContainer) -> int:
    """Return the count in the last event of this run, whoever told it."""
    told = core.journal.ooms.get(live.saved.generation)
    if told is not None or not core.journal.is_forgotten(live.saved.started_at_ns):
        return told or 0
    # The events of that time are removed. All was told, then, except for a kill that has ended the container: an exit
    # follows its `oom` so closely that they are removed together.
    init = live.init
    record = init.disk.exit_record() if init is not None and init.disk is not None else None
    count = oom.read_count(live.saved.cgroup) or 0
    return count - 1 if count and record is not None and record.reason == "oom" else count


def end(live: LiveContainer) -> None:
    """Watch no more; before the cgroup is removed."""
    watch, live.oom = live.oom, None
    if watch is None:
        return
    if watch.notices is not None:
        asyncio.get_running_loop().remove_reader(watch.notices.fd)
        watch.notices.close()
    if watch.task is not None:
        watch.task.cancel()


def _notice(core: Core, live: LiveContainer, watch: Watch) -> None:
    if watch.notices is not None:
        watch.notices.clear()
    _look_again(core, live, watch)


def _look_again(core: Core, live: LiveContainer, watch: Watch) -> None:
    watch.looks = 0
    if (watch.task is None or watch.task.done()) and not core.is_closing:
        watch.task = core.tasks.start(_look(core, live, watch), f"oom {live.id}")


async def _look(core: Core, live: LiveContainer, watch: Watch) -> None:
    """Look at the counter now and again, until none of the last notices can be of a kill that is yet to be counted."""
    while watch.looks < len(_DELAYS):
        delay = _DELAYS[watch.looks]
        watch.looks += 1
        # The lock: a start under way is journaled first. What is killed before the start is told behind it, or at the
        # exit, where this task is ended.
        async with live.lock:
            if live.state is not State.CREATED and await _tell(core, live, watch):
                delay = max(delay, _SPACING)
        await asyncio.sleep(delay)


async def _tell(core: Core, live: LiveContainer, watch: Watch) -> bool:
    """Tell of a growth of the counter; return whether there was one."""
    async with watch.lock:
        count = oom.read_count(live.saved.cgroup)
        if count is None or count <= watch.told:
            return False
        await _emit(core, live, watch, count)
        return True


async def _emit(core: Core, live: LiveContainer, watch: Watch, count: int) -> None:
    await core.emit(live, "oom", process=ids.INIT, pid=live.init.pid if live.init else 0, count=count)
    watch.told = count


async def catch_up(core: Core, live: LiveContainer) -> None:
    """Tell what was not told yet, before the exit of an exec is told: a kill is counted before its victim ends."""
    begin(core, live)  # recovery comes to the execs first
    if live.oom is not None:
        await _tell(core, live, live.oom)


async def conclude(core: Core, live: LiveContainer, record: st.ExitRecord) -> None:
    """Tell what was not told yet of kills for memory, before the exit of `init` is told."""
    watch = live.oom
    if watch is None:
        return
    await _tell(core, live, watch)
    if record.oom and not watch.told:  # somebody has removed the cgroup; the shim had seen the counter
        await _emit(core, live, watch, 1)
