"""A daemon killed with N containers running, and started again: when it answers, and when it knows them all."""

from __future__ import annotations

from collections.abc import Iterator

from bench.result import Row, make_rows
from bench.stage import UnusableError
from bench.subjects.world import World

NAME = "restart"


def measure(world: World) -> Iterator[Row]:
    """Yield seconds for each number of containers; both daemons are killed in turn."""
    daemon, ctr = world.daemon, world.containerd
    bundle = world.bundles.get("sleep", "100000")
    running = at_peer = 0
    try:
        for count in world.level.counts:
            daemon.start(world.runtime, bundle, count - running)
            running = count
            with_peer = ctr is not None and count <= world.level.peer_count
            while ctr is not None and with_peer and at_peer < count:
                ctr.start(world.runtime, bundle)
                at_peer += 1
            answers: dict[str, list[float]] = {"wherry": []}
            adopted: list[float] = []
            for _ in range(world.level.restarts):
                daemon.kill()
                answered, recovered = daemon.boot()
                answers["wherry"].append(1000 * answered)
                adopted.append(1000 * recovered)
                _check(world, count)
                if ctr is not None and with_peer:
                    ctr.kill()
                    answers.setdefault("containerd", []).append(1000 * ctr.boot())
            yield from _rows(count, answers, adopted)
    finally:
        daemon.delete_all()
        if ctr is not None:
            ctr.delete_all()


def _rows(count: int, answers: dict[str, list[float]], adopted: list[float]) -> list[Row]:
    notes = {"containerd": "asked with ctr version; it has adopted all by then", "wherry": "asked through the API"}
    bases = {"wherry": ["containerd"]}
    first = f"until the first answer, {count} containers"
    last = f"until all are adopted, {count} containers"
    return [
        *make_rows(NAME, first, "ms", answers, bases, x=count, chart="first answer", notes=notes),
        *make_rows(NAME, last, "ms", {"wherry": adopted}, {}, x=count, chart="adopted"),
    ]


def _check(world: World, count: int) -> None:
    running = [item for item in world.daemon.call(world.daemon.client.containers()) if item.state == "running"]
    if len(running) != count:
        raise UnusableError(f"of {count} containers {len(running)} run after the restart")
