"""Where a run happens: a directory, a mount namespace and a name of its own, and everything gone at its end.

This process is a child subreaper, so whatever loses its parent (shims, containers) comes to it and can be ended; what
is mounted is mounted in its own namespace; every container's name begins with the run's, so that its cgroups are found.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from bench.levels import Level
from wherry.linux import cgroup, libc

_SETUP = Path(__file__).parent.parent / "tools" / "host.sh"
#: Seconds for what was killed to be gone.
_SWEEP = 20.0


class UnusableError(Exception):
    """Something cannot be measured here; the message says what and why."""


class Stage:
    """A run's surroundings: `directory` for files, `tag` for names, `stack` for what must be closed."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.tag = f"wb{os.getpid()}"
        self.directory = Path("/")
        self.stack = ExitStack()
        self.remarks: list[str] = []
        self._count = 0

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise UnusableError("the benchmark must be run by root: it makes containers")
        signal.signal(signal.SIGTERM, _interrupt)
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        libc.unshare(libc.CLONE_NEWNS)
        libc.mount("", "/", "", libc.MS_REC | libc.MS_PRIVATE)
        if subprocess.run([_SETUP, "tests"], check=False).returncode != 0:
            self.remark("tools/host.sh could not set up everything")
        # Short: the path of a unix socket has at most 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.tag}-", dir="/tmp"))
        # Where everybody's state is by default: /run, which is a tmpfs.
        self._volatile = self.make_directory("run")
        libc.mount("tmpfs", str(self._volatile), "tmpfs", 0, "mode=711")
        self.stack.callback(libc.umount, str(self._volatile), libc.MNT_DETACH)
        # ctr leaves directories behind.
        os.environ["TMPDIR"] = str(self.make_directory("tmp"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        try:
            self.stack.close()
        except (OSError, UnusableError, subprocess.SubprocessError) as problem:
            self.say(f"cleaning up: {problem}")
        finally:
            self._sweep()

    def _sweep(self) -> None:
        deadline = time.monotonic() + _SWEEP
        while (left := kill_descendants() + self._kill_cgroups()) and time.monotonic() < deadline:
            time.sleep(0.02)
        if left:
            self.say(f"{left} processes or cgroups could not be removed")
        shutil.rmtree(self.directory, ignore_errors=True)

    def _kill_cgroups(self) -> int:
        """Kill and remove every cgroup that is called after this run; return how many are still there."""
        left = 0
        for hierarchy in cgroup.hierarchies():
            for parent, names, _ in os.walk(hierarchy, topdown=False):
                for name in names:
                    path = Path(parent, name)
                    if not self._is_ours(path.relative_to(hierarchy)):
                        continue
                    _kill_processes(path)
                    try:
                        path.rmdir()
                    except FileNotFoundError:
                        continue
                    except OSError:
                        left += 1
        return left

    def _is_ours(self, path: Path) -> bool:
        return any(part == self.tag or f"{self.tag}-" in part for part in path.parts)

    def make_id(self) -> str:
        """Return a name for a container that no other has."""
        self._count += 1
        return f"{self.tag}-{self._count}"

    def make_directory(self, name: str, *, volatile: bool = False) -> Path:
        """Make a directory below that of the run and return it; `volatile`: on a tmpfs."""
        self._count += 1
        path = (self._volatile if volatile else self.directory) / f"{name}{self._count}"
        path.mkdir()
        return path

    def say(self, text: str) -> None:
        """Print a message on stderr."""
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def remark(self, text: str) -> None:
        """Print a message that belongs into the result, too: something left out, or to be known."""
        if text not in self.remarks:
            self.remarks.append(text)
            self.say(text)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found.update(int(word) for word in task.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def find_descendants(pid: int) -> set[int]:
    """Return every process below `pid`."""
    found: set[int] = set()
    todo = [pid]
    while todo:
        new = _children(todo.pop()) - found
        found |= new
        todo.extend(new)
    return found


def kill_descendants() -> int:
    """Kill every process below this one and reap what can be; return how many were there."""
    found = find_descendants(os.getpid())
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for pid in _children(os.getpid()):
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue
    return len(found)


def _kill_processes(directory: Path) -> None:
    try:
        pids = [int(line) for line in (directory / "cgroup.procs").read_text().split()]
    except OSError:
        return
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
