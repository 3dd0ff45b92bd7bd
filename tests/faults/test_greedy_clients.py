"""Clients that ask for too much, or for half of something: nobody else waits, and nothing of them stays."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from pathlib import Path

import pytest

import wherry
from tests.faults.world import SLOW, World, count_fds, eventually_async, scenario
from wherry.client.client import Client
from wherry.model import checkpoint as cp
from wherry.model import request as req
from wherry.model import status as st
from wherry.runtime.checkpoint import Checkpoints
from wherry.supervisor import processes

STREAMS = 1500
HALVES = 400
#: What a thousand streams may cost the daemon, KiB.
MEMORY = 80_000


def _read_rss(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


async def _subscribe(client: Client) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        async for _ in client.events(after=0):
            pass


@pytest.mark.timeout(120)
@scenario
async def test_a_client_with_thousands_of_streams_keeps_nobody_waiting_and_leaves_nothing(world: World) -> None:
    world.start()
    async with world.client() as other:
        await world.check_serving(other)
        before, fds = _read_rss(world.pid), count_fds(world.pid)
        async with world.client() as greedy, asyncio.TaskGroup() as group:
            waiting = [group.create_task(_subscribe(greedy)) for _ in range(STREAMS)]
            await asyncio.sleep(0)
            await world.check_serving(other)
            assert (await other.service.version(req.Empty())).version
            assert _read_rss(world.pid) - before < MEMORY
            for task in waiting:
                task.cancel()
        await eventually_async("its descriptors are gone", lambda: count_fds(world.pid) <= fds)
        await world.check_serving(other)


@scenario
async def test_connections_that_send_half_a_request_keep_nobody_waiting(world: World) -> None:
    world.start()
    halves = []
    for number in range(HALVES):
        half = socket.socket(socket.AF_UNIX)
        half.connect(f"{world.state}/wherry.sock")
        half.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[: number % 24])
        halves.append(half)
    async with world.client() as other:
        await world.check_serving(other)
        assert count_fds(world.pid) > HALVES
        for half in halves:
            half.close()
        await eventually_async("their descriptors are gone", lambda: count_fds(world.pid) < HALVES / 2)
        await world.check_serving(other)


@scenario
async def test_reads_that_take_for_ever_keep_no_change_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def hang(*_: object) -> st.HostProcessList:
        go_on.wait()  # as /proc does for the arguments of a process whose memory is locked
        return st.HostProcessList()

    monkeypatch.setattr(processes, "_read", hang)
    monkeypatch.setattr(Checkpoints, "list", lambda *_: list(hang().processes))
    async with wherry.supervise(state_dir=world.state, root_dir=world.root, runtime=world.runtime) as client:
        await client.service.run(world.request("seen"))
        async with asyncio.TaskGroup() as group:
            try:
                for _ in range(20):
                    group.create_task(client.service.processes(world.ref("seen")))
                    group.create_task(client.service.list_checkpoints(cp.ListCheckpointsRequest()))
                async with asyncio.timeout(20 * SLOW):
                    await world.check_serving(client)
                    await client.service.kill(req.KillRequest(id=world.id("seen"), signal=9))
                    assert (await client.service.wait(world.process_ref("seen"))).status == 137
                    await client.service.delete(req.DeleteRequest(id=world.id("seen")))
            finally:
                go_on.set()
