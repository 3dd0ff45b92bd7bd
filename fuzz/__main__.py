"""Fuzz for a while: `python -m fuzz [NAME...] [--seconds N]`; try one input: `python -m fuzz NAME FILE`.

Each target runs in a process of its own, under libFuzzer by way of atheris. It fails with 1 when one has found
something, which stays in a temporary directory; put it into fuzz/corpus/NAME once it is mended.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fuzz.target import TARGETS, Target

ROOT = Path(__file__).parent.parent
#: Longest input, bytes; seconds one may take; memory that a target may use, MiB.
_MAX_INPUT = 4096
_MAX_SECONDS = 20
_MAX_MEMORY = 2048
_WORKER = "FUZZ_TARGET"


def load() -> dict[str, Target]:
    """Import every target and return them by name."""
    from fuzz import archives, requests, settings, shims, state

    assert all((archives, requests, settings, shims, state))
    return dict(sorted(TARGETS.items()))


def replay(target: Target, file: Path) -> int:
    """Run one input, without atheris: a finding is a traceback."""
    target.run(file.read_bytes())
    print(f"{target.name} {file}: nothing found")
    return 0


def write_seeds(targets: dict[str, Target]) -> None:
    """Write the seeds of all targets into the corpora."""
    for target in targets.values():
        target.corpus.mkdir(parents=True, exist_ok=True)
        for name, data in target.seeds().items():
            (target.corpus / name).write_bytes(data)


def work(name: str, arguments: list[str]) -> None:
    """Be the process that fuzzes: does not return."""
    atheris: Any = importlib.import_module("atheris")  # only those who fuzz have it
    logging.getLogger("wherry").setLevel(logging.CRITICAL)
    with atheris.instrument_imports(include=["wherry"]):
        target = load()[name]
    logging.disable()  # of damaged files, thousands of times
    atheris.Setup([sys.argv[0], *arguments], target.run)
    atheris.Fuzz()


def run(target: Target, seconds: int, place: Path) -> bool:
    """Fuzz one target for so many seconds; return whether nothing was found."""
    directories = [place / name for name in ("new", "found", "tmp")]
    for directory in directories:
        directory.mkdir(parents=True)
    new, found, temporary = directories
    options = (
        *(f"-max_total_time={seconds}", f"-max_len={_MAX_INPUT}", f"-timeout={_MAX_SECONDS}", "-print_final_stats=1"),
        *(f"-rss_limit_mb={_MAX_MEMORY}", f"-artifact_prefix={found}/", str(new), str(target.corpus)),
    )
    environment = os.environ | {_WORKER: target.name, "TMPDIR": str(temporary)}
    with (place / "log").open("wb") as log:
        # What it says has the tracebacks of findings, and a line for every new path.
        done = subprocess.run(
            [sys.executable, "-m", "fuzz", *options], check=False, cwd=ROOT, env=environment, stderr=log, stdout=log
        )
    shutil.rmtree(temporary)
    said = (place / "log").read_text(errors="replace")
    count = re.search(r"number_of_executed_units:\s*(\d+)", said)
    print(f"{target.name}: {count[1] if count else '?'} inputs, {len(list(new.iterdir()))} new", flush=True)
    if done.returncode == 0:
        return True
    print(_tail(said))
    for path in sorted(found.iterdir()):
        print(f"found {path}; try it again: python -m fuzz {target.name} {path}")
    return False


def _tail(said: str) -> str:
    """Return the last traceback in what a fuzzer has said, or its last lines."""
    begin = said.rfind("Uncaught Python exception")
    text = said[begin:].partition("\n==")[0] if begin >= 0 else "\n".join(said.splitlines()[-20:])
    return text[-4000:].strip()


def main(arguments: list[str]) -> int:
    """Run the command line and return the exit status."""
    targets = load()
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets, all if there is none; or one, and a FILE")
    parser.add_argument("--seconds", type=int, default=60, help="how long each is fuzzed (default: 60)")
    parser.add_argument("--list", action="store_true", help="list the targets")
    parser.add_argument("--seeds", action="store_true", help="write the corpora's first inputs anew")
    given = parser.parse_args(arguments)
    if given.list:
        for name, target in targets.items():
            print(f"{name:16} {(target.run.__doc__ or '').strip().splitlines()[0]}")
        return 0
    if given.seeds:
        write_seeds(targets)
        return 0
    if len(given.names) == 2 and given.names[1] not in targets and given.names[0] in targets:
        return replay(targets[given.names[0]], Path(given.names[1]))
    if unknown := [name for name in given.names if name not in targets]:
        parser.error(f"no target {', '.join(unknown)}; --list lists them")
    place = Path(tempfile.mkdtemp(prefix="wherry-fuzz-"))
    failed = [name for name in given.names or targets if not run(targets[name], given.seconds, place / name)]
    if failed:
        print(f"found something: {', '.join(failed)}; see {place}")
        return 1
    shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    if _WORKER in os.environ:
        work(os.environ[_WORKER], sys.argv[1:])
    sys.exit(main(sys.argv[1:]))
