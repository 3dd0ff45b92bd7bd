"""Another daemon, reached as a client: what a supervisor needs to hand a container over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from wherry.client.channel import Remote


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Remote]:
    """Connect to another daemon. Raises InvalidArgument, Unavailable, PermissionDenied."""
    from wherry.client import connection  # gRPC: not before the zygote is started

    async with connection.connect(address) as client:
        yield cast("Remote", client.service)
