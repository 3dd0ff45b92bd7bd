"""One set of invariants: what must be true of a daemon and its containers, whoever has died before."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from tests.faults.world import World, is_alive, name_of
from wherry.client.client import Client
from wherry.linux import proc
from wherry.model import status as st

#: The statuses that a process may have ended with, by the name of its container and its own.
Allowed = Callable[[str, str], Collection[int]]

#: States that last.
STABLE = ("created", "running", "paused", "stopped")
#: What is no container, and may stay where it cannot be moved.
JUNK = "junk"
#: Spare shims, each with the child that waits for a request.
SPARES = 4


async def check(world: World, client: Client, allowed: Allowed) -> tuple[tuple[st.ContainerInfo, ...], list[st.Event]]:
    """Fail unless every container has its true state, every end is told once and truly, and nothing belongs to none.

    Returns containers and events, at rest.
    """
    infos, events = await settle(world, client)
    for _ in range(100):  # one may have ended by itself just now
        if all(is_alive(p.pid) for info in infos for p in info.processes if p.state != "stopped"):
            break
        infos, events = await settle(world, client)
    for info in infos:
        assert info.problem == "", info
        for process in info.processes:
            _check_process(world, info, process, events, allowed)
    orphans: list[str] = []
    for _ in range(250):  # what was killed takes its time
        if not (orphans := find_orphans(world, infos)):
            break
        await asyncio.sleep(0.02)
    assert not orphans, f"{orphans}\n{world.log()}"
    return infos, events


def _check_process(
    world: World, info: st.ContainerInfo, process: st.ProcessInfo, events: list[st.Event], allowed: Allowed
) -> None:
    name = info.id.removeprefix(f"{world.token}-")
    told = [event for event in events if event.generation == info.generation and event.process == process.id]
    exits = [event for event in told if event.type == "exit"]  # one a run: check_journal
    if process.state == "stopped":
        assert process.exit is not None, info
        assert [event.status for event in exits[-1:]] == [process.exit.status], (process, info, events)
        assert process.exit.status in allowed(name, process.id), (process, info, events)
    else:
        begun = [e.seq for e in events if e.generation == info.generation and e.type in ("restart", "restore")]
        assert not exits or exits[-1].seq < max(begun, default=0), (process, info, events)
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
    shims = [pid for pid in world.descendants() if name_of(pid).startswith("wherry-shim")]
    running = sum(process.state != "stopped" for info in infos for process in info.processes)
    if len(shims) > running + SPARES:
        found.append(f"{len(shims)} shims for {running} processes: {[_describe(pid) for pid in shims]}")
    places = [entry.path for entry in os.scandir("/sys/fs/cgroup") if entry.is_dir()]
    for place in ("/sys/fs/cgroup", *places):
        found += [f"{place}/{n}" for n in os.listdir(place) if n.startswith(f"wherry~{world.token}") and n not in alive]
    paths = [*world.state.glob("default/*"), *world.root.glob("containers/*/*")]
    return found + [str(path) for path in paths if path.name not in known and path.name not in (".crun", ".runc", JUNK)]


def _describe(pid: int) -> str:
    """Return what a process shows of itself: name and state, parent, arguments and where it works."""
    found = f"{pid} ({proc.read_parent(pid)}) {name_of(pid)}"
    with contextlib.suppress(OSError):  # a zombie works nowhere
        place = Path(f"/proc/{pid}")
        command = (place / "cmdline").read_bytes().split(b"\0", 1)[0].decode(errors="replace")
        found += f" {command!r} in {os.readlink(place / 'cwd')}"
    return found


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
