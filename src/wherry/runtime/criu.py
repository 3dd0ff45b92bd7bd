"""criu, by which an OCI runtime writes processes down and makes them again: where it is, and what its words mean.

The runtimes take the one that is first on PATH. Its own options that no runtime passes on are given in a file that
$CRIU_CONFIG_FILE names (criu(8), Configuration files).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from wherry import errors
from wherry.runtime import spawn

#: Where tools/criu.sh puts one.
FALLBACK = "/opt/wherry/criu/criu"
_TIMEOUT = 20.0
_LOG_BYTES = 1024 * 1024
_ERROR = re.compile(r"^(?:\(\S+\)\s+)?(?:\d+:\s+)?Error \([^)]*\): (.*)")
#: Said whenever root may not raise its limits, and of no consequence.
_HARMLESS = re.compile(r"Can't setup RLIMIT_NOFILE|^exited, status=")
#: (what criu says, what it means for whoever asked); the first that is found counts. Seen with criu 4.1.1 and 3.17.1.
_MEANINGS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"Unexpected rt vDSO area bounds"), "this criu is too old for the kernel; 4.1 or newer is needed"),
    (
        re.compile(r"Can't lookup mount=\d+ for fd=\d+ path=(\S+)"),
        r"it has \1 open, which lies on no filesystem of its own",
    ),
    (re.compile(r"Connected TCP socket"), "it has established TCP connections; `tcp` (--tcp) allows them"),
    (
        re.compile(r"External socket is used|unix: .*[Ee]xternal"),
        "it has a unix socket whose other end is outside; `unix_sockets` (--unix-sockets) allows that",
    ),
    (
        re.compile(r"Found dangling tty|dangling tty|--shell-job"),
        "it has a terminal, or a session, from outside; `shell` (--shell) allows that",
    ),
    (re.compile(r"No space left on device|ENOSPC"), "no space is left on the disk"),
    (
        re.compile(r"Locking network failed"),
        "criu cannot hold its network still: it needs nftables, or iptables-restore on PATH",
    ),
    (
        re.compile(r"sockets: Can't get 1:16 opt"),
        "it has a network socket, which a criu before 4.2 cannot write down on Linux 6.16 and newer",
    ),
    (re.compile(r"inotify|fanotify|fsnotify"), "it watches files (inotify) in a way that criu cannot write down"),
    (
        re.compile(r"Can't get rlimit \d+"),
        "it has a process of another user, whose limits root may only read with CAP_SYS_RESOURCE",
    ),
    (
        re.compile(r"Unable to bind a socket: Cannot assign requested address"),
        "the loopback interface of the network that it is in is down",
    ),
    (re.compile(r"io_uring"), "it uses io_uring, which criu cannot write down"),
    (re.compile(r"file lock", re.IGNORECASE), "it holds file locks"),
)


@dataclass(frozen=True, slots=True)
class Criu:
    """A criu: `path` and `version`, `problem` "" if it suits this kernel.

    `locks` is how it holds a network still, "" its own way; `tracks_memory` whether this kernel tells which memory was
    written to (CONFIG_MEM_SOFT_DIRTY), which pre-copy needs.
    """

    path: str
    version: str
    problem: str = ""
    locks: str = ""
    tracks_memory: bool = False

    def environment(self, config: Path) -> dict[str, str]:
        """Return the environment in which a runtime uses it, with the options in the file `config`."""
        directory = os.path.dirname(self.path)
        return {"PATH": f"{directory}:{os.environ.get('PATH', os.defpath)}", "CRIU_CONFIG_FILE": str(config)}

    def dump_options(self) -> list[str]:
        """Return the lines of `config` for every dump."""
        return [f"network-lock {self.locks}"] if self.locks else []


async def find(wanted: str = "") -> Criu:
    """Return the criu to use: `wanted`, a path, else the first that suits this kernel of PATH and FALLBACK.

    Raises FailedPrecondition when there is none, NotFound when the wanted one is not there.
    """
    paths = [path for path in map(shutil.which, [wanted] if wanted else ["criu", FALLBACK]) if path]
    if not paths and wanted:
        raise errors.NotFound(f"cannot use {wanted} as criu: no such executable")
    if not paths:
        raise errors.FailedPrecondition(
            "criu is not on PATH, and checkpoints need it: install criu 4.1 or newer (tools/criu.sh gets one on Debian)"
        )
    found = [await probe(path) for path in paths]
    return next((item for item in found if not item.problem), found[0])


async def probe(path: str) -> Criu:
    """Return what the criu at `path` says of itself and of this kernel."""
    if os.path.basename(path) != "criu":
        return Criu(path, "", "its name is not criu, by which the runtimes look for it")
    version = (await spawn.run([path, "--version"], timeout=_TIMEOUT)).output
    match = re.search(r"Version: (\S+)", version)
    checked = await spawn.run([path, "check"], timeout=_TIMEOUT)
    lines = [line for line in checked.output.splitlines() if line.strip()]
    problem = "" if checked.status == 0 else explain("\n".join(lines)) or f"it ended with status {checked.status}"
    locks = "nftables" if await _has(path, "network_lock_nftables") else ""
    return Criu(path, match[1] if match else "", problem, locks, await _has(path, "mem_dirty_track"))


async def _has(path: str, feature: str) -> bool:
    return (await spawn.run([path, "check", "--feature", feature], timeout=_TIMEOUT)).status == 0


def read_problem(log: Path) -> str:
    """Return why criu failed, by its log, in a sentence's end; "" when that says nothing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_BYTES))
            return explain(file.read(_LOG_BYTES).decode(errors="replace"))
    except OSError:
        return ""


