"""Checkpoints out of here and into here, as the bytes of an archive: a part of the supervisor.

An archive is read and written by a thread, its bytes come and go in the loop. Each side waits for the other, so no more
than a few pieces are ever in memory.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, BinaryIO, cast

from wherry import errors
from wherry.model import checkpoint as cp
from wherry.model import ids
from wherry.runtime import checkpoint as disk
from wherry.supervisor import checkpoint, grants
from wherry.supervisor.core import Core

#: Bytes of a piece: well below the largest message of gRPC.
PIECE = 1 << 18
_QUEUE = 4
#: Seconds between looks at a thread that is to end.
_POLL = 0.05


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

    loop = asyncio.get_running_loop()
    push = _Push(loop)

    def write() -> None:
        try:
            with io.BufferedWriter(push, PIECE) as buffer:
                archive.write(path, cast("BinaryIO", buffer), layers=layers, stages=stages)
        finally:
            push.end()

    written = loop.run_in_executor(core.transfers, write)
    try:
        while data := await push.queue.get():
            yield data
        await written
    except OSError as error:
        raise errors.from_os(f"export {path.name} of {path.parent.name}", error) from error
    finally:
        await push.leave(written)


class _Push(io.RawIOBase):
    """A file for a thread to write to; what is written comes out of a queue of the loop, at last nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(_QUEUE)
        self._loop = loop
        self._is_left = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._is_left:
            raise BrokenPipeError("nobody reads any more")
        self._put(bytes(data))
        return len(data)

    def end(self) -> None:
        """Say that nothing follows."""
        if not self._is_left:
            self._put(b"")

    def _put(self, data: bytes) -> None:
        asyncio.run_coroutine_threadsafe(self.queue.put(data), self._loop).result()

    async def leave(self, written: asyncio.Future[None]) -> None:
        """Read no more, and wait for the thread to see that."""
        self._is_left = True
        while not written.done():
            while not self.queue.empty():
                self.queue.get_nowait()
            await asyncio.wait([written], timeout=_POLL)
        if not written.cancelled():
            written.exception()  # told already, or nobody's any more


class _Pull(io.RawIOBase):
    """A file for a thread to read from, whose bytes the loop brings."""

    def __init__(self, loop: asyncio.AbstractEventLoop, data: AsyncIterator[bytes]) -> None:
        self._loop = loop
        self._data = data
        self._rest = b""
        self._pending: Future[bytes | None] | None = None
        self._is_left = False

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._rest:
            if self._is_left:
                raise EOFError("whoever sent it is gone")
            self._pending = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            try:
                piece = self._pending.result()
            except CancelledError:
                raise EOFError("whoever sent it is gone") from None
            if piece is None:
                return 0
            self._rest = piece
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    async def _next(self) -> bytes | None:
        return await anext(self._data, None)

    def leave(self) -> None:
        """Bring nothing more."""
        self._is_left = True
        if self._pending is not None:
            self._pending.cancel()


async def write_archive(core: Core, request: cp.ImportRequest, data: AsyncIterator[bytes]) -> cp.CheckpointInfo:
    """Make a checkpoint of the bytes of an archive."""
    loop = asyncio.get_running_loop()
    pull = _Pull(loop, data)
    done = loop.run_in_executor(core.transfers, _take, core, request, pull)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        pull.leave()
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
        return checkpoint.finish(core, path, info, outside)
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
