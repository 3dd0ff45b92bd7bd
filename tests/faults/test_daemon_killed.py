"""SIGKILL of the daemon before, in and after each step: every container is known, each exit is told once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

import pytest

from tests.faults.world import World, get_state, is_alive, scenario
from wherry import errors
from wherry.client.client import Client
from wherry.model import request as req
from wherry.model import status as st

Drive = Callable[[World, Client], Awaitable[None]]


async def _run_sleeper(world: World, client: Client) -> None:
    await client.service.run(world.request("a"))


async def _start(world: World, client: Client) -> None:
    await client.service.create(world.request("a"))
    await client.service.start(world.ref("a"))


async def _run_short(world: World, client: Client) -> None:
    await client.service.run(world.request("a", "sh", "-c", "exit 7"))
    await client.service.wait(world.process_ref("a"))
    await asyncio.sleep(30)  # until the daemon dies a step behind the answer


async def _exec(world: World, client: Client) -> None:
    await client.service.run(world.request("a"))
    await client.service.exec(req.ExecRequest(id=world.id("a"), process="e", args=("sleep", "300")))


async def _exec_short(world: World, client: Client) -> None:
    await client.service.run(world.request("a"))
    await client.service.exec(req.ExecRequest(id=world.id("a"), process="e", args=("sh", "-c", "exit 3")))
    await client.service.wait(world.process_ref("a", "e"))


async def _delete(world: World, client: Client) -> None:
    await client.service.run(world.request("a", "true"))
    await client.service.wait(world.process_ref("a"))
    await client.service.delete(req.DeleteRequest(id=world.id("a")))


async def _pause(world: World, client: Client) -> None:
    await client.service.run(world.request("a"))
    await client.service.pause(world.ref("a"))
    await client.service.resume(world.ref("a"))


POINTS: dict[str, Drive] = {
    **dict.fromkeys(
        ("create.prepared", "create.directory", "create.spawned", "create.saved", "create.journaled"), _run_sleeper
    ),
    **dict.fromkeys(("start.recorded", "start.started", "start.saved", "start.journaled"), _start),
    **dict.fromkeys(("exec.directory", "exec.spawned", "exec.journaled"), _exec),
    "exec.exit-noticed": _exec_short,
    **dict.fromkeys(("pause.recorded", "pause.paused", "resume.resumed"), _pause),
    **dict.fromkeys(("exit.noticed", "exit.journaled", "exit.saved"), _run_short),
    **dict.fromkeys(("delete.marked", "delete.released", "delete.storage", "delete.journaled"), _delete),
}
#: On crun, and at every place that there is: test_failpoints.py.
ON_RUNC = ("create.spawned", "start.started", "exec.spawned", "exit.noticed", "delete.marked")


@pytest.mark.parametrize("point", ON_RUNC)
@scenario
async def test_daemon_killed_at_a_failpoint_loses_nothing_on_runc(world: World, point: str) -> None:
    world.runtime = "runc"
    drive = POINTS[point]
    world.start(failpoint=point)
    async with world.client() as client:
        dying = asyncio.gather(drive(world, client), return_exceptions=True)
        assert await asyncio.to_thread(world.join) == -9, f"{point} was not reached"
        dying.cancel()
    world.start()
    async with world.client() as client:
        await _check_true_state(world, client, point)
        await _retry(world, client, drive)
        await _end_all(world, client)
        await world.check_serving(client, "a")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("exec.spawned", "exec.journaled"),
        ("start.started", "start.journaled"),
        ("exit.noticed", "exit.journaled"),
        ("delete.marked", "delete.storage"),
    ],
)
@scenario
async def test_daemon_killed_again_while_it_recovers_loses_nothing(world: World, first: str, second: str) -> None:
    world.start(failpoint=first)
    async with world.client() as client:
        dying = asyncio.gather(POINTS[first](world, client), return_exceptions=True)
        assert await asyncio.to_thread(world.join) == -9
        dying.cancel()
    world.start(failpoint=second)
    assert await asyncio.to_thread(world.join) == -9, f"{second} was not reached in recovery"
    world.start()
    async with world.client() as client:
        await _check_true_state(world, client, second)
        await _retry(world, client, POINTS[first])
        await _end_all(world, client)
        await world.check_serving(client, "a")


async def _settle(world: World, client: Client) -> tuple[tuple[st.ContainerInfo, ...], list[st.Event]]:
    """Return containers and events once two looks agree: what a shim is still making is finished after the start."""
    for _ in range(500):
        found = (await client.containers(), await world.events(client))
        await asyncio.sleep(0.05)
        again = (await client.containers(), await world.events(client))
        if found == again and all(info.state != "creating" for info in found[0]):
            return found
    pytest.fail("containers and events do not settle")


async def _check_true_state(world: World, client: Client, point: str) -> None:
    """Check that the one container is known with its true state, or entirely gone."""
    found, events = await _settle(world, client)
    if not found:
        assert point.startswith(("create.", "delete."))
        assert world.leftovers() == []
        assert all(event.type == "create" or event.process for event in events if point.startswith("create."))
        return
    (info,) = found
    assert not point.startswith("delete.")
    assert info.problem == ""
    if POINTS[point] is _run_short:
        assert info.state == "stopped"
        assert info.exit is not None
        assert info.exit.status == 7
        assert [event.status for event in events if event.type == "exit"] == [7]
        return
    assert info.state == {"pause.paused": "paused"}.get(point, "running") or info.state == "created"
    assert info.pid in world.descendants()
    assert is_alive(info.pid)
    if point.startswith("start."):
        assert info.state == "running"
    told = {event.process for event in events if event.type == "start"}
    assert told == {process.id for process in info.processes if process.started_at_ns}
    for process in info.processes[1:]:
        assert (process.state == "running") == is_alive(process.pid)


async def _retry(world: World, client: Client, drive: Drive) -> None:
    if drive in (_run_sleeper, _start):
        again = await client.service.run(world.request("a"))
        assert again.state == "running"
        assert is_alive(again.pid)
    elif drive is _exec:
        request = req.ExecRequest(id=world.id("a"), process="e", args=("sleep", "300"))
        known = {process.id for process in (await client.service.get(world.ref("a"))).processes}
        if "e" in known:
            with pytest.raises(errors.AlreadyExists):
                await client.service.exec(request)
        else:
            assert (await client.service.exec(request)).state == "running"
    elif drive is _pause:
        if await get_state(client, world.ref("a")) == "running":
            await client.service.pause(world.ref("a"))
        assert (await client.service.resume(world.ref("a"))).state == "running"
        kinds = [event.type for event in await world.events(client) if event.type in ("pause", "resume")]
        assert kinds == ["pause", "resume"] * (len(kinds) // 2)
    elif drive is _exec_short:
        assert (await client.service.wait(world.process_ref("a", "e"))).status == 3
    elif drive is _run_short:
        again = await client.service.run(world.request("a", "sh", "-c", "exit 7"))
        assert again.exit is not None
        assert again.exit.status == 7
    elif await get_state(client, world.ref("a")):
        await client.service.delete(req.DeleteRequest(id=world.id("a")))


async def _end_all(world: World, client: Client) -> None:
    for info in await client.containers():
        record = await client.service.stop(req.StopRequest(id=info.id, timeout=0))
        after = await client.service.get(req.ContainerRef(id=info.id))
        assert after.exit == record
        assert all(process.exit is not None for process in after.processes)
        exits = {event.process: event for event in await world.events(client) if event.type == "exit"}
        assert set(exits) == {process.id for process in after.processes}
        assert exits["init"].status == record.status
        await client.service.delete(req.DeleteRequest(id=info.id))


@scenario
async def test_daemon_killed_at_any_moment_loses_nothing(world: World) -> None:
    rng = random.Random(20260213)
    world.start()
    for round_ in range(15):
        workload = asyncio.gather(*(_work(world, round_, number, rng.random()) for number in range(6)))
        await asyncio.sleep(rng.uniform(0.02, 0.7))
        world.kill()
        await workload
        world.start()
        async with world.client() as client:
            found = await client.containers()
            events = await world.events(client)
            for info in found:
                assert info.state in ("created", "running", "stopped", "stopping"), info
                assert info.problem == ""
                if info.state in ("created", "running"):
                    # Some end by themselves just now: then that is told at once.
                    await _wait_true(client, info)
                else:
                    exits = [e for e in events if e.generation == info.generation and e.type == "exit"]
                    assert info.exit is None or [e.status for e in exits if e.process == "init"] == [info.exit.status]
            if round_ % 3 == 2:
                for info in await client.containers():
                    await client.service.delete(req.DeleteRequest(id=info.id, force=True))
                assert world.leftovers() == []
    async with world.client() as client:
        await world.check_serving(client)
        exits = [e for e in await world.events(client) if e.type == "exit" and e.process == "init"]
        assert all(event.status in (9, 137) or event.status == 5 for event in exits), exits


async def _wait_true(client: Client, info: st.ContainerInfo) -> None:
    for _ in range(500):
        if is_alive(info.pid) or (await client.service.get(req.ContainerRef(id=info.id))).state == "stopped":
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"its process is gone, and it is said to run: {info}")


async def _work(world: World, round_: int, number: int, chance: float) -> None:
    """Live a container's life until the daemon dies under it."""
    name = f"{round_}-{number}"
    args = ("sh", "-c", "sleep 0.1; exit 9") if number % 2 else ("sleep", "300")
    # RuntimeFailed: an exec into a container that is just ending; the runtime then gives no reason.
    gone = (errors.Unavailable, errors.FailedPrecondition, errors.NotFound, errors.RuntimeFailed)
    with contextlib.suppress(*gone):
        async with world.client() as client:
            await client.service.run(world.request(name, *args))
            await client.service.exec(req.ExecRequest(id=world.id(name), args=("sh", "-c", "sleep 0.05; exit 4")))
            if chance < 0.5:
                await client.service.delete(req.DeleteRequest(id=world.id(name), force=True))
            else:
                await client.service.wait(world.process_ref(name))


@scenario
async def test_what_is_larger_written_down_than_it_came_is_read_back(world: World) -> None:
    # 1.8 MB that are 5.4 MB in JSON, three times over: state.json, process.json and config.json.
    env = tuple(f"E{number}={'é' * 60_000}" for number in range(15))
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", env=env))
    world.kill()
    world.start()
    async with world.client() as client:
        info = await client.service.get(world.ref("a"))
        assert (info.state, info.request.env) == ("running", env)
        assert (await client.service.restart(req.StopRequest(id=info.id, timeout=0))).state == "running"
