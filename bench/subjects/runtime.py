"""A bare OCI runtime, and conmon round one: what a container costs without a daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bench import kernel, peers, rounds
from bench.stage import Stage, UnusableError, find_descendants


class Runtime:
    """`crun` or `runc` by its command line."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.name = name
        self.path = peers.find(name)
        if not self.path:
            raise UnusableError(f"{name} is not on PATH")
        self._stage = stage
        self.root = stage.make_directory(name, volatile=True)
        self.ids: list[str] = []

    def _argv(self, *arguments: str) -> list[str]:
        return [self.path, "--root", str(self.root), *arguments]

    def run_argv(self, bundle: Path, *options: str) -> list[str]:
        """Return the command that runs a container to its end and deletes it."""
        return self._argv("run", "--bundle", str(bundle), *options, self._stage.make_id())

    def run(self, bundle: Path) -> None:
        """Run a container to its end. Raises UnusableError."""
        rounds.run(self.run_argv(bundle))

    def start(self, bundle: Path) -> str:
        """Leave a container running and return its id."""
        id = self._stage.make_id()
        rounds.run(self._argv("run", "--detach", "--bundle", str(bundle), id))
        self.ids.append(id)
        return id

    def exec(self, id: str, *args: str) -> None:
        """Run a command in a running container."""
        rounds.run(self._argv("exec", id, *args))

    def delete_all(self) -> None:
        """Kill and delete what `start` has left running."""
        for id in self.ids:
            rounds.run(self._argv("delete", "--force", id))
        self.ids.clear()


class Conmon:
    """conmon as its callers use it: it creates, they start, it writes the exit down, they delete."""

    def __init__(self, stage: Stage, runtime: str) -> None:
        self.path = peers.find("conmon")
        if not self.path:
            raise UnusableError("conmon is not on PATH")
        self._stage = stage
        self._runtime = Runtime(stage, runtime)
        self._work = stage.make_directory("conmon")
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def _create(self, bundle: Path) -> tuple[str, subprocess.Popen[bytes]]:
        id = self._stage.make_id()
        # conmon makes its FIFOs in the bundle, so each container has a directory of its own.
        own = self._work / id
        (own / "told").mkdir(parents=True)
        (own / "config.json").symlink_to(bundle / "config.json")
        ready, theirs = os.pipe()
        argv = [
            *(self.path, "--api-version", "1", "--sync", "--cid", id, "--cuuid", id, "--bundle", str(own)),
            *("--runtime", self._runtime.path, "--runtime-arg=--root", f"--runtime-arg={self._runtime.root}"),
            *("--log-path", f"k8s-file:{own}/log", "--container-pidfile", f"{own}/pid", "--exit-dir", f"{own}/told"),
            *("--socket-dir-path", str(own), "--log-level", "error"),
        ]
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "_OCI_SYNCPIPE": str(theirs)},
                pass_fds=(theirs,),
            )
        finally:
            os.close(theirs)
        with os.fdopen(ready, "rb") as pipe:
            # {"data": PID}, or with a message that says what was wrong.
            if b'"message"' in (said := pipe.readline()) or b'"data"' not in said:
                process.kill()
                process.wait()
                raise UnusableError(f"conmon could not create a container: {said.decode(errors='replace').strip()}")
        return id, process

    def _runtime_call(self, *arguments: str) -> None:
        rounds.run([self._runtime.path, "--root", str(self._runtime.root), *arguments])

    def run(self, bundle: Path) -> None:
        """Run a container to its end and delete it."""
        id, process = self._create(bundle)
        self._runtime_call("start", id)
        process.wait()
        if (self._work / id / "told" / id).read_text() != "0":
            raise UnusableError(f"conmon: {id} ended badly")
        self._runtime_call("delete", "--force", id)

    def start(self, bundle: Path) -> None:
        """Leave a container running."""
        id, process = self._create(bundle)
        self._runtime_call("start", id)
        self._running.append((id, process))

    def shims(self) -> list[int]:
        """Return the conmons of the running containers."""
        return kernel.find_processes("conmon", find_descendants(os.getpid()))

    def delete_all(self) -> None:
        """Kill and delete what `start` has left running."""
        for id, process in self._running:
            self._runtime_call("kill", id, "KILL")
            process.wait()
            self._runtime_call("delete", "--force", id)
            shutil.rmtree(self._work / id)
        self._running.clear()
