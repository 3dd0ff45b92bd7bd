"""Much of everything: containers, output, sizes, forks, events; nothing grows by it.

WHERRY_TEST_MANY=10000 is for a long run.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import wherry
from tests.faults.measure import count_all, read_rss
from tests.faults.world import SLOW, World, eventually_async, is_alive, scenario
from wherry.client.client import Client
from wherry.model import request as req
from wherry.model import status as st
from wherry.supervisor.journal import Journal

MANY = int(os.environ.get("WHERRY_TEST_MANY") or 120)
MIB = 1024 * 1024
#: Subscribers that read one event and no more.
SLOW_ONES = 12
#: Forks, and forks again when it may not, and so does each of them.
BOMB = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""


async def _live(world: World, client: Client, number: int) -> None:
    """Let a container live: made, an exec in it, ended and deleted, each with its own status."""
    name = f"n{number}"
    await client.service.run(world.request(name))
    args = ("sh", "-c", f"exit {number % 100}")
    await client.service.exec(req.ExecRequest(id=world.id(name), process="e", args=args))
    assert (await client.service.wait(world.process_ref(name, "e"))).status == number % 100
    await client.service.delete(req.DeleteRequest(id=world.id(name), force=True))


async def _live_all(world: World, client: Client, first: int, count: int) -> None:
    for begin in range(first, first + count, 10):
        numbers = range(begin, min(begin + 10, first + count))
        await asyncio.gather(*(_live(world, client, number) for number in numbers))


@pytest.mark.timeout(60 + MANY)
@scenario
async def test_many_containers_with_execs_leave_nothing_and_fill_no_memory(world: World) -> None:
    world.start()
    async with world.client() as client:
        warm = max(40, MANY // 4)  # pools of threads, gRPC and the allocator have what they keep
        await _live_all(world, client, 0, warm)
        await eventually_async("it is at rest", lambda: not world.strangers())
        before, rss = count_all(world), read_rss(world.pid)
        await _live_all(world, client, warm, MANY - warm)
        assert await client.containers() == ()
        await eventually_async(f"as before: {before}", lambda: _is_within(before, count_all(world)))
        # What the journal keeps in memory of its newest events grows until it is full.
        assert read_rss(world.pid) - rss < 8 * MIB
        assert world.leftovers() in ([], [f"{world.state}/default/.crun"])


def _is_within(before: dict[str, int], now: dict[str, int]) -> bool:
    return all(now[what] <= count for what, count in before.items())


@scenario
async def test_a_fork_bomb_ends_with_its_container_and_harms_no_other(world: World) -> None:
    world.start()
    async with world.client() as client:
        other = await client.service.run(world.request("other"))
        info = await client.service.run(world.request("bomb", "python3", "-c", BOMB, limits=req.Limits(pids=60)))
        stats = req.StatsRequest(id=info.id)
        async with asyncio.timeout(20 * SLOW):
            while (await client.service.stats(stats)).pids.current < 60:
                await asyncio.sleep(0.01)
        await world.check_serving(client, "another")
        async with asyncio.timeout(20 * SLOW):
            await client.service.delete(req.DeleteRequest(id=info.id, force=True))
        assert is_alive(other.pid)
        assert len(world.strangers()) == 1


@scenario
async def test_a_flood_of_output_fills_neither_memory_nor_disk(world: World) -> None:
    world.start()
    flood = f"read x; yes {'x' * 99} | head -c 100000000; read x"
    stdio = req.Stdio(stdin_open=True, log_max_bytes=MIB, log_max_files=3)
    async with world.client() as client:
        await client.service.run(world.request("a", "sh", "-c", flood, stdio=stdio))
        shim = world.shim_pid("a")
        before, daemon = read_rss(shim), read_rss(world.pid)
        top = 0
        async with client.container(world.id("a")).attach() as attachment:
            await attachment.write(b"go\n")
            directory = world.root / "containers/default" / world.id("a")
            position = 0
            async with asyncio.timeout(45 * SLOW):
                while position < 100_000_000:
                    position = max((_position(path) for path in directory.glob("init.log*")), default=0)
                    top = max(top, sum(_size(path) for path in directory.glob("init.log*")))
                    assert read_rss(shim) - before < 2 * MIB
                    assert read_rss(world.pid) - daemon < 16 * MIB
                    await asyncio.sleep(0.02)
            await attachment.write(b"go\n")
        record = await client.service.wait(world.process_ref("a"))
        assert (record.status, record.dropped_bytes) == (0, 0)
        assert MIB < top <= 3 * MIB


def _position(path: Path) -> int:
    """Return where a rotated file begins in the whole log, 0 for the current one."""
    number = path.name.rpartition(".")[2]
    return int(number) if number.isdigit() else 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@scenario
async def test_ten_thousand_sizes_of_a_terminal_end_in_the_last_and_fill_nothing(world: World) -> None:
    async with wherry.supervise(state_dir=world.state, root_dir=world.root, runtime=world.runtime) as client:
        stdio = req.Stdio(terminal=True, stdin_open=True)
        info = await client.service.run(world.request("a", "sh", stdio=stdio))
        shim = world.shim_pid("a")
        before = read_rss(shim)
        for number in range(10_000):
            await _resize(client, world, number % 200 + 1, number % 100 + 1)
        await _resize(client, world, 77, 33)
        assert read_rss(shim) - before < 2 * MIB
        terminal = f"/proc/{info.pid}/fd/0"
        await eventually_async("the size is the last", lambda: _terminal_size(terminal) == (33, 77))
        await client.service.kill(req.KillRequest(id=info.id, signal=9))
        record = await client.service.wait(world.process_ref("a"))
        assert (record.status, record.reason) == (137, "")


def _terminal_size(terminal: str) -> tuple[int, int]:
    """Return the rows and columns of a terminal."""
    fd = os.open(terminal, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return os.get_terminal_size(fd).lines, os.get_terminal_size(fd).columns
    finally:
        os.close(fd)


async def _resize(client: Client, world: World, width: int, height: int) -> None:
    """Set a size, again when the shim has not read those before."""
    while True:
        try:
            await client.service.resize(req.ResizeRequest(id=world.id("a"), width=width, height=height))
        except wherry.errors.Unavailable:
            await asyncio.sleep(0.001)
        else:
            return


def _fill_journal(world: World, count: int, size: int) -> None:
    """Write a journal as of a supervisor that ran before, of events with labels of `size` bytes."""
    journal = Journal(world.root / "journal")
    journal.open()
    for number in range(count):
        journal.append("pause", namespace="default", container="old", generation=number + 1, labels={"x": "y" * size})
    journal.close()


@scenario
async def test_slow_subscribers_fill_no_memory_and_miss_nothing(world: World) -> None:
    count, size = 24_000, 300
    world.root.mkdir()
    _fill_journal(world, count, size)
    world.start()
    async with world.client() as client:
        first = [event async for event in client.events(after=count - 10, follow=False)]
        assert len(first) == 10
        before = read_rss(world.pid)
        slow = [client.events(after=0, follow=True) for _ in range(SLOW_ONES)]
        assert [(await anext(events)).seq for events in slow] == [1] * SLOW_ONES
        await world.check_serving(client)
        # Each has a segment of the journal at most, and what gRPC has under way; all of it would be 25 MB for each.
        assert read_rss(world.pid) - before < 10 * SLOW_ONES * MIB
        assert [event.seq async for event in _until(slow[0], 5000)] == list(range(2, 5001))


async def _until(events: AsyncIterator[st.Event], last: int) -> AsyncIterator[st.Event]:
    async for event in events:
        yield event
        if event.seq == last:
            return


@scenario
async def test_twenty_ends_without_a_daemon_are_each_told_once_by_the_next(world: World) -> None:
    world.start()
    async with world.client() as client:
        run = functools.partial(_run_for, world, client)
        await asyncio.gather(*(run(number) for number in range(20)))
        last = (await client.info()).last_seq
        shims = [world.shim_pid(f"n{number}") for number in range(20)]
    world.kill()
    await eventually_async("all have ended", lambda: not [pid for pid in shims if is_alive(pid)], 20.0)
    world.start()
    async with world.client() as client:
        for number in range(20):
            assert (await client.service.wait(world.process_ref(f"n{number}"))).status == number + 1
        events = await world.events(client)
        told = [event for event in events if event.seq > last]
        assert sorted((event.type, event.status) for event in told) == [("exit", number + 1) for number in range(20)]
        assert [event.seq for event in told] == list(range(last + 1, last + 21)), "a client goes on where it was"


async def _run_for(world: World, client: Client, number: int) -> None:
    """Run a container that ends once there is no daemon: each a little later than the one before."""
    script = f"sleep {1.5 * SLOW + number * 0.1:.2f}; exit {number + 1}"
    await client.service.run(world.request(f"n{number}", "sh", "-c", script))
