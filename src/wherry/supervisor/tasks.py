"""The owner of the supervisor's tasks: none is forgotten, and a client that goes away cancels only its own wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from wherry import errors

_logger = logging.getLogger(__name__)
T = TypeVar("T")


class Tasks:
    """Owns tasks from their start until they have ended."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start `work`; a failure nobody awaits is logged."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # One of ours is told to whoever waits; anything else is told here, in case nobody does.
            level = logging.DEBUG if isinstance(error, errors.WherryError) else logging.ERROR
            _logger.log(level, "task %s failed: %r", task.get_name(), error, exc_info=level >= logging.ERROR and error)

    async def run(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Return the result of `work`. Cancelling this cancels the wait, never the work."""
        return await asyncio.shield(self.start(work, name))

    async def close(self, timeout: float) -> None:
        """Let every task end within `timeout` seconds, then cancel what is left."""
        current = asyncio.current_task()
        left = [task for task in self._tasks if task is not current]
        if not left:
            return
        _, late = await asyncio.wait(left, timeout=timeout)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def names(self) -> list[str]:
        """Return the names of the tasks under way."""
        return sorted(task.get_name() for task in self._tasks)
