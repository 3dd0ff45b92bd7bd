"""A wire between two programs that breaks where a test wants it to."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Break:
    """Where it breaks: in which connection (from 1), after how many bytes there (`up`) or back (`down`)."""

    connection: int
    up: int | None = None
    down: int | None = None


class Wire:
    """Carries what comes to the unix socket `path` to the one at `target`, until it breaks; `mend` makes it whole."""

    def __init__(self, path: Path, target: Path, where: Break | None) -> None:
        self.path = path
        self._target = target
        self._where = where
        self._count = 0
        self.is_broken = False
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._cut()
        await self._server.wait_closed()
        while self._open:
            await asyncio.sleep(0.01)

    def mend(self) -> None:
        """Break no more."""
        self._where = None
        self.is_broken = False

    def _cut(self) -> None:
        self.is_broken = self._where is not None
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            first = b"" if self.is_broken else await reader.read(65536)
            if not first:
                return  # somebody who only looks
            self._count += 1
            where = self._where if self._where and self._where.connection == self._count else None
            back, forth = await asyncio.open_unix_connection(self._target)
            self._open.add(forth)
            try:
                if where and where.up is not None:
                    where = Break(where.connection, where.up - len(first))
                    if where.up is None or where.up < 0:
                        self._cut()
                        return
                forth.write(first)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._carry(reader, forth, where.up if where else None))
                    group.create_task(self._carry(back, writer, where.down if where else None))
            finally:
                self._open.discard(forth)
                forth.transport.abort()
        except (OSError, ExceptionGroup):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, left: int | None) -> None:
        while data := await source.read(65536):
            if left is not None and len(data) > left:
                if left:
                    target.write(data[:left])
                    with contextlib.suppress(OSError):
                        await target.drain()
                self._cut()
                return
            left = None if left is None else left - len(data)
            target.write(data)
            await target.drain()
        target.close()
