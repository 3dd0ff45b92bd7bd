"""Containers that are started again, by their policy or by hand."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.contract.conftest import Box
from tests.support import rootfs
from tests.support.eventually import eventually
from wherry import errors
from wherry.client.sync import SyncContainer
from wherry.model import status as st
from wherry.model.request import RestartPolicy, Stdio

QUICK = RestartPolicy(name="always", delay=0.02, factor=1.0, max_delay=0.02)


def _wait_restarts(container: SyncContainer, count: int) -> None:
    eventually(lambda: container.info().restarts >= count and container.info().state == "running")


def _types(box: Box, container: SyncContainer) -> list[str]:
    return [event.type for event in box.read_events(container)]


def test_a_container_that_fails_is_started_again_as_often_as_allowed(box: Box, runtime: str) -> None:
    policy = RestartPolicy(name="on-failure", max_retries=3, delay=0.05, factor=2.0)
    container = box.run("sh", "-c", "echo run; exit 3", restart=policy, runtime=runtime)
    assert container.wait(20).status == 3
    info = container.info()
    assert (info.state, info.restarts, info.restart_at_ns) == ("stopped", 3, 0)
    assert container.output() == b"run\n" * 4
    events = box.read_events(container)
    assert [event.type for event in events] == ["create"] + ["start", "exit", "restart"] * 3 + ["start", "exit"]
    assert [event.count for event in events if event.type == "start"] == [0, 1, 2, 3]
    for number, delay in enumerate((0.05, 0.1, 0.2)):
        _, ended, _, started = events[1 + 3 * number : 5 + 3 * number]
        assert started.time_ns - ended.time_ns >= delay * 1e9


def test_a_success_ends_a_policy_of_failures(box: Box) -> None:
    container = box.run("true", restart=RestartPolicy(name="on-failure", delay=0.02))
    assert container.wait(10).status == 0
    assert container.info().restarts == 0


def test_a_command_that_does_not_exist_is_not_tried_again(box: Box) -> None:
    with pytest.raises(errors.CommandNotFound):
        box.run("/no/such/command", restart=QUICK, id="never")
    assert all(info.id != "never" for info in box.client.containers())


@pytest.mark.parametrize("name", ["always", "unless-stopped"])
def test_a_success_is_no_end_for_the_others(box: Box, name: str) -> None:
    policy = RestartPolicy(name=name, delay=0.02, factor=1.0, max_delay=0.02)
    container = box.run("sh", "-c", "exit 0", restart=policy)
    eventually(lambda: container.info().restarts >= 3)
    container.stop()
    assert container.info().state == "stopped"


def test_what_is_stopped_by_hand_stays_so(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", restart=QUICK, runtime=runtime)
    container.stop(0)
    assert container.info().state == "stopped"
    assert _types(box, container) == ["create", "start", "exit"]


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_what_is_killed_by_hand_stays_so(box: Box, signal: str) -> None:
    container = box.run("sh", "-c", "trap 'exit 1' TERM; echo ready; while :; do sleep 0.05; done", restart=QUICK)
    eventually(lambda: b"ready" in container.output())
    container.kill(signal)
    assert container.wait(10).status in (1, 137)
    assert container.info().restarts == 0


def test_a_time_limit_is_an_end(box: Box) -> None:
    container = box.run("sleep", "60", restart=QUICK, ttl=0.2)
    assert container.wait(10).reason == "ttl"
    assert container.info().state == "stopped"


def test_a_container_waiting_for_its_restart_can_be_stopped(box: Box) -> None:
    container = box.run("false", restart=RestartPolicy(name="always", delay=60.0))
    eventually(lambda: container.info().state == "restarting")
    info = container.info()
    assert (info.pid, info.restarts) == (0, 1)
    assert info.restart_at_ns > 0
    assert info.exit is not None
    assert info.exit.status == 1
    with pytest.raises(errors.FailedPrecondition, match="restarting"):
        container.exec("true")
    with pytest.raises(errors.FailedPrecondition, match="restarting"):
        container.pause()
    with pytest.raises(errors.FailedPrecondition, match="restarting"):
        container.kill("KILL")
    with pytest.raises(errors.FailedPrecondition, match="restarting"):
        container.delete()
    with pytest.raises(errors.FailedPrecondition, match="restarting"):
        container.stats()
    assert container.stop().status == 1
    assert container.info().state == "stopped"
    assert container.wait(5).status == 1


def test_a_container_waiting_for_its_restart_can_be_deleted_and_started(box: Box) -> None:
    policy = RestartPolicy(name="always", delay=60.0)
    deleted = box.run("false", restart=policy)
    started = box.run("sh", "-c", "echo run; exit 1", restart=policy)
    for container in (deleted, started):
        eventually(lambda container=container: container.info().state == "restarting")  # type: ignore[misc]
    deleted.delete(force=True)
    with pytest.raises(errors.NotFound):
        deleted.info()
    started.start()
    eventually(lambda: started.output() == b"run\nrun\n")
    eventually(lambda: _types(box, started)[-2:] == ["exit", "restart"])
    assert _types(box, started) == ["create"] + ["start", "exit", "restart"] * 2


def test_wait_is_for_the_last_end(box: Box) -> None:
    container = box.run("sh", "-c", "echo x >> /count; exit $(wc -l < /count)", restart=QUICK)
    found: list[st.ExitRecord] = []
    waiter = threading.Thread(target=lambda: found.append(container.wait()))
    waiter.start()
    eventually(lambda: container.info().restarts >= 2)
    assert not found
    container.stop()
    waiter.join(10)
    assert found
    assert found[0].status >= 2


def test_the_writable_layer_outlives_the_run(box: Box, runtime: str) -> None:
    container = box.run("sh", "-c", "echo x >> /count; cat /count | wc -l; sleep 60", runtime=runtime)
    eventually(lambda: container.output() == b"1\n")
    container.stop(0)
    container.start()
    eventually(lambda: container.output() == b"1\n2\n")
    assert container.info().state == "running"
    assert _types(box, container) == ["create", "start", "exit", "restart", "start"]


def test_a_running_container_is_not_started_again(box: Box) -> None:
    container = box.run("sleep", "60")
    with pytest.raises(errors.FailedPrecondition, match="running"):
        container.start()


def test_an_attached_client_sees_all_runs_and_writes_to_each(box: Box) -> None:
    policy = RestartPolicy(name="on-failure", max_retries=2, delay=0.05)
    script = "echo begin; read line; echo got $line; exit 1"
    container = box.create("sh", "-c", script, restart=policy, stdio=Stdio(stdin_open=True))
    seen = b""
    with container.attach() as attachment:
        container.start()
        for output in attachment:
            seen += output.data
            if output.data.endswith(b"begin\n"):
                attachment.write(b"%d\n" % seen.count(b"begin"))
    assert seen == b"begin\ngot 1\nbegin\ngot 2\nbegin\ngot 3\n"
    assert container.wait(5).status == 1


def test_followed_logs_go_on_from_run_to_run(box: Box) -> None:
    policy = RestartPolicy(name="on-failure", max_retries=2, delay=0.05)
    container = box.run("sh", "-c", "echo one; sleep 0.1; echo two; exit 1", restart=policy)
    assert b"".join(chunk.data for chunk in container.logs(follow=True)) == b"one\ntwo\n" * 3


def test_one_that_dies_while_paused_is_not_started_again(box: Box) -> None:
    container = box.run("sleep", "60", restart=QUICK)
    container.pause()
    container.kill("KILL")
    assert container.wait(10).status == 137
    assert container.info().state == "stopped"
    container.start()
    assert container.info().state == "running"


def test_a_long_run_makes_the_retries_begin_anew(box: Box) -> None:
    policy = RestartPolicy(name="on-failure", max_retries=1, delay=0.02, reset_after=0.1)
    container = box.run("sh", "-c", "sleep 0.3; exit 1", restart=policy)
    _wait_restarts(container, 3)
    container.delete(force=True)


def test_a_restart_that_cannot_be_made_counts_as_a_failure(box: Box, tmp_path: Path) -> None:
    bundle = rootfs.make_bundle(tmp_path / "bundle", Path(box.source.path), "sh", "-c", "sleep 0.5; exit 1")
    policy = RestartPolicy(name="on-failure", max_retries=2, delay=0.02, factor=1.0, max_delay=0.02)
    container = box.run(source=f"bundle:{bundle}", restart=policy)
    config = bundle / "config.json"
    config.rename(bundle / "gone")
    assert container.wait(10).status == 1
    info = container.info()
    assert (info.state, info.restarts) == ("stopped", 1)
    assert "config.json" in info.problem
    with pytest.raises(errors.NotFound, match=r"config\.json"):
        container.start()
    (bundle / "gone").rename(config)
    container.start()
    assert container.info().problem == ""


def test_deleted_by_force_at_any_moment_it_is_gone(box: Box) -> None:
    policy = RestartPolicy(name="always", delay=0.01, factor=1.0, max_delay=0.01)
    for number in range(12):
        container = box.run("true", restart=policy)
        eventually(lambda container=container, number=number: container.info().restarts >= number % 3)  # type: ignore[misc]
        container.delete(force=True)
        with pytest.raises(errors.NotFound):
            container.info()


def test_stopped_at_any_moment_it_stays_so(box: Box) -> None:
    policy = RestartPolicy(name="always", delay=0.01, factor=1.0, max_delay=0.01)
    for number in range(12):
        container = box.run("true", restart=policy)
        eventually(lambda container=container, number=number: container.info().restarts >= number % 3)  # type: ignore[misc]
        container.stop(0)
        assert container.info().state == "stopped"
        assert container.wait(5).exited_at_ns


def test_restarted_by_hand_it_runs_once_more(box: Box, runtime: str) -> None:
    container = box.run("sh", "-c", "echo run; trap 'exit 0' TERM; while :; do sleep 0.05; done", runtime=runtime)
    eventually(lambda: b"run" in container.output())
    info = container.restart()
    assert (info.state, info.restarts) == ("running", 1)
    eventually(lambda: container.output() == b"run\nrun\n")
    events = box.read_events(container)
    assert [event.type for event in events] == ["create", "start", "exit", "restart", "start"]
    assert [event.reason for event in events if event.type == "restart"] == ["by-hand"]
    container.stop(0)
    assert container.restart(0).state == "running"


def test_a_restart_starts_what_does_not_run(box: Box) -> None:
    created = box.create("sleep", "60")
    assert (created.restart().state, created.info().restarts) == ("running", 0)
    waiting = box.run("false", restart=RestartPolicy(name="always", delay=60.0))
    eventually(lambda: waiting.info().state == "restarting")
    assert waiting.restart().restart_at_ns == 0
    removed = box.run("sleep", "60", auto_remove=True)
    with pytest.raises(errors.FailedPrecondition, match="it is deleted once it has ended"):
        removed.restart()
    assert removed.info().state == "running"
    with pytest.raises(errors.InvalidArgument, match="timeout of -1"):
        created.restart(-1.0)
