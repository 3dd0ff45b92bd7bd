"""Another daemon, reached as a client: what a supervisor needs to hand a container over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from wherry.client.channel import Remote
    from wherry.client.tls import Tls


@asynccontextmanager
async def connect(address: str, tls: Tls | None = None) -> AsyncIterator[Remote]:
    """Connect to another daemon, on TCP with `tls`. Raises InvalidArgument, Unavailable, PermissionDenied."""
    from wherry.client import connection  # gRPC: not before the zygote is started

    async with connection.connect(address, tls=tls if address.startswith("tcp://") else None) as client:
        yield cast("Remote", client.service)
