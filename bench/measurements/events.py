"""From an exit to its event at a subscriber, idle and under load; how many events a second reach many subscribers.

An exit is a kill(2) of ours: the kernel needs a while until the process is dead (its pidfd tells), then begins what is
measured. Both are taken in one loop, the pidfd first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc.aio

from bench.measurements.ctr_events import measure_ctr
from bench.result import Row, make_rows
from bench.subjects.wherryd import Daemon
from bench.subjects.world import World
from wherry.model import request as req
from wherry.wire import wherry_v1_pb2 as pb

NAME = "events"
SUBSCRIBERS = (1, 10, 100)
_TIMEOUT = 60.0
#: Containers under way at once while there is load.
_LOAD = 4
#: Events that a replay tells to all subscribers together: as many as take a while, whatever the journal has.
_REPLAYED = 100_000


def measure(world: World) -> Iterator[Row]:
    """Yield latencies, then rates."""
    for case, load in (("idle", 0), (f"{_LOAD} containers come and go", _LOAD)):
        with _load(world, load):
            dying, telling = world.daemon.call(_exits(world))
        yield from _latencies(f"exit → event, {case}", "exit → event", telling)
        yield from _latencies(f"kill → dead (the kernel), {case}", "kill → dead", dying)
        if world.containerd and not load:
            found = measure_ctr(world, world.containerd)
            yield from make_rows(NAME, f"exit → event, {case}", "ms", {"ctr events": found}, {}, chart="exit → event")
    for count in SUBSCRIBERS:
        yield from world.daemon.call(_rates(world, count))
    world.daemon.delete_all()


def _latencies(case: str, chart: str, seconds: list[float]) -> list[Row]:
    values = [1000 * item for item in seconds]
    p99 = sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]
    notes = {"wherry": f"p99 {p99:.2f} ms"}
    return make_rows(NAME, case, "ms", {"wherry": values}, {}, chart=chart, notes=notes)


@contextlib.contextmanager
def _load(world: World, concurrency: int) -> Iterator[None]:
    """Have another process make and delete containers meanwhile, as many at once."""
    if not concurrency:
        yield
        return
    argv = [sys.executable, "-m", "bench.load", f"unix://{world.daemon.socket_path}", world.runtime]
    bundle = world.bundles.get("true")
    with subprocess.Popen([*argv, str(bundle), str(concurrency), world.stage.make_id()]) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


async def _exits(world: World) -> tuple[list[float], list[float]]:
    """Kill one container after another; return seconds from kill to dead, and from dead to the event."""
    daemon, bundle = world.daemon, world.bundles.get("sleep", "100000")
    dying: list[float] = []
    telling: list[float] = []
    after = (await daemon.client.info()).last_seq
    events = daemon.client.events(after=after, filters=("type=exit", "label.measured=yes"))
    async with _subscribed(events) as told:
        for _ in range(world.level.exits):
            request = daemon.request(world.runtime, f"bundle:{bundle}", labels={"measured": "yes"})
            pid = (await daemon.client.service.run(request)).pid
            begin, dead = await _kill(pid)
            async with asyncio.timeout(_TIMEOUT):
                heard = await told.get()
            dying.append(dead - begin)
            telling.append(heard - dead)
            await daemon.client.service.delete(req.DeleteRequest(id=request.id))
    return dying, telling


@contextlib.asynccontextmanager
async def _subscribed(events: AsyncIterator[Any]) -> AsyncIterator[asyncio.Queue[float]]:
    """Yield a queue of the times at which events came."""
    told: asyncio.Queue[float] = asyncio.Queue()

    async def follow() -> None:
        async for _ in events:
            told.put_nowait(time.perf_counter())

    async with asyncio.TaskGroup() as group:
        follower = group.create_task(follow())
        try:
            yield told
        finally:
            follower.cancel()


async def _kill(pid: int) -> tuple[float, float]:
    """Kill a process; return when it was killed, and when it was dead."""
    loop = asyncio.get_running_loop()
    handle = os.pidfd_open(pid)
    dead: asyncio.Future[float] = loop.create_future()
    loop.add_reader(handle, _tell, dead)
    try:
        begin = time.perf_counter()
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        async with asyncio.timeout(_TIMEOUT):
            return begin, await dead
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def _tell(dead: asyncio.Future[float]) -> None:
    if not dead.done():
        dead.set_result(time.perf_counter())


async def _rates(world: World, count: int) -> list[Row]:
    """Replay the journal to `count` subscribers at once, and tell live events to as many."""
    daemon = world.daemon
    last = (await daemon.client.info()).last_seq
    each = min(last, _REPLAYED // count)
    path = f"unix://{daemon.socket_path}"
    # One connection each, as different clients have; what arrives is counted, not decoded.
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(path, options=options)) for _ in range(count)
        ]
        rates = []
        for _ in range(max(2, world.level.restarts)):
            start = time.perf_counter()
            counts = await asyncio.gather(*(_replay(channel, last - each) for channel in channels))
            rates.append(sum(counts) / (time.perf_counter() - start))
        delays = await _live(world, daemon, channels)
    case = f"{count} subscribers"
    notes = {"wherry": f"{each} events each, received in this one process"}
    return [
        *make_rows(NAME, f"replay, {case}", "events/s", {"wherry": rates}, {}, x=count, chart="replay", notes=notes),
        *make_rows(
            NAME,
            f"exit journaled → last of {case}",
            "ms",
            {"wherry": [1000 * delay for delay in delays]},
            {},
            x=count,
            chart="live",
        ),
    ]


def _subscribe(channel: grpc.aio.Channel, **request: Any) -> Any:
    call: Any = channel.unary_stream(
        "/wherry.v1.Events/Subscribe", request_serializer=lambda message: message.SerializeToString()
    )
    return call(pb.SubscribeRequest(**request))


async def _replay(channel: grpc.aio.Channel, after: int) -> int:
    count = 0
    async for _ in _subscribe(channel, after=after, follow=False):
        count += 1
    return count


async def _live(world: World, daemon: Daemon, channels: list[grpc.aio.Channel]) -> list[float]:
    """Run containers one after another; return the seconds from each exit's time in the journal to the last hearer."""
    heard: dict[int, list[int]] = {}
    after = (await daemon.client.info()).last_seq
    complete = asyncio.Semaphore(0)

    async def follow(channel: grpc.aio.Channel) -> None:
        async for data in _subscribe(channel, after=after, follow=True, filters=["type=exit"]):
            now = time.time_ns()
            times = heard.setdefault(pb.Event.FromString(data).time_ns, [])
            times.append(now)
            if len(times) == len(channels):
                complete.release()

    async with asyncio.TaskGroup() as group:
        followers = [group.create_task(follow(channel)) for channel in channels]
        # The first is not counted: with it the subscribers come, and are told.
        for _ in range(1 + max(3, world.level.exits // 10)):
            await daemon.cycle(world.runtime, world.bundles.get("true"))
            async with asyncio.timeout(_TIMEOUT):
                await complete.acquire()
        for follower in followers:
            follower.cancel()
    return [(max(times) - journaled) / 1e9 for journaled, times in sorted(heard.items())[1:]]
