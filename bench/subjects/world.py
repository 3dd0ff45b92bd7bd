"""All subjects of a run, each made when it is first asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from bench import rounds
from bench.stage import Stage, UnusableError
from bench.subjects.bundles import Bundles
from bench.subjects.containerd import Containerd
from bench.subjects.runtime import Conmon, Runtime
from bench.subjects.wherryd import Daemon

T = TypeVar("T")

RUNTIMES = ("crun", "runc")


class World:
    """The stage and what is on it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.level = stage.level

    @functools.cached_property
    def bundles(self) -> Bundles:
        """The bundles that everybody runs."""
        return Bundles(self.stage)

    @functools.cached_property
    def runtimes(self) -> dict[str, Runtime]:
        """The bare runtimes that work here."""
        found = {}
        for name in RUNTIMES:
            if runtime := self.attempt(name, functools.partial(Runtime, self.stage, name)):
                try:
                    runtime.run(self.bundles.get("true"))
                except UnusableError as error:
                    self.stage.remark(f"{name} is left out: {error}")
                    continue
                found[name] = runtime
        if not found:
            raise UnusableError("no OCI runtime works here")
        return found

    @property
    def runtime(self) -> str:
        """The runtime for what is not measured with both: the one Wherry prefers."""
        return next(iter(self.runtimes))

    @functools.cached_property
    def containerd(self) -> Containerd | None:
        """A containerd, None when there is none."""
        return self.attempt("containerd", lambda: Containerd(self.stage))

    @functools.cached_property
    def conmon(self) -> Conmon | None:
        """conmon round the preferred runtime, None when there is none."""
        return self.attempt("conmon", lambda: Conmon(self.stage, self.runtime))

    @functools.cached_property
    def daemon(self) -> Daemon:
        """A wherryd."""
        return Daemon(self.stage)

    def attempt(self, name: str, make: Callable[[], T]) -> T | None:
        """Return what `make` gives, None with a remark when it cannot be had."""
        try:
            return make()
        except UnusableError as error:
            self.stage.remark(f"{name} is left out: {error}")
            return None

    def time_command(self, argv: list[str]) -> Callable[[], float]:
        """Return a function that runs a command and returns the seconds it took."""
        return lambda: rounds.timed(lambda: rounds.run(argv))
