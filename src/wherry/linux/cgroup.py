"""Control groups of both versions by their path below each hierarchy (cgroups(7))."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
#: Functions of the kernel, since 4.x: in which a stopped thread waits, and in which the parent of a vfork(2) does.
_STOP_WAITS = frozenset({"do_signal_stop"})
_VFORK_WAITS = frozenset({"kernel_clone", "_do_fork", "wait_for_vfork_done"})


def read_mode() -> str:
    """Return how this host mounts cgroups: `v2`, `hybrid`, `v1` or `none`."""
    if (ROOT / "cgroup.controllers").exists():
        return "v2"
    if (ROOT / "unified" / "cgroup.controllers").exists():
        return "hybrid"
    return "v1" if any(ROOT.glob("*/cgroup.procs")) else "none"


def hierarchies() -> list[Path]:
    """Return the mount point of every hierarchy."""
    if read_mode() == "v2":
        return [ROOT]
    return [path for path in sorted(ROOT.iterdir()) if path.is_dir() and not path.is_symlink()]


def read_path(pid: int) -> str:
    """Return the cgroup of `pid` relative to its hierarchies, "" when it is gone or in the root.

    On version 1 that of the pids, memory or freezer controller, which the runtimes always make.
    """
    try:
        text = os.fsdecode(Path(f"/proc/{pid}/cgroup").read_bytes())
    except OSError:
        return ""
    found = ""
    # Names are whoever's who may make one: any bytes, any line end but this.
    for line in filter(None, text.split("\n")):
        _, controllers, path = line.split(":", 2)
        if set(controllers.split(",")) & {"pids", "memory", "freezer"}:
            return path if path != "/" else ""
        if not controllers:
            found = path
    return found if found != "/" else ""


def path_below(directory: str) -> str:
    """Return the path of a cgroup's directory below the hierarchy that it is in, "" for one in none."""
    for hierarchy in hierarchies():
        if directory.startswith(f"{hierarchy}/"):
            return directory.removeprefix(str(hierarchy))
    return ""


def _directories(path: str) -> Iterator[Path]:
    relative = path.strip("/")
    if not relative or ".." in relative.split("/"):
        return
    for hierarchy in hierarchies():
        directory = hierarchy / relative
        if directory.is_dir():
            yield directory


def kill_all(path: str, timeout: float = 5.0) -> bool:
    """Kill every process in the cgroup `path`, frozen or not; return whether none is left after `timeout` seconds.

    Blocks. A frozen cgroup of version 1 acts on SIGKILL only when thawed, so it is thawed once all have theirs: none
    of them does anything more.
    """
    deadline = time.monotonic() + timeout
    while True:
        pids = set()
        for directory in _directories(path):
            _write(directory / "cgroup.kill", "1")
            pids |= _read_pids(directory)
        for pid in pids:
            send_one(pid, path)
        for directory in _directories(path):
            _write(directory / "freezer.state", "THAWED")
        if not pids:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)


def thaw(path: str) -> None:
    """Let a frozen cgroup go on, in either version."""
    for directory in _directories(path):
        _write(directory / "freezer.state", "THAWED")
        _write(directory / "cgroup.freeze", "0")


def is_frozen(path: str) -> bool | None:
    """Tell whether the cgroup `path` is frozen, or about to be; None where no hierarchy knows."""
    found = []
    for directory in _directories(path):
        for name, thawed in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            try:
                found.append((directory / name).read_text().strip() != thawed)
            except OSError:
                continue  # of the other version, or removed meanwhile
    return any(found) if found else None


def waits_for_vfork(path: str) -> bool:
    """Tell whether a thread in the frozen cgroup `path` waits for its child of vfork(2) to execute a program.

    It counts as frozen, but until its child, which really is, goes on, nobody can stop it with ptrace(2).
    """
    return bool(_find_waiting(path, _VFORK_WAITS))


def find_stopped(path: str) -> int:
    """Return a process in the frozen cgroup `path` that is stopped, by SIGSTOP for instance; 0 for none.

    ptrace(2) waits until a stopped thread has noticed that it is traced, which a frozen one never does.
    """
    return _find_waiting(path, _STOP_WAITS)


def _find_waiting(path: str, places: frozenset[str]) -> int:
    """Return a process in the cgroup `path` with a thread that waits at one of `places` in the kernel.

    Told by proc(5), /proc/PID/wchan: the state says of all frozen ones the same.
    """
    for pid in find_pids(path):
        try:
            if any(file.read_text() in places for file in Path(f"/proc/{pid}/task").glob("*/wchan")):
                return pid
        except OSError:
            continue  # it, or a thread of it, has just ended
    return 0


def signal_all(path: str, number: int) -> int:
    """Send a signal to every process in the cgroup `path`; return to how many."""
    return sum(send_one(pid, path, number) for pid in find_pids(path))


def find_pids(path: str) -> set[int]:
    """Return every process in the cgroup `path` and below it, in any hierarchy."""
    return set().union(*(_read_pids(directory) for directory in _directories(path)))


def _read_pids(directory: Path) -> set[int]:
    found: set[int] = set()
    for parent, _, files in os.walk(directory):
        if "cgroup.procs" in files:
            try:
                found |= {int(line) for line in Path(parent, "cgroup.procs").read_text().split()}
            except OSError:
                continue  # removed meanwhile
    return found


def send_one(pid: int, path: str, number: int = signal.SIGKILL) -> bool:
    """Send a signal to `pid` if it is in the cgroup `path`: the number may have been given to a stranger."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if path and f"{read_path(pid)}/".startswith(f"{path}/"):
            signal.pidfd_send_signal(fd, number)
            return True
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)
    return False


def _write(file: Path, text: str) -> None:
    if file.exists():
        try:
            file.write_text(text)
        except OSError:
            pass  # removed meanwhile


def remove(path: str) -> None:
    """Remove the cgroup `path` and what is below it from every hierarchy. Raises OSError while it has processes."""
    for directory in _directories(path):
        for parent, _, _ in os.walk(directory, topdown=False):
            try:
                os.rmdir(parent)
            except FileNotFoundError:
                continue


def clear(path: str, timeout: float = 5.0) -> None:
    """Kill what is in the cgroup `path`, and what is still being moved into it, and remove it. Blocks.

    Raises OSError when there are processes left after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        kill_all(path, timeout)
        try:
            return remove(path)
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def exists(path: str) -> bool:
    """Tell whether any hierarchy has the cgroup `path`."""
    return any(True for _ in _directories(path))
