#!/usr/bin/env python3
"""What `make run` shows: a container is run, the daemon is killed while another one counts, and nothing is lost.

Everything happens in a temporary directory with a daemon of its own, so that an installed one is not disturbed.
Every expectation is checked: the exit code is 0 when all came true and nothing is left, else 1.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from wherry.linux import cgroup, libc

#: The counter's steps, a fifth of a second each: long enough for everything up to `wherry wait` on a slow machine.
STEPS = 80
STATUS = 7
COUNT = f"i=0; while [ $i -lt {STEPS} ]; do i=$((i+1)); echo $i; sleep 0.2; done; exit {STATUS}"
#: Seconds for one command, for a daemon to answer, and for everything to be gone at the end.
COMMAND_TIMEOUT = 90.0
START_TIMEOUT = 30.0
END_TIMEOUT = 20.0

PROGRAMS = Path(sys.executable).parent


class DemoFailed(Exception):
    """Something did not come out as it must."""


class Demo:
    """One daemon in one temporary directory."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._state, self._root, self._log = work / "state", work / "root", work / "wherryd.log"
        self._env = {
            **os.environ,
            "WHERRY_ADDRESS": f"unix://{self._state}/wherry.sock",
            "WHERRY_NAMESPACE": "default",
            "PYTHONUNBUFFERED": "1",
        }
        self._daemon: subprocess.Popen[bytes] | None = None
        self._cgroups = set(find_cgroups())

    def start_daemon(self) -> None:
        """Start wherryd and wait until it answers."""
        arguments = ["wherryd", "--state-dir", str(self._state), "--root-dir", str(self._root)]
        print(f"$ {shlex.join(arguments)} &", flush=True)
        with self._log.open("ab") as log:
            # A session of its own: ctrl-c here must not reach it.
            self._daemon = subprocess.Popen(
                [PROGRAMS / arguments[0], *arguments[1:]], stdout=log, stderr=log, env=self._env, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT
        while self._call("info").returncode != 0:
            if self._daemon.poll() is not None:
                fail(f"wherryd ended with status {self._daemon.returncode}")
            if time.monotonic() > deadline:
                fail(f"wherryd does not answer after {START_TIMEOUT:.0f} s")
            time.sleep(0.05)

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAMS / "wherry", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self._env,
            timeout=COMMAND_TIMEOUT,
        )

    def wherry(self, *arguments: str, status: int = 0) -> str:
        """Show a command and what it prints; return that. Fails when its exit code is not `status`."""
        print(f"$ wherry {shlex.join(arguments)}", flush=True)
        done = self._call(*arguments)
        print(done.stdout + done.stderr, end="", flush=True)
        if done.returncode != status:
            fail(f"exit code {status} expected, not {done.returncode}")
        return done.stdout

    def read(self, *arguments: str) -> list[dict[str, Any]]:
        """Return what a command prints with --json, one value a line or an array, without showing it."""
        done = self._call(*arguments, "--json")
        if done.returncode != 0:
            fail(f"wherry {shlex.join(arguments)} --json: {done.stderr.strip()}")
        try:
            whole = json.loads(done.stdout)
        except ValueError:
            whole = [json.loads(line) for line in done.stdout.splitlines()]
        return whole if isinstance(whole, list) else [whole]

    def kill_daemon(self) -> None:
        """Kill the daemon as the OOM killer would, and show that nobody answers."""
        assert self._daemon is not None
        print(f"$ kill -KILL {self._daemon.pid}   # wherryd", flush=True)
        self._daemon.kill()
        self._daemon.wait()
        self.wherry("ps", status=125)

    def stop_daemon(self) -> None:
        """Stop the daemon as a service manager would."""
        assert self._daemon is not None
        print(f"$ kill -TERM {self._daemon.pid}   # wherryd", flush=True)
        self._daemon.terminate()
        status = self._daemon.wait(END_TIMEOUT)
        if status != 0:
            fail(f"wherryd ended with status {status}, 0 expected")

    def leftovers(self) -> list[str]:
        """Return what is still there although everything is deleted and stopped. Waits for what is ending."""
        deadline = time.monotonic() + END_TIMEOUT
        while found := [*find_processes(), *self._find_mounts(), *self._find_containers(), *self._new_cgroups()]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return found

    def _find_mounts(self) -> Iterator[str]:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if str(self._work) in line:
                yield f"mount {line}"

    def _find_containers(self) -> Iterator[str]:
        for path in (*self._state.glob("default/*"), *self._root.glob("containers/*/*")):
            yield f"directory {path}"

    def _new_cgroups(self) -> Iterator[str]:
        yield from (f"cgroup {path}" for path in find_cgroups() if path not in self._cgroups)

    def print_log(self) -> None:
        """Print the end of the daemon's log."""
        if self._log.exists():
            print("--- wherryd's log:", *self._log.read_text().splitlines()[-40:], sep="\n", file=sys.stderr)

    def clean_up(self) -> None:
        """Remove what a failed or interrupted demo has left."""
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait()
        kill_descendants()
        for path in find_cgroups():
            if path not in self._cgroups:
                cgroup.remove("/" + path.name)


