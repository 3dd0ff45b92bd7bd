"""Everything that a daemon does, once, in a few seconds; and what must be true of it whoever dies in the middle.

A step that fails is left, and the next one taken: what fails, and when, is the caller's choice.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.faults.world import World, is_alive, name_of
from wherry import errors
from wherry.client.client import Client
from wherry.model import checkpoint as cp
from wherry.model import request as req
from wherry.model import status as st

Tour = Callable[[World, Client], Awaitable[list[errors.WherryError]]]

#: How processes of these tours end by themselves, by container and process; whatever is killed has 137.
STATUSES = {("a", "e"): 3, ("b", "init"): 7, ("r", "init"): 5, ("x", "init"): 4, ("l", "init"): 0, ("c", "e"): 3}
KILLED = 137
#: States that last.
STABLE = ("created", "running", "paused", "stopped")
#: What is no container, and may stay where it cannot be moved.
JUNK = "junk"
#: Spare shims, each with the child that waits for a request.
SPARES = 4


class Steps:
    """Takes steps, whatever becomes of them."""

    def __init__(self) -> None:
        self.failures: list[errors.WherryError] = []

    async def take(self, *calls: Callable[[], Awaitable[object]]) -> bool:
        """Do one after the other; return False when one has failed, and leave the rest of them."""
        try:
            for call in calls:
                await call()
        except errors.WherryError as error:
            self.failures.append(error)
            return False
        return True


async def take(world: World, client: Client) -> list[errors.WherryError]:
    """Create, start, exec, pause, update, restart, check, rotate, stop, delete; return what has failed."""
    steps, service = Steps(), client.service

    def run(name: str, *args: str, **options: object) -> Callable[[], Awaitable[object]]:
        return lambda: service.run(world.request(name, *args, **options))

    def wait(name: str, process: str = "init") -> Callable[[], Awaitable[object]]:
        return lambda: service.wait(world.process_ref(name, process))

    def delete(name: str) -> Callable[[], Awaitable[object]]:
        return lambda: service.delete(req.DeleteRequest(id=world.id(name), force=True))

    exec_ = req.ExecRequest(id=world.id("a"), process="e", args=("sh", "-c", "exit 3"))
    limits = req.UpdateRequest(id=world.id("a"), limits=req.Limits(pids=50))
    if await steps.take(run("a", "sleep", "300")):
        await steps.take(lambda: service.exec(exec_), wait("a", "e"))
        await steps.take(lambda: service.pause(world.ref("a")), lambda: service.resume(world.ref("a")))
        await steps.take(lambda: service.update(limits))
    await steps.take(lambda: service.create(world.request("b", "sh", "-c", "exit 7")))
    await steps.take(lambda: service.start(world.ref("b")), wait("b"), delete("b"))
    policy = req.RestartPolicy(name="on-failure", max_retries=1, delay=0.02, max_delay=0.02)
    await steps.take(run("r", "sh", "-c", "exit 5", restart=policy), wait("r"))
    check = req.HealthCheck(args=("true",), interval=0.05)
    await steps.take(run("h", "sleep", "300", health=check), lambda: _wait_healthy(world, client))
    await steps.take(run("x", "sh", "-c", "exit 4", auto_remove=True), wait("x"))
    stdio = req.Stdio(log_max_bytes=65536, log_max_files=2)
    await steps.take(run("l", "seq", "20000", stdio=stdio), wait("l"))
    await steps.take(lambda: service.stop(req.StopRequest(id=world.id("a"), timeout=0)))
    for name in ("a", "b", "r", "h", "l"):
        await steps.take(delete(name))
    return [error for error in steps.failures if not isinstance(error, errors.NotFound)]


async def _wait_healthy(world: World, client: Client) -> None:
    for _ in range(200):
        if (await client.service.get(world.ref("h"))).health.status == "healthy":
            return
        await asyncio.sleep(0.02)
    raise errors.DeadlineExceeded("it does not get healthy")


async def take_checkpoints(world: World, client: Client) -> list[errors.WherryError]:
    """Checkpoint, export, import, restore in place, clone, restore what was deleted, delete; return what has failed."""
    steps, service = Steps(), client.service
    reference = cp.CheckpointRef(id=world.id("c"), name="one")
    archive: list[bytes] = []

    async def export() -> None:
        archive.extend([piece.data async for piece in service.export_checkpoint(reference)])

    async def import_() -> None:
        await service.delete_checkpoint(reference)
        await service.import_checkpoint(cp.ImportRequest(grants=("all",)), _replay(archive))

    await steps.take(
        lambda: service.run(world.request("c", "sleep", "300")),
        lambda: service.checkpoint(cp.CheckpointRequest(id=world.id("c"), name="one", exit=True)),
        export,
        import_,
        lambda: service.restore(reference),
        lambda: service.clone(cp.CloneRequest(id=world.id("c"), name="one", new_ids=(world.id("d"),))),
        lambda: service.delete(req.DeleteRequest(id=world.id("c"), force=True)),
        lambda: service.restore(reference),
    )
    for name in ("c", "d"):
        await steps.take(functools.partial(service.delete, req.DeleteRequest(id=world.id(name), force=True)))
    await steps.take(lambda: service.delete_checkpoint(reference))
    return [error for error in steps.failures if not isinstance(error, errors.NotFound)]


async def _replay(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def check(world: World, client: Client) -> None:
    """Fail unless every container has its true state, every end is told once and truly, and nothing belongs to none."""
    infos, events = await settle(world, client)
    for info in infos:
        assert info.problem == "", info
        for process in info.processes:
            _check_process(world, info, process, events)
    orphans: list[str] = []
    for _ in range(250):  # what was killed takes its time
        if not (orphans := find_orphans(world, infos)):
            break
        await asyncio.sleep(0.02)
    assert not orphans, f"{orphans}\n{world.log()}"


def _check_process(world: World, info: st.ContainerInfo, process: st.ProcessInfo, events: list[st.Event]) -> None:
    name = info.id.removeprefix(f"{world.token}-")
    told = [event for event in events if event.generation == info.generation and event.process == process.id]
    restarts = [e.seq for e in events if e.generation == info.generation and e.type in ("restart", "restore")]
    exits = [e for e in told if e.type == "exit" and e.seq > max(restarts, default=0)]
    if process.state == "stopped":
        assert process.exit is not None, info
        assert [event.status for event in exits] == [process.exit.status], (info, events)
        assert process.exit.status in (STATUSES.get((name, process.id), KILLED), KILLED), (info, events)
    else:
        assert exits == [], (info, events)
        assert is_alive(process.pid), info
        assert process.pid in world.descendants(), info
        if process.state != "created":
            assert [event.type for event in told if event.type == "start"], (info, events)


def find_orphans(world: World, infos: tuple[st.ContainerInfo, ...]) -> list[str]:
    """Return processes, cgroups and directories that belong to no container, or to one that has ended."""
    world.reap()
    alive = {f"wherry~{i.id}~{i.generation:x}" for i in infos if i.state != "stopped"}
    known = {info.id for info in infos}
    found = []
    for pid in world.strangers():
        with contextlib.suppress(OSError):
            if not any(name in Path(f"/proc/{pid}/cgroup").read_text() for name in alive):
                found.append(f"process {pid} {name_of(pid)}")
    shims = sum(name_of(pid).startswith("wherry-shim") for pid in world.descendants())
    running = sum(process.state != "stopped" for info in infos for process in info.processes)
    if shims > running + SPARES:
        found.append(f"{shims} shims for {running} processes")
    places = [entry.path for entry in os.scandir("/sys/fs/cgroup") if entry.is_dir()]
    for place in ("/sys/fs/cgroup", *places):
        found += [f"{place}/{n}" for n in os.listdir(place) if n.startswith(f"wherry~{world.token}") and n not in alive]
    paths = [*world.state.glob("default/*"), *world.root.glob("containers/*/*")]
    return found + [str(path) for path in paths if path.name not in known and path.name not in (".crun", ".runc", JUNK)]


async def settle(world: World, client: Client) -> tuple[tuple[st.ContainerInfo, ...], list[st.Event]]:
    """Return containers and events once nothing moves of itself."""
    found: tuple[tuple[st.ContainerInfo, ...], list[st.Event]] = ((), [])
    for _ in range(500):
        found = tuple(map(_still, await client.containers())), _stories(await world.events(client))
        await asyncio.sleep(0.05)
        again = tuple(map(_still, await client.containers())), _stories(await world.events(client))
        is_stable = all(info.state in STABLE and not info.restart_at_ns for info in found[0])
        if found == again and is_stable:
            return found
    pytest.fail(f"containers and events do not settle: {found}\n{world.log()}")


def _still(info: st.ContainerInfo) -> st.ContainerInfo:
    """Leave out health checks, which go on."""
    return dataclasses.replace(info, health=st.Health())


def _stories(events: list[st.Event]) -> list[st.Event]:
    return [event for event in events if event.type != "health"]
