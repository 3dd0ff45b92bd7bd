"""What holds a recovery up, a full disk or a large layer: it goes on, nobody else waits, and nothing is given up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

import wherry
from tests.faults.world import SLEEPER, SLOW, World, eventually_async, scenario
from wherry import errors
from wherry.client.client import Client
from wherry.model import request as req
from wherry.supervisor import recovery

#: Seconds that a recovery is held up: more than anybody waits for it.
LONG = int(recovery.DEADLINE) + 2


async def _die(world: World, point: str, *requests: req.CreateRequest) -> None:
    """Have a daemon die at a failpoint while it runs containers, one after the other."""
    world.start(failpoint=point)
    async with world.client() as client:
        with contextlib.suppress(errors.Unavailable):
            for request in requests:
                await client.service.run(request)
        assert await asyncio.to_thread(world.join) == -9, f"{point} was not reached"


async def _check_end(world: World, client: Client, name: str) -> None:
    """Kill a container's process from outside: its end is noticed and told."""
    pid = (await client.service.get(world.ref(name))).pid
    assert pid > 0, "else it would be everybody here"
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10 * SLOW):
        assert (await client.service.wait(world.process_ref(name))).status == 137


@scenario
async def test_a_removal_that_takes_long_is_finished_by_the_next_daemon_and_holds_nobody_up(world: World) -> None:
    request = world.request("a", "true", auto_remove=True)
    await _die(world, "delete.released", world.request("other"), request)
    world.start(failpoint=f"discard.remove=1*delay({LONG})")
    async with world.client() as client:
        async with asyncio.timeout((recovery.REMOVAL_DEADLINE + 3) * SLOW):
            states = {info.id: info.state for info in await client.containers()}
        assert states == {world.id("other"): "running", world.id("a"): "deleting"}
        running = asyncio.gather(client.service.run(request), return_exceptions=True)
        gone = world.directory("a").parent
        await eventually_async("it is removed", lambda: not gone.exists(), LONG + 5)
        assert [type(answer) for answer in await running] == [errors.Aborted]
        assert [info.id for info in await client.containers()] == [world.id("other")]
        assert [event.type for event in await world.events(client)].count("delete") == 1


@scenario
async def test_a_removal_that_fails_is_tried_again_by_the_next_daemon_and_told_once(world: World) -> None:
    await _die(world, "delete.journaled", world.request("a", "true", auto_remove=True))
    world.start(failpoint="discard.remove=2*error(EIO)")
    async with world.client() as client:
        gone = world.directory("a").parent
        await eventually_async("it is removed", lambda: not gone.exists())
        assert [event.type for event in await world.events(client)].count("delete") == 1


@scenario
async def test_a_journal_without_room_for_long_makes_no_container_unknown(world: World) -> None:
    await _die(world, "create.saved", world.request("a"))
    world.start(failpoint=f"journal.write=1*off->{LONG}*error(ENOSPC)")
    async with world.client() as client:
        assert (await client.service.get(world.ref("a"))).state == "running"
        await _check_end(world, client, "a")
        assert [event.type for event in await world.events(client)] == ["create", "start", "exit"]


@pytest.mark.parametrize(
    ("point", "args", "state"),
    [("health.told=1*off->kill", SLEEPER, "running"), ("exit.journaled", ("sh", "-c", "sleep 0.5"), "stopped")],
)
@scenario
async def test_a_state_directory_without_room_makes_no_container_unknown(
    world: World, point: str, args: tuple[str, ...], state: str
) -> None:
    check = req.HealthCheck(args=("true",), interval=0.05)
    await _die(world, point, world.request("a", *args, health=check))
    world.start(failpoint="file.open=3*error(ENOSPC)")
    async with world.client() as client:
        assert (await client.service.get(world.ref("a"))).state == state
        if state == "running":
            await _check_end(world, client, "a")


def _fail(*_args: object) -> None:
    raise OSError(5, "Input/output error")


@scenario
async def test_what_cannot_be_tidied_up_keeps_nobody_from_recovery(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    always = req.RestartPolicy(name="always", delay=0.01)
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a"))
        await client.service.run(world.request("b", restart=always))
        await client.service.stop(req.StopRequest(id=world.id("b"), timeout=0))
    world.kill()
    for name in ("_find_stale_checkpoints", "_sweep_storage"):
        monkeypatch.setattr(recovery, name, _fail)
    async with wherry.supervise(state_dir=world.state, root_dir=world.root, runtime=world.runtime) as client:
        await _check_end(world, client, "a")
        async with asyncio.timeout(10 * SLOW):
            while (await client.service.get(world.ref("b"))).state != "running":
                await asyncio.sleep(0.05)
