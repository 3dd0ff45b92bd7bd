"""Execs and health checks of which something cannot be removed: the container goes on, and its end is told."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.world import SLOW, World, eventually_async, scenario
from wherry import errors
from wherry.model import request as req


@scenario
async def test_an_exec_that_cannot_be_removed_keeps_nobody_from_the_end_of_its_container(world: World) -> None:
    world.start(failpoint="discard.remove=1*error(EMFILE)")
    async with world.client() as client:
        await client.service.run(world.request("a"))
        with pytest.raises(errors.CommandNotFound):
            await client.service.exec(req.ExecRequest(id=world.id("a"), process="e", args=("/none",)))
        assert "cannot undo process e" in world.log()
        await client.service.kill(req.KillRequest(id=world.id("a"), signal=9))
        async with asyncio.timeout(10 * SLOW):
            assert (await client.service.wait(world.process_ref("a"))).status == 137
        assert [event.type for event in await world.events(client)] == ["create", "start", "exit"]


@scenario
async def test_a_check_that_cannot_be_removed_is_not_the_last_one(world: World) -> None:
    world.start(failpoint="discard.remove=1*error(EIO)")
    check = req.HealthCheck(args=("sh", "-c", "echo >>/tmp/runs; exit 0"), interval=0.05)
    async with world.client() as client:
        info = await client.service.run(world.request("a", health=check))
        with open(f"/proc/{info.pid}/root/tmp/runs", "a+") as runs:
            await eventually_async("it is checked again and again", lambda: runs.seek(0) or len(runs.read()) > 3)
        async with asyncio.timeout(10 * SLOW):
            assert (await client.service.stop(req.StopRequest(id=world.id("a"), timeout=0))).status == 137
