"""Health checks with the daemon killed in the middle: each status told once, none forgotten, nothing left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.world import World, eventually_async, is_alive, scenario
from wherry import errors
from wherry.client.client import Client
from wherry.model import request as req
from wherry.model import status as st

#: Failpoints of their own.
OWN = ("health.told",)
#: Waits to be told its status: the name of a file in /tmp/say.
OBEYS = "echo >>/tmp/runs; until status=$(ls /tmp/say | grep .); do sleep 0.02; done; rm /tmp/say/*; exit $status"


def _check(script: str, **options: float | str) -> req.HealthCheck:
    return req.HealthCheck(args=("sh", "-c", script), **{"interval": 0.05, "retries": 2, "timeout": 60.0} | options)  # type: ignore[arg-type]


class Patient:
    """The container `a`, whose health check ends when it is told to, with the status that it is told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tmp = Path()

    async def run(self, client: Client, **options: float | str) -> None:
        """Run the container."""
        info = await client.service.run(self.world.request("a", health=_check(OBEYS, **options)))
        self.tmp = Path(f"/proc/{info.pid}/root/tmp")
        (self.tmp / "say").mkdir()

    async def say(self, client: Client, status: int) -> st.Health:
        """Let one check end, and return what is known of the container once it has."""
        before = (await self.health(client)).checked_at_ns
        (self.tmp / "say" / str(status)).touch()
        while (found := await self.health(client)).checked_at_ns <= before:
            await asyncio.sleep(0.01)
        return found

    async def health(self, client: Client) -> st.Health:
        """Return what is known of the container."""
        return (await client.service.get(self.world.ref("a"))).health

    async def wait_runs(self, count: int) -> None:
        """Wait until so many checks have begun, and the last of them is known to the world."""
        runs = self.tmp / "runs"
        await eventually_async("it is checked", lambda: runs.exists() and len(runs.read_text()) >= count)
        await eventually_async(
            "its pid is written", lambda: any((path / "pid").exists() for path in traces(self.world))
        )


def traces(world: World) -> list[Path]:
    """Return what health checks of the container `a` have on disk."""
    places = (world.state / "default" / world.id("a"), world.root / "containers" / "default" / world.id("a"))
    return [path for place in places for path in place.glob("*") if "health-" in path.name]


async def _told(world: World, client: Client) -> list[str]:
    return [event.reason for event in await world.events(client) if event.type == "health"]


async def _wait_told(world: World, client: Client, *expected: str) -> None:
    async with asyncio.timeout(20):
        while len(found := await _told(world, client)) < len(expected):
            await asyncio.sleep(0.02)
    assert found == list(expected)


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@scenario
async def test_daemon_killed_in_the_middle_of_a_check_keeps_the_status_and_goes_on(world: World, runtime: str) -> None:
    world.runtime = runtime
    world.start()
    patient = Patient(world)
    async with world.client() as client:
        await patient.run(client)
        assert (await patient.say(client, 0)).status == "healthy"
        await patient.wait_runs(2)
        pid = int(next(path / "pid" for path in traces(world) if path.is_dir()).read_text())
        left = traces(world)
    world.kill()
    assert is_alive(pid)
    world.start()
    async with world.client() as client:
        assert await patient.health(client) == st.Health(status="healthy")
        assert not [path for path in left if path.exists()]
        await eventually_async("the check is ended", lambda: not is_alive(pid))
        await patient.wait_runs(3)
        assert (await patient.say(client, 1)).status == "healthy"
        assert (await patient.say(client, 1)).status == "unhealthy"
        assert await _told(world, client) == ["starting", "healthy", "unhealthy"]
        await client.service.stop(req.StopRequest(id=world.id("a"), timeout=0))
        assert traces(world) == []


@pytest.mark.parametrize(
    "point", ["health.told", "health.told=1*off->kill", "create.saved", "create.journaled", "start.journaled"]
)
@scenario
async def test_daemon_killed_at_a_failpoint_neither_repeats_nor_loses_a_status(world: World, point: str) -> None:
    world.start(failpoint=point)
    async with world.client() as client:
        with contextlib.suppress(errors.Unavailable):
            await client.service.run(world.request("a", health=_check("exit 0")))
        assert await asyncio.to_thread(world.join) == -9
    world.start()
    async with world.client() as client:
        await _wait_told(world, client, "starting", "healthy")
    world.restart()
    async with world.client() as client:
        assert (await client.service.get(world.ref("a"))).health.status == "healthy"
        assert await _told(world, client) == ["starting", "healthy"]


