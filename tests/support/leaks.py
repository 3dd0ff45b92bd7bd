"""What a test may have left behind: children, descriptors, and for real containers mounts, cgroups and directories.

The process that runs the tests is a child subreaper, so whatever loses its parent (the zygote and the shims of a daemon
that was killed) becomes its child: nothing of a test can hide, and processes of others on the machine do not matter.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support.eventually import SLOW

CGROUP = Path("/sys/fs/cgroup")
#: Names of temporary directories begin with this; other runs of the tests have another one.
PREFIX = f"wt-{os.getpid()}-"
#: Seconds for what is ending to have ended.
SETTLE = 5.0
#: gRPC keeps these, and a socket pair, for as long as the process lives or a traceback refers to a channel. Of ours, an
#: event loop that is not closed has them, too, and says so with a ResourceWarning.
_GRPC_KEEPS = ("anon_inode:[eventpoll]", "anon_inode:[eventfd]")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is there now, as descriptions that can be subtracted."""

    children: frozenset[int]
    found: frozenset[str]


def take(*, containers: bool) -> Snapshot:
    """Look at this process, and with `containers` at the machine."""
    found = set(_find_fds())
    if containers:
        found.update(_find_mounts(), _find_cgroups(), _find_directories())
    return Snapshot(frozenset(_children(os.getpid())), frozenset(found))


def check(before: Snapshot, *, containers: bool) -> list[str]:
    """Return what has come since `before` and stays for SETTLE seconds; processes are killed."""
    deadline = time.monotonic() + SETTLE * SLOW
    left: frozenset[str] | None = None
    while True:
        if containers:
            reap(before.children)
        now = take(containers=containers)
        strangers = now.children - before.children
        # Only what is seen every time: another run of the tests on this machine makes and removes things meanwhile.
        left = now.found - before.found if left is None else left & now.found
        if not strangers and not left:
            return []
        if time.monotonic() > deadline:
            break
        # A channel of gRPC closes its descriptors when it is freed, which a cycle may delay.
        gc.collect()
        time.sleep(0.05)
    described = [f"child {pid}: {_describe(pid)}" for pid in sorted(strangers)]
    kill(before.children)
    return [*described, *sorted(left)]


def reap(known: Iterable[int] = ()) -> None:
    """Reap orphans that have ended: children other than those `known` to be waited for by somebody."""
    if zygote := sys.modules.get("wherry.runtime.zygote"):
        # Those of embedded supervisors; it would look for them when the next one is opened.
        zygote._reap_orphans()
    for pid in _children(os.getpid()):
        if pid not in known:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


def kill(known: Iterable[int] = ()) -> None:
    """Kill every descendant except the children that are `known`, for the sake of the tests to come."""
    keep = frozenset(known)
    deadline = time.monotonic() + SETTLE * SLOW
    while (pids := _children(os.getpid()) - keep) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            except (ProcessLookupError, ChildProcessError):
                continue
        time.sleep(0.01)


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found.update(int(word) for word in task.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def descendants(pid: int) -> set[int]:
    """Return every process below `pid`."""
    found: set[int] = set()
    todo = [pid]
    while todo:
        new = _children(todo.pop()) - found
        found |= new
        todo.extend(new)
    return found


def _describe(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (state {state}) {words}"
    except OSError:
        return "just gone"


def _find_fds() -> Iterable[str]:
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the one that listed them
        if "grpc" in sys.modules and (target in _GRPC_KEEPS or _is_socket_pair(int(name), target)):
            continue
        yield f"descriptor {name}: {target}"


def _is_socket_pair(fd: int, target: str) -> bool:
    """Tell whether `fd` is an end of a stream socket pair of this process, with which gRPC wakes up the event loop."""
    if not target.startswith("socket:"):
        return False
    try:
        with socket.socket(fileno=os.dup(fd)) as end:
            if end.family != socket.AF_UNIX or end.type != socket.SOCK_STREAM or end.getsockname() or end.getpeername():
                return False
            pid, _, _ = struct.unpack("iII", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return bool(pid == os.getpid())
    except OSError:
        return False


def _find_mounts() -> Iterable[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        yield f"mount {line.partition(' ')[2].partition(' ')[2]}"


def _find_cgroups() -> Iterable[str]:
    ours: set[int] | None = None
    for parent, names, _ in os.walk(CGROUP):
        for name in names:
            if "wherry" not in name or _is_foreign(name):
                continue
            pids = _read_pids(Path(parent, name))
            if pids and ours is None:
                ours = descendants(os.getpid())
            # A cgroup with processes that do not descend from us belongs to a daemon beside the tests.
            if not pids or pids & (ours or set()):
                yield f"cgroup {parent}/{name}"


def _is_foreign(name: str) -> bool:
    """Tell whether a cgroup is of a World of another run or worker, whose daemon may be away for long."""
    found = re.search(r"wherry~f(\d+)n\d+-", name)
    return found is not None and int(found[1]) != os.getpid()


def _read_pids(directory: Path) -> set[int]:
    try:
        return {int(line) for line in (directory / "cgroup.procs").read_text().split()}
    except OSError:
        return set()


def _find_directories() -> Iterable[str]:
    for path in (*Path("/tmp").glob(f"{PREFIX}*"), Path("/run/wherry"), Path("/var/lib/wherry")):
        if path.exists():
            yield f"directory {path}"
