#!/usr/bin/env python3
"""An OCI runtime that misbehaves when told to, and else is the real one.

Beside a copy of this file, NAME.real holds the path of the real runtime and NAME.modes lines `VERB MODE [NUMBER]`; VERB
`*` is every one. Modes: `hang` never ends, `megabyte` writes a megabyte to stderr and fails, `no-pid` exits 0 having
done nothing, `silent` fails without a word, `killed` dies by SIGKILL, `delay` waits NUMBER seconds before the real one.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

VERBS = ("create", "start", "run", "exec", "kill", "delete", "state", "pause", "resume", "update", "ps", "--version")


class FakeRuntime:
    """A copy of this program in `directory` that runs `real` unless told otherwise."""

    def __init__(self, directory: Path, real: str) -> None:
        found = shutil.which(real)
        assert found is not None, f"{real} is not on PATH"
        self.path = directory / f"fake-{Path(real).name}"
        self._modes = directory / f"{self.path.name}.modes"
        shutil.copy(__file__, self.path)
        self.path.chmod(0o755)
        (directory / f"{self.path.name}.real").write_text(found)

    def __str__(self) -> str:
        return str(self.path)

    def set(self, verb: str, mode: str, number: float = 0) -> None:
        """Misbehave in one way, whenever `verb` (`*`: anything; or several with commas) is called."""
        self._modes.write_text("".join(f"{one} {mode} {number:g}\n" for one in verb.split(",")))

    def reset(self) -> None:
        """Behave like the real runtime again."""
        self._modes.unlink(missing_ok=True)


def _read_mode(name: str) -> tuple[str, float]:
    verb = next((word for word in sys.argv[1:] if word in VERBS), "")
    try:
        with open(f"{name}.modes") as file:
            for line in file:
                wanted, mode, number = line.split()
                if wanted in (verb, "*"):
                    return mode, float(number)
    except FileNotFoundError:
        pass
    return "", 0.0


def main() -> None:
    """Misbehave, or become the real runtime."""
    name = os.path.abspath(sys.argv[0])
    mode, number = _read_mode(name)
    if mode == "hang":
        while True:
            time.sleep(3600)
    elif mode == "megabyte":
        sys.stderr.write("x" * 2**20)
        sys.exit(1)
    elif mode == "no-pid":
        sys.exit(0)
    elif mode == "silent":
        sys.exit(1)
    elif mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif mode == "delay":
        time.sleep(number)
    with open(f"{name}.real") as file:
        real = file.read()
    os.execv(real, [real, *sys.argv[1:]])


if __name__ == "__main__":
    main()
