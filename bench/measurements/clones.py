"""Ten clones of a warm Python program against ten cold starts of it, and how long a container stands still meanwhile.

The program imports some hundred modules, works for a second or so and keeps tables of 50 MB, as one does that loads
numerical libraries and its data; then it writes a line every few milliseconds. A container answers when its first line
is there.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator, Sequence

from bench.kernel import read_memory
from bench.result import Row, make_rows
from bench.stage import UnusableError
from bench.subjects.wherryd import Daemon
from bench.subjects.world import World
from wherry import errors
from wherry.client.container import Container
from wherry.model import checkpoint as cp

NAME = "clones"
COUNT = 10
_TIMEOUT = 120.0
_PROGRAM = """
import argparse, asyncio, concurrent.futures, csv, ctypes, decimal, email, fractions, hashlib, http.server, json
import logging, multiprocessing, random, sqlite3, statistics, time, unittest.mock, urllib.request, xml.dom.minidom
for _ in range(5):
    table = {number: hashlib.sha256(str(number).encode()).hexdigest() for number in range(250_000)}
while True:
    print(len(table), flush=True)
    time.sleep(0.005)
"""


def measure(world: World) -> Iterator[Row]:
    """Yield times and memory; both kinds of start in turn."""
    daemon = world.daemon
    found: dict[str, dict[str, list[float]]] = {
        name: {"cold start": [], "clone": []} for name in ("first", "last", "pss")
    }
    still: list[float] = []
    try:
        daemon.call(_measure(daemon, world.level.restarts, found, still))
    except errors.WherryError as error:
        raise UnusableError(f"clones: {error.message}") from error
    finally:
        daemon.delete_all()
    bases = {"clone": ["cold start"]}
    case = f"{COUNT} at once: until the first answers"
    yield from make_rows(NAME, case, "ms", found["first"], bases, chart="start")
    yield from make_rows(NAME, f"{COUNT} at once: until all answer", "ms", found["last"], bases, chart="start")
    yield from make_rows(NAME, "memory of each (PSS)", "kB", found["pss"], bases, chart="memory")
    yield from make_rows(NAME, "a checkpoint that lets it go on", "ms", {"stands still": still}, {}, chart="still")


async def _measure(daemon: Daemon, rounds: int, found: dict[str, dict[str, list[float]]], still: list[float]) -> None:
    warm = await _start(daemon)
    await _answer(warm)
    for number in range(rounds):
        begin = time.perf_counter()
        cold = await asyncio.gather(*(_start(daemon) for _ in range(COUNT)))
        await _note(cold, begin, "cold start", found)
        begin = time.perf_counter()
        clones = await warm.clone(*(daemon.make_id() for _ in range(COUNT)))
        await _note(clones, begin, "clone", found)
        name = f"still-{number}"
        info: cp.CheckpointInfo = await warm.checkpoint(name)
        still.append(info.frozen_us / 1000)
        await warm.delete_checkpoint(name)


def _find_python() -> str:
    """Return a Python that a view of the host shows: not one in somebody's home."""
    found = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if not found:
        raise UnusableError("there is no python3 in /usr")
    return found


async def _start(daemon: Daemon) -> Container:
    request = daemon.request("runc", "host", _find_python(), "-c", _PROGRAM)
    info = await daemon.client.service.run(request)
    return Container(daemon.client.service, info.namespace, info.id)


async def _answer(container: Container) -> float:
    async with asyncio.timeout(_TIMEOUT), container.attach() as attachment:
        async for output in attachment:
            if output.data:
                return time.perf_counter()
    raise errors.Aborted(f"container {container.id} has ended")


async def _note(
    containers: Sequence[Container], begin: float, kind: str, found: dict[str, dict[str, list[float]]]
) -> None:
    answered = await asyncio.gather(*(_answer(container) for container in containers))
    found["first"][kind].append(1000 * (min(answered) - begin))
    found["last"][kind].append(1000 * (max(answered) - begin))
    for container in containers:
        found["pss"][kind].append(read_memory((await container.info()).pid).pss)
    await asyncio.gather(*(container.delete(force=True) for container in containers))
