"""How thorough a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """Sizes of a run. `rounds` of one thing at a time, `batches` at each higher concurrency, `batch` things a worker.

    `counts` are the numbers of containers for what grows with them, up to `peer_count` for the peers. `megabytes` are
    written at the larger block sizes, `exits` told to subscribers, `idle_seconds` spent watching idle containers.
    """

    name: str
    rounds: int
    batches: int
    batch: int
    counts: tuple[int, ...]
    peer_count: int
    megabytes: int
    streams: int
    exits: int
    idle_seconds: float
    restarts: int
    commands: int


QUICK = Level(
    name="quick",
    rounds=4,
    batches=1,
    batch=1,
    counts=(1, 10),
    peer_count=10,
    megabytes=32,
    streams=1,
    exits=15,
    idle_seconds=2.0,
    restarts=1,
    commands=3,
)
DEFAULT = Level(
    name="default",
    rounds=25,
    batches=4,
    batch=2,
    counts=(1, 10, 50, 100, 500),
    peer_count=100,
    megabytes=256,
    streams=3,
    exits=150,
    idle_seconds=20.0,
    restarts=3,
    commands=12,
)
FULL = Level(
    name="full",
    rounds=100,
    batches=10,
    batch=3,
    counts=(1, 10, 50, 100, 500, 1000),
    peer_count=500,
    megabytes=1024,
    streams=5,
    exits=1000,
    idle_seconds=60.0,
    restarts=5,
    commands=30,
)

CONCURRENCIES = (1, 4, 10)
