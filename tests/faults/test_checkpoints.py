"""Checkpoints over the death of the daemon: written as a whole or not at all, and the container unharmed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal

import pytest

from tests.faults.world import SLOW, World, eventually_async, get_state, is_alive, scenario
from wherry import errors
from wherry.client.client import Client
from wherry.linux import libc
from wherry.model import checkpoint as cp
from wherry.model import request as req

pytestmark = pytest.mark.requires("criu", "runc", "overlay")

COUNTER = ("sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done")
#: Where the daemon dies, and whether the checkpoint is there afterwards.
POINTS = {
    "checkpoint.recorded": False,
    "checkpoint.frozen": False,
    "checkpoint.dumped": True,
    "checkpoint.finished": True,
    "checkpoint.journaled": True,
}
OWN = (*POINTS, "restore.recorded", "restore.journaled")


async def _numbers(client: Client, id: str) -> list[int]:
    return [int(line) for line in (await client.container(id).output()).split()]


async def _wait_more(world: World, client: Client) -> list[int]:
    """Return the numbers written once there are three more."""
    before = len(await _numbers(client, world.id("a")))
    for _ in range(500):
        found = await _numbers(client, world.id("a"))
        if len(found) >= before + 3:
            return found
        await asyncio.sleep(0.02)
    pytest.fail("it does not go on")


async def _check_restored(world: World, client: Client, ref: cp.CheckpointRef) -> None:
    """Fail unless it goes on from its number, and that is told; remove what it was restored from."""
    numbers = await _wait_more(world, client)
    assert numbers == list(range(len(numbers)))
    kinds = [event.type for event in await world.events(client)]
    assert kinds == ["create", "start", "checkpoint", "exit", "restore", "start"]
    await client.service.delete_checkpoint(ref)


async def _wait_state(world: World, client: Client, wanted: set[str]) -> str:
    state = ""
    for _ in range(500):
        if (state := await get_state(client, world.ref("a"))) in wanted:
            return state
        await asyncio.sleep(0.02)
    pytest.fail(f"it is {state}, and does not become {wanted}")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("exit", [False, True])
@scenario
async def test_a_checkpoint_in_which_the_daemon_dies_is_there_or_not_and_told_once(
    world: World, point: str, exit: bool
) -> None:
    world.runtime = "runc"
    world.start(failpoint=point)
    async with world.client() as client:
        await client.service.run(world.request("a", *COUNTER))
        await _wait_more(world, client)
        with pytest.raises(errors.Unavailable):
            await client.service.checkpoint(cp.CheckpointRequest(id=world.id("a"), name="x", exit=exit))
    world.join()
    world.start()
    async with world.client() as client:
        state = await _wait_state(world, client, {"stopped" if exit and POINTS[point] else "running"})
        found = await client.checkpoints()
        assert [info.name for info in found] == (["x"] if POINTS[point] else [])
        told = [event.type for event in await world.events(client)]
        assert told.count("checkpoint") == len(found)
        assert told.count("exit") == (state == "stopped")
        if state == "stopped":
            assert (await client.service.wait(world.process_ref("a"))).reason == "checkpoint"
            await client.service.restore(cp.CheckpointRef(id=world.id("a"), name="x"))
        numbers = await _wait_more(world, client)
        assert numbers == list(range(len(numbers)))
        for info in found:
            await client.service.delete_checkpoint(cp.CheckpointRef(id=info.id, name=info.name))
    assert list(world.root.glob("checkpoints/*/*")) == []


async def _end_on_a_full_disk(world: World, client: Client) -> asyncio.Future[tuple[cp.CheckpointInfo | BaseException]]:
    """Write a container down to end, on a disk that fills up then, and return the call: the container is dead."""
    await client.service.run(world.request("a", *COUNTER, restart=req.RestartPolicy(name="always", delay=0.1)))
    await _wait_more(world, client)
    request = cp.CheckpointRequest(id=world.id("a"), name="x", exit=True)
    writing: asyncio.Future[tuple[cp.CheckpointInfo | BaseException]] = asyncio.gather(
        client.service.checkpoint(request), return_exceptions=True
    )
    await eventually_async("the disk is full", lambda: "No space left on device" in world.log())
    return writing


@scenario
async def test_what_a_container_has_ended_with_outlasts_a_full_disk_and_the_daemon(world: World) -> None:
    world.runtime = "runc"
    world.start(failpoint="checkpoint.rename=error(ENOSPC)")
    async with world.client() as client:
        writing = await _end_on_a_full_disk(world, client)
        world.kill()
        await writing
    world.start(failpoint="checkpoint.rename=2*error(ENOSPC)->off")
    async with world.client() as client:
        await _wait_state(world, client, {"stopped"})
        assert (await client.service.wait(world.process_ref("a"))).reason == "checkpoint"
        assert [info.name for info in await client.checkpoints()] == ["x"]
        ref = cp.CheckpointRef(id=world.id("a"), name="x")
        await client.service.restore(ref)
        await _check_restored(world, client, ref)


@pytest.mark.parametrize("dies", [False, True])
@scenario
async def test_what_a_container_has_ended_with_is_kept_though_its_name_is_given_away(world: World, dies: bool) -> None:
    world.runtime = "runc"
    world.start(failpoint=f"checkpoint.rename={'' if dies else '2*'}error(ENOSPC)->off")
    async with world.client() as client:
        writing = await _end_on_a_full_disk(world, client)
        taken = world.root / "checkpoints" / "default" / world.id("a") / "x"
        taken.mkdir()
        (taken / "somebody's").touch()
        if dies:
            world.kill()
            await writing
            world.start()
        else:
            [info] = await writing
            assert isinstance(info, cp.CheckpointInfo)
            assert info.name == "x-2"
    async with world.client() as client:
        await _wait_state(world, client, {"stopped"})
        assert "is kept as checkpoint x-2" in world.log()
        assert [info.name for info in await client.checkpoints()] == ["x-2"]
        told = [event for event in await world.events(client) if event.type == "checkpoint"]
        assert [event.reason for event in told] == ["x-2"]
        ref = cp.CheckpointRef(id=world.id("a"), name="x-2")
        await client.service.restore(ref)
        numbers = await _wait_more(world, client)
        assert numbers == list(range(len(numbers)))
        for name in ("x", "x-2"):
            await client.service.delete_checkpoint(cp.CheckpointRef(id=world.id("a"), name=name))


@scenario
async def test_a_container_is_restored_by_the_next_daemon(world: World) -> None:
    world.runtime = "runc"
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", *COUNTER))
        await _wait_more(world, client)
        await client.service.checkpoint(cp.CheckpointRequest(id=world.id("a"), name="x", exit=True))
    world.restart()
    async with world.client() as client:
        await client.service.restore(cp.CheckpointRef(id=world.id("a"), name="x"))
        numbers = await _wait_more(world, client)
        assert numbers == list(range(len(numbers)))
    world.restart()
    async with world.client() as client:
        numbers = await _wait_more(world, client)
        assert numbers == list(range(len(numbers)))
        kinds = [event.type for event in await world.events(client)]
        assert kinds == ["create", "start", "checkpoint", "exit", "restore", "start"]
        await client.service.delete_checkpoint(cp.CheckpointRef(id=world.id("a"), name="x"))


@pytest.mark.parametrize(
    ("point", "is_new"),
    [
        *((point, False) for point in ("restore.recorded", "restore.journaled")),
        *(
            (point, is_new)
            for point in ("create.spawned", "create.saved", "start.journaled")
            for is_new in (False, True)
        ),
    ],
)
@scenario
async def test_a_restore_in_which_the_daemon_dies_goes_on_or_leaves_nothing(
    world: World, point: str, is_new: bool
) -> None:
    world.runtime = "runc"
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", *COUNTER))
        await _wait_more(world, client)
        await client.service.checkpoint(cp.CheckpointRequest(id=world.id("a"), name="x", exit=True))
        if is_new:
            await client.service.delete(req.DeleteRequest(id=world.id("a")))
    world.kill()
    world.start(failpoint=point)
    ref = cp.CheckpointRef(id=world.id("a"), name="x")
    async with world.client() as client:
        with pytest.raises(errors.Unavailable):
            await client.service.restore(ref)
    world.join()
    world.start()
    async with world.client() as client:
        if not await _wait_state(world, client, {"", "running"}):
            await client.service.restore(ref)
        numbers = await _wait_more(world, client)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[0] == 0 or is_new
        await client.service.delete_checkpoint(ref)


@scenario
async def test_a_container_killed_while_it_is_written_down_ends_and_leaves_no_checkpoint_half_made(
    world: World,
) -> None:
    world.runtime = "runc"
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", *COUNTER))
        await _wait_more(world, client)
        path = world.root / "checkpoints" / "default" / world.id("a") / ".making-x"

        async def kill() -> None:
            await eventually_async("it has begun", path.exists)
            await client.service.kill(req.KillRequest(id=world.id("a"), signal=signal.SIGKILL))

        work = client.service.checkpoint(cp.CheckpointRequest(id=world.id("a"), name="x"))
        outcome, _ = await asyncio.gather(work, kill(), return_exceptions=True)
        assert isinstance(outcome, cp.CheckpointInfo | errors.WherryError)
        assert (await client.service.wait(world.process_ref("a"))).status == 137
        names = [info.name for info in await client.checkpoints()]
        assert names == (["x"] if isinstance(outcome, cp.CheckpointInfo) else [])
        assert not path.exists()
        for name in names:
            await client.service.delete_checkpoint(cp.CheckpointRef(id=world.id("a"), name=name))


@scenario
async def test_a_shim_killed_while_it_restores_can_be_restored_again(world: World) -> None:
    world.runtime = "runc"
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", *COUNTER))
        await _wait_more(world, client)
        await client.service.checkpoint(cp.CheckpointRequest(id=world.id("a"), name="x", exit=True))
        ref = cp.CheckpointRef(id=world.id("a"), name="x")
        pid_file, config = world.directory("a") / "shim.pid", world.directory("a") / "criu.conf"

        async def kill() -> None:
            await eventually_async("a shim is at work", lambda: config.exists() and pid_file.exists())
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)

        await asyncio.gather(client.service.restore(ref), kill(), return_exceptions=True)
        await _wait_state(world, client, {"stopped"})
        info = await client.service.restore(ref)
        assert info.state == "running"
        assert is_alive(info.pid)
        await _wait_more(world, client)
        await client.service.delete_checkpoint(ref)


async def _write_with_a_wrong_limit(world: World, client: Client) -> cp.CheckpointRef:
    """Write down a container that has ended with it, whose updates had given it a CPU that this host does not have."""
    await client.service.run(world.request("a", *COUNTER, restart=req.RestartPolicy(name="unless-stopped", delay=0.1)))
    await _wait_more(world, client)
    await client.service.checkpoint(cp.CheckpointRequest(id=world.id("a"), name="x", exit=True))
    path = world.root / "checkpoints" / "default" / world.id("a") / "x" / "checkpoint.json"
    facts = json.loads(path.read_text())
    facts["limits"] = {"cpuset_cpus": "1000"}
    path.write_text(json.dumps(facts))
    return cp.CheckpointRef(id=world.id("a"), name="x")


@pytest.mark.parametrize("is_new", [False, True])
@scenario
async def test_a_restore_that_cannot_be_limited_is_ended_and_told(world: World, is_new: bool) -> None:
    world.runtime = "runc"
    world.start()
    async with world.client() as client, asyncio.timeout(30 * SLOW):
        ref = await _write_with_a_wrong_limit(world, client)
        if is_new:
            await client.service.delete(req.DeleteRequest(id=world.id("a")))
        with pytest.raises(errors.WherryError, match="cannot update container .*cpuset"):
            await client.service.restore(ref)
        if not is_new:  # at once: its end may not be told yet
            await client.service.delete(req.DeleteRequest(id=world.id("a"), force=True))
        assert await client.containers() == ()
        kinds = [event.type for event in await world.events(client)]
        assert kinds[kinds.index("restore") :] == ["restore", "start", "exit", "delete"]
        await client.service.delete_checkpoint(ref)


@scenario
async def test_a_health_check_that_is_just_being_started_is_waited_for(world: World) -> None:
    runtime, slow = world.base / "runc", world.base / "slow"
    runtime.write_text(
        f'#!/bin/sh\ncase " $* " in\n*" exec "*) [ -e {slow} ] && touch {slow}-begun && sleep 3 && rm {slow}-begun;;\n'
        f'*" pause "*) [ -e {slow}-begun ] && touch {slow}-frozen;;\nesac\nexec {shutil.which("runc")} "$@"\n'
    )
    runtime.chmod(0o755)
    world.runtime = str(runtime)
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", health=req.HealthCheck(args=("true",), interval=0.5)))
        container = client.container(world.id("a"))
        await container.checkpoint("first")  # criu is known from here on
        slow.touch()
        await eventually_async("a check is being started", (world.base / "slow-begun").exists)
        await container.checkpoint("x")
        assert not (world.base / "slow-frozen").exists()
        for name in ("first", "x"):
            await client.service.delete_checkpoint(cp.CheckpointRef(id=world.id("a"), name=name))


@scenario
async def test_a_restore_that_takes_long_is_waited_for_by_the_next_daemon(world: World) -> None:
    runtime, slow = world.base / "runc", world.base / "slow"
    runtime.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" restore "*) [ -e {slow} ] && touch {slow}-begun && sleep 4;; esac\n'
        f'exec {shutil.which("runc")} "$@"\n'
    )
    runtime.chmod(0o755)
    world.runtime = str(runtime)
    world.start()
    ref = cp.CheckpointRef(id=world.id("a"), name="x")
    async with world.client() as client:
        await client.service.run(world.request("a", *COUNTER))
        await _wait_more(world, client)
        await client.service.checkpoint(cp.CheckpointRequest(id=world.id("a"), name="x", exit=True))
        slow.touch()
        restoring = asyncio.gather(client.service.restore(ref), return_exceptions=True)
        await eventually_async("the runtime is at it", (world.base / "slow-begun").exists)
        shim = world.shim_pid("a")
        world.kill()
        await restoring
    world.start("--start-timeout", "1")
    async with world.client() as client:
        await _wait_state(world, client, {"running"})
        assert world.shim_pid("a") == shim
        await _check_restored(world, client, ref)


@pytest.mark.parametrize("ends", [False, True])
@scenario
async def test_a_restore_that_cannot_be_limited_after_a_restart_is_ended_and_known(world: World, ends: bool) -> None:
    world.runtime = "runc"
    world.start()
    async with world.client() as client:
        ref = await _write_with_a_wrong_limit(world, client)
    world.kill()
    world.start(failpoint="start.journaled")
    async with world.client() as client:
        with pytest.raises(errors.Unavailable):
            await client.service.restore(ref)
    world.join()
    if ends:
        os.kill(int((world.directory("a") / "pid").read_text()), signal.SIGKILL)
        await eventually_async("it has ended", (world.directory("a") / "exitStatus").exists)
    world.start()
    async with world.client() as client:
        # One that has ended by itself is started again, but cannot have the limit then either.
        await _wait_state(world, client, {"restarting" if ends else "stopped"})
        kinds = [event.type for event in await world.events(client)]
        assert kinds[4:] == ["restore", "start", "exit", *(["restart"] if ends else [])]
        await client.service.delete_checkpoint(ref)


@scenario
async def test_a_full_disk_leaves_no_checkpoint_and_an_unharmed_container(world: World) -> None:
    world.runtime = "runc"
    world.root.mkdir()
    libc.mount("tmpfs", str(world.root), "tmpfs", 0, "size=2m")
    world.start()
    async with world.client() as client:
        memory = "x=$(head -c 3000000 /dev/zero | tr '\\0' x); "
        await client.service.run(world.request("a", "sh", "-c", memory + COUNTER[2]))
        await _wait_more(world, client)
        with pytest.raises(errors.ResourceExhausted, match="no space is left"):
            await client.service.checkpoint(cp.CheckpointRequest(id=world.id("a"), name="x"))
        assert await get_state(client, world.ref("a")) == "running"
        numbers = await _wait_more(world, client)
        assert numbers == list(range(len(numbers)))
        assert await client.checkpoints() == ()
    assert list(world.root.glob("checkpoints/*/*/*")) == []
    await asyncio.to_thread(world.check_clean)
    libc.umount(str(world.root))
