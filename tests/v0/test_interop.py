"""A container made through one API is visible and usable in the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.eventually import eventually
from tests.v0.client import Client
from wherry import errors
from wherry.client.sync import Sync
from wherry.model import request as req

START = ("start-container", "", 0)


@pytest.fixture
def native(v0: Client) -> Iterator[Sync]:
    """Return a client of the native API of the same daemon."""
    with Sync(v0.daemon.address) as client:
        yield client


def test_a_container_of_v0_in_the_native_api(v0: Client, native: Sync) -> None:
    events, fifos = v0.events(), v0.fifos()
    v0.start("old", "cat", fifos=fifos, labels=["tier=web"])
    container = native.container("old")
    info = container.info()
    assert (info.state, info.request.labels, info.request.auto_remove) == ("running", {"tier": "web"}, True)
    assert info.request.source.kind == "bundle"
    process = container.exec("sh", "-c", "exit 5")
    assert process.wait(10).status == 5
    eventually(lambda: len(events.of("old")) == 3)
    assert [kind for kind, _, _ in events.of("old")] == ["start-container", "start-process", "exit"]
    assert events.of("old")[2][2] == 5
    container.pause()
    assert v0.state("old")[0].status == "paused"
    container.resume()
    v0.exec("old", "e1", "top")
    assert [process.id for process in container.info().processes if process.state == "running"] == ["init", "e1"]
    v0.signal("old", pid="e1")
    assert events.wait_exit("old", "e1") == 137
    further = container.exec("top")
    v0.signal("old", pid=further.id)
    assert further.wait(10).status == 137
    container.close_stdin()
    fifos.close_stdin()
    assert events.wait_exit("old") == 0
    told = [event.type for event in native.events(after=0, follow=False, filters=["container=old", "process=init"])]
    assert told[-2:] == ["start", "exit"]


def test_a_native_container_in_v0(v0: Client, native: Sync) -> None:
    events = v0.events()
    source = req.Source(kind="rootfs", path=str(v0.busybox))
    container = native.run(source, "sh", "-c", "echo native; exec top", id="new", runtime=v0.runtime, labels={"a": "b"})
    [found] = v0.state()
    assert (found.id, found.status, list(found.labels)) == ("new", "running", ["a=b"])
    assert found.processes[0].systemPid == container.info().pid
    assert v0.call("Stats", id="new").cgroup_stats.memory_stats.usage.usage > 0
    v0.call("UpdateContainer", id="new", status="paused")
    assert container.info().state == "paused"
    v0.call("UpdateContainer", id="new", status="running")
    fifos = v0.fifos()
    v0.exec("new", "e1", "echo", "hello", fifos=fifos)
    assert events.wait_exit("new", "e1") == 0
    assert fifos.read() == b"hello\n"
    assert v0.fail("CreateContainer", id="new", bundlePath=v0.bundle("ls"))[1].endswith("/new: file exists")
    v0.signal("new")
    assert events.wait_exit("new") == 137
    eventually(lambda: v0.state("new")[0].status == "stopped")
    assert list(v0.state("new")[0].processes) == []
    assert v0.fail("Signal", id="new", pid="init", signal=9)[1] == "no such process"
    assert v0.fail("CreateContainer", id="new", bundlePath=v0.bundle("ls"))[1].endswith("/new: file exists")
    container.delete()
    assert v0.state() == []


def test_a_native_container_that_was_not_started(v0: Client, native: Sync) -> None:
    events = v0.events()
    source = req.Source(kind="rootfs", path=str(v0.busybox))
    container = native.create(source, "true", id="new", runtime=v0.runtime)
    assert v0.state("new")[0].status == "created"
    container.delete(force=True)
    v0.start("other", "true")
    events.wait_exit("other")
    assert events.of("new") == []


def test_other_namespaces_are_not_seen(v0: Client, native: Sync) -> None:
    events = v0.events()
    source = req.Source(kind="rootfs", path=str(v0.busybox))
    container = native.run(source, "true", id="new", namespace="other", runtime=v0.runtime)
    container.wait(10)
    assert v0.state() == []
    container.delete()
    v0.start("last", "true")
    events.wait_exit("last")
    assert events.of("new") == []
    with pytest.raises(errors.NotFound):
        native.container("new").info()


def test_health_checks_are_not_seen(v0: Client, native: Sync) -> None:
    events = v0.events()
    source = req.Source(kind="rootfs", path=str(v0.busybox))
    check = req.HealthCheck(args=("sleep", "1000"), interval=0.1)
    container = native.run(source, "top", id="new", runtime=v0.runtime, health=check)
    directory = v0.daemon.state_dir / "default" / "new"
    name = eventually(lambda: [path.name for path in directory.glob(".health-*") if (path / "pid").exists()])[0]
    assert [process.pid for process in v0.state("new")[0].processes] == ["init"]
    assert v0.fail("Signal", id="new", pid=name, signal=9)[1] == "containerd: process not found for container"
    container.delete(force=True)
    assert events.wait_exit("new") == 137
    assert events.of("new") == [START, ("exit", "init", 137)]
