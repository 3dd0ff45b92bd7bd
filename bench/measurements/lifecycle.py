"""create → start → exit → delete of `true`: the latency of each and how many a second, 1, 4 and 10 at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from bench.levels import CONCURRENCIES
from bench.result import Row, make_rows
from bench.rounds import Batch, Worker, in_threads, run, take_batches
from bench.stage import UnusableError
from bench.subjects.v0api import V0
from bench.subjects.world import World

NAME = "lifecycle"


def measure(world: World) -> Iterator[Row]:
    """Yield rows for the same bundle everywhere, then for each one's own specification."""
    same = _same_bundle(world)
    bases = _bases(world)
    for concurrency in CONCURRENCIES:
        alone = concurrency == 1
        count = 1 if alone else concurrency * world.level.batch
        batches = take_batches(
            world.stage, same, world.level.rounds if alone else world.level.batches, count, concurrency
        )
        yield from _rows("same bundle", batches, bases, concurrency)
    own = take_batches(world.stage, _own_specification(world), world.level.rounds, 1, 1)
    yield from _rows("own specification", own, {name: _ctrs(own) for name in own}, 1)


def _ctrs(found: Mapping[str, object]) -> list[str]:
    return [name for name in found if name.startswith("ctr")]


def _rows(chart: str, batches: Mapping[str, Sequence[Batch]], bases: Mapping[str, Sequence[str]], x: int) -> list[Row]:
    case = f"{chart}, {x} at once"
    notes = {name: "its start and one call alone" for name in batches if name == "ctr version"}
    rates = {name: [batch.rate for batch in found] for name, found in batches.items() if name not in notes}
    # Latencies of one at a time are taken in turn; those of a batch are its own, and compared as they are.
    each = {name: [item for batch in found for item in batch.latencies] for name, found in batches.items()}
    milliseconds = {name: [item * 1000 for item in items] for name, items in each.items()}
    return [
        *make_rows(NAME, case, "ms", milliseconds, bases, x=x, chart=chart, notes=notes, in_turn=x == 1),
        *make_rows(NAME, case, "containers/s", rates, bases, x=x, chart=chart),
    ]


def _same_bundle(world: World) -> dict[str, Worker]:
    bundle = world.bundles.get("true")
    found: dict[str, Worker] = {}
    for name, runtime in world.runtimes.items():
        found[f"{name} run"] = in_threads(partial(runtime.run, bundle))
    if world.conmon:
        found[f"conmon, {world.runtime}"] = in_threads(partial(world.conmon.run, bundle))
    for name in world.runtimes:
        if world.containerd:
            found[f"ctr run, {name}"] = in_threads(partial(world.containerd.run, name, bundle))
        found[f"wherry run, {name}"] = in_threads(partial(world.daemon.run, name, f"bundle:{bundle}"))
        found[f"wherry API, {name}"] = world.daemon.batches(partial(world.daemon.cycle, name, bundle))
    if world.containerd:
        found["ctr version"] = in_threads(partial(run, world.containerd.call_argv("version")))
    try:
        v0 = V0(world.stage, world.daemon.socket_path)
        found[f"wherry types.API, {world.runtime}"] = world.daemon.batches(
            partial(v0.cycle, world.runtime, bundle), inside=v0
        )
    except UnusableError as error:
        world.stage.remark(f"types.API is left out: {error}")
    return found


def _bases(world: World) -> dict[str, list[str]]:
    bases = {f"conmon, {world.runtime}": [f"{world.runtime} run"]}
    for name in world.runtimes:
        for subject in ("ctr run", "wherry run", "wherry API", "wherry types.API"):
            bases[f"{subject}, {name}"] = [f"{name} run"]
        bases[f"wherry run, {name}"].append(f"ctr run, {name}")
        bases[f"wherry API, {name}"].append(f"ctr run, {name}")
        if name != "runc":
            # containerd's own default is runc.
            bases[f"wherry run, {name}"].append("ctr run, runc")
    return bases


def _own_specification(world: World) -> dict[str, Worker]:
    """A root filesystem given as a directory; Wherry adds a seccomp filter, ctr none."""
    name, rootfs = world.runtime, world.bundles.rootfs
    found = {}
    if world.containerd:
        found[f"ctr run --rootfs, {name}"] = in_threads(partial(world.containerd.run_rootfs, name, rootfs, "/bin/true"))
    for source, label in ((f"rootfs:{rootfs}", "rootfs --rootfs-rw"), ("host", "host")):
        found[f"wherry run {label}, {name}"] = in_threads(partial(world.daemon.run, name, source, "/bin/true"))
    return found