def fail(text: str) -> NoReturn:
    """Raise DemoFailed."""
    raise DemoFailed(text)


def children() -> list[int]:
    """Return the pids of this process's children; it is a subreaper, so no descendant gets away."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in found]


def find_processes() -> Iterator[str]:
    """Reap what has ended and name what has not."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return
    for pid in children():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        yield f"process {pid} {words.strip()}"


def kill_descendants() -> None:
    """Kill every descendant, also those that become children only when their parent is killed."""
    deadline = time.monotonic() + END_TIMEOUT
    while any(find_processes()) and time.monotonic() < deadline:
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def find_cgroups() -> Iterator[Path]:
    """Yield the control groups that can be this demo's: those of its two containers and of runtime probes."""
    for hierarchy in cgroup.hierarchies():
        for pattern in ("wherry~hello~*", "wherry~counter~*", "wherry-probe-*"):
            yield from hierarchy.glob(pattern)


def say(text: str) -> None:
    """Print what comes next."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}# {text}{plain}", flush=True)


def show(demo: Demo) -> None:
    """Show the main job. Raises DemoFailed."""
    say("A daemon and a first container, on a copy-on-write view of this machine.")
    demo.start_daemon()
    if "hello from" not in demo.wherry(
        "run", "--rm", "--name", "hello", "host", "--", "sh", "-c", "echo hello from $(hostname)"
    ):
        fail("the container's output is missing")

    say(f"A second one counts in the background. It will end with status {STATUS}.")
    if demo.wherry("run", "-d", "--name", "counter", "host", "--", "sh", "-c", COUNT).strip() != "counter":
        fail("the id of the container is expected")
    if "counter" not in demo.wherry("ps"):
        fail("the counter is missing")
    log = Path(demo.read("inspect", "counter")[0]["processes"][0]["log_path"])

    say("The daemon is killed. Nobody answers now, but the container does not notice.")
    demo.kill_daemon()
    count_in_the_dark(log)

    say("A new daemon finds it again.")
    demo.start_daemon()
    if "running" not in demo.wherry("ps"):
        fail("the counter is not running any more")
    demo.wherry("logs", "--tail", "3", "counter")
    say("Its exit arrives with the right status, once.")
    if demo.wherry("wait", "counter").strip() != str(STATUS):
        fail(f"the counter must end with status {STATUS}")
    check_end(demo)


def count_in_the_dark(log: Path) -> None:
    """Show that the log grows while there is no daemon."""
    print(f"$ wc -l < {log}; sleep 2; wc -l < {log}", flush=True)
    before = len(log.read_bytes().splitlines())
    time.sleep(2)
    after = len(log.read_bytes().splitlines())
    print(before, after, sep="\n", flush=True)
    if after < before + 3:
        fail("the container has stopped counting")


def check_end(demo: Demo) -> None:
    """Show the events, and check that no line of the log and no event is missing or there twice."""
    demo.wherry("events", "--after", "0", "--filter", "container=counter")
    events = [event for event in demo.read("events", "--after", "0") if event["container"] == "counter"]
    exits = [event["status"] for event in events if event["type"] == "exit"]
    if exits != [STATUS]:
        fail(f"one exit with status {STATUS} expected in the journal, not {exits}")
    lines = [chunk["data"] for chunk in demo.read("logs", "counter")]
    if lines != [f"{number}\n" for number in range(1, STEPS + 1)]:
        fail(f"the log must hold the numbers from 1 to {STEPS}, once each")
    demo.wherry("rm", "counter")


def finish(demo: Demo) -> None:
    """Stop the daemon and check that nothing is left. Raises DemoFailed."""
    say("The end: nothing may be left.")
    demo.stop_daemon()
    if left := demo.leftovers():
        fail("\n  ".join(["this is left:", *left]))
    print("no process, no mount, no cgroup is left")


def try_next() -> None:
    """Print three commands to go on with."""
    program = os.path.relpath(PROGRAMS / "wherry")
    say("To try next (a daemon is started when none runs, and ends by itself):")
    print(f"""
  {program} run --rm host -- sh -c 'echo hello from $(hostname)'
  {program} run --rm --here host -- sh -c 'rm -r docs && ls'    # and docs is still here
  {program} doctor
""")


def main() -> int:
    """Show everything; return the exit code."""
    if os.geteuid() != 0:
        print("the demonstration must be run by root: wherryd makes namespaces, mounts and cgroups", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    work = Path(tempfile.mkdtemp(prefix="wherry-demo-"))
    demo = Demo(work)
    try:
        show(demo)
        finish(demo)
    except (DemoFailed, subprocess.TimeoutExpired) as error:
        print(f"\nthe demonstration failed: {error}", file=sys.stderr)
        demo.print_log()
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        demo.clean_up()
        shutil.rmtree(work, ignore_errors=True)
    try_next()
    return 0


if __name__ == "__main__":
    sys.exit(main())
