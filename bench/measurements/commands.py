"""The command line: help, version, ps and a whole run, warm, and cold with its files out of the page cache."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import cache_from_source
from pathlib import Path

from bench.kernel import drop_from_cache
from bench.result import Row, make_rows
from bench.rounds import run, take_turns
from bench.subjects.world import World

NAME = "commands"
#: What the commands below import.
_IMPORTS = "grpc.aio, rich.table, wherry.cli.main, wherry.cli.commands.show, wherry.client.channel"
#: What is compared with what: our command line, and the peer's words for the same.
_PAIRS = ("help", "version", "list", "run")


def measure(world: World) -> Iterator[Row]:
    """Yield milliseconds of whole commands, as a shell would wait for them."""
    ours, theirs = _commands(world)
    files = {"wherry": _our_files()}
    if world.containerd:
        files["ctr"] = [Path(world.containerd.ctr)]
    for case in _PAIRS:
        for cold in (False, True):
            subjects: dict[str, Callable[[], float]] = {
                "wherry": _timer(ours[case], world.daemon.environment, files["wherry"] if cold else ())
            }
            if case in theirs:
                subjects["ctr"] = _timer(theirs[case], None, files["ctr"] if cold else ())
            if case == "help":
                python = [sys.executable, "-I", "-S", "-c", "pass"]
                subjects["python, empty"] = _timer(python, None, files["wherry"] if cold else ())
            rounds = max(2, world.level.commands // 2) if cold else world.level.commands
            found = take_turns(world.stage, subjects, rounds, warm=not cold)
            milliseconds = {name: [1000 * value for value in values] for name, values in found.items()}
            label = f"{' '.join(ours[case][1:] if case != 'run' else ['run --rm host -- true'])}, {_heat(cold)}"
            bases = {"wherry": ["ctr", "python, empty"]}
            yield from make_rows(NAME, label, "ms", milliseconds, bases, chart=_heat(cold), notes=_notes(case))


def _heat(cold: bool) -> str:
    return "cold" if cold else "warm"


def _notes(case: str) -> dict[str, str]:
    return {"ctr": "ctr run --rm --rootfs of busybox"} if case == "run" else {}


def _commands(world: World) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    daemon, ctr = world.daemon, world.containerd
    ours = {
        "help": daemon.argv("--help"),
        "version": daemon.argv("version"),
        "list": daemon.argv("ps"),
        "run": daemon.argv("run", "--rm", "host", "--", "true"),
    }
    if ctr is None:
        return ours, {}
    theirs = {
        "help": ctr.call_argv("--help"),
        "version": ctr.call_argv("version"),
        "list": ctr.call_argv("tasks", "list"),
        # Removed with --rm before it is used again.
        "run": ctr.call_argv("run", "--rm", "--rootfs", str(world.bundles.rootfs), world.stage.make_id(), "/bin/true"),
    }
    return ours, theirs


def _timer(argv: list[str], env: dict[str, str] | None, cold: Iterable[Path]) -> Callable[[], float]:
    def measure() -> float:
        drop_from_cache(cold)
        start = time.perf_counter()
        run(argv, env=env)
        return time.perf_counter() - start

    return measure


def _our_files() -> list[Path]:
    """Return what the command line reads: Python, and the files of everything that it may import."""
    code = f"import sys, {_IMPORTS}; print(*(getattr(m, '__file__', 0) or '' for m in sys.modules.values()), sep='\\n')"
    sources = [Path(line) for line in run([sys.executable, "-c", code], stdout=subprocess.PIPE).splitlines() if line]
    compiled = [Path(cache_from_source(str(path))) for path in sources if path.suffix == ".py"]
    return [*sources, *compiled, Path(sys.executable).resolve()]
