"""A process that makes and deletes containers until it is told to stop: the load that others are measured under."""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys

import wherry
from bench.subjects.wherryd import cycle


async def load(address: str, runtime: str, bundle: str, concurrency: int, prefix: str) -> None:
    """Run `true` with `concurrency` workers until SIGTERM; what is under way is finished."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    numbers = itertools.count()

    async def work(client: wherry.Client) -> None:
        while not ended.is_set():
            id = f"{prefix}-{next(numbers)}"
            await cycle(client, client.request(f"bundle:{bundle}", id=id, runtime=runtime))

    async with wherry.connect(address) as client, asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work(client))


if __name__ == "__main__":
    asyncio.run(load(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]))
