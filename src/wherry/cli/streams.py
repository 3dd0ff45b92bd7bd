"""This process's own stdin, stdout and stderr, without ever holding up the loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import select

from wherry import errors
from wherry.cli.parser import say

#: A pipe that polls as writable takes this much without blocking (PIPE_BUF, pipe(7)).
_ATOMIC_BYTES = 4096
_READ_BYTES = 65536
_DESCRIPTORS = {"stdout": 1, "stderr": 2}


class ReaderGone(Exception):
    """Nobody reads this command's output any more."""


class Outlet:
    """Writes a process's output to stdout and stderr, byte for byte.

    Their O_NONBLOCK is never touched: the descriptors belong to the shell as well. What might block is written by
    a thread instead.
    """

    def __init__(self) -> None:
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "wherry-output")
        self._poll = {fd: select.poll() for fd in _DESCRIPTORS.values()}
        for fd, poll in self._poll.items():
            poll.register(fd, select.POLLOUT)
        self.written = 0
        self.busy = False

    async def write(self, stream: str, data: bytes) -> None:
        """Write all of `data`. Raises ReaderGone."""
        fd = _DESCRIPTORS.get(stream, 1)
        self.busy = True
        try:
            if len(data) <= _ATOMIC_BYTES and self._poll[fd].poll(0):
                _write_all(fd, data)
            else:
                await asyncio.get_running_loop().run_in_executor(self._thread, _write_all, fd, data)
        except BrokenPipeError:
            raise ReaderGone from None
        except OSError as error:
            raise errors.ResourceExhausted(f"cannot write to {stream}: {error.strerror}") from error
        finally:
            self.busy = False
        self.written += len(data)

    def close(self) -> None:
        """Let the thread go; one that is still blocked in a write is not waited for."""
        self._thread.shutdown(wait=False)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            # Somebody else made the descriptor non-blocking.
            select.select([], [fd], [])


class Inlet:
    """Reads this command's stdin as it comes."""

    def __init__(self) -> None:
        self.ended = False

    async def read(self) -> bytes:
        """Return the next bytes of stdin; b"" at its end."""
        if self.ended:
            return b""
        await _wait_readable(0)
        try:
            data = os.read(0, _READ_BYTES)
        except BlockingIOError:
            return await self.read()
        except OSError as error:
            say(f"cannot read stdin: {error.strerror}; it counts as ended")
            data = b""
        self.ended = not data
        return data


async def _wait_readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except (OSError, ValueError):
        # epoll refuses what is always readable (a regular file, /dev/null) and what is not open at all.
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
