"""What the original's own integration tests check, checked anew (v0-system 8.1)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.eventually import eventually
from tests.v0.client import Client

START = ("start-container", "", 0)


def now() -> Timestamp:
    """Return this instant."""
    stamp = Timestamp()
    stamp.FromNanoseconds(time.time_ns())
    return stamp


def shim_of(client: Client, container: str, pid: str = "init") -> int:
    """Return the number of the shim of a process."""
    return int((client.daemon.state_dir / "default" / container / pid / "shim.pid").read_text())


def test_output_is_complete_at_the_exit_event(v0: Client) -> None:
    events, fifos = v0.events(), v0.fifos()
    v0.start("ls", "ls", "/", fifos=fifos)
    assert events.wait_exit("ls") == 0
    assert fifos.read().split() == [b"bin", b"dev", b"etc", b"proc", b"root", b"run", b"sys", b"tmp", b"var"]


def test_a_command_that_is_not_there_is_named(v0: Client) -> None:
    code, text = v0.fail("CreateContainer", id="no", bundlePath=v0.bundle("NoSuchFile"), runtime=v0.runtime)
    assert code == grpc.StatusCode.NOT_FOUND
    assert text.startswith("oci runtime error: ")
    assert 'exec: "NoSuchFile": executable file not found in $PATH' in text
    assert v0.state() == []


def test_state_shows_a_running_container(v0: Client) -> None:
    bundle = v0.bundle("top")
    v0.start("top", bundle=bundle)
    [found] = v0.state()
    assert (found.id, found.status, found.bundlePath) == ("top", "running", bundle)
    assert [process.pid for process in found.processes] == ["init"]
    assert list(found.pids) == [found.processes[0].systemPid]


def test_events_of_a_short_container_are_start_and_exit(v0: Client) -> None:
    events = v0.events()
    v0.start("ls", "ls")
    events.wait("ls", START, ("exit", "init", 0))
    v0.start("next", "true")
    events.wait_exit("next")
    assert len(events.of("ls")) == 2


def test_sleep_ends_by_itself(v0: Client) -> None:
    events = v0.events()
    v0.start("sleep", "sleep", "1")
    assert events.wait_exit("sleep") == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_a_container_with_its_status(v0: Client, number: int) -> None:
    events = v0.events()
    # A process of number 1 in its namespace has no default action: it must have one of its own for SIGTERM.
    v0.start("top", "sh", "-c", "trap 'exit 143' TERM; echo ready; while :; do sleep 0.1; done")
    eventually(lambda: len(v0.state("top")[0].pids) > 1)
    v0.signal("top", number)
    assert events.wait_exit("top") == 128 + number


def test_a_signal_that_is_handled_ends_nothing(v0: Client) -> None:
    events, fifos = v0.events(), v0.fifos()
    v0.start("trap", "sh", "-c", "trap 'echo booh!' USR1; echo ready; while :; do sleep 0.1; done", fifos=fifos)
    fifos.wait(b"ready\n")
    v0.signal("trap", signal.SIGUSR1)
    fifos.wait(b"booh!\n")
    assert events.of("trap") == [START]


def test_pause_and_resume_are_told(v0: Client) -> None:
    events = v0.events()
    v0.start("top", "top")
    v0.call("UpdateContainer", id="top", pid="init", status="paused")
    v0.call("UpdateContainer", id="top", pid="init", status="running")
    events.wait("top", START, ("pause", "", 0), ("resume", "", 0))
    assert v0.state("top")[0].status == "running"


def test_out_of_memory_is_told_before_the_exit(v0: Client) -> None:
    events = v0.events()
    limits = {"memory": {"limit": 8 << 20}}
    v0.start(
        "oom",
        bundle=v0.bundle("sh", "-c", "tail /dev/zero & wait; exec tail /dev/zero", resources=limits),
    )
    assert events.wait_exit("oom") == 137
    kinds = [kind for kind, _, _ in events.of("oom")]
    assert kinds[0] == "start-container"
    assert kinds[-1] == "exit"
    assert set(kinds[1:-1]) == {"oom"}


def test_containers_outlive_the_daemon_and_their_ends_are_told_later(v0_alone: Client) -> None:
    client = v0_alone
    names = [f"top-{number}" for number in range(5)]
    for name in names:
        client.start(name, "top")
    client.daemon.restart(kill=False)
    client.reconnect()
    assert {item.id: item.status for item in client.state()} == dict.fromkeys(names, "running")

    events, fifos = client.events(), client.fifos()
    client.exec("top-1", "e1", "echo", "Ay Caramba!", fifos=fifos)
    events.wait("top-1", ("start-process", "e1", 0), ("exit", "e1", 0))
    assert fifos.read() == b"Ay Caramba!\n"

    pids = {item.id: item.processes[0].systemPid for item in client.state()}
    before = now()
    client.daemon.kill()
    for name in names[:2]:
        os.kill(pids[name], signal.SIGKILL)
    client.daemon.start()
    client.reconnect()
    later = client.events(timestamp=before)
    for name in names[:2]:
        assert later.wait_exit(name) == 137
    assert sorted(item.id for item in client.state()) == names[2:]


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_killed_shim_is_an_exit_and_its_id_is_free(v0: Client, is_paused: bool) -> None:
    events = v0.events()
    v0.start("top", "top")
    if is_paused:
        v0.call("UpdateContainer", id="top", status="paused")
    os.kill(shim_of(v0, "top"), signal.SIGKILL)
    assert events.wait_exit("top") == 137
    v0.start("top", "top")
    assert v0.state("top")[0].status == "running"


def test_exec_tells_its_start_and_its_exit(v0: Client) -> None:
    events, fifos = v0.events(), v0.fifos()
    v0.start("top", "top")
    v0.exec("top", "echo", "sh", "-c", "echo Ay Caramba! ; exit 1", fifos=fifos)
    events.wait("top", START, ("start-process", "echo", 0), ("exit", "echo", 1))
    assert fifos.read() == b"Ay Caramba!\n"


def test_the_end_of_an_exec_leaves_the_container(v0: Client) -> None:
    events = v0.events()
    v0.start("top", "top")
    number = v0.exec("top", "top2", "top")
    [found] = v0.state("top")
    assert {process.pid: process.systemPid for process in found.processes}["top2"] == number
    v0.signal("top", pid="top2")
    assert events.wait_exit("top", "top2") == 137
    assert [process.pid for process in v0.state("top")[0].processes] == ["init"]


def test_execs_end_with_the_container_and_are_told_first(v0: Client) -> None:
    events = v0.events()
    v0.start("top", "sh", "-c", "trap 'exit 143' TERM; while :; do sleep 0.1; done")
    v0.exec("top", "top2", "top")
    eventually(lambda: len(v0.state("top")[0].pids) > 2)
    v0.signal("top", signal.SIGTERM)
    assert events.wait_exit("top") == 143
    assert events.of("top")[2:] == [("exit", "top2", 137), ("exit", "init", 143)]


def test_a_detached_child_does_not_hold_up_the_end_of_its_exec(v0: Client) -> None:
    events = v0.events()
    v0.start("top", "top")
    v0.exec("top", "e1", "sh", "-c", "sleep 1000 > /dev/null 2>&1 < /dev/null &")
    assert events.wait_exit("top", "e1") == 0
    pids = v0.state("top")[0].pids
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    assert b"sleep\x001000\x00" in commands


def test_an_attached_child_does_not_hold_up_the_end_of_its_exec_for_long(v0: Client) -> None:
    events, fifos = v0.events(), v0.fifos()
    v0.start("top", "top")
    v0.exec("top", "e1", "sh", "-c", "sleep 1000 &", fifos=fifos)
    assert events.wait_exit("top", "e1") == 0


def test_an_exec_killed_without_a_daemon_is_told_by_the_next(v0_alone: Client) -> None:
    client = v0_alone
    client.start("top", "top")
    number = client.exec("top", "e1", "top")
    before = now()
    client.daemon.kill()
    os.kill(number, signal.SIGKILL)
    client.daemon.start()
    client.reconnect()
    assert client.events(timestamp=before).wait_exit("top", "e1") == 137
    assert client.state("top")[0].status == "running"


def test_stored_events_of_one_container(v0: Client) -> None:
    events, before = v0.events(), now()
    for number in range(10):
        v0.start(f"ls-{number}", "ls")
        events.wait_exit(f"ls-{number}")
    found = v0.stored(before, "ls-4")
    assert [(event.type, event.id) for event in found] == [("start-container", "ls-4"), ("exit", "ls-4")]
    assert len(v0.stored(before)) == 20
