"""Shims that are killed in the states of a container, or stand still: exact statuses, nobody else held up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from tests.faults.measure import read_rss
from tests.faults.world import SLEEPER, SLOW, World, eventually_async, is_alive, scenario
from wherry import errors
from wherry.client.client import Client
from wherry.model import request as req
from wherry.model import status as st

#: MiB that gRPC and the allocator may take for themselves while calls come and go.
ROOM = 6 * 1024 * 1024
DEAF = ("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done")


def _check_lost(record: st.ExitRecord) -> None:
    assert (record.status, record.signal, record.reason) == (137, 9, "shim-lost")


async def _wait(world: World, client: Client, name: str) -> st.ExitRecord:
    async with asyncio.timeout(10 * SLOW):
        return await client.service.wait(world.process_ref(name))


async def _check_gone(world: World, client: Client, name: str, *pids: int) -> None:
    assert not [pid for pid in pids if is_alive(pid)]
    await client.service.delete(req.DeleteRequest(id=world.id(name)))
    assert not [path for path in world.leftovers() if world.id(name) in path]
    exits = [
        event for event in await world.events(client) if event.type == "exit" and event.container == world.id(name)
    ]
    assert [event.status for event in exits if event.process == "init"] == [137]


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@scenario
async def test_shim_killed_in_any_state_of_its_container_leaves_nothing(world: World, runtime: str) -> None:
    world.runtime = runtime
    world.start()
    async with world.client() as client:
        created = await client.service.create(world.request("created"))
        paused = await client.service.run(world.request("paused"))
        exec_ = await client.service.exec(req.ExecRequest(id=world.id("paused"), process="e", args=SLEEPER))
        await client.service.pause(world.ref("paused"))
        for name in ("created", "paused"):
            os.kill(world.shim_pid(name), signal.SIGKILL)
        _check_lost(await _wait(world, client, "created"))
        _check_lost(await _wait(world, client, "paused"))
        await _check_gone(world, client, "created", created.pid)
        await _check_gone(world, client, "paused", paused.pid, exec_.pid)
        await world.check_serving(client, "created")


@scenario
async def test_shim_killed_in_a_stop_ends_the_stop_at_once(world: World) -> None:
    world.start()
    async with world.client() as client:
        info = await client.service.run(world.request("a", *DEAF))
        log = world.root / "containers/default" / world.id("a") / "init.log"
        await eventually_async("it is deaf", lambda: b"deaf" in log.read_bytes())
        stopping = asyncio.gather(client.service.stop(req.StopRequest(id=world.id("a"), timeout=300)))
        await eventually_async("it is being stopped", lambda: b'"stopping"' in _state(world, "a"))
        os.kill(world.shim_pid("a"), signal.SIGKILL)
        async with asyncio.timeout(10 * SLOW):
            (record,) = await stopping
        _check_lost(record)
        await _check_gone(world, client, "a", info.pid)


def _state(world: World, name: str) -> bytes:
    return (world.directory(name).parent / "state.json").read_bytes()


@scenario
async def test_shim_killed_in_a_deletion_leaves_nothing_of_the_container(world: World) -> None:
    world.start()
    async with world.client() as client:
        info = await client.service.run(world.request("a"))
        shim = world.shim_pid("a")
        os.kill(shim, signal.SIGSTOP)  # so that it cannot tell the end before it is killed
        deleting = asyncio.gather(client.service.delete(req.DeleteRequest(id=world.id("a"), force=True)))
        await eventually_async("the container is killed", lambda: not is_alive(info.pid))
        os.kill(shim, signal.SIGKILL)
        async with asyncio.timeout(8 * SLOW):
            await deleting
        assert world.leftovers() == []
        exits = [event for event in await world.events(client) if event.type == "exit"]
        assert [(event.status, event.reason) for event in exits] == [(137, "shim-lost")]
        await world.check_serving(client, "a")


async def _make_many(world: World, client: Client, count: int) -> list[str]:
    names = [f"n{number}" for number in range(count)]
    await asyncio.gather(*(client.service.run(world.request(name)) for name in names))
    return names


async def _scrape(world: World, client: Client, names: list[str]) -> None:
    async def one(name: str) -> None:
        assert (await client.service.stats(req.StatsRequest(id=world.id(name)))).pids.current >= 1

    async with asyncio.timeout(10 * SLOW):
        await asyncio.gather(*(one(name) for name in names))


@scenario
async def test_ten_stopped_shims_of_fifty_hold_up_nobody_and_fill_no_memory(world: World) -> None:
    world.start()
    async with world.client() as client:
        names = await _make_many(world, client, 50)
        stopped = [world.shim_pid(name) for name in names[:10]]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        for _ in range(10):
            await _scrape(world, client, names)
        before = read_rss(world.pid)
        for _ in range(30):
            await _scrape(world, client, names)
        assert read_rss(world.pid) - before < ROOM
        # All of this while they stand still: none of it may wait for one of them.
        async with asyncio.timeout(10 * SLOW):
            assert len(await client.containers()) == 50
            await world.check_serving(client, "another")
            record = await client.service.stop(req.StopRequest(id=world.id(names[-1]), timeout=0))
            assert record.status == 137
            for name in names[:10]:
                with pytest.raises(errors.WherryError):
                    await client.service.resize(req.ResizeRequest(id=world.id(name), width=1, height=1))
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        await asyncio.gather(
            *(client.service.delete(req.DeleteRequest(id=world.id(name), force=True)) for name in names)
        )


@scenario
async def test_a_wedged_shim_does_not_keep_the_next_daemon_from_answering(world: World) -> None:
    world.start("--start-timeout", "6")
    slow = world.base / "slow"
    slow.write_text(f'#!/bin/sh\ncase " $* " in *" run "*) touch {world.base}/at-it; sleep 60;; esac\nexec crun "$@"\n')
    slow.chmod(0o755)
    async with world.client() as client:
        for name in ("running", "sound"):
            await client.service.run(world.request(name))
        making = asyncio.gather(client.service.run(world.request("made", runtime=str(slow))), return_exceptions=True)
        await eventually_async("the runtime is at it", (world.base / "at-it").exists)
        wedged = [world.shim_pid(name) for name in ("running", "made")]
        for pid in wedged:
            os.kill(pid, signal.SIGSTOP)
        world.kill()
        await making
    world.start("--start-timeout", "6")
    async with world.client() as client:
        # The order is what counts: both still stand still when all of this has been answered.
        states = {info.id: info.state for info in await client.containers()}
        assert states == {world.id("running"): "running", world.id("sound"): "running", world.id("made"): "creating"}
        await world.check_serving(client, "another")
        assert (await client.service.stop(req.StopRequest(id=world.id("sound"), timeout=0))).status == 137
        assert not (await client.info()).recovering
        assert [_is_stopped(pid) for pid in wedged] == [True, True]
        for pid in wedged:
            os.kill(pid, signal.SIGCONT)
        await client.service.delete(req.DeleteRequest(id=world.id("running"), force=True))
        with contextlib.suppress(errors.NotFound):  # its creation has run out of time
            await client.service.delete(req.DeleteRequest(id=world.id("made"), force=True))


def _is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"
