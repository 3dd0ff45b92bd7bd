"""What a supervisor needs of another one; who has the wire puts it there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from wherry.model import migration as mg


class Peer(Protocol):
    """Another supervisor, as far as a migration needs it; raises the errors of `wherry.errors`."""

    async def offer(self, request: mg.MigrationOffer) -> object: ...
    async def receive(self, request: mg.MigrationOffer, data: AsyncIterator[bytes]) -> object: ...
    async def commit(self, request: mg.MigrationToken) -> mg.Arrival: ...
    async def abandon(self, request: mg.MigrationToken) -> object: ...
    async def forget(self, request: mg.MigrationToken) -> object: ...


class Connect(Protocol):
    """How another supervisor is reached by its address."""

    def __call__(self, address: str) -> AbstractAsyncContextManager[Peer]: ...
