"""criu, or the runtime above it, killed, hanging, or given what it cannot read: the container is what it was."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import time
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.faults.world import SLOW, World, eventually_async, get_state, scenario
from wherry import errors
from wherry.client.client import Client
from wherry.model import checkpoint as cp
from wherry.model import request as req
from wherry.runtime import criu

pytestmark = pytest.mark.requires("criu", "runc", "overlay")

COUNTER = ("sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done")


async def _count(client: Client, id: str) -> int:
    return len((await client.container(id).output()).split())


async def _goes_on(client: Client, id: str) -> None:
    before = await _count(client, id)
    for _ in range(500):
        if await _count(client, id) > before + 3:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"{id} does not go on")


async def _kill_worker(world: World, place: Path, *, runtime: bool) -> bool:
    """Kill the runtime, or the criu, that is at work in `place`, once there is one; tell whether there was."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for worker in criu.find_workers(place):
            if worker.is_runtime is runtime and worker.pid != world.pid:  # that has a file open there, too
                os.kill(worker.pid, signal.SIGKILL)
                return True
        await asyncio.sleep(0)
    return False


@pytest.mark.parametrize("exit", [False, True])
@pytest.mark.parametrize("runtime", [False, True])
@scenario
async def test_a_container_goes_on_or_has_ended_whoever_is_killed_in_a_dump(
    world: World, runtime: bool, exit: bool
) -> None:
    world.runtime = "runc"
    world.start()
    async with world.client() as client:
        for number in range(4):
            id = world.id(f"a{number}")
            await client.service.run(world.request(f"a{number}", *COUNTER))
            await _goes_on(client, id)
            place = world.root / f"checkpoints/default/{id}/.making-x/work"  # cp works beside it
            writing = asyncio.gather(
                client.service.checkpoint(cp.CheckpointRequest(id=id, name="x", exit=exit)), return_exceptions=True
            )
            await _kill_worker(world, place, runtime=runtime)
            done = (await asyncio.wait_for(writing, 30 * SLOW))[0]
            if isinstance(done, errors.WherryError):
                assert "cannot checkpoint container" in done.message
                state = await get_state(client, req.ContainerRef(id=id))
                if state == "running":
                    await _goes_on(client, id)
                    assert (await (await client.container(id).exec("true")).wait()).status == 0
                else:
                    assert state == "stopped", f"{state}\n{world.log()}"  # criu had code of its own in it
                assert await client.container(id).checkpoints() == ()
            else:
                assert isinstance(done, cp.CheckpointInfo)
                await client.container(id).delete_checkpoint("x")
            await client.container(id).delete(force=True)


@scenario
async def test_a_restore_ends_whoever_is_killed_in_it(world: World) -> None:
    world.runtime = "runc"
    world.start()
    async with world.client() as client:
        id = world.id("a")
        await client.service.run(world.request("a", *COUNTER))
        await _goes_on(client, id)
        await client.container(id).checkpoint("x", exit=True)
        place = world.root / f"checkpoints/default/{id}/x/work/restore-{id}"
        for runtime in (False, True, False, True):
            going = asyncio.gather(client.container(id).restore("x"), return_exceptions=True)
            await _kill_worker(world, place, runtime=runtime)
            done = (await asyncio.wait_for(going, 30 * SLOW))[0]
            state = await get_state(client, req.ContainerRef(id=id))
            assert state == ("stopped" if isinstance(done, errors.WherryError) else "running")
            if state == "running":
                await client.container(id).stop(timeout=0)
        await client.container(id).restore("x")
        await _goes_on(client, id)
        await client.container(id).delete(force=True)
        await client.container(id).delete_checkpoint("x")


async def _make_hanging(world: World) -> str:
    """Return a criu that hangs whenever a runtime calls it."""
    real = (await criu.find()).path
    path = world.base / "hanging/criu"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\n[ "$1" = swrk ] && exec sleep 1000\nexec {real} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@scenario
async def test_a_criu_that_hangs_is_ended_and_the_container_goes_on(world: World) -> None:
    world.runtime = "runc"
    world.start("--criu", await _make_hanging(world))
    async with world.client() as client:
        id = world.id("a")
        await client.service.run(world.request("a", *COUNTER))
        await _goes_on(client, id)
        with pytest.raises(errors.FailedPrecondition, match="cannot checkpoint container"):
            await asyncio.wait_for(client.container(id).checkpoint("x"), 30 * SLOW)
        await _goes_on(client, id)


@scenario
async def test_a_container_can_be_deleted_under_a_criu_that_hangs(world: World) -> None:
    world.runtime = "runc"
    world.start("--criu", await _make_hanging(world))
    async with world.client() as client:
        id = world.id("a")
        await client.service.run(world.request("a", *COUNTER))
        await _goes_on(client, id)
        writing = asyncio.gather(client.container(id).checkpoint("x"), return_exceptions=True)
        await eventually_async("criu is called", lambda: "hanging" in _commands() or "sleep\x001000" in _commands())
        world.kill()
        await writing
    world.start()
    async with world.client() as client:
        await asyncio.wait_for(client.container(world.id("a")).delete(force=True), 30 * SLOW)
        assert [event.type for event in await world.events(client)] == ["create", "start", "exit", "delete"]


def _commands() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


@scenario
async def test_an_image_that_was_cut_off_is_refused_at_once(world: World) -> None:
    world.runtime = "runc"
    world.start()
    async with world.client() as client:
        id = world.id("a")
        await client.service.run(world.request("a", *COUNTER))
        await _goes_on(client, id)
        await client.container(id).checkpoint("x")
        image = next((world.root / f"checkpoints/default/{id}/x/image").glob("pages-*.img"))
        os.truncate(image, 100)
        with pytest.raises(errors.DataLoss, match=rf"image/{image.name} has 100 bytes, not \d+"):
            await client.container(id).clone(world.id("b"), checkpoint="x")
        assert await get_state(client, req.ContainerRef(id=world.id("b"))) == ""
        await client.container(id).delete_checkpoint("x")


@scenario
async def test_a_container_that_poses_as_criu_keeps_nobody_waiting(world: World) -> None:
    place = f"/tmp/{world.id('posed')}/.making-x"
    poses = f"mkdir -p {place}; exec 5>{place}/pages-1.img; echo ready; exec sleep 300"
    world.start()
    async with world.client() as client:
        # Whoever writes in a file of that name, and whoever has the arguments of a runtime that is at it.
        for name, args in (
            ("a", ("sh", "-c", poses)),
            ("b", ("sh", "-c", "echo ready; read x", "--image-path", place)),
        ):
            await client.service.run(world.request(name, *args, stdio=req.Stdio(stdin_open=True)))
            for _ in range(500):
                if await client.container(world.id(name)).output():
                    break
                await asyncio.sleep(0.02)
            else:
                pytest.fail(f"{name} says nothing")
        assert place in _commands()
        Path(place).mkdir(parents=True)
        try:
            assert criu.find_workers(Path(place)) == []
            script = f"exec 5>{place}/pages-1.img; echo; read x"
            writer = await asyncio.create_subprocess_exec("sh", "-c", script, stdin=PIPE, stdout=PIPE)
            assert writer.stdout is not None
            await writer.stdout.readline()
            assert [worker.pid for worker in criu.find_workers(Path(place))] == [writer.pid]
            writer.kill()
            await writer.wait()
        finally:
            shutil.rmtree(Path(place).parent)
