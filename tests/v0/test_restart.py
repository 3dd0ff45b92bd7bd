"""The daemon is killed in the middle, and its clients go on with the next one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import grpc
import pytest

from tests.support.eventually import eventually
from tests.v0.client import Client

START = ("start-container", "", 0)


def restart(client: Client) -> None:
    """Kill the daemon and start it again."""
    client.daemon.restart()
    client.reconnect()


def test_state_is_the_same(v0_alone: Client) -> None:
    client = v0_alone
    fifos = client.fifos()
    client.start("top", "top", fifos=fifos, labels=["x", "a=b"])
    client.exec("top", "e1", "top", fifos=fifos)
    client.start("tty", bundle=client.bundle("sh", terminal=True))
    before = client.state()
    restart(client)
    assert [item.id for item in before] == ["top", "tty"]
    assert client.state() == before


def test_a_client_resumes_with_the_last_time_and_misses_nothing(v0_alone: Client) -> None:
    """As `ctr` does: a second after the connection was lost, from the time of the last event."""
    client = v0_alone
    events = client.events()
    client.start("top", "top")
    client.exec("top", "e1", "sh", "-c", "sleep 1; exit 3")
    events.wait("top", START, ("start-process", "e1", 0))
    client.daemon.kill()
    eventually(lambda: events.error is not None)
    shim_files = client.daemon.state_dir / "default" / "top" / "e1" / "exitStatus"
    eventually(shim_files.exists)
    client.daemon.start()
    client.reconnect()
    later = client.events(timestamp=events.found[-1].timestamp)
    client.signal("top")
    later.wait("top", ("exit", "e1", 3), ("exit", "init", 137))
    whole = client.stored(events.found[0].timestamp)
    assert [event.type for event in [events.found[0], *whole]] == ["start-container", "start-process", "exit", "exit"]


def test_streams_and_end_of_stdin_go_on(v0_alone: Client) -> None:
    client = v0_alone
    fifos, exec_fifos = client.fifos(), client.fifos()
    client.start("cat", "cat", fifos=fifos)
    client.exec("cat", "e1", "cat", fifos=exec_fifos)
    for streams in (fifos, exec_fifos):
        streams.write(b"one\n")
        streams.wait(b"one\n")
    client.daemon.kill()
    for streams in (fifos, exec_fifos):
        streams.write(b"two\n")
        streams.wait(b"one\ntwo\n")
        streams.close()
        streams.open()
    client.daemon.start()
    client.reconnect()
    events = client.events()
    for pid, streams in (("e1", exec_fifos), ("init", fifos)):
        streams.write(b"three\n")
        streams.wait(b"three\n")
        client.call("UpdateProcess", id="cat", pid=pid, closeStdin=True)
        streams.close_stdin()
        assert events.wait_exit("cat", pid) == 0


def test_terminals_are_resized_and_used(v0_alone: Client) -> None:
    client = v0_alone
    fifos, exec_fifos = client.fifos(), client.fifos()
    client.start("tty", bundle=client.bundle("sh", terminal=True), fifos=fifos)
    client.exec("tty", "e1", "sh", terminal=True, fifos=exec_fifos)
    restart(client)
    events = client.events()
    for pid, streams, status in (("e1", exec_fifos, 4), ("init", fifos, 5)):
        client.call("UpdateProcess", id="tty", pid=pid, width=99, height=33)
        streams.write(b"stty size\n")
        streams.wait(b"33 99\r\n")
        streams.write(b"exit %d\n" % status)
        assert events.wait_exit("tty", pid) == status


def test_verbs_work(v0_alone: Client) -> None:
    client = v0_alone
    client.start("top", bundle=client.bundle("top"))
    restart(client)
    events = client.events()
    client.call("UpdateContainer", id="top", status="paused")
    client.call("UpdateContainer", id="top", status="running")
    assert client.call("Stats", id="top").cgroup_stats.pids_stats.current == 1
    client.exec("top", "e1", "sh", "-c", "exit 3")
    events.wait("top", ("pause", "", 0), ("resume", "", 0), ("start-process", "e1", 0), ("exit", "e1", 3))
    client.signal("top")
    assert events.wait_exit("top") == 137
    client.start("top", "top")


def test_a_container_that_ends_without_a_daemon_frees_its_id(v0_alone: Client) -> None:
    client = v0_alone
    live = client.events()
    answer = client.start("top", "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done")
    live.wait("top", START)
    number = answer.processes[0].systemPid
    eventually(lambda: int(Path(f"/proc/{number}/status").read_text().split("SigCgt:")[1].split()[0], 16) & 1 << 14)
    client.daemon.kill()
    os.kill(number, signal.SIGTERM)
    eventually((client.daemon.state_dir / "default" / "top" / "init" / "exitStatus").exists)
    client.daemon.start()
    client.reconnect()
    assert client.events(timestamp=live.found[-1].timestamp).wait_exit("top") == 5
    client.start("top", "top")


def test_a_creation_cut_off_by_the_death_of_the_daemon_is_finished_or_undone(v0_alone: Client) -> None:
    client = v0_alone
    for failpoint, is_left in (("create.directory", False), ("create.spawned", True), ("start.journaled", True)):
        client.daemon.restart(failpoints=failpoint)
        client.reconnect()
        with pytest.raises(grpc.RpcError):
            client.start("cut", "top")
        client.daemon.wait_end()
        client.daemon.start(failpoints="")
        client.reconnect()
        eventually(lambda is_left=is_left: len(client.state()) == is_left)  # type: ignore[misc]
        if is_left:
            events = client.events()
            assert client.state()[0].status == "running"
            client.signal("cut")
            assert events.wait_exit("cut") == 137
        client.start("cut", "true")
