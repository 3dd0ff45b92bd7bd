"""Managed logs as a stream: from a time or for the last lines, then following a living process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from wherry import errors
from wherry.model import ids
from wherry.model import request as req
from wherry.model import status as st
from wherry.runtime import log
from wherry.supervisor import follow
from wherry.supervisor.live import LiveContainer, LiveProcess


async def read(live: LiveContainer, process: LiveProcess, request: req.LogsRequest) -> AsyncIterator[st.LogChunk]:
    """Yield what the log of a process holds, and with `follow` what is added until it has ended for good."""
    if request.tail < -1 or request.since_ns < 0:
        raise errors.InvalidArgument(f"cannot read logs: tail {request.tail}, since {request.since_ns}")
    path = live.disk.log_path(process.id)
    reader = log.Reader(path)
    since = log.format_time(request.since_ns) if request.since_ns else b""
    # Opened before the first read: what is written from here on makes it tell.
    bell = follow.open_attachment(live, process, -1) if request.follow and _goes_on(live, process) else None
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


def _goes_on(live: LiveContainer, process: LiveProcess) -> bool:
    return not (live.is_at_rest if process.id == ids.INIT else process.settled.is_set())


async def _drain(reader: log.Reader, since: bytes) -> AsyncIterator[st.LogChunk]:
    while block := reader.read():
        for chunk in log.parse_block(block, since):
            yield chunk
        await asyncio.sleep(0)  # a long log must not hold up everybody else
