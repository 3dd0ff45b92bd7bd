"""Tasks that end together, with the one failure that matters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from wherry import errors


@asynccontextmanager
async def open_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Open a TaskGroup that raises one failure instead of a group of them."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise pick(failures) from failures


def pick(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure to report: a lost connection fails everything at once and says the least."""
    leaves = list(_leaves(failures))
    return next((leaf for leaf in leaves if not isinstance(leaf, errors.Unavailable)), leaves[0])


def _leaves(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for inner in failure.exceptions:
            yield from _leaves(inner)
    else:
        yield failure
