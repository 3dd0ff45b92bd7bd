"""Archives of checkpoints as files of the client."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
from collections.abc import AsyncIterator
from typing import BinaryIO

from wherry import errors
from wherry.client.service import Service
from wherry.model import checkpoint as cp
from wherry.model import ids

#: The file that stands for standard output, or input.
STANDARD = "-"
_PIECE = 1 << 18


async def save(service: Service, ref: cp.CheckpointRef, file: str | os.PathLike[str]) -> int:
    """Write a checkpoint's archive to `file`, there as a whole or not at all, and readable by its owner alone.

    Returns its size in bytes. Raises NotFound, and WherryError for a file that cannot be written.
    """
    if os.fspath(file) == STANDARD:
        return await _copy(service, ref, sys.stdout.buffer)
    path = os.fspath(file)
    making = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{ids.make()}")
    try:
        fd = _open(making)
        try:
            with open(fd, "wb") as target:
                size = await _copy(service, ref, target)
                await asyncio.to_thread(os.fsync, fd)
                if not os.path.exists(making):
                    # With a descriptor it is linkat(2), which alone follows this link to the file.
                    os.link(f"/proc/self/fd/{fd}", making, src_dir_fd=fd)
            os.replace(making, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(making)
            raise
    except OSError as error:
        raise errors.from_os(f"write {path}", error) from error
    return size


def _open(making: str) -> int:
    """Return a new file to write to, without a name where that can be: a client that is killed leaves none."""
    try:
        return os.open(os.path.dirname(making) or ".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):  # open(2), O_TMPFILE
            raise
    return os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


async def _copy(service: Service, ref: cp.CheckpointRef, target: BinaryIO) -> int:
    size = 0
    async for piece in service.export_checkpoint(ref):
        size += len(piece.data)
        await asyncio.to_thread(target.write, piece.data)
    target.flush()
    return size


async def load(service: Service, request: cp.ImportRequest, file: str | os.PathLike[str]) -> cp.CheckpointInfo:
    """Have the archive in `file` taken. Raises NotFound for no such file, and what `import_checkpoint` raises."""
    try:
        source = sys.stdin.buffer if os.fspath(file) == STANDARD else open(file, "rb")  # noqa: SIM115 - not stdin
    except FileNotFoundError as error:
        raise errors.NotFound(f"cannot read {file}: no such file") from error
    except OSError as error:
        raise errors.from_os(f"read {file}", error) from error
    try:
        return await service.import_checkpoint(request, _read(source))
    except OSError as error:
        raise errors.from_os(f"read {file}", error) from error
    finally:
        if source is not sys.stdin.buffer:
            source.close()


async def _read(source: BinaryIO) -> AsyncIterator[bytes]:
    while data := await asyncio.to_thread(source.read, _PIECE):
        yield data
