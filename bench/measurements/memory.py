"""Memory of N idle containers: each shim, the daemon's share, and an estimate of what the kernel holds for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.kernel import Memory, read_kernel_kb, read_memory
from bench.result import Bases, Row, make_rows
from bench.subjects.world import World

NAME = "memory"
_KERNEL = "slab, stacks, tables, percpu on the whole machine, before and after"


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Somebody who keeps containers: how to start one more, its shims, its daemon's processes."""

    start: Callable[[Path], object]
    shims: Callable[[], Sequence[int]]
    daemons: Callable[[], Sequence[int]]
    clear: Callable[[], None]


def measure(world: World) -> Iterator[Row]:
    """Yield rows for each number of containers, everybody at the same number before the next."""
    keepers = _keepers(world)
    bundle = world.bundles.get("sleep", "100000")
    held = dict.fromkeys(keepers, 0)
    start = dict.fromkeys(keepers, 0)
    kernel: dict[str, float] = {}
    try:
        for count in world.level.counts:
            found: dict[str, list[Memory]] = {}
            daemons: dict[str, float] = {}
            for name, keeper in keepers.items():
                if not name.startswith("wherry") and count > world.level.peer_count:
                    continue
                before = read_kernel_kb()
                for _ in range(count - held[name]):
                    keeper.start(bundle)
                start[name] += read_kernel_kb() - before
                held[name] = count
                kernel[name] = start[name] / count
                found[name] = [read_memory(pid) for pid in keeper.shims()]
                daemons[name] = float(sum(read_memory(pid).pss for pid in keeper.daemons()))
            yield from _rows(count, found, daemons, {name: kernel[name] for name in found})
    finally:
        for keeper in keepers.values():
            keeper.clear()


def _rows(
    count: int, found: dict[str, list[Memory]], daemons: dict[str, float], kernel: dict[str, float]
) -> Iterator[Row]:
    bases = {"wherry": ["conmon", "containerd"]}
    shims = {name: items for name, items in found.items() if items}
    tables = (
        ("PSS of a shim", {name: [float(item.pss) for item in items] for name, items in shims.items()}),
        ("private memory of a shim", {name: [float(item.private) for item in items] for name, items in shims.items()}),
        ("page tables of a shim", {name: [float(item.tables) for item in items] for name, items in shims.items()}),
    )
    for case, values in tables:
        yield from _grown(case, count, values, bases)
    resident = {name: [value] for name, value in daemons.items() if value}
    yield from _grown("PSS of the daemon", count, resident, bases, _DAEMONS)
    whole = {
        name: [(sum(item.pss for item in items) + daemons[name]) / count] for name, items in shims.items() if items
    }
    yield from _grown("user memory a container, daemon included", count, whole, bases)
    estimated = {name: [value] for name, value in kernel.items()}
    yield from _grown("kernel memory a container, estimated", count, estimated, {}, dict.fromkeys(kernel, _KERNEL))


def _grown(
    chart: str, count: int, values: dict[str, list[float]], bases: Bases, notes: dict[str, str] | None = None
) -> list[Row]:
    case = f"{chart}, {count} containers"
    return make_rows(NAME, case, "kB", values, bases, x=count, chart=chart, notes=notes, in_turn=False)


_DAEMONS = {"wherry": "wherryd and its zygote"}


def _keepers(world: World) -> dict[str, _Keeper]:
    daemon, name = world.daemon, world.runtime
    zygote = daemon.call(daemon.client.info()).zygote_pid
    runtime = world.runtimes[name]
    found = {
        "wherry": _Keeper(
            lambda bundle: daemon.start(name, bundle),
            daemon.shims,
            lambda: [daemon.pid, zygote],
            daemon.delete_all,
        ),
        "no shim": _Keeper(runtime.start, list, list, runtime.delete_all),
    }
    if conmon := world.conmon:
        found["conmon"] = _Keeper(conmon.start, conmon.shims, list, conmon.delete_all)
    if ctr := world.containerd:
        found["containerd"] = _Keeper(
            lambda bundle: ctr.start(name, bundle),
            ctr.shims,
            lambda: [ctr.pid],
            ctr.delete_all,
        )
    return found
