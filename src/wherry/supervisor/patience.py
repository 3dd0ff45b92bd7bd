"""How long criu may be at work: it has code of its own in the processes that it writes down, and they die with it."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from wherry.linux import proc
from wherry.runtime import criu
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer

_logger = logging.getLogger(__name__)

#: Seconds between looks at a criu that is at work, and how long one may be.
_LOOK = 1.0
_POLL = 0.1
TIMEOUT = 600.0
#: Seconds that criu may be at work once it makes no sense: its container is dead, or it is, and somebody waits for it.
_SENSELESS = 5.0


class _Patience:
    """How long somebody may be at work in a directory of a checkpoint; asked from time to time."""

    def __init__(self, live: LiveContainer, place: Path) -> None:
        self._live = live
        self._place = place
        self._begin = time.monotonic()
        self._senseless: float | None = None

    def look(self) -> bool:
        """Tell whether somebody is at work, and end those who have been at it for too long, or in vain. Blocks."""
        workers = criu.find_workers(self._place)
        now = time.monotonic()
        is_alive = any(not worker.is_runtime and not worker.is_stopped for worker in workers)
        if is_alive and not _is_dead(self._live):
            self._senseless = None
        elif self._senseless is None:
            self._senseless = now
        is_vain = self._senseless is not None and now - self._senseless > _SENSELESS
        if workers and (is_vain or now - self._begin > TIMEOUT):
            _logger.error("container %s: criu gets nowhere, and is ended", self._live.id)
            criu.end_workers(self._place)
        return bool(workers)


def _is_dead(live: LiveContainer) -> bool:
    """Tell whether a container that is written down is gone; one that is being made has no process yet."""
    init = live.init
    return init is not None and bool(init.pid) and proc.read_state(init.pid) in ("", "Z", "X")


async def watch(core: Core, live: LiveContainer, place: Path) -> None:
    """End what is at work in a directory of a checkpoint and gets nowhere; until it is cancelled."""
    patience = _Patience(live, place)
    while True:
        await asyncio.sleep(_LOOK)
        await core.thread(patience.look)


async def wait_idle(core: Core, live: LiveContainer, place: Path) -> None:
    """Wait until nobody is at work in a directory of a checkpoint: killed, criu would leave the processes broken."""
    patience = _Patience(live, place)
    while await core.thread(patience.look):
        await asyncio.sleep(_POLL)
