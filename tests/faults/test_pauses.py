"""Frozen, and not: what the freezer says counts, whatever the runtime says, does not say, or does not live to say."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.world import World, eventually_async, get_state, scenario
from wherry import errors
from wherry.client.client import Client


def _replace(world: World, command: str, script: str, runtime: str = "crun") -> Path:
    """Make the world's runtime one that runs `script` instead of `command`; $REAL is the real one."""
    path = world.base / runtime
    path.write_text(
        f'#!/bin/sh\nREAL=$(command -v {runtime})\ncase " $* " in *" {command} "*) {script};; esac\nexec $REAL "$@"\n'
    )
    path.chmod(0o755)
    world.runtime = str(path)
    return path


async def _told(world: World, client: Client) -> list[str]:
    return [event.type for event in await world.events(client)]


@pytest.mark.parametrize("end", ["sleep 60", "kill -9 $$"])
@scenario
async def test_a_pause_that_fails_once_it_is_frozen_lets_it_run_on(world: World, end: str) -> None:
    _replace(world, "pause", f'$REAL "$@"; {end}')
    world.start("--start-timeout", "1")
    async with world.client() as client:
        await client.service.run(world.request("a"))
        with pytest.raises(errors.WherryError):
            await client.container(world.id("a")).pause()
        assert await get_state(client, world.ref("a")) == "running"
        assert (await (await client.container(world.id("a")).exec("true")).wait()).status == 0
        assert await _told(world, client) == ["create", "start", "start", "exit"]


@pytest.mark.parametrize("end", ["sleep 60", "exit 1"])
@scenario
async def test_a_resume_that_fails_once_it_goes_on_is_a_resume(world: World, end: str) -> None:
    _replace(world, "resume", f'$REAL "$@"; {end}')
    world.start("--start-timeout", "1")
    async with world.client() as client:
        await client.service.run(world.request("a"))
        await client.container(world.id("a")).pause()
        await client.container(world.id("a")).resume()
        assert await get_state(client, world.ref("a")) == "running"
        assert await _told(world, client) == ["create", "start", "pause", "resume"]


@scenario
async def test_a_resume_that_fails_leaves_it_paused(world: World) -> None:
    path = _replace(world, "resume", "exit 1")
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a"))
        await client.container(world.id("a")).pause()
        with pytest.raises(errors.RuntimeFailed):
            await client.container(world.id("a")).resume()
        assert await get_state(client, world.ref("a")) == "paused"
        path.write_text('#!/bin/sh\nexec crun "$@"\n')
        await client.container(world.id("a")).resume()
        assert await _told(world, client) == ["create", "start", "pause", "resume"]


@pytest.mark.parametrize("verb", ["pause", "resume"])
@scenario
async def test_what_has_happened_is_written_down_though_the_disk_was_full(
    world: World, small_state: Path, verb: str
) -> None:
    ballast = small_state / "ballast"
    _replace(world, verb, f'$REAL "$@"; dd if=/dev/zero of={ballast} bs=512 2>/dev/null; exit 0')
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a"))
        container = client.container(world.id("a"))
        pausing = asyncio.gather(container.pause())
        if verb == "resume":
            await pausing
        working = pausing if verb == "pause" else asyncio.gather(container.resume())
        await eventually_async("it is insisted on", lambda: "cannot write down what has happened" in world.log())
        ballast.unlink()
        await working
        assert await get_state(client, world.ref("a")) == {"pause": "paused", "resume": "running"}[verb]
        assert await _told(world, client) == ["create", "start", "pause", *(["resume"] if verb == "resume" else [])]


@scenario
async def test_what_is_paused_stays_so_whatever_the_runtime_says_after_a_restart(world: World) -> None:
    _replace(world, "state", "exit 1")
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a"))
        await client.container(world.id("a")).pause()
    world.restart()
    async with world.client() as client:
        await eventually_async("it is recovered", lambda: "recovered 1 containers" in world.log())
        assert await get_state(client, world.ref("a")) == "paused"
        await client.container(world.id("a")).resume()
        assert await _told(world, client) == ["create", "start", "pause", "resume"]


@scenario
async def test_what_waits_for_its_start_is_started_once_the_runtime_is_back(world: World) -> None:
    _replace(world, "state", "echo asked >>$0.log; [ $(wc -l <$0.log) -gt 3 ] || exit 1")
    world.start(failpoint="start.recorded")
    async with world.client() as client:
        await client.service.create(world.request("a"))
        with pytest.raises(errors.Unavailable):
            await client.container(world.id("a")).start()
    world.join()
    world.start()
    async with world.client() as client:
        assert await get_state(client, world.ref("a")) == "running"
        assert await _told(world, client) == ["create", "start"]
        name = Path(f"/proc/{(await client.service.get(world.ref('a'))).pid}/comm")
        await eventually_async("it runs", lambda: name.read_text().strip() == "sleep")


@pytest.mark.requires("criu", "runc", "overlay")
@pytest.mark.parametrize("end", ["exit 1", "sleep 60"])
@scenario
async def test_what_stood_still_for_a_checkpoint_goes_on_without_the_runtime(world: World, end: str) -> None:
    _replace(world, "state", end, "runc")
    world.start("--start-timeout", "5", failpoint="checkpoint.frozen")
    container_id = world.id("a")
    async with world.client() as client:
        await client.service.run(world.request("a"))
        with pytest.raises(errors.Unavailable):
            await client.container(container_id).checkpoint("x")
    world.join()
    world.start("--start-timeout", "1")
    async with world.client() as client:
        for _ in range(500):
            if await get_state(client, world.ref("a")) == "running":
                break
            await asyncio.sleep(0.02)
        assert (await (await client.container(container_id).exec("true")).wait()).status == 0
        assert await client.checkpoints() == ()
