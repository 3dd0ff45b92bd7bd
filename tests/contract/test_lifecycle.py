"""Create, start, wait, kill, stop, delete."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.contract.conftest import Box, at_once
from tests.support.eventually import eventually
from wherry import errors
from wherry.client.sync import SyncContainer
from wherry.model.request import Stdio

HANDLER = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def wait_ready(container: SyncContainer) -> None:
    eventually(lambda: b"ready" in container.output())


def test_create_runs_nothing_before_start(box: Box, runtime: str) -> None:
    container = box.create("sh", "-c", "echo ran; exit 5", runtime=runtime)
    info = container.info()
    assert (info.state, info.pid > 0, info.exit) == ("created", True, None)
    assert container.output() == b""
    assert container.start().state in ("running", "stopping", "stopped")
    assert container.wait(10).status == 5
    assert container.output() == b"ran\n"


@pytest.mark.parametrize("status", [0, 7, 255])
def test_exit_code_is_the_containers_own(box: Box, runtime: str, status: int) -> None:
    container = box.run("sh", "-c", f"exit {status}", runtime=runtime)
    record = container.wait(10)
    assert (record.status, record.signal, record.oom, record.reason) == (status, 0, False, "")
    started = time.monotonic()
    assert container.wait(10) == record, "the second wait tells the same"
    assert time.monotonic() - started < 1
    assert container.info().state == "stopped"
    assert container.info().pid == 0


def test_kill_gives_128_and_the_signal(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime)
    container.kill("KILL")
    record = container.wait(10)
    assert (record.status, record.signal) == (137, signal.SIGKILL)
    with pytest.raises(errors.FailedPrecondition, match="ended"):
        container.kill()


def test_a_handler_decides_the_status(box: Box) -> None:
    container = box.run("sh", "-c", HANDLER)
    wait_ready(container)
    container.kill(signal.SIGTERM)
    assert container.wait(10).status == 3


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/no/such", errors.CommandNotFound),
        ("nosuch", errors.CommandNotFound),
        ("/etc/passwd", errors.CommandNotExecutable),
    ],
)
def test_a_command_that_cannot_run_leaves_nothing_behind(
    box: Box, runtime: str, command: str, expected: type[errors.WherryError]
) -> None:
    before = box.client.info()
    with pytest.raises(expected, match="cannot create container bad"):
        box.run(command, id="bad", runtime=runtime)
    with pytest.raises(errors.NotFound):
        box.client.container("bad").info()
    assert box.client.info().containers == before.containers


def test_an_identical_create_is_the_same_container(box: Box) -> None:
    first = box.create("true", id="same", labels={"a": "b"})
    generation = first.info().generation
    assert box.create("true", id="same", labels={"a": "b"}).info().generation == generation
    with pytest.raises(errors.AlreadyExists, match="different request"):
        box.create("true", id="same", labels={"a": "c"})


def test_ten_identical_creates_at_once_make_one_container(box: Box) -> None:
    made = at_once(10, lambda _: box.create("true", id="one"))
    assert not [item for item in made if isinstance(item, BaseException)]
    assert len(box.read_events(box.made[0], "create")) == 1
    assert len({container.info().generation for container in box.made}) == 1


def test_events_come_in_order_and_without_a_gap(box: Box) -> None:
    container = box.run("sh", "-c", "exit 4", labels={"color": "red"})
    container.wait(10)
    container.delete()
    events = box.read_events(container)
    assert [(event.type, event.status) for event in events] == [("create", 0), ("start", 0), ("exit", 4), ("delete", 0)]
    everything = [event.seq for event in box.client.events(after=events[0].seq - 1, follow=False)]
    assert everything == list(range(events[0].seq, events[0].seq + len(everything)))
    assert {event.labels["color"] for event in events} == {"red"}


def test_stop_lets_a_handler_finish_within_its_grace(box: Box) -> None:
    container = box.run("sh", "-c", HANDLER)
    wait_ready(container)
    assert container.stop(10).status == 3
    assert container.stop(10).status == 3, "stopping what has ended changes nothing"


def test_stop_uses_the_stop_signal(box: Box) -> None:
    container = box.run("sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done", stop_signal="USR1")
    wait_ready(container)
    assert container.stop(10).status == 9


def test_stop_kills_what_ignores_it_after_the_timeout(box: Box) -> None:
    container = box.run("sh", "-c", DEAF)
    wait_ready(container)
    started = time.monotonic()
    assert container.stop(0.5).status == 137
    assert 0.5 <= time.monotonic() - started < 5


def test_two_stops_at_once_tell_the_same(box: Box) -> None:
    container = box.run("sh", "-c", HANDLER)
    wait_ready(container)
    assert [getattr(item, "status", item) for item in at_once(2, lambda _: container.stop(5))] == [3, 3]
    assert len(box.read_events(container, "exit")) == 1


def test_a_client_that_leaves_a_stop_does_not_stop_it(box: Box) -> None:
    container = box.run("sh", "-c", DEAF)
    wait_ready(container)
    with pytest.raises(TimeoutError):
        container._loop.call(asyncio.wait_for(container._inner.stop(1.0), 0.3))
    assert container.info().state == "stopping"
    assert container.wait(10).status == 137


def test_stop_of_a_created_container_ends_it(box: Box) -> None:
    container = box.create("true")
    assert container.stop(5).status == 137
    assert container.info().state == "stopped"


def test_delete_refuses_what_runs_unless_forced(box: Box) -> None:
    container = box.run("sleep", "60")
    with pytest.raises(errors.FailedPrecondition, match="running"):
        container.delete()
    container.delete(force=True)
    with pytest.raises(errors.NotFound):
        container.info()
    assert [event.type for event in box.read_events(container)] == ["create", "start", "exit", "delete"]


def test_deletes_at_once_delete_once(box: Box) -> None:
    container = box.run("true")
    container.wait(10)
    outcomes = at_once(5, lambda _: container.delete())
    assert all(item is None or isinstance(item, errors.NotFound) for item in outcomes), outcomes
    assert outcomes.count(None) >= 1
    assert len(box.read_events(container, "delete")) == 1


def test_auto_remove_deletes_after_the_exit_is_told(box: Box) -> None:
    container = box.run("sh", "-c", "read x; exit 6", auto_remove=True, stdio=Stdio(stdin_open=True))
    container.close_stdin()
    eventually(lambda: [event.type for event in box.read_events(container)][-2:] == ["exit", "delete"])
    with pytest.raises(errors.NotFound):
        container.info()


def test_labels_and_namespaces_choose(box: Box) -> None:
    red = box.create("true", id="x", labels={"color": "red"})
    blue = box.create("true", id="y", labels={"color": "blue"})
    other = box.keep(box.client.create(box.source, "false", id="x", namespace="other", labels={"color": "red"}))
    chosen = box.client.containers(labels={"color": "red"})
    assert [(info.namespace, info.id) for info in chosen] == [("default", red.id)]
    everywhere = box.client.containers(all_namespaces=True, labels={"color": "red"})
    assert {(info.namespace, info.id) for info in everywhere} == {("default", "x"), ("other", "x")}
    other.start()
    assert other.wait(10).status == 1
    assert red.info().state == blue.info().state == "created", "an equal id elsewhere is another container"


def test_a_wait_with_a_timeout_ends_with_a_named_error(box: Box) -> None:
    container = box.run("sleep", "60")
    with pytest.raises(errors.DeadlineExceeded, match=container.id):
        container.wait(0.1)
    assert container.info().state == "running"
