"""Measuring in turn: each round measures every subject once, in another order each time."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.figures import rotate
from bench.stage import Stage, UnusableError

#: Seconds that one command may take.
TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Seconds that each of some things took, and all together."""

    latencies: tuple[float, ...]
    wall: float

    @property
    def rate(self) -> float:
        """Things per second."""
        return len(self.latencies) / self.wall


#: Does `count` things, `concurrency` at once.
Worker = Callable[[int, int], Batch]


def take_turns(
    stage: Stage, subjects: Mapping[str, Callable[[], float]], rounds: int, *, warm: bool = True
) -> dict[str, list[float]]:
    """Return what each subject gave in each round; one that fails is left out with a message."""
    left = dict(subjects)
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(-1 if warm else 0, rounds):
        for name in rotate(list(left), max(number, 0)):
            try:
                value = left[name]()
            except UnusableError as error:
                stage.remark(f"{name} is left out: {error}")
                del left[name], found[name]
                continue
            if number >= 0:
                found[name].append(value)
    return {name: values for name, values in found.items() if values}


def take_batches(
    stage: Stage, subjects: Mapping[str, Worker], rounds: int, count: int, concurrency: int
) -> dict[str, list[Batch]]:
    """Do as `take_turns` does with batches of `count` things, `concurrency` at once."""
    batches: dict[str, list[Batch]] = {name: [] for name in subjects}

    def bind(name: str, work: Worker) -> Callable[[], float]:
        def call() -> float:
            batch = work(count, concurrency)
            batches[name].append(batch)
            return batch.rate

        return call

    found = take_turns(stage, {name: bind(name, work) for name, work in subjects.items()}, rounds)
    return {name: batches[name][-len(values) :] for name, values in found.items()}


def run(argv: Sequence[str], *, stdout: int = subprocess.DEVNULL, env: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it printed if `stdout` is PIPE. Raises UnusableError with its words."""
    # A file for its errors: a pipe would have to be read by us meanwhile, which costs what is measured.
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=errors, env=env)
        except OSError as error:
            raise UnusableError(f"{argv[0]}: {error}") from None
        with process:
            text = process.stdout.read() if process.stdout else b""
            _wait(process)
        if process.returncode != 0:
            errors.seek(0)
            words = errors.read()[-2000:].decode(errors="replace").strip().splitlines()
            reason = words[-1] if words else "no reason given"
            raise UnusableError(f"{' '.join(argv)[:200]} ended with {process.returncode}: {reason}")
    return text.decode(errors="replace")


def _wait(process: subprocess.Popen[bytes]) -> None:
    # Not Popen.wait with a timeout: it sleeps up to 50 ms between two looks, and so would be what is measured.
    handle = os.pidfd_open(process.pid)
    try:
        if not select.select([handle], [], [], TIMEOUT)[0]:
            process.kill()
            raise UnusableError(f"{process.args!r} did not end within {TIMEOUT:g} s")
    finally:
        os.close(handle)
    process.wait()


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_threads(work: Callable[[], object]) -> Worker:
    """Return a Worker that does `work`, which waits for a program, in threads."""

    def batch(count: int, concurrency: int) -> Batch:
        start = time.perf_counter()
        if concurrency == 1:
            latencies = [timed(work) for _ in range(count)]
        else:
            with ThreadPoolExecutor(concurrency) as pool:
                latencies = list(pool.map(lambda _: timed(work), range(count)))
        return Batch(tuple(latencies), time.perf_counter() - start)

    return batch
