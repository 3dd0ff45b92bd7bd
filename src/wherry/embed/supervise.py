"""A supervisor without a daemon, behind the client's interface."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wherry import errors
from wherry.client import peers
from wherry.client.client import Client
from wherry.model import ids
from wherry.supervisor.core import Settings
from wherry.supervisor.supervisor import Supervisor


@asynccontextmanager
async def supervise(
    *,
    state_dir: str | os.PathLike[str],
    root_dir: str | os.PathLike[str],
    namespace: str = ids.DEFAULT_NAMESPACE,
    runtime: str = "",
    concurrency: int = 10,
    start_timeout: float = 30.0,
    event_retention: int = 100_000,
    criu: str = "",
) -> AsyncIterator[Client]:
    """Supervise containers in the running event loop: `async with wherry.supervise(...) as client`.

    The containers outlive the block, and the process; the next one on the same directories, or `wherryd`, finds them
    again. Raises PermissionDenied unless root, FailedPrecondition while somebody else has the directories.
    """
    if os.geteuid() != 0:
        raise errors.PermissionDenied(f"supervise must be run by root, not by uid {os.geteuid()}")
    ids.check_namespace(namespace)
    settings = Settings(
        state_dir=Path(state_dir).absolute(),
        root_dir=Path(root_dir).absolute(),
        runtime=runtime,
        concurrency=concurrency,
        start_timeout=start_timeout,
        event_retention=event_retention,
        criu=criu,
    )
    supervisor = Supervisor(settings)
    supervisor.core.connect = peers.connect
    await supervisor.open()
    try:
        await supervisor.core.recovered.wait()
        yield Client(supervisor, namespace=namespace)
    finally:
        await supervisor.close()
