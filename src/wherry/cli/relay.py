"""One process of a container, carried on this command's stdin, stdout and stderr until it ends.

When the daemon goes away in between, the relay waits for one to answer again and goes on at the offset in the log that
it had reached: the process and its output do not depend on the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
from collections.abc import Awaitable, Callable

from wherry import errors
from wherry.cli import streams, tasks
from wherry.cli.parser import say
from wherry.cli.session import Session
from wherry.cli.terminal import Detached, Keys, read_size
from wherry.client.service import Attachment
from wherry.model import ids
from wherry.model import request as req
from wherry.model import status as st

#: Who sends one of these wants the container to end, also one that has no process at the moment.
ENDING = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL})
#: Seconds without output after which an ended process is not waited for any longer. The daemon has its own bound.
DRAIN_SECONDS = 10.0


class Relay:
    """Carries one process. `begun` once there is something that must not be lost.

    With `redraws` its terminal is first made one row higher: a program that fills the screen then draws it anew.

    `generation` 0 takes any; `seq` is the event sequence number from which the exit is looked for when the container
    is deleted meanwhile.
    """

    def __init__(
        self,
        session: Session,
        target: req.ProcessRef,
        *,
        with_stdin: bool,
        offset: int = 0,
        generation: int = 0,
        seq: int = 0,
        terminal: bool = False,
        detach_keys: bytes = b"",
        redraws: bool = False,
    ) -> None:
        self.session = session
        self.target = target
        self.begun = False
        self.connected = True
        self.signals: asyncio.Queue[int] = asyncio.Queue()
        self.generation = generation
        self.seq = seq
        self._offset = offset
        #: Bytes of log that were rotated away before they could be carried.
        self.lost_bytes = 0
        self._outlet = streams.Outlet()
        self._inlet = streams.Inlet() if with_stdin else None
        self._begun = asyncio.Event()
        self.terminal = terminal
        self._redraws = redraws
        self._keys = Keys(detach_keys if terminal else b"")
        self.resized = asyncio.Event()
        self.resized.set()

    @property
    def takes_signals(self) -> bool:
        """Whether a signal can be passed on now."""
        return self.begun and self.connected

    async def carry(self, begin: Callable[[], Awaitable[object]] | None = None) -> st.ExitRecord:
        """Attach, call `begin`, carry bytes both ways, and return how the process ended.

        Raises what `begin` raises; Unavailable when the daemon stays away; ReaderGone when nobody reads our output.
        """
        try:
            while True:
                try:
                    return await self._attend(begin)
                except errors.NotFound as error:
                    if not self.begun:
                        raise
                    # Deleted while we were away: its log went with it, its exit is still in the journal.
                    record = await self._find_exit(error)
                    say(f"{self.target.id} is deleted by now: what it wrote meanwhile may be missing")
                    return record
                except errors.Unavailable as error:
                    if not self.begun:
                        raise
                    self.connected = False
                    if self._inlet is not None and not self._inlet.ended:
                        say(f"the last input for {self.target.id} may be lost")
                    await self.session.reconnect(error.message)
                    self.connected, begin = True, None
        finally:
            self._outlet.close()

    async def _attend(self, begin: Callable[[], Awaitable[object]] | None) -> st.ExitRecord:
        target = self.target
        request = req.AttachRequest(
            id=target.id, namespace=target.namespace, process=target.process, offset=self._offset
        )
        async with self.session.service.attach(request) as attachment, tasks.open_group() as group:
            # The wait is under way before the start: a container that deletes itself may be gone right after it.
            ended = group.create_task(self._wait())
            if begin is not None:
                await begin()
            self.begun = True
            self._begun.set()
            copied = group.create_task(self._copy(attachment))
            helpers = [group.create_task(self._forward_signals())]
            if self.terminal:
                self.resized.set()
                helpers.append(group.create_task(self._follow_size()))
            if self._inlet is not None:
                helpers.append(group.create_task(self._feed(attachment, self._inlet)))
            record = await ended
            await self._drain(copied)
            for task in helpers:
                task.cancel()
        return record

    async def _wait(self) -> st.ExitRecord:
        try:
            return await self.session.service.wait(self.target)
        except errors.NotFound as error:
            await self._begun.wait()
            return await self._find_exit(error)
        except errors.WherryError:
            # A start that fails takes the container with it; its error says more than ours.
            await self._begun.wait()
            raise

    async def _find_exit(self, gone: errors.NotFound) -> st.ExitRecord:
        """Return the exit of a process whose container is deleted by now, from the journal."""
        target = self.target
        filters = (
            "type=exit",
            f"namespace={target.namespace}",
            f"container={target.id}",
            f"process={target.process}",
        )
        request = req.SubscribeRequest(after=self.seq, follow=False, filters=filters)
        found: st.Event | None = None
        try:
            async for event in self.session.service.subscribe(request):
                if self.generation in (0, event.generation):
                    found = event
        except errors.OutOfRange:
            pass
        if found is None:
            raise gone
        return st.ExitRecord(status=found.status, signal=found.signal, exited_at_ns=found.time_ns, reason=found.reason)

    async def _copy(self, attachment: Attachment) -> None:
        async for output in attachment:
            if output.dropped_bytes:
                self.lost_bytes += output.dropped_bytes
                say(
                    f"{output.dropped_bytes} bytes of the log of {self.target.id} were rotated away before"
                    " they could be read here (--log-max-size and --log-max-files keep more)"
                )
            if output.data:
                await self._outlet.write(output.stream, output.data)
            self._offset = max(self._offset, output.offset)

    async def _drain(self, copied: asyncio.Task[None]) -> None:
        while not copied.done():
            before = self._outlet.written
            await asyncio.wait([copied], timeout=DRAIN_SECONDS)
            if not copied.done() and not self._outlet.busy and self._outlet.written == before:
                say(f"the output of {self.target.id} does not end; the rest is in: wherry logs {self.target.id}")
                copied.cancel()
                return

    async def _feed(self, attachment: Attachment, inlet: streams.Inlet) -> None:
        try:
            while data := await inlet.read():
                data, leaving = self._keys.feed(data)
                if data:
                    await self._write(attachment, data)
                if leaving:
                    raise Detached
            await attachment.close_stdin()
        except errors.WherryError:
            # The process has ended or closed its stdin, or the daemon is gone: the output and the wait tell which.
            return

    async def _write(self, attachment: Attachment, data: bytes) -> None:
        try:
            await attachment.write(data)
        except errors.FailedPrecondition:
            if not self.terminal:
                raise
            # Nobody takes what is typed, but for the keys that leave.

    async def _follow_size(self) -> None:
        """Keep the process's terminal as large as ours: the latest size counts, however many were in between."""
        target = self.target
        while True:
            await self.resized.wait()
            self.resized.clear()
            width, height = read_size()
            if not (width and height):
                continue
            request = req.ResizeRequest(
                id=target.id, namespace=target.namespace, process=target.process, width=width, height=height
            )
            try:
                if self._redraws:
                    await self.session.service.resize(dataclasses.replace(request, height=height + 1))
                await self.session.service.resize(request)
            except (errors.FailedPrecondition, errors.NotFound):
                return  # it has just ended
            self._redraws = False

    async def _stop_restarting(self) -> None:
        target = self.target
        with contextlib.suppress(errors.FailedPrecondition, errors.NotFound):
            info = await self.session.service.get(req.ContainerRef(id=target.id, namespace=target.namespace))
            if target.process == ids.INIT and info.state == "restarting":
                say(f"{target.id} is waiting for its next start; stopping it")
                await self.session.service.stop(req.StopRequest(id=target.id, namespace=target.namespace, timeout=0))

    async def _forward_signals(self) -> None:
        target = self.target
        while True:
            number = await self.signals.get()
            request = req.KillRequest(id=target.id, namespace=target.namespace, process=target.process, signal=number)
            try:
                await self.session.service.kill(request)
            except (errors.FailedPrecondition, errors.NotFound):
                # It has just ended; or it has no process now, and who wants it to end does not want another one.
                if number in ENDING:
                    await self._stop_restarting()
            except errors.Unavailable:
                self.signals.put_nowait(number)
                raise
