"""Checkpoints out of here and into here, as the bytes of an archive: a part of the supervisor.

An archive is read and written by a thread, its bytes come and go in the loop. Each side waits for the other, so no more
than a few pieces are ever in memory.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from wherry import errors
from wherry.model import checkpoint as cp
from wherry.model import ids
from wherry.runtime import checkpoint as disk
from wherry.supervisor import completion, grants
from wherry.supervisor.core import MAX_TRANSFERS, Core

#: Bytes of a piece: well below the largest message of gRPC.
PIECE = 1 << 18
_QUEUE = 4
#: Seconds between looks at a thread that is to end, and of a thread at whether it is.
_POLL = 0.05
_PATIENCE = 0.5
#: Seconds for which an other end may stand still: it holds one of the places.
SILENCE = 120.0
T = TypeVar("T")


class TransferCalls:
    """Export and import of the checkpoints of `core`."""

    core: Core

    async def export_checkpoint(self, request: cp.CheckpointRef) -> AsyncIterator[cp.CheckpointPiece]:
        """Yield a checkpoint as an archive."""
        core = self.core
        ids.check("container id", request.id)
        ids.check("checkpoint name", request.name)
        path = core.checkpoints.path(ids.check_namespace(request.namespace), request.id, request.name)
        disk.load(path)
        if not (path / disk.FILE).is_file():
            raise errors.FailedPrecondition(
                f"cannot export {request.name} of {request.id}: it was written by types.API"
            )
        async for data in read_archive(core, path):
            yield cp.CheckpointPiece(data=data)

    async def import_checkpoint(self, request: cp.ImportRequest, data: AsyncIterator[bytes]) -> cp.CheckpointInfo:
        """Take a checkpoint from the bytes of an archive; on failure nothing is left of it."""
        await self.core.recovered.wait()
        ids.check_namespace(request.namespace)
        grants.check(request.grants)
        for what, value in (("container id", request.id), ("checkpoint name", request.name)):
            if value:
                ids.check(what, value)
        return await write_archive(self.core, request, data)


async def read_archive(
    core: Core, path: Path, *, layers: Path | None = None, stages: Iterable[str] | None = None
) -> AsyncIterator[bytes]:
    """Yield the archive of the checkpoint in `path`, piece by piece; `layers` and `stages` as of `archive.write`."""
    from wherry.runtime import archive  # zstd is for those who need it

    push = _Push(core, SILENCE)

    def write() -> None:
        try:
            with io.BufferedWriter(push, PIECE) as buffer:
                archive.write(path, cast("BinaryIO", buffer), layers=layers, stages=stages)
        finally:
            push.end()

    with _one_more(core):
        written = asyncio.get_running_loop().run_in_executor(core.transfers, write)
        try:
            while data := await push.queue.get():
                yield data
            await written
        except OSError as error:
            raise errors.from_os(f"export {path.name} of {path.parent.name}", error) from error
        finally:
            await push.leave(written)


@contextmanager
def _one_more(core: Core) -> Iterator[None]:
    """Be one transfer of those that may be under way. Raises ResourceExhausted when there are as many."""
    if core.transfers_under_way >= MAX_TRANSFERS:
        raise errors.ResourceExhausted(f"{MAX_TRANSFERS} archives are being read or written: try again later")
    core.transfers_under_way += 1
    try:
        yield
    finally:
        core.transfers_under_way -= 1


class _End(io.RawIOBase):
    """A thread's end of something whose other end is in the loop."""

    def __init__(self, core: Core, silence: float) -> None:
        self._core = core
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self.is_left = False

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Return, in the thread, what `work` returns in the loop. Raises BrokenPipeError once nobody is there."""
        pending = asyncio.run_coroutine_threadsafe(work, self._loop)
        end = time.monotonic() + self._silence
        while True:
            try:
                return pending.result(_PATIENCE)
            except CancelledError:
                raise BrokenPipeError("the other end has gone") from None
            except TimeoutError:
                if pending.done():
                    raise  # of the work itself
                if self.is_left or self._core.is_closing or time.monotonic() > end:
                    pending.cancel()
                    raise BrokenPipeError("the other end has gone, or stands still") from None


class _Push(_End):
    """A file for a thread to write to; what is written comes out of a queue of the loop, at last nothing."""

    def __init__(self, core: Core, silence: float) -> None:
        super().__init__(core, silence)
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(_QUEUE)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.is_left:
            raise BrokenPipeError("nobody reads any more")
        self._put(bytes(data))
        return len(data)

    def end(self) -> None:
        """Say that nothing follows."""
        if not self.is_left:
            self._put(b"")

    def _put(self, data: bytes) -> None:
        self._wait(self.queue.put(data))

    async def leave(self, written: asyncio.Future[None]) -> None:
        """Read no more, and wait for the thread to see that."""
        self.is_left = True
        while not written.done():
            while not self.queue.empty():
                self.queue.get_nowait()
            await asyncio.wait([written], timeout=_POLL)
        if not written.cancelled():
            written.exception()  # told already, or nobody's any more


class _Pull(_End):
    """A file for a thread to read from, whose bytes the loop brings."""

    def __init__(self, core: Core, silence: float, data: AsyncIterator[bytes]) -> None:
        super().__init__(core, silence)
        self._data = data
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._rest:
            piece = self._wait(self._next())
            if piece is None:
                return 0
            self._rest = piece
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    async def _next(self) -> bytes | None:
        return await anext(self._data, None)


async def write_archive(
    core: Core, request: cp.ImportRequest, data: AsyncIterator[bytes], silence: float = SILENCE
) -> cp.CheckpointInfo:
    """Make a checkpoint of the bytes of an archive; between two of them there are at most `silence` seconds."""
    pull = _Pull(core, silence, data)
    with _one_more(core):
        done = asyncio.get_running_loop().run_in_executor(core.transfers, _take, core, request, pull)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            pull.is_left = True
            await asyncio.wait([done])
            if not done.cancelled():
                done.exception()  # nobody's any more
            raise


def _take(core: Core, request: cp.ImportRequest, pull: _Pull) -> cp.CheckpointInfo:
    """Read an archive and make a checkpoint of it; on failure remove what is there of it. Blocks."""
    from wherry.runtime import archive

    adopted: list[tuple[Path, cp.CheckpointInfo, disk.Outside]] = []

    def begin(facts: dict[str, Any]) -> Path:
        info, outside = grants.adopt(facts, request)
        path = core.checkpoints.begin_import(info.namespace, info.id, info.name)
        adopted.append((path, info, outside))
        return path

    try:
        archive.read(cast("BinaryIO", io.BufferedReader(pull, PIECE)), begin)
        path, info, outside = adopted[0]
        if not (path / disk.IMAGE / "inventory.img").is_file():
            raise errors.DataLoss("the archive is damaged: it has no image of processes")
        return completion.finish(core, path, info, outside)
    except BaseException as error:
        for path, _, _ in adopted:
            core.checkpoints.discard(path)
        raise _name(error, adopted[0][1] if adopted else None) from error


def _name(error: BaseException, info: cp.CheckpointInfo | None) -> BaseException:
    what = f"import {info.name} of {info.id}" if info else "import"
    if isinstance(error, errors.AlreadyExists):
        return error
    if isinstance(error, errors.WherryError):
        return type(error)(f"cannot {what}: {error.message}")
    return errors.from_os(what, error) if isinstance(error, OSError) else error