@pytest.mark.parametrize(
    "point",
    [
        "health.told=2*off->kill",
        "create.saved=1*off->kill",
        "start.journaled=1*off->kill",
        "create.spawned=1*off->kill",
    ],
)
@scenario
async def test_daemon_killed_at_the_start_of_a_later_run_tells_its_status_once(world: World, point: str) -> None:
    world.start(failpoint=point)
    request = world.request("a", health=_check("exit 0", interval=0.5))
    async with world.client() as client:
        await client.service.run(request)
        await _wait_told(world, client, "starting", "healthy")
        await client.service.stop(req.StopRequest(id=world.id("a"), timeout=0))
        with contextlib.suppress(errors.Unavailable):
            await client.service.start(world.ref("a"))
        assert await asyncio.to_thread(world.join) == -9
    world.start()
    async with world.client() as client:
        await _wait_told(world, client, "starting", "healthy", "starting", "healthy")


@pytest.mark.parametrize("point", ["exec.directory", "exec.spawned", "exec.spawned=1*off->kill"])
@scenario
async def test_daemon_killed_while_it_starts_a_check_leaves_nothing(world: World, point: str) -> None:
    world.start(failpoint=point)
    async with world.client() as client:
        # Long enough that none is begun while we look.
        request = world.request("a", health=_check("sleep 60", interval=0.5))
        await client.service.run(request)
        if "off" in point:
            await client.service.exec(req.ExecRequest(id=world.id("a"), args=("true",)))
        assert await asyncio.to_thread(world.join) == -9
        left = [path for path in traces(world) if path.is_dir()]
        assert len(left) == 1
    world.start()
    async with world.client() as client:
        info = await client.service.get(world.ref("a"))
        assert "health" not in "".join(process.id for process in info.processes)
        assert not left[0].exists()
        assert await _told(world, client) == ["starting"]


@scenario
async def test_a_check_is_killed_in_time_without_a_daemon(world: World) -> None:
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", health=_check("sleep 60", timeout=0.5)))
        await eventually_async("it is checked", lambda: any((path / "starttime").exists() for path in traces(world)))
        directory = next(path for path in traces(world) if path.is_dir())
    world.kill()
    await eventually_async("it is killed", (directory / "exitStatus").exists)
    assert '"timeout"' in (directory / "exit.json").read_text()


@scenario
async def test_daemon_killed_with_a_check_frozen_in_a_pause_undoes_it(world: World) -> None:
    world.start()
    patient = Patient(world)
    async with world.client() as client:
        await patient.run(client)
        assert (await patient.say(client, 0)).status == "healthy"
        await patient.wait_runs(2)
        await client.service.pause(world.ref("a"))
        left = traces(world)
        pid = int(next(path / "pid" for path in left if path.is_dir()).read_text())
    world.restart()
    async with world.client() as client:
        info = await client.service.get(world.ref("a"))
        assert (info.state, info.health.status) == ("paused", "healthy")
        assert traces(world) == []
        assert "does not die" not in world.log(), "nobody waited for what is frozen"
        await client.service.resume(world.ref("a"))
        await eventually_async("the check is ended", lambda: not is_alive(pid))
        await patient.wait_runs(3)
        assert (await patient.say(client, 1)).failures == 1


@scenario
async def test_an_unhealthy_container_is_ended_by_the_next_daemon_if_need_be(world: World) -> None:
    world.start(failpoint="health.told=1*off->kill")
    async with world.client() as client:
        with contextlib.suppress(errors.Unavailable):
            await client.service.run(world.request("a", health=_check("exit 1", on_unhealthy="kill")))
        assert await asyncio.to_thread(world.join) == -9
    world.start()
    async with world.client() as client:
        assert (await client.service.wait(world.process_ref("a"))).reason == "unhealthy"
        assert await _told(world, client) == ["starting", "unhealthy"]


