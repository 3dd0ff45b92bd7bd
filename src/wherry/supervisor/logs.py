"""Managed logs as a stream: from a time or for the last lines, then following a living process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from wherry import errors
from wherry.model import request as req
from wherry.model import status as st
from wherry.runtime import attach, log
from wherry.supervisor.live import LiveProcess


async def read(process: LiveProcess, path: Path, request: req.LogsRequest) -> AsyncIterator[st.LogChunk]:
    """Yield what the log at `path` holds, and with `follow` what is added until the process ends."""
    if request.tail < -1 or request.since_ns < 0:
        raise errors.InvalidArgument(f"cannot read logs: tail {request.tail}, since {request.since_ns}")
    reader = log.Reader(path)
    since = log.format_time(request.since_ns) if request.since_ns else b""
    # Opened before the first read: what is written from here on makes it tell.
    bell = attach.Attachment(process.disk, path, -1) if request.follow and _is_alive(process) and process.disk else None
    try:
        if request.tail >= 0 and path.exists():
            reader.position = await asyncio.to_thread(log.find_tail, path, request.tail)
        async for chunk in _drain(reader, since):
            yield chunk
        if bell is not None:
            async for _ in bell:
                async for chunk in _drain(reader, since):
                    yield chunk
            async for chunk in _drain(reader, since):
                yield chunk
    finally:
        reader.close()
        if bell is not None:
            bell.close()


def _is_alive(process: LiveProcess) -> bool:
    return not process.settled.is_set()


async def _drain(reader: log.Reader, since: bytes) -> AsyncIterator[st.LogChunk]:
    while block := reader.read():
        for chunk in log.parse_block(block, since):
            yield chunk
        await asyncio.sleep(0)  # a long log must not hold up everybody else
