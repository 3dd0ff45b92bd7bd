"""The OCI runtime as its command line: pure argv builders, its words as errors, and the calls the daemon makes.

`create` and `exec` are called by the shim, so that the process becomes its child; the rest by the daemon. The command
line is that of runc(8), which crun shares.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wherry import errors
from wherry.linux import cgroup
from wherry.model import frame
from wherry.runtime import spawn

#: Runtimes of which we know what they keep of a container that has ended: a directory below --root, and its cgroups.
KNOWN = frozenset({"crun", "runc"})
#: (what the runtime says, what it means); the first that matches counts. Seen with crun 1.8.1 and runc 1.1.5.
_MEANINGS: tuple[tuple[re.Pattern[str], type[errors.WherryError]], ...] = (
    (re.compile(r"^\S+Z cannot execute /"), errors.RuntimeFailed),  # the shim's own words: the runtime is no program
    (re.compile(r"executable file (.* )?not found in \$PATH"), errors.CommandNotFound),
    (re.compile(r'exec: "[^"]*": stat .*: no such file or directory'), errors.CommandNotFound),
    (re.compile(r'exec: "[^"]*": stat .*: not a directory'), errors.CommandNotFound),
    (re.compile(r"open executable: Not a directory"), errors.CommandNotFound),
    (re.compile(r'exec: "[^"]*": (permission denied|is a directory)'), errors.CommandNotExecutable),
    (re.compile(r"open executable: (Permission denied|Operation not permitted)"), errors.CommandNotExecutable),
    (re.compile(r'exec: "[^"]*": stat .*: too many levels of symbolic links'), errors.CommandNotExecutable),
    (re.compile(r"open executable: Too many levels of symbolic links"), errors.CommandNotExecutable),
    (re.compile(r"exec format error", re.IGNORECASE), errors.CommandNotExecutable),
    (re.compile(r"container .* already exists|container with id exists", re.IGNORECASE), errors.AlreadyExists),
    (re.compile(r"container (`.*` is )?not running|stopped container|has stopped"), errors.FailedPrecondition),
    (re.compile(r"an already running container|is already dead"), errors.FailedPrecondition),
    (re.compile(r"does not exist|no such process", re.IGNORECASE), errors.FailedPrecondition),
)


def words(log: bytes, output: str = "") -> str:
    """Return what the runtime says went wrong: the last error of its JSON log, else the last line it printed."""
    found = ""
    for line in log[-spawn.MAX_OUTPUT :].splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and entry.get("level") == "error":
            found = str(entry.get("msg", ""))
    if not found:
        lines = [line for line in output.splitlines() if line.strip()]
        found = lines[-1] if lines else ""
    # Whatever it prints ends up in terminals and logs.
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(found.split())[:2048])


def failure(what: str, status: int, said: str) -> errors.WherryError:
    """Return the error for a runtime that ended with `status` and `said` something, while we wanted `what`."""
    if status == 0:
        text = f"cannot {what}: the runtime ended with status 0, but made no process"
        return errors.RuntimeFailed(f"{text}: {said}" if said else text)
    for pattern, cls in _MEANINGS:
        if pattern.search(said):
            return cls(f"cannot {what}: {said}")
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return errors.RuntimeFailed(f"cannot {what}: the runtime ended with {how}: {said or 'it gave no reason'}")


@dataclass(frozen=True, slots=True)
class Driver:
    """One OCI runtime with one state directory: `path` is absolute, `root` its --root, `timeout` seconds per call.

    `args` are further global options for each call; `no_pivot` lets it change the root without pivot_root(2).
    """

    path: str
    root: Path
    timeout: float = 30.0
    args: tuple[str, ...] = ()
    no_pivot: bool = False

    def _argv(self, log: Path | None, *arguments: str) -> list[str]:
        logging = ["--log", str(log), "--log-format", "json"] if log else []
        return [self.path, "--root", str(self.root), *logging, *self.args, *arguments]

    def create_argv(self, container_id: str, bundle: str, process: Path, *, terminal: bool = False) -> list[str]:
        """Return the command that creates a container; `process` is the directory of its init."""
        return self._creating(["create"], container_id, bundle, process, terminal)

    def run_argv(self, container_id: str, bundle: str, process: Path, *, terminal: bool = False) -> list[str]:
        """Return the command that creates a container and lets it run at once."""
        return self._creating(["run", "--detach"], container_id, bundle, process, terminal)

    def _creating(self, verb: list[str], container_id: str, bundle: str, process: Path, terminal: bool) -> list[str]:
        files = ["--bundle", bundle, "--pid-file", str(process / "pid"), *_console(terminal)]
        no_pivot = ["--no-pivot"] if self.no_pivot else []
        return self._argv(process / "log.json", *verb, *no_pivot, *files, container_id)

    def checkpoint_argv(self, container_id: str, image: Path, work: Path, options: Sequence[str]) -> list[str]:
        """Return the command that has criu write a container's processes to `image`, its logs to `work`."""
        files = ["--image-path", str(image), "--work-path", str(work)]
        return self._argv(work / "log.json", "checkpoint", *files, *options, container_id)

    def restore_argv(
        self, container_id: str, bundle: str, process: Path, options: Sequence[str], *, terminal: bool = False
    ) -> list[str]:
        """Return the command that has criu make a container's processes from an image, which `options` name."""
        return self._creating(["restore", "--detach", *options], container_id, bundle, process, terminal)

    def exec_argv(self, container_id: str, process: Path, *, terminal: bool = False) -> list[str]:
        """Return the command that starts a further process from `process`/process.json.

        The whole OCI process, numeric user included, goes in the file: options of exec have lied (CVE-2026-30892).
        """
        files = ["--process", str(process / "process.json"), "--pid-file", str(process / "pid")]
        return self._argv(process / "log.json", "exec", "--detach", *files, *_console(terminal), container_id)

    def kill_all_argv(self, container_id: str) -> list[str]:
        """Return the command that kills every process of a container without a pid namespace of its own."""
        return self._argv(None, "kill", "--all", container_id, "KILL")

    def has(self, container_id: str) -> bool:
        """Tell whether the runtime keeps state of that container."""
        return (self.root / container_id).exists()

    async def start(self, container_id: str, process: Path) -> None:
        """Let a created container run. Raises RuntimeFailed or a more telling error with the runtime's words."""
        log = process / "log.json"
        await self._call(f"start container {container_id}", log, self._argv(log, "start", container_id))

    async def pause(self, container_id: str) -> None:
        """Freeze a container. Raises RuntimeFailed."""
        await self._call(f"pause container {container_id}", None, self._argv(None, "pause", container_id))

    async def resume(self, container_id: str) -> None:
        """Let a frozen container go on. Raises RuntimeFailed."""
        await self._call(f"resume container {container_id}", None, self._argv(None, "resume", container_id))

    async def update(self, container_id: str, process: Path, resources: dict[str, Any]) -> None:
        """Change the limits of a container to `resources` (runtime-spec config-linux.md). Raises RuntimeFailed."""
        log = process / "log.json"
        # Neither a file that a killed daemon would leave, nor a stdin, which the runtimes read each in its own way.
        fd = os.memfd_create("resources")
        try:
            os.write(fd, json.dumps(resources).encode())
            path = f"/proc/{os.getpid()}/fd/{fd}"
            argv = self._argv(log, "update", "--resources", path, container_id)
            await self._call(f"update container {container_id}", log, argv)
        finally:
            os.close(fd)

    @property
    def is_known(self) -> bool:
        """Whether this is a runtime of which we know what it keeps, called without options of its own."""
        return Path(self.path).name in KNOWN and not self.args

    def read_cgroup(self, container_id: str) -> tuple[str, bool]:
        """Return the cgroup that a known runtime has put a container into, and whether it is the same one everywhere.

        From its own state, which stays when the container has ended: crun's `status` has one path, runc's `state.json`
        a directory for each controller. "" when it is not there.
        """
        try:
            if Path(self.path).name == "crun":
                path = json.loads((self.root / container_id / "status").read_bytes())["cgroup-path"]
                return str(path), path.startswith("/")
            made = json.loads((self.root / container_id / "state.json").read_bytes())["cgroup_paths"]
            paths = {name: cgroup.path_below(directory) for name, directory in made.items()}
            best = next((paths[name] for name in ("pids", "freezer", "memory", "") if name in paths), "")
            return best, set(paths.values()) == {best}
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return "", False

    def forget(self, container_id: str) -> None:
        """Remove what a known runtime keeps of a container that has ended; its cgroup is the caller's. Blocks."""
        shutil.rmtree(self.root / container_id, ignore_errors=True)

    async def delete(self, container_id: str) -> None:
        """Remove what the runtime keeps of a container, killing it if need be; nothing there is fine."""
        if not self.has(container_id):
            return
        result = await spawn.run(self._argv(None, "delete", "--force", container_id), timeout=self.timeout)
        if result.status != 0 and self.has(container_id):
            raise failure(f"delete container {container_id}", result.status, words(b"", result.output))

    async def state(self, container_id: str) -> str:
        """Return the runtime's own status of a container (`created`, `running`, ...), "" when unknown to it."""
        result = await spawn.run(self._argv(None, "state", container_id), timeout=self.timeout)
        if result.status != 0:
            return ""
        try:
            state: Any = json.loads(result.output)
        except (ValueError, RecursionError):
            return ""
        return str(state.get("status", "")) if isinstance(state, dict) else ""

    async def _call(self, what: str, log: Path | None, argv: Sequence[str]) -> None:
        result = await spawn.run(argv, timeout=self.timeout)
        if result.status != 0:
            raise failure(what, result.status, words(read_log(log) if log else b"", result.output))


def _console(terminal: bool) -> list[str]:
    return ["--console-socket", frame.CONSOLE] if terminal else []


def read_log(path: Path) -> bytes:
    """Return the runtime's JSON log, empty when there is none; only the end of an absurdly long one."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - spawn.MAX_OUTPUT))
            return file.read(spawn.MAX_OUTPUT)
    except OSError:
        return b""