@scenario
async def test_a_check_whose_shim_is_killed_does_not_count(world: World) -> None:
    world.start()
    patient = Patient(world)
    async with world.client() as client:
        await patient.run(client, retries=1)
        await patient.wait_runs(1)
        directory = next(path for path in traces(world) if path.is_dir())
        os.kill(int((directory / "shim.pid").read_text()), signal.SIGKILL)
        await eventually_async("it is removed", lambda: not directory.exists())
        await patient.wait_runs(2)
        assert await patient.health(client) == st.Health(status="starting")
        assert (await patient.say(client, 1)).status == "unhealthy"


@scenario
async def test_a_daemon_that_ends_leaves_a_check_to_the_next(world: World) -> None:
    world.start()
    patient = Patient(world)
    async with world.client() as client:
        await patient.run(client)
        await patient.wait_runs(1)
    left = traces(world)
    assert world.kill(signal.SIGTERM) == 0
    world.start()
    async with world.client() as client:
        await patient.health(client)
        assert not [path for path in left if path.exists()]
        assert (await patient.say(client, 0)).status == "healthy"
        assert await _told(world, client) == ["starting", "healthy"]


@scenario
async def test_a_container_that_ended_without_a_daemon_in_a_check_is_clean(world: World) -> None:
    world.start()
    patient = Patient(world)
    async with world.client() as client:
        await patient.run(client)
        await patient.wait_runs(1)
        pid = (await client.service.get(world.ref("a"))).pid
    world.kill()
    os.kill(pid, signal.SIGKILL)
    world.start()
    async with world.client() as client:
        assert (await client.service.wait(world.process_ref("a"))).status == 137
        assert traces(world) == []
        assert [event.type for event in await world.events(client)] == ["create", "start", "health", "exit"]


@scenario
async def test_what_is_well_again_when_the_next_daemon_comes_is_not_unhealthy_at_its_end(world: World) -> None:
    world.start()
    stubborn = ("sh", "-c", "trap '' TERM; while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 0")
    check = _check("test -e /tmp/well", on_unhealthy="restart")
    async with world.client() as client:
        await client.service.run(world.request("a", *stubborn, health=check))
        await eventually_async("it is being ended", lambda: _state(world, "a").get("wants_restart", False))
        world.kill()
    root = f"/proc/{(world.directory('a') / 'pid').read_text()}/root"
    Path(root, "tmp/well").touch()
    world.start()
    async with world.client() as client:
        await eventually_async("the next daemon knows it", lambda: "wants_restart" not in _state(world, "a"))
        Path(root, "tmp/end").touch()
        record = await client.service.wait(world.process_ref("a"))
        assert (record.status, record.reason) == (0, "")


@pytest.mark.parametrize("point", ["", "shim.ended=delay(4)"])
@scenario
async def test_an_unhealthy_container_that_ends_without_a_daemon_is_started_again(world: World, point: str) -> None:
    world.start(failpoint=point)
    script = "rm -f /tmp/end; trap '' TERM; while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 0"
    async with world.client() as client:
        check = _check("exit 1", on_unhealthy="restart", retries=1)
        await client.service.run(world.request("a", "sh", "-c", script, health=check))
        await eventually_async("it is being ended", lambda: _state(world, "a").get("wants_restart", False))
        world.kill()
    shim = world.shim_pid("a")
    Path(f"/proc/{(world.directory('a') / 'pid').read_text()}/root/tmp/end").touch()
    await eventually_async("it has ended", (world.directory("a") / "exit.json").exists)
    if not point:
        await eventually_async("its shim is gone", lambda: not is_alive(shim))
    world.start()
    async with world.client() as client:
        await client.containers()
        assert bool(point) == is_alive(shim), "it is as long at it as the next daemon takes to look"
        await eventually_async("it is started again", lambda: _state(world, "a").get("restarts") == 1)
        (end,) = [event for event in await world.events(client) if event.type == "exit"]
        assert (end.status, end.reason) == (0, "unhealthy")


def _state(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.directory(name).parent / "state.json").read_text())
    return found
