"""What a check finds, and the one way in which checks run other programs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

OK = "ok"
WARN = "warn"
FAIL = "fail"
#: Seconds that a program may take before it counts as hanging.
PROBE_SECONDS = 20.0
#: Of what a failing program says, so much is worth showing.
_SHOWN = 600


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: `status` is ok, warn (something is missing or left over) or fail (containers will not run)."""

    name: str
    status: str
    detail: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where this host keeps what is examined."""

    run: Path = Path("/run/wherry")
    root: Path = Path("/var/lib/wherry")
    cgroup: Path = Path("/sys/fs/cgroup")
    proc: Path = Path("/proc")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended: `status` is its exit code, 127 if it is not there, 124 if it hung; `words` its output."""

    status: int
    words: str


def try_program(argv: Sequence[str]) -> Outcome:
    """Run a program without stdin and return how it ended and what it said; a failure is an answer."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return Outcome(127, f"{argv[0]} is not on PATH")
    except OSError as error:
        return Outcome(126, str(error))
    except subprocess.TimeoutExpired:
        return Outcome(124, f"no end within {PROBE_SECONDS:.0f} seconds")
    words = " / ".join(done.stdout.decode("utf-8", "replace").split("\n")).strip(" /")
    return Outcome(done.returncode, words if len(words) <= _SHOWN else f"{words[:_SHOWN]}...")


def read_text(path: Path) -> str:
    """Return the text of a small kernel file, "" when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
