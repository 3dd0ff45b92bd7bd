"""containerd with its own socket, directories and mounts, driven by `ctr`: its command line against ours."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from bench import kernel, peers, rounds
from bench.stage import Stage, UnusableError, find_descendants
from wherry.linux import libc

_START = 30.0
#: Everything ctr can do without images is wanted; the rest would only cost memory.
_CONFIG = """\
version = 2
root = "{work}/root"
state = "{state}"
disabled_plugins = [{disabled}]
[grpc]
address = "{work}/sock"
[ttrpc]
address = "{work}/sock.ttrpc"
[debug]
level = "warn"
"""
_DISABLED = (
    *("io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"),
    *("io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"),
    "io.containerd.snapshotter.v1.devmapper",
)
#: containerd's shims and ctr have paths below it that nothing changes.
_FIXED = Path("/run/containerd")


class Containerd:
    """A containerd of the benchmark's own."""

    def __init__(self, stage: Stage) -> None:
        self.path, self.ctr = peers.find("containerd"), peers.find("ctr")
        if not (self.path and self.ctr):
            raise UnusableError("containerd or ctr is not on PATH")
        self._stage = stage
        self.work = stage.make_directory("ctrd")
        disabled = ", ".join(f'"{name}"' for name in _DISABLED)
        (self.work / "config.toml").write_text(
            _CONFIG.format(work=self.work, state=stage.make_directory("ctrd", volatile=True), disabled=disabled)
        )
        made = not _FIXED.exists()
        _FIXED.mkdir(exist_ok=True)
        if made:
            stage.stack.callback(_FIXED.rmdir)
        # In our mount namespace only: another containerd on this machine is not touched.
        libc.mount("tmpfs", str(_FIXED), "tmpfs", 0, "mode=711")
        stage.stack.callback(libc.umount, str(_FIXED), libc.MNT_DETACH)
        self._process: subprocess.Popen[bytes] | None = None
        self.ids: list[str] = []
        stage.stack.callback(self.close)
        self.boot()

    @property
    def pid(self) -> int:
        """The process id of the daemon."""
        assert self._process is not None
        return self._process.pid

    def boot(self) -> float:
        """Start the daemon; return the seconds until it answered a client."""
        start = time.perf_counter()
        with (self.work / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.path, "--config", str(self.work / "config.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while True:
            try:
                rounds.run(self._argv("version"))
                return time.perf_counter() - start
            except UnusableError as error:
                if time.perf_counter() - start > _START or self._process.poll() is not None:
                    raise UnusableError(f"containerd does not start: {error}") from None
                time.sleep(0.001)

    def kill(self) -> None:
        """Kill the daemon; its shims and containers go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End the daemon."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def _argv(self, *arguments: str) -> list[str]:
        return [self.ctr, "--address", str(self.work / "sock"), "--namespace", self._stage.tag, *arguments]

    def run_argv(self, runtime: str, bundle: Path, *options: str) -> list[str]:
        """Return the command that runs a container to its end and removes it."""
        config = ("--runc-binary", peers.find(runtime), "--config", str(bundle / "config.json"))
        return self._argv("run", "--rm", *config, *options, self._stage.make_id())

    def run(self, runtime: str, bundle: Path) -> None:
        """Run a container of a bundle to its end."""
        rounds.run(self.run_argv(runtime, bundle))

    def run_rootfs(self, runtime: str, rootfs: Path, *args: str) -> None:
        """Run a container with containerd's own specification to its end."""
        options = ("--rm", "--runc-binary", peers.find(runtime), "--rootfs")
        rounds.run(self._argv("run", *options, str(rootfs), self._stage.make_id(), *args))

    def start(self, runtime: str, bundle: Path) -> str:
        """Leave a container running and return its id."""
        id = self._stage.make_id()
        config = ("--runc-binary", peers.find(runtime), "--config", str(bundle / "config.json"))
        rounds.run(self._argv("run", "--detach", *config, id))
        self.ids.append(id)
        return id

    def find_pid(self, id: str) -> int:
        """Return the process id of a running container."""
        text = rounds.run(self._argv("tasks", "list"), stdout=subprocess.PIPE)
        found = re.search(rf"^{re.escape(id)}\s+(\d+)", text, re.MULTILINE)
        if not found:
            raise UnusableError(f"containerd does not list {id}")
        return int(found.group(1))

    def exec(self, id: str, *args: str) -> None:
        """Run a command in a running container."""
        rounds.run(self._argv("tasks", "exec", "--exec-id", self._stage.make_id(), id, *args))

    def call_argv(self, *arguments: str) -> list[str]:
        """Return any other command of ctr."""
        return self._argv(*arguments)

    def shims(self) -> list[int]:
        """Return the shims of the running containers."""
        return kernel.find_processes("containerd-shim", find_descendants(os.getpid()))

    def delete_all(self) -> None:
        """Kill and delete what `start` has left running."""
        for id in self.ids:
            rounds.run(self._argv("tasks", "delete", "--force", id))
            rounds.run(self._argv("containers", "delete", id))
        self.ids.clear()
