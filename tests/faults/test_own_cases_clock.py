"""A clock that is set by an hour: what waits here waits by the monotonic clock, and what is on disk is not believed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

import wherry
from tests.faults.world import SLOW, World, eventually_async, scenario
from wherry.client.client import Client
from wherry.model import request as req

HOUR = 3600 * 10**9
DEAF = ("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done")
FAILS = ("sh", "-c", "sleep 0.05; exit 3")


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that sets this process's wall clock so many nanoseconds off; no other process's."""
    real = time.time_ns
    offset = 0

    def set_(by: int) -> None:
        nonlocal offset
        offset = by

    monkeypatch.setattr(time, "time_ns", lambda: real() + offset)
    return set_


async def _get(client: Client, world: World, name: str) -> tuple[str, int]:
    info = await client.service.get(world.ref(name))
    return info.state, info.restarts


async def _until(client: Client, world: World, name: str, state: str, restarts: int = 0) -> None:
    async with asyncio.timeout(15 * SLOW):
        while True:
            found = await _get(client, world, name)
            if found[0] == state and found[1] >= restarts:
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("by", [HOUR, -HOUR])
@scenario
async def test_a_clock_that_jumps_changes_no_backoff_no_stop_and_no_time_to_live(
    world: World, set_clock: Callable[[int], None], by: int
) -> None:
    # The clock of the shims is not set, so a run seems to take an hour: that is not what is tried here.
    policy = req.RestartPolicy(name="on-failure", max_retries=3, delay=0.5, factor=1.0, reset_after=86400.0)
    async with wherry.supervise(state_dir=world.state, root_dir=world.root, runtime=world.runtime) as client:
        await client.service.run(world.request("retries", *FAILS, restart=policy))
        await client.service.run(world.request("deaf", *DEAF))
        log = world.root / "containers/default" / world.id("deaf") / "init.log"
        await eventually_async("it is deaf", lambda: b"deaf" in log.read_bytes())
        await client.service.run(world.request("brief", ttl=1.0))
        await _until(client, world, "retries", "restarting")
        stopping = asyncio.gather(client.service.stop(req.StopRequest(id=world.id("deaf"), timeout=1.0)))
        await _until(client, world, "deaf", "stopping")
        begun = time.monotonic()
        set_clock(by)
        async with asyncio.timeout(15 * SLOW):
            ((record,), brief) = (await stopping, await client.service.wait(world.process_ref("brief")))
            assert time.monotonic() - begun > 0.5
            assert (record.status, brief.reason) == (137, "ttl")
            assert (await client.service.wait(world.process_ref("retries"))).status == 3
        assert await _get(client, world, "retries") == ("stopped", 3), "all retries, and no more"


@scenario
async def test_a_clock_set_back_while_no_supervisor_runs_makes_no_restart_wait_for_an_hour(
    world: World, set_clock: Callable[[int], None]
) -> None:
    """Seen: the time of the restart on disk was an hour ahead, and so long it waited."""
    policy = req.RestartPolicy(name="always", delay=0.3, factor=1.0)
    async with wherry.supervise(state_dir=world.state, root_dir=world.root) as client:
        await client.service.run(world.request("a", *FAILS, restart=policy))
        await _until(client, world, "a", "restarting")
        _, before = await _get(client, world, "a")
    set_clock(-HOUR)
    async with wherry.supervise(state_dir=world.state, root_dir=world.root) as client:
        await _until(client, world, "a", "restarting", before + 1)


@scenario
async def test_a_clock_set_back_while_no_supervisor_runs_makes_no_stop_wait_for_an_hour(
    world: World, set_clock: Callable[[int], None]
) -> None:
    """Seen: the deadline of the stop on disk was an hour ahead, and so long its grace was."""
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", *DEAF))
        log = world.root / "containers/default" / world.id("a") / "init.log"
        await eventually_async("it is deaf", lambda: b"deaf" in log.read_bytes())
        stop = client.service.stop(req.StopRequest(id=world.id("a"), timeout=2.0))
        stopping = asyncio.gather(stop, return_exceptions=True)
        await _until(client, world, "a", "stopping")
        world.kill()
        await stopping
    set_clock(-HOUR)
    async with wherry.supervise(state_dir=world.state, root_dir=world.root) as client:
        async with asyncio.timeout(15 * SLOW):
            assert (await client.service.wait(world.process_ref("a"))).status == 137
