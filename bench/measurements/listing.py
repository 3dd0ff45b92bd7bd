"""ps and stats with N containers, and the processor time that idle ones cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial

from bench.kernel import read_cpu
from bench.result import Row, make_rows
from bench.rounds import run, take_turns
from bench.subjects.wherryd import Daemon
from bench.subjects.world import World
from wherry.model import request as req

NAME = "listing"


def measure(world: World) -> Iterator[Row]:
    """Yield rows for each number of containers, which everybody has at the same time."""
    daemon, name = world.daemon, world.runtime
    runtime = world.runtimes[name]
    bundle = world.bundles.get("sleep", "100000")
    running = at_peers = 0
    try:
        for count in world.level.counts:
            daemon.start(name, bundle, count - running)
            running = count
            if count <= world.level.peer_count:
                for _ in range(count - at_peers):
                    runtime.start(bundle)
                    if world.containerd:
                        world.containerd.start(name, bundle)
                at_peers = count
            yield from _lists(world, count, at_peers)
            if count >= 10:
                yield from _idle(world, count, at_peers)
    finally:
        daemon.delete_all()
        runtime.delete_all()
        if world.containerd:
            world.containerd.delete_all()


def _lists(world: World, count: int, at_peers: int) -> Iterator[Row]:
    daemon, ctr = world.daemon, world.containerd
    runtime = world.runtimes[world.runtime]
    subjects: dict[str, Callable[[], float]] = {
        "wherry ps": _command(daemon, "ps"),
        "wherry API": lambda: daemon.timed(daemon.client.containers),
    }
    if count == at_peers:
        subjects[f"{world.runtime} list"] = world.time_command([runtime.path, "--root", str(runtime.root), "list"])
        if ctr:
            subjects["ctr tasks list"] = world.time_command(ctr.call_argv("tasks", "list"))
    found = take_turns(world.stage, subjects, world.level.commands)
    bases = {"wherry ps": ["ctr tasks list", f"{world.runtime} list"], "wherry API": ["ctr tasks list"]}
    yield from _in_ms(f"list, {count} containers", "list", count, found, bases)
    stats: dict[str, Callable[[], float]] = {
        "wherry stats": _command(daemon, "stats"),
        "wherry API": lambda: daemon.timed(partial(_stats, daemon)),
    }
    if ctr and count == at_peers == 1:
        # ctr tells of one container at a time: more would be so many starts of ctr.
        stats["ctr tasks metrics"] = world.time_command(ctr.call_argv("tasks", "metrics", ctr.ids[0]))
    found = take_turns(world.stage, stats, world.level.commands)
    yield from _in_ms(f"stats, {count} containers", "stats", count, found, {"wherry stats": ["ctr tasks metrics"]})


def _in_ms(case: str, chart: str, count: int, found: dict[str, list[float]], bases: dict[str, list[str]]) -> list[Row]:
    milliseconds = {name: [1000 * value for value in values] for name, values in found.items()}
    return make_rows(NAME, case, "ms", milliseconds, bases, x=count, chart=chart)


def _command(daemon: Daemon, *arguments: str) -> Callable[[], float]:
    argv = daemon.argv(*arguments)

    def measure() -> float:
        start = time.perf_counter()
        run(argv, env=daemon.environment)
        return time.perf_counter() - start

    return measure


async def _stats(daemon: Daemon) -> None:
    ids = [item.id for item in await daemon.client.containers()]
    await asyncio.gather(*(daemon.client.service.stats(req.StatsRequest(id=id)) for id in ids))


def _idle(world: World, count: int, at_peers: int) -> Iterator[Row]:
    """Watch everybody idle at the same time: what the kernel has counted in between, for each container and minute."""
    daemon = world.daemon
    zygote = daemon.call(daemon.client.info()).zygote_pid
    groups = {"wherry": [daemon.pid, zygote, *daemon.shims()]}
    if world.containerd and count == at_peers:
        groups["containerd"] = [world.containerd.pid, *world.containerd.shims()]
    # What has just been asked is still being put away.
    time.sleep(1.0)
    before = {name: read_cpu(pids) for name, pids in groups.items()}
    start = time.monotonic()
    time.sleep(world.level.idle_seconds)
    minutes = (time.monotonic() - start) / 60
    spent = {name: [1000 * (read_cpu(pids) - before[name]) / minutes / count] for name, pids in groups.items()}
    case = f"idle, {count} containers"
    yield from make_rows(
        NAME, case, "cpu ms/min each", spent, {"wherry": ["containerd"]}, x=count, chart="idle", in_turn=False
    )
