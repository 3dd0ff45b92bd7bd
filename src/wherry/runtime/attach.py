"""A client of a shim's attach socket (protocol: `shim/attach.py`), made whole with the log.

What the socket could not deliver, because we came late or were slow, is read from the log; so nothing is missed and
nothing comes twice, as far back as the log is kept.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

from wherry import errors
from wherry.model import status as st
from wherry.runtime import log
from wherry.runtime.process import Process

#: Largest packet of a shim: one read of a pipe and its head.
_PACKET = 65536 + 64
#: Bytes of stdin sent in one packet.
_INPUT = 32768
_STREAMS = {b"O": "stdout", b"E": "stderr"}


class Attachment:
    """An open attach to process `name`: iterate for the output, `write` for stdin. Must be closed.

    `process` is None for one that has no directory any more: it gives what its log holds.
    """

    def __init__(
        self,
        name: str,
        process: Process | None,
        log_path: Path,
        offset: int,
        *,
        takes_input: bool = False,
        is_terminal: bool = False,
    ) -> None:
        self._name = name
        #: The end of a terminal's input is a character: closing it has no effect.
        self.is_terminal = is_terminal
        self._takes_input = takes_input
        self._stdin_closed = False
        self._log_path = log_path
        #: Where the next output begins in the log; -1 until the shim has said where "now" is.
        self.position = offset
        self._socket = _connect(process) if process is not None else None

    def __aiter__(self) -> AsyncIterator[st.Output]:
        return self._outputs()

    async def _outputs(self) -> AsyncIterator[st.Output]:
        reader = log.Reader(self._log_path, max(self.position, 0))
        try:
            async for output in self._live(reader):
                yield output
            if self.position >= 0:
                async for output in self._from_log(reader, None):
                    yield output
        finally:
            reader.close()

    async def _live(self, reader: log.Reader) -> AsyncIterator[st.Output]:
        while (packet := await self._receive()) and self._socket is not None:
            if packet[:1] == b"F":
                raise errors.ResourceExhausted(f"cannot attach to process {self._name}: it has too many clients")
            begin = int.from_bytes(packet[1:9], "big")
            if packet[:1] == b"H":
                if self.position < 0:
                    self.position = begin
                async for output in self._from_log(reader, begin):
                    yield output
                continue
            end = int.from_bytes(packet[9:17], "big")
            if begin < self.position and end != begin:
                continue  # already read from the log
            async for output in self._from_log(reader, begin):
                yield output
            # Bytes that could not be logged have no length in the log: begin == end.
            self.position = max(self.position, end)
            yield st.Output(stream=_STREAMS.get(packet[:1], ""), data=packet[17:], offset=self.position)

    async def _from_log(self, reader: log.Reader, end: int | None) -> AsyncIterator[st.Output]:
        """Yield what the log holds from our position up to `end`, or to its end now."""
        reader.close()  # the position moved on by what came live
        reader.position = self.position
        while block := reader.read(end):
            lost, reader.lost = reader.lost, 0
            begin = reader.position - len(block)
            for chunk, end_in_block in log.parse_spans(block):
                offset = begin + end_in_block
                yield st.Output(stream=chunk.stream, data=chunk.data, offset=offset, dropped_bytes=lost)
                lost = 0
            self.position = reader.position
            await asyncio.sleep(0)  # a long log must not hold up everybody else
        self.position = reader.position

    async def _receive(self) -> bytes:
        if self._socket is None:
            return b""
        try:
            return await asyncio.get_running_loop().sock_recv(self._socket, _PACKET)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        """Deliver `data` to the process's stdin; waits while the process does not read.

        Raises FailedPrecondition when its stdin was not asked to be open, or it has ended.
        """
        if self._stdin_closed:
            raise errors.FailedPrecondition(f"cannot write to process {self._name}: its stdin was closed here")
        for start in range(0, len(data), _INPUT):
            await self._send(b"I" + data[start : start + _INPUT])

    async def close_stdin(self) -> None:
        """Close the process's stdin after what was written."""
        await self._send(b"C")
        self._stdin_closed = not self.is_terminal

    async def _send(self, packet: bytes) -> None:
        if not self._takes_input:
            raise errors.FailedPrecondition(f"cannot write to process {self._name}: its stdin is /dev/null")
        if self._socket is None:
            raise errors.FailedPrecondition(f"cannot write to process {self._name}: it has ended")
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, packet)
        except (ConnectionError, OSError) as error:
            raise errors.FailedPrecondition(f"cannot write to process {self._name}: it has ended") from error

    def leave(self) -> None:
        """Let the iteration end, from another task; what was written is on its way."""
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Leave; the process is not told."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connect(process: Process) -> socket.socket | None:
    """Return a connection to the shim of `process`, None when there is none any more."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        directory = process.open_directory()
    except OSError as error:
        sock.close()
        if isinstance(error, FileNotFoundError):
            return None
        raise
    try:
        # Blocking: a unix socket's connect waits only for room in the listener's queue, which a stopped shim fills,
        # bounded by SO_SNDTIMEO (unix(7)). Python's own timeout would make it non-blocking, and that fails at once.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 300_000))
        # Through /proc: a long id makes a path longer than the 108 bytes of sun_path (unix(7)).
        sock.connect(f"/proc/self/fd/{directory}/attach.sock")
        sock.setblocking(False)
    except (FileNotFoundError, ConnectionError):
        sock.close()
        return None
    except OSError as error:
        sock.close()
        raise errors.Unavailable(f"cannot attach to process {process.id}: its shim does not answer") from error
    finally:
        os.close(directory)
    return sock
