"""A real wherryd and the real command line, as subprocesses."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

import wherry
from tests.support import leaks
from tests.support.eventually import SLOW, eventually

START_TIMEOUT = 20.0
STOP_TIMEOUT = 20.0
CLI_TIMEOUT = 40.0


def make_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment so that a Python started with it finds the package under test."""
    return {**os.environ, "PYTHONPATH": str(Path(wherry.__file__).parent.parent), **(extra or {})}


def run_cli(
    *arguments: str,
    input: str | bytes | None = None,
    timeout: float = CLI_TIMEOUT,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `wherry` and return how it went; bytes that are not UTF-8 come as surrogates."""
    data = input.encode() if isinstance(input, str) else input
    done = subprocess.run(
        [sys.executable, "-m", "wherry.cli", *arguments],
        input=b"" if data is None else data,
        capture_output=True,
        timeout=timeout * SLOW,
        env=make_environment(env),
        cwd=cwd,
    )
    texts = (done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape"))
    return subprocess.CompletedProcess(done.args, done.returncode, *texts)


class Daemon:
    """A wherryd with directories of its own below a short path: a unix socket's path has at most 107 bytes."""

    def __init__(
        self,
        *arguments: str,
        runtime: str = "",
        failpoints: str = "",
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        #: A command line that becomes the daemon's, as of nsenter.
        self._prefix = prefix
        self.work = Path(tempfile.mkdtemp(prefix=leaks.PREFIX, dir="/tmp"))
        self.state_dir = self.work / "state"
        self.root_dir = self.work / "root"
        self.socket_path = self.state_dir / "wherry.sock"
        self.address = f"unix://{self.socket_path}"
        self.arguments = [*arguments, *(["--runtime", runtime] if runtime else [])]
        self.env = dict(env or {})
        self._log_path = self.work / "wherryd.log"
        self._process: subprocess.Popen[bytes] | None = None
        if failpoints:
            self.env["WHERRY_FAILPOINTS"] = failpoints

    @property
    def pid(self) -> int:
        """The process id of the running daemon."""
        assert self._process is not None
        return self._process.pid

    @property
    def log_text(self) -> str:
        """What the daemon has logged so far, over all its lives."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def count_tasks(self) -> int:
        """Return how many tasks the daemon has."""
        before = len(self.log_text)
        os.kill(self.pid, signal.SIGUSR1)
        text = eventually(lambda: text if "last event" in (text := self.log_text[before:]) else "")
        # Those of gRPC, one a call among them, have no frames of Python's and so no stack.
        return len(re.findall("^(?:Stack for )?<Task", text, re.MULTILINE))

    def is_running(self) -> bool:
        """Tell whether the daemon is there; reaps it when it is not."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, failpoints: str | None = None, wait: bool = True) -> None:
        """Start the daemon, by default until its recovery is done; `failpoints` replaces those armed so far."""
        assert not self.is_running()
        if failpoints is not None:
            self.env["WHERRY_FAILPOINTS"] = failpoints
        argv = ["--state-dir", str(self.state_dir), "--root-dir", str(self.root_dir), *self.arguments]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "wherry.daemon.main", *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=make_environment(self.env),
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the daemon answers and has recovered; fail the test with its log when it ends or takes long."""
        deadline = time.monotonic() + START_TIMEOUT * SLOW
        while not (self._accepts() and self._has_recovered()):
            if not self.is_running():
                self.fail("the daemon has ended")
            if time.monotonic() > deadline:
                self.fail("the daemon does not get ready")
            time.sleep(0.02)

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket_path))
            except OSError:
                return False
        return True

    def _has_recovered(self) -> bool:
        done = self.cli("info", "--json")
        return done.returncode == 0 and not json.loads(done.stdout)["recovering"]

    def fail(self, text: str) -> NoReturn:
        """Fail the test with `text` and the daemon's log."""
        pytest.fail(f"{text}\n--- wherryd's log:\n{self.log_text[-20000:]}")

    def kill(self) -> None:
        """Kill the daemon with SIGKILL; its zygote, its shims and its containers go on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def wait_end(self, timeout: float = STOP_TIMEOUT) -> int:
        """Wait until the daemon has ended by itself, at a failpoint for instance; return its status as Popen does."""
        assert self._process is not None
        try:
            return self._process.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            self.fail("the daemon has not ended")

    def stop(self) -> None:
        """Stop the daemon with SIGTERM, which must make it end with exit code 0."""
        assert self._process is not None
        self._process.terminate()
        if status := self.wait_end():
            self.fail(f"the daemon ended with status {status} after SIGTERM")

    def restart(self, *, kill: bool = True, failpoints: str | None = None) -> None:
        """Kill (or stop) the daemon if it runs, and start it again."""
        if self.is_running():
            self.kill() if kill else self.stop()
        self.start(failpoints=failpoints)

    def cli(
        self, *arguments: str, input: str | bytes | None = None, timeout: float = CLI_TIMEOUT, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `wherry` against this daemon."""
        return run_cli(*arguments, input=input, timeout=timeout, env={"WHERRY_ADDRESS": self.address}, cwd=cwd)

    def wherry(self, *arguments: str, input: str | bytes | None = None, status: int = 0) -> str:
        """Run `wherry` against this daemon and return its stdout; fail the test when it exits with another status."""
        done = self.cli(*arguments, input=input)
        if done.returncode != status:
            self.fail(f"wherry {' '.join(arguments)}: exit code {done.returncode}, {status} expected: {done.stderr}")
        return done.stdout

    def read(self, *arguments: str) -> Any:
        """Return what a command prints with --json: the value, or a list of them for a stream."""
        text = self.wherry(*arguments, "--json")
        return [json.loads(line) for line in text.splitlines()] if arguments[0] in _STREAMS else json.loads(text)

    def remove_containers(self) -> None:
        """Delete every container, running or not."""
        deadline = time.monotonic() + STOP_TIMEOUT * SLOW
        while ids := self.wherry("ps", "-aq").split():
            # One that was run with --rm may go by itself between the two commands.
            done = self.cli("rm", "-f", *ids)
            if time.monotonic() > deadline:
                self.fail(f"cannot delete {' '.join(ids)}: {done.stderr}")

    def destroy(self, before: Sequence[int] = ()) -> None:
        """Delete everything this daemon has made; `before` are children of this process that are not its."""
        try:
            if not self.is_running():
                self.start(failpoints="")
            self.remove_containers()
            self.stop()
        finally:
            if self.is_running():
                self.kill()
            leaks.reap(before)
            shutil.rmtree(self.work, ignore_errors=True)


_STREAMS = ("events", "logs")
