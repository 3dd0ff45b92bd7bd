"""Restarts with the daemon killed in the middle: as many as the policy has, each told once, none forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.faults.world import World, eventually_async, get_state, scenario
from wherry import errors
from wherry.client.client import Client
from wherry.model import request as req

#: Two restarts, close to each other.
POLICY = req.RestartPolicy(name="on-failure", max_retries=2, delay=0.05, factor=1.0, max_delay=0.05)
FAILS = ("sh", "-c", "echo run; exit 3")
STORY = ["create", "start", "exit", "restart", "start", "exit", "restart", "start", "exit"]
#: Failpoints of their own; the others are those of every creation, start and exit, at their second time.
OWN = ("restart.recorded", "restart.removed")
POINTS = (
    *OWN,
    "exit.journaled",
    "exit.saved",
    "create.directory=1*off->kill",
    "create.spawned=1*off->kill",
    "create.saved=1*off->kill",
    "create.journaled=1*off->kill",
    "start.journaled=1*off->kill",
    "exit.noticed=1*off->kill",
    "exit.journaled=1*off->kill",
    "restart.recorded=1*off->kill",
    "exit.journaled=2*off->kill",
    "exit.saved=2*off->kill",
)


async def _types(world: World, client: Client) -> list[str]:
    return [event.type for event in await world.events(client)]


@pytest.mark.parametrize("point", POINTS)
@scenario
async def test_daemon_killed_at_a_failpoint_neither_loses_nor_adds_a_restart(world: World, point: str) -> None:
    world.start(failpoint=point)
    async with world.client() as client:
        with contextlib.suppress(errors.Unavailable):
            await client.service.run(world.request("a", *FAILS, restart=POLICY))
        assert await asyncio.to_thread(world.join) == -9
    world.start()
    async with world.client() as client:
        assert (await client.service.wait(world.process_ref("a"))).status == 3
        info = await client.service.get(world.ref("a"))
        assert (info.state, info.restarts, info.problem) == ("stopped", 2, "")
        assert await _types(world, client) == STORY
        assert [event.count for event in await world.events(client) if event.type == "start"] == [0, 1, 2]
        assert await client.container(world.id("a")).output() == b"run\n" * 3


@scenario
async def test_a_restart_that_is_due_while_no_daemon_runs_is_made_by_the_next(world: World) -> None:
    world.start()
    policy = req.RestartPolicy(name="on-failure", max_retries=1, delay=0.3)
    async with world.client() as client:
        await client.service.run(world.request("a", *FAILS, restart=policy))
        await eventually_async("it waits", lambda: _is(world, "restarting"))
        due = (await client.service.get(world.ref("a"))).restart_at_ns
    world.kill()
    world.start()
    async with world.client() as client:
        assert (await client.service.wait(world.process_ref("a"))).status == 3
        starts = [event for event in await world.events(client) if event.type == "start"]
        assert len(starts) == 2
        assert starts[1].time_ns >= due


def _is(world: World, state: str) -> bool:
    text = (world.state / "default" / world.id("a") / "state.json").read_text()
    return f'"state": "{state}"' in text or f'"state":"{state}"' in text


@scenario
async def test_what_fails_while_no_daemon_runs_is_started_again_by_the_next(world: World) -> None:
    world.start()
    async with world.client() as client:
        info = await client.service.run(world.request("a", restart=req.RestartPolicy(name="always", delay=0.05)))
        world.kill()
        os.kill(info.pid, signal.SIGKILL)
    world.start()
    async with world.client() as client:
        container = client.container(world.id("a"))
        for _ in range(200):
            found = await container.info()
            if (found.restarts, found.state) == (1, "running"):
                break
            await asyncio.sleep(0.05)
        assert await _types(world, client) == ["create", "start", "exit", "restart", "start"]


@pytest.mark.parametrize(("name", "state"), [("always", "running"), ("unless-stopped", "stopped")])
@scenario
async def test_what_was_stopped_by_hand_is_started_with_the_daemon_only_always(
    world: World, name: str, state: str
) -> None:
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", restart=req.RestartPolicy(name=name)))
        await client.service.stop(req.StopRequest(id=world.id("a"), timeout=0))
        assert await get_state(client, world.ref("a")) == "stopped"
    world.restart()
    async with world.client() as client:
        for _ in range(100):
            if await get_state(client, world.ref("a")) == "running":
                break
            await asyncio.sleep(0.02)
        assert await get_state(client, world.ref("a")) == state


@scenario
async def test_a_supervisor_that_ends_in_the_middle_leaves_the_restart_to_the_next(world: World) -> None:
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", *FAILS, restart=req.RestartPolicy(name="always", delay=60.0)))
        await eventually_async("it waits", lambda: _is(world, "restarting"))
    assert world.kill(signal.SIGTERM) == 0
    world.start()
    async with world.client() as client:
        info = await client.service.get(world.ref("a"))
        assert (info.state, info.restarts) == ("restarting", 1)
        assert (await client.service.stop(req.StopRequest(id=world.id("a")))).status == 3


@scenario
async def test_a_daemon_killed_in_a_restart_by_hand_leaves_it_to_the_next(world: World) -> None:
    world.start()
    async with world.client() as client:
        stubborn = ("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
        await client.service.run(world.request("a", *stubborn))
        container = client.container(world.id("a"))
        await eventually_async("it is ready", lambda: _has(world, "a", b"ready"))

        async def ask() -> None:
            with pytest.raises(errors.Unavailable):
                await container.restart(1.0)

        async with asyncio.TaskGroup() as group:
            group.create_task(ask())
            await eventually_async("it is being stopped", lambda: _is(world, "stopping"))
            world.kill()
    world.start()
    async with world.client() as client:
        await eventually_async("it runs again", lambda: _is(world, "running"))
        assert await _types(world, client) == ["create", "start", "exit", "restart", "start"]


def _has(world: World, name: str, text: bytes) -> bool:
    return text in next(world.root.glob(f"containers/default/{world.id(name)}/init.log")).read_bytes()


@pytest.mark.parametrize("point", ["shim.begun", "shim.mounted", "shim.created", "shim.ready"])
@scenario
async def test_a_start_that_failed_does_not_hide_how_it_had_ended(world: World, point: str) -> None:
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", "sh", "-c", "exit 3"))
        await client.service.wait(world.process_ref("a"))
    world.kill()
    world.start(failpoint=point)
    async with world.client() as client:
        with pytest.raises(errors.WherryError):
            await client.service.start(world.ref("a"))
    world.restart()
    async with world.client() as client:
        info = await client.service.get(world.ref("a"))
        assert info.state == "stopped"
        assert info.exit is not None
        assert info.exit.status == 3
        assert info.processes[0].exit == info.exit
        assert await client.service.wait(world.process_ref("a")) == info.exit


@scenario
async def test_what_a_container_said_last_is_not_taken_for_the_words_of_its_runtime(world: World) -> None:
    runtime, said = world.base / "failing", 'exec: "nope": executable file not found in $PATH'
    runtime.write_text(
        f'#!/bin/sh\n[ -e {world.base}/fails ] || exec crun "$@"\n'
        'case " $* " in *" run "*|*" create "*) exit 9;; esac\nexec crun "$@"\n'
    )
    runtime.chmod(0o755)
    world.start()
    async with world.client() as client:
        request = world.request("a", "sh", "-c", f"echo '{said}' >&2; sleep 300", runtime=str(runtime))
        log = Path((await client.service.run(request)).processes[0].log_path)
        await eventually_async("it has spoken", lambda: said in log.read_text())
        (world.base / "fails").touch()
        with pytest.raises(errors.RuntimeFailed) as found:
            await client.service.restart(req.StopRequest(id=world.id("a"), timeout=0))
        assert type(found.value) is errors.RuntimeFailed
        assert said not in found.value.message
