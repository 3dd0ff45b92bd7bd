"""Limits that were changed, over the death of the daemon that changed them."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.faults.world import World, get_state, scenario
from wherry import errors
from wherry.client.client import Client
from wherry.model import request as req

LIMITS = req.Limits(memory_bytes=64 << 20, pids=50, cpus=0.5)
CHANGES = req.Limits(memory_bytes=96 << 20, pids=-1, cpu_shares=300)


async def _update(world: World, client: Client) -> req.Limits:
    await client.service.run(world.request("a", limits=LIMITS))
    update = req.UpdateRequest(id=world.id("a"), limits=CHANGES)
    return (await client.service.update(update)).limits


@scenario
async def test_changed_limits_outlive_the_daemon_and_a_restart_of_the_container(world: World) -> None:
    world.start()
    async with world.client() as client:
        changed = await _update(world, client)
    world.restart()
    async with world.client() as client:
        assert (await client.service.get(world.ref("a"))).limits == changed
        await client.service.kill(req.KillRequest(id=world.id("a"), signal=signal.SIGKILL))
        await client.service.wait(world.process_ref("a"))
        await client.service.start(world.ref("a"))
        info = await client.service.get(world.ref("a"))
        assert (info.limits, info.request.limits) == (changed, LIMITS)
        assert [event.type for event in await world.events(client)].count("update") == 1


@pytest.mark.requires("cgroup1")
@scenario
async def test_changed_limits_are_there_while_no_daemon_is(world: World) -> None:
    world.start()
    async with world.client() as client:
        await _update(world, client)
        cgroup = (await client.service.get(world.ref("a"))).cgroup.strip("/")
    world.kill()
    assert Path("/sys/fs/cgroup/memory", cgroup, "memory.limit_in_bytes").read_text().strip() == str(96 << 20)
    assert Path("/sys/fs/cgroup/pids", cgroup, "pids.max").read_text().strip() == "max"


#: An update that is seen in part by nobody: where the daemon dies, and whether it is told by then.
OWN = ("update.recorded", "update.applied", "update.journaled")


@pytest.mark.parametrize("point", OWN)
@scenario
async def test_an_update_in_which_the_daemon_dies_is_finished_and_told_once(world: World, point: str) -> None:
    world.start(failpoint=point)
    async with world.client() as client:
        with pytest.raises(errors.Unavailable):
            await _update(world, client)
    world.join()
    world.start()
    async with world.client() as client:
        found = (await client.service.get(world.ref("a"))).limits
        assert (found.memory_bytes, found.pids, found.cpu_shares) == (96 << 20, None, 300)
        assert [event.type for event in await world.events(client)].count("update") == 1
    world.restart()
    async with world.client() as client:
        await client.service.restart(req.StopRequest(id=world.id("a"), timeout=0))
        assert (await client.service.get(world.ref("a"))).limits == found
        assert [event.type for event in await world.events(client)].count("update") == 1


@scenario
async def test_an_update_from_the_command_line_is_shown_by_inspect(world: World) -> None:
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", limits=LIMITS))
        done = await asyncio.to_thread(world.cli, "update", "--memory", "80M", "--cpus", "none", world.id("a"))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        info = await client.service.get(world.ref("a"))
        assert (info.limits.memory_bytes, info.limits.cpus, info.limits.pids) == (80 << 20, None, 50)
        done = await asyncio.to_thread(world.cli, "update", "--cpuset-cpus", "8000", world.id("a"))
        assert done.returncode == 125
        assert done.stderr.startswith(f"wherry: cannot update container {world.id('a')}: ")
        assert await get_state(client, world.ref("a")) == "running"
