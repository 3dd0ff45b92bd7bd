"""Exec in a running container: of `true`, with output that is read, and ten at once into one container."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial

from bench.levels import CONCURRENCIES
from bench.result import Row, make_rows
from bench.rounds import Worker, in_threads, run, take_batches
from bench.stage import UnusableError
from bench.subjects.wherryd import Daemon
from bench.subjects.world import World

NAME = "execs"
_WORDS = "a few words"


def measure(world: World) -> Iterator[Row]:
    """Yield latencies, and execs a second where several are under way."""
    subjects = _subjects(world)
    try:
        for concurrency in CONCURRENCIES:
            workers = {name: pair[0] for name, pair in subjects.items()}
            yield from _measure(world, "true in one container", workers, concurrency)
        yield from _measure(world, "output read", {name: pair[1] for name, pair in subjects.items()}, 1)
    finally:
        _clear(world)


def _measure(world: World, chart: str, workers: dict[str, Worker], concurrency: int) -> Iterator[Row]:
    alone = concurrency == 1
    case = f"{chart}, {concurrency} at once"
    rounds = world.level.rounds if alone else world.level.batches
    count = 1 if alone else concurrency * world.level.batch
    batches = take_batches(world.stage, workers, rounds, count, concurrency)
    bases = _bases(world)
    latencies = {name: [1000 * item for batch in found for item in batch.latencies] for name, found in batches.items()}
    yield from make_rows(NAME, case, "ms", latencies, bases, x=concurrency, chart=chart, in_turn=alone)
    if not alone:
        rates = {name: [batch.rate for batch in found] for name, found in batches.items()}
        yield from make_rows(NAME, case, "execs/s", rates, bases, x=concurrency, chart=chart)


def _bases(world: World) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in world.runtimes:
        ctr = f"ctr tasks exec, {name}"
        found[ctr] = [f"{name} exec"]
        found[f"wherry exec, {name}"] = found[f"wherry API, {name}"] = [f"{name} exec", ctr]
    return found


def _subjects(world: World) -> dict[str, tuple[Worker, Worker]]:
    """Return for each subject how it runs `true`, and how `echo` with its output read."""
    bundle = world.bundles.get("sleep", "100000")
    found: dict[str, tuple[Worker, Worker]] = {}
    for name, runtime in world.runtimes.items():
        id = runtime.start(bundle)
        argv = [runtime.path, "--root", str(runtime.root), "exec", id, "echo", _WORDS]
        found[f"{name} exec"] = (in_threads(partial(runtime.exec, id, "true")), in_threads(partial(_read, argv)))
        if ctr := world.containerd:
            id = ctr.start(name, bundle)
            found[f"ctr tasks exec, {name}"] = (
                in_threads(partial(ctr.exec, id, "true")),
                in_threads(partial(_ctr_read, world, id)),
            )
        daemon = world.daemon
        [id] = daemon.start(name, bundle)
        found[f"wherry exec, {name}"] = (
            in_threads(partial(daemon.cli, "exec", id, "true")),
            in_threads(partial(_read, daemon.argv("exec", id, "echo", _WORDS), daemon.environment)),
        )
        found[f"wherry API, {name}"] = (
            daemon.batches(partial(_exec, daemon, id, "true")),
            daemon.batches(partial(_exec, daemon, id, "echo", _WORDS)),
        )
    return found


def _read(argv: list[str], env: dict[str, str] | None = None) -> None:
    if _WORDS not in run(argv, stdout=subprocess.PIPE, env=env):
        raise UnusableError("the output of exec was lost")


def _ctr_read(world: World, id: str) -> None:
    assert world.containerd is not None
    _read(world.containerd.call_argv("tasks", "exec", "--exec-id", world.stage.make_id(), id, "echo", _WORDS))


async def _exec(daemon: Daemon, id: str, *args: str) -> None:
    process = await daemon.client.container(id).exec(*args)
    if (await process.wait()).status:
        raise UnusableError("an exec ended badly")
    if len(args) > 1 and _WORDS.encode() not in await process.output():
        raise UnusableError("the output of exec was lost")


def _clear(world: World) -> None:
    for runtime in world.runtimes.values():
        runtime.delete_all()
    if world.containerd:
        world.containerd.delete_all()
    world.daemon.delete_all()