def explain(words: str) -> str:
    """Return what criu's words mean; its first error when that is not known."""
    said = [match[1] for line in words.splitlines() if (match := _ERROR.match(line))]
    said = [line for line in said if not _HARMLESS.search(line)]
    for pattern, meaning in _MEANINGS:
        for line in said:
            if match := pattern.search(line):
                return match.expand(meaning)
    return "".join(letter if letter.isprintable() else "?" for letter in said[0][:500]) if said else ""


def has_finished(log: Path) -> bool:
    """Tell whether criu has written everything down, by its log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            return b"Dumping finished successfully" in file.read(4096)
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that is at a checkpoint: a runtime (`is_runtime`), or criu or a child of it, which may be stopped."""

    pid: int
    is_runtime: bool
    is_stopped: bool


def find_workers(place: Path) -> list[Worker]:
    """Return who works in the directory `place` of a checkpoint: has it in its command line, or files of it open.

    Blocks. criu is called by a runtime, and survives it; nothing in its command line tells what it is at. What runs in
    a container may look like one of them, and is none.
    """
    inside = f"{os.path.realpath(place)}/"
    named = [f"--{option}\0{place}".encode() for option in ("image-path", "work-path")]
    own = os.readlink("/proc/self/ns/pid")
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            is_ours = os.readlink(entry / "ns/pid") == own
            is_runtime = is_ours and any(name in command for name in named)
            if is_runtime or any(_is_inside(fd, inside, is_ours) for fd in (entry / "fd").iterdir()):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                found.append(Worker(int(entry.name), is_runtime, state in "TZX"))
        except OSError:
            continue  # it has just ended
    return found


def _is_inside(fd: Path, inside: str, is_ours: bool) -> bool:
    """Tell whether an open file lies below: a path in a container is one of its own root, which it chooses."""
    path = os.readlink(fd)
    if not path.startswith(inside):
        return False
    try:
        return os.path.samestat(fd.stat(), os.stat(path))
    except FileNotFoundError:
        return is_ours  # it has been removed


def end_workers(place: Path) -> None:
    """Kill who works in `place`. Blocks; what criu was at is left as it was."""
    for worker in find_workers(place):
        try:
            if worker.is_runtime and os.getpgid(worker.pid) == worker.pid:
                os.killpg(worker.pid, signal.SIGKILL)
            os.kill(worker.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
