"""Kills for want of memory: told once each, while the container goes on, and before the exit of whom they hit."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Box, at_once
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from wherry.client.sync import SyncContainer
from wherry.model import status as st
from wherry.model.request import Limits, RestartPolicy

TIGHT = Limits(memory_bytes=20 << 20)
#: Eats memory until it is killed.
HOG = "tail /dev/zero"
#: Has a child killed whenever /tmp/go is there, and goes on.
WORKER = f"while :; do [ -e /tmp/go ] && {{ rm /tmp/go; {HOG}; echo killed; }}; sleep 0.02; done"


def _let_go(pid: int) -> None:
    """Make /tmp/go in the container of `pid`."""
    Path(f"/proc/{pid}/root/tmp/go").touch()


def _kill_child(container: SyncContainer) -> None:
    """Have one more child killed, and wait until its parent knows."""
    before = container.output().count(b"killed")
    _let_go(container.info().pid)
    eventually(lambda: container.output().count(b"killed") > before)


def _counts(box: Box, container: SyncContainer) -> list[int]:
    return [event.count for event in box.read_events(container, "oom")]


def _types(events: list[st.Event]) -> list[tuple[str, str]]:
    return [(event.type, event.process) for event in events]


def test_oom_is_told_once_and_before_the_exit_ten_times_of_ten(box: Box, runtime: str) -> None:
    def run(number: int) -> SyncContainer:
        return box.run(*HOG.split(), limits=TIGHT, runtime=runtime)

    for container in at_once(10, run):
        assert isinstance(container, SyncContainer)
        record = container.wait(30)
        assert (record.status, record.signal, record.oom, record.reason) == (137, signal.SIGKILL, True, "oom")
        events = box.read_events(container)
        assert [event.type for event in events] == ["create", "start", "oom", "exit"]
        assert (events[2].process, events[2].pid, events[2].count) == ("init", events[1].pid, 1)


def test_a_child_that_is_killed_is_told_while_the_container_goes_on(box: Box, runtime: str) -> None:
    container = box.run("sh", "-c", WORKER, limits=TIGHT, runtime=runtime)
    _kill_child(container)
    eventually(lambda: _counts(box, container) == [1])
    assert container.info().state == "running"
    _kill_child(container)
    eventually(lambda: _counts(box, container) == [1, 2])
    container.stop(0)
    assert [event.type for event in box.read_events(container)] == ["create", "start", "oom", "oom", "exit"]


def test_kills_in_quick_succession_are_all_counted(box: Box) -> None:
    script = f"for i in 1 2 3 4 5; do {HOG}; done; echo done; sleep 60"
    container = box.run("sh", "-c", script, limits=TIGHT)
    eventually(lambda: b"done" in container.output())
    eventually(lambda: _counts(box, container)[-1:] == [5])
    container.stop(0)
    counts = _counts(box, container)
    assert counts == sorted(set(counts)), "each growth is told once"


def test_an_exec_that_is_killed_is_told_before_its_exit(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", limits=TIGHT, runtime=runtime)
    process = container.exec(*HOG.split())
    record = process.wait(20)
    assert (record.status, record.signal, record.reason) == (137, signal.SIGKILL, "oom")
    eventually(lambda: len(box.read_events(container)) == 5)
    told = _types(box.read_events(container))
    # It may be killed before its start is told.
    assert sorted(told[2:4]) == sorted([("start", process.id), ("oom", "init")])
    assert told[4:] == [("exit", process.id)]
    assert container.info().state == "running"
    later = container.exec("sleep", "60")
    later.kill("KILL")
    assert later.wait(10).reason == "", "killed for memory was another one, before it"
    container.stop(0)
    assert _counts(box, container) == [1]


def test_what_is_killed_at_the_very_end_is_told_before_the_exit(box: Box, runtime: str) -> None:
    script = f"{HOG}; until [ -e /tmp/go ]; do sleep 0.02; done; {HOG}; exit 3"
    container = box.run("sh", "-c", script, limits=TIGHT, runtime=runtime)
    eventually(lambda: _counts(box, container) == [1])
    _let_go(container.info().pid)
    assert container.wait(20).status == 3
    told = [(event.type, event.count) for event in box.read_events(container)]
    assert told == [("create", 0), ("start", 0), ("oom", 1), ("oom", 2), ("exit", 0)]


def test_every_run_of_a_container_has_its_own_count(box: Box, runtime: str) -> None:
    policy = RestartPolicy(name="on-failure", max_retries=2, delay=0.02, factor=1.0, max_delay=0.02)
    container = box.run("sh", "-c", HOG, limits=TIGHT, restart=policy, runtime=runtime)
    container.wait(30)
    run = ["start", "oom", "exit"]
    assert [event.type for event in box.read_events(container)] == ["create", *[*run, "restart"] * 2, *run]
    assert _counts(box, container) == [1, 1, 1]


def test_nothing_is_told_of_a_container_that_only_reaches_its_limit(box: Box) -> None:
    # The page cache fills the cgroup and is given back: the limit is hit, nobody is killed.
    container = box.run("sh", "-c", "dd if=/dev/zero of=/tmp/big bs=1M count=60 2>&1", limits=TIGHT)
    assert container.wait(30).status == 0
    assert [event.type for event in box.read_events(container)] == ["create", "start", "exit"]


class Place:
    """A daemon that is killed and started again, with one container `c`."""

    def __init__(self, daemon: Daemon, rootfs: Path, *options: str, script: str = WORKER) -> None:
        self.daemon = daemon
        words = ["--name", "c", "--memory", "20M", *options, f"rootfs:{rootfs}", "--", "sh", "-c", script]
        daemon.wherry("run", "-d", *words)
        self.pid: int = self.inspect()["pid"]

    def inspect(self) -> dict[str, Any]:
        """Return what is known of the container."""
        found: dict[str, Any] = self.daemon.read("inspect", "c")[0]
        return found

    def told(self) -> list[tuple[str, str, int]]:
        """Return type, process and count of every event so far."""
        text = self.daemon.wherry("events", "--after", "0", "--json")
        events = [json.loads(line) for line in text.splitlines()]
        return [(event["type"], event["process"], event["count"]) for event in events]

    def wait_told(self, *expected: tuple[str, str, int]) -> None:
        """Wait until the container has these events behind its `create` and `start`."""
        eventually(lambda: self.told()[2:] == list(expected), what=str(self.told()))

    def kill_child(self) -> None:
        """Have a child killed, with or without a daemon, and wait for the kernel to have done it."""
        before = self.count()
        _let_go(self.pid)
        eventually(lambda: self.count() > before)

    def count(self) -> int:
        """Return what the kernel has counted."""
        paths = [line.split(":", 2) for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines()]
        found = next((path for _, names, path in paths if "memory" in names.split(",")), None)
        directory, name = ("memory", "memory.oom_control") if found else ("", "memory.events")
        file = Path("/sys/fs/cgroup", directory, (found or paths[-1][2]).strip("/"), name)
        return int(file.read_text().split("oom_kill ")[-1].split()[0])


OOM = ("oom", "init", 1)
EXIT = ("exit", "init", 0)


@pytest.fixture
def daemon_of(make_daemon: Callable[..., Daemon], runtime: str) -> Daemon:
    """Return a daemon that uses each OCI runtime in turn."""
    return make_daemon(runtime=runtime)


def test_what_was_told_is_not_told_again_by_the_next_daemon(daemon_of: Daemon, busybox_rootfs: Path) -> None:
    place = Place(daemon_of, busybox_rootfs)
    place.kill_child()
    place.wait_told(OOM)
    daemon_of.restart()
    place.kill_child()
    place.wait_told(OOM, ("oom", "init", 2))
    daemon_of.kill()
    os.kill(place.pid, signal.SIGKILL)
    daemon_of.start()
    place.wait_told(OOM, ("oom", "init", 2), EXIT)


def test_a_kill_without_a_daemon_is_told_by_the_next_one(daemon_of: Daemon, busybox_rootfs: Path) -> None:
    place = Place(daemon_of, busybox_rootfs)
    daemon_of.kill()
    place.kill_child()
    daemon_of.start()
    place.wait_told(OOM)
    assert place.inspect()["state"] == "running"


def test_an_end_without_a_daemon_is_told_by_the_next_one(daemon_of: Daemon, busybox_rootfs: Path) -> None:
    script = f"while [ ! -e /tmp/go ]; do sleep 0.02; done; exec {HOG}"
    place = Place(daemon_of, busybox_rootfs, script=script)
    daemon_of.kill()
    _let_go(place.pid)
    eventually(lambda: not Path(f"/proc/{place.pid}").exists())
    daemon_of.start()
    place.wait_told(OOM, EXIT)
    assert place.inspect()["exit"]["reason"] == "oom"


def test_an_exec_killed_without_a_daemon_is_told_behind_the_kill(daemon_of: Daemon, busybox_rootfs: Path) -> None:
    place = Place(daemon_of, busybox_rootfs, script="sleep 300")
    waiting = f"while [ ! -e /tmp/go ]; do sleep 0.02; done; exec {HOG}"
    name = daemon_of.wherry("exec", "-d", "c", "sh", "-c", waiting).strip()
    daemon_of.kill()
    _let_go(place.pid)
    eventually(lambda: place.count() == 1)
    daemon_of.start()
    place.wait_told(("start", name, 0), OOM, ("exit", name, 0))


def test_a_new_run_counts_anew_over_a_restart_of_the_daemon(daemon_of: Daemon, busybox_rootfs: Path) -> None:
    place = Place(daemon_of, busybox_rootfs)
    place.kill_child()
    place.wait_told(OOM)
    daemon_of.wherry("stop", "-t", "0", "c")
    daemon_of.wherry("start", "c")
    again = (EXIT, ("restart", "init", 1), ("start", "init", 1))
    place.wait_told(OOM, *again)
    daemon_of.kill()
    place.pid = _find_init(daemon_of)
    place.kill_child()
    daemon_of.start()
    place.wait_told(OOM, *again, OOM)


def _find_init(daemon: Daemon) -> int:
    return int((daemon.state_dir / "default" / "c" / "init" / "pid").read_text())
