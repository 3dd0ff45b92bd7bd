"""The measurements. Each is one file with one function `measure(world)`, which yields rows."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.result import Row
from bench.subjects.world import World


@dataclass(frozen=True, slots=True)
class Measurement:
    """A file of this package, and what it finds out."""

    name: str
    title: str

    def load(self) -> Callable[[World], Iterable[Row]]:
        """Return its function."""
        measure: Callable[[World], Iterable[Row]] = importlib.import_module(f"bench.measurements.{self.name}").measure
        return measure


#: In this order. Memory first: what has run before would count.
ALL = (
    Measurement("memory", "Memory of idle containers"),
    Measurement("lifecycle", "create → start → exit → delete of `true`"),
    Measurement("trace", "From the request to the first instruction, and where the time goes"),
    Measurement("execs", "Exec in a running container"),
    Measurement("throughput", "Standard output and terminals"),
    Measurement("events", "From an exit to its event"),
    Measurement("restart", "A daemon killed and started again with N containers running"),
    Measurement("listing", "ps and stats of N containers, and what idle ones cost"),
    Measurement("commands", "The command line"),
    Measurement("clones", "Ten clones of a warm program against ten cold starts"),
)
