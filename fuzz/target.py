"""What a fuzz target is, and the table of all of them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"

Run = Callable[[bytes], None]
Seeds = Callable[[], Mapping[str, bytes]]


@dataclass(frozen=True, slots=True)
class Target:
    """One way into the code: `run` raises for a finding only; `seeds` are inputs from real values, by file name."""

    name: str
    run: Run
    seeds: Seeds

    @property
    def corpus(self) -> Path:
        """The directory of inputs to begin with, former findings among them."""
        return CORPUS / self.name


TARGETS: dict[str, Target] = {}


def target(name: str, seeds: Seeds) -> Callable[[Run], Run]:
    """Return a decorator that puts a function into the table."""

    def add(run: Run) -> Run:
        TARGETS[name] = Target(name, run, seeds)
        return run

    return add


def make_directory() -> Path:
    """Return a new directory, which is removed at the end of the program.

    A fuzzer that ends in a crash has no such end: whoever starts it says with $TMPDIR where all of it goes.
    """
    path = Path(tempfile.mkdtemp(prefix="wherry-fuzz-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def empty(directory: Path) -> Path:
    """Remove what the input before has left in a directory, and return it."""
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return directory
