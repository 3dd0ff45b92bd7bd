"""The events of `types.API`: those of the journal that the original has, in its words."""

from __future__ import annotations

from collections.abc import AsyncIterator

from wherry.api import v0_state
from wherry.model import ids
from wherry.model import request as req
from wherry.model import status as st
from wherry.supervisor.supervisor import Supervisor
from wherry.wire import v0_pb2 as pb

_TYPES = {
    "start": "start-process",
    "exit": "exit",
    "pause": "pause",
    "resume": "resume",
    "oom": "oom",
}


class Translator:
    """Says one event after another in the words of v0; it must see all of a namespace, in order.

    A container that was created and could not be started has ended, too; but no client of v0 is told of the end of
    what it was never told the start of (94568b7).
    """

    def __init__(self, not_started: set[int]) -> None:
        #: Generations that were created and not started so far.
        self._not_started = not_started

    def translate(self, event: st.Event) -> pb.Event | None:
        """Return the event as v0 has it, None for one that it does not have."""
        is_init = event.process == ids.INIT
        if event.type == "create":
            self._not_started.add(event.generation)
        elif event.type == "start" and is_init:
            self._not_started.discard(event.generation)
        elif event.type == "exit" and is_init and event.generation in self._not_started:
            self._not_started.discard(event.generation)
            return None
        kind = _TYPES.get(event.type)
        if kind is None:
            return None
        found = pb.Event(type=kind, id=event.container, timestamp=v0_state.timestamp(event.time_ns))
        if kind == "exit":
            found.pid, found.status = event.process, event.status
        elif kind == "start-process" and is_init:
            found.type = "start-container"
        elif kind == "start-process":
            found.pid = event.process
        return found


class Feed:
    """Events after `time_ns` (None: only new ones), then, unless stored ones are all, each further one.

    New ones are those from here on: so a client that asks for events and then for a container misses nothing.
    """

    def __init__(self, supervisor: Supervisor, time_ns: int | None, request: pb.EventsRequest) -> None:
        self._supervisor = supervisor
        self._time_ns = time_ns
        self._request = request
        self._position = supervisor.core.journal.last_seq
        self._fresh = {
            live.saved.generation for live in supervisor.core.containers.values() if not live.saved.started_at_ns
        }

    async def read(self) -> AsyncIterator[pb.Event]:
        """Yield the events."""
        translator = Translator(self._fresh if self._time_ns is None else set())
        position, after_ns = self._position, 0
        if self._time_ns is not None:
            position, after_ns = await self._find_position(self._time_ns), self._time_ns
        wanted = req.SubscribeRequest(
            after=position, follow=not self._request.storedOnly, filters=(f"namespace={ids.DEFAULT_NAMESPACE}",)
        )
        async for event in self._supervisor.subscribe(wanted):
            found = translator.translate(event)
            if found is not None and event.time_ns > after_ns and self._request.id in ("", event.container):
                yield found

    async def _find_position(self, time_ns: int) -> int:
        """Return where to begin, or the beginning of what is kept: retention goes on meanwhile."""
        journal = self._supervisor.core.journal
        return max(await journal.find_position(time_ns), journal.first_seq - 1)
