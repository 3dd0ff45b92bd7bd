"""Further processes in a running container."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Box, at_once
from wherry import errors
from wherry.client.sync import SyncContainer, SyncProcess
from wherry.model.request import Stdio


@pytest.fixture
def sleeper(box: Box) -> SyncContainer:
    """Return a container that only waits."""
    return box.run("sleep", "60", env={"FROM": "init"})


def test_exec_has_its_own_exit_code_and_output(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime)
    process = container.exec("sh", "-c", "echo out; echo err >&2; exit 7")
    assert process.wait(10).status == 7
    assert sorted(process.output().split()) == [b"err", b"out"]
    assert container.output() == b"", "an exec's output is not the container's"
    assert container.info().state == "running"


def test_exec_takes_env_workdir_and_user(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", env={"FROM": "init"}, runtime=runtime)
    script = "echo $FROM $MORE; pwd; id -u; id -g"
    process = container.exec("sh", "-c", script, env=["MORE=exec"], workdir="/tmp", user="nobody")
    assert process.wait(10).status == 0
    assert process.output().decode().split() == ["init", "exec", "/tmp", "65534", "65534"]


def test_exec_reads_stdin_through_attach(sleeper: SyncContainer) -> None:
    process = sleeper.exec("cat", stdio=Stdio(stdin_open=True))
    with process.attach() as attachment:
        attachment.write(b"hello\n")
        attachment.close_stdin()
        assert b"".join(output.data for output in attachment) == b"hello\n"
    assert process.wait(10).status == 0


def test_exec_of_a_missing_command_leaves_nothing_behind(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime)
    with pytest.raises(errors.CommandNotFound):
        container.exec("/no/such", id="bad")
    with pytest.raises(errors.CommandNotExecutable):
        container.exec("/etc/passwd", id="bad")
    assert [process.id for process in container.info().processes] == ["init"]
    assert container.exec("true", id="bad").wait(10).status == 0, "the id is free again"


def test_exec_refuses_what_is_not_there_or_not_running(box: Box, sleeper: SyncContainer) -> None:
    with pytest.raises(errors.NotFound):
        box.client.container("nobody").exec("true")
    with pytest.raises(errors.FailedPrecondition, match="created"):
        box.create("true").exec("true")
    sleeper.exec("true", id="e1").wait(10)
    with pytest.raises(errors.AlreadyExists):
        sleeper.exec("true", id="e1")
    sleeper.stop(0)
    with pytest.raises(errors.FailedPrecondition, match="stopped"):
        sleeper.exec("true", id="e2")


def test_ten_execs_at_once_keep_their_statuses(sleeper: SyncContainer) -> None:
    processes = at_once(10, lambda number: sleeper.exec("sh", "-c", f"echo {number}; exit {number}"))
    for number, process in enumerate(processes):
        assert isinstance(process, SyncProcess), process
        assert process.wait(10).status == number
        assert process.output() == f"{number}\n".encode()


def test_exec_exits_are_told_before_inits(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime)
    execs = [container.exec("sleep", "60") for _ in range(3)]
    container.kill("KILL")
    assert container.wait(10).status == 137
    assert {process.wait(10).status for process in execs} == {137}
    exits = [event.process for event in box.read_events(container, "exit")]
    assert sorted(exits[:-1]) == sorted(process.id for process in execs)
    assert exits[-1] == "init"


def test_an_exec_is_killed_alone(sleeper: SyncContainer) -> None:
    process = sleeper.exec("sleep", "60")
    process.kill("TERM")
    assert process.wait(10).signal == 15
    assert sleeper.info().state == "running"
