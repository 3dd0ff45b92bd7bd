"""Attached to a container's own process, and to the one that follows it when the container is started again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from wherry import errors
from wherry.model import ids
from wherry.model import status as st
from wherry.model.lifecycle import State
from wherry.runtime import attach
from wherry.supervisor.live import LiveContainer, LiveProcess


def _attach(live: LiveContainer, process: LiveProcess, offset: int) -> attach.Attachment:
    path = live.disk.log_path(process.id)
    stdio = process.stdio
    return attach.Attachment(
        process.id, process.disk, path, offset, takes_input=stdio.stdin_open, is_terminal=stdio.terminal
    )


class Following:
    """An open attach that goes on from run to run: iterate for the output, `write` for stdin. Must be closed."""

    def __init__(self, live: LiveContainer, init: LiveProcess, offset: int) -> None:
        self._live = live
        self._init = init
        self._current = _attach(live, init, offset)
        self._next = asyncio.Event()
        self._has_left = False
        self._stdin_closed = False

    @property
    def is_terminal(self) -> bool:
        """Whether the process has a terminal."""
        return self._current.is_terminal

    def __aiter__(self) -> AsyncIterator[st.Output]:
        return self._outputs()

    async def _outputs(self) -> AsyncIterator[st.Output]:
        try:
            while True:
                async for output in self._current:
                    yield output
                following = await self._wait_next()
                if following is None:
                    return
                await self._move_on(following)
        finally:
            self._next.set()

    async def _move_on(self, following: LiveProcess) -> None:
        position = max(self._current.position, 0)
        self._current.close()
        self._init, self._current = following, _attach(self._live, following, position)
        self._next.set()
        self._next = asyncio.Event()
        if self._stdin_closed and following.stdio.stdin_open:
            await self._current.close_stdin()

    async def _wait_next(self) -> LiveProcess | None:
        """Return the process of the next run, None when there is none or the client leaves."""
        while not self._has_left and not self._live.is_at_rest:
            init = self._live.init
            if init is not None and init is not self._init and init.state is not State.CREATING:
                return init
            await self._live.wait_change()
        return None

    async def write(self, data: bytes) -> None:
        """Deliver `data` to the process's stdin; waits while it does not read, and until the output of a run is read.

        Raises FailedPrecondition when its stdin was not asked to be open, or it has ended for good.
        """
        if self._stdin_closed and not self.is_terminal:
            raise errors.FailedPrecondition(f"cannot write to process {self._init.id}: its stdin was closed here")
        while self._init.settled.is_set() and not self._live.is_at_rest:
            await self._next.wait()
        await self._current.write(data)

    async def close_stdin(self) -> None:
        """Close the process's stdin after what was written, and that of each run to come."""
        self._stdin_closed = True
        await self._current.close_stdin()

    def leave(self) -> None:
        """Let the iteration end, from another task; what was written is on its way."""
        self._has_left = True
        self._live.pulse()
        self._current.leave()

    def close(self) -> None:
        """Leave; the process is not told."""
        self._current.close()


#: What a client has: one exec, or a container's own process over all its runs.
Attachment = attach.Attachment | Following


def open_attachment(live: LiveContainer, process: LiveProcess, offset: int) -> Attachment:
    """Attach to a process. Raises FailedPrecondition for an exec that is being made."""
    if process.id == ids.INIT:
        return Following(live, process, offset)
    process.opened()
    return _attach(live, process, offset)
