"""What can be done to a running container: pause, resume, signals to all, time limits, terminals."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Box, wait_size
from tests.support.eventually import eventually
from wherry import errors
from wherry.client.sync import SyncProcess
from wherry.model.request import Stdio

TERMINAL = Stdio(terminal=True, stdin_open=True, width=100, height=30)
#: Ends by SIGTERM with status 5.
OBEDIENT = ("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")


def _wait_output(process: SyncProcess, text: bytes) -> None:
    eventually(lambda: text in process.output())


def test_a_paused_container_does_nothing_until_it_is_resumed(box: Box, runtime: str) -> None:
    container = box.run("sh", "-c", "while :; do echo tick; sleep 0.02; done", runtime=runtime)
    _wait_output(container, b"tick")
    assert container.pause().state == "paused"
    before = container.output()
    with pytest.raises(errors.FailedPrecondition, match="paused"):
        container.exec("true")
    with pytest.raises(errors.FailedPrecondition, match="paused"):
        container.pause()
    assert container.output() == before, "it went on"
    assert container.resume().state == "running"
    eventually(lambda: len(container.output()) > len(before))
    types = [event.type for event in box.read_events(container)]
    assert types == ["create", "start", "pause", "resume"]


def test_what_is_not_paused_cannot_be_resumed(box: Box) -> None:
    container = box.run("sleep", "60")
    with pytest.raises(errors.FailedPrecondition, match="running"):
        container.resume()


def test_a_paused_container_is_stopped_with_its_own_signal(box: Box, runtime: str) -> None:
    container = box.run(*OBEDIENT, runtime=runtime)
    _wait_output(container, b"ready")
    container.pause()
    assert container.stop(10).status == 5


def test_a_paused_container_is_killed_and_deleted(box: Box, runtime: str) -> None:
    killed = box.run("sleep", "60", runtime=runtime)
    killed.pause()
    killed.kill("KILL")
    assert killed.wait(10).status == 137
    deleted = box.run("sleep", "60", runtime=runtime)
    deleted.pause()
    deleted.delete(force=True)


def test_a_signal_to_all_reaches_execs(box: Box) -> None:
    container = box.run("sleep", "60")
    process = container.exec("sleep", "60")
    container.kill_all("KILL")
    assert process.wait(10).signal == 9
    assert container.wait(10).signal == 9


def test_a_time_limit_ends_an_exec_and_not_its_container(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime)
    record = container.exec("sleep", "60", timeout=0.2).wait(10)
    assert (record.status, record.reason) == (137, "timeout")
    assert container.info().state == "running"
    assert container.exec("true", timeout=30.0).wait(10).reason == ""


def test_a_container_ends_at_its_time_to_live(box: Box) -> None:
    container = box.run("sleep", "60", ttl=0.2)
    record = container.wait(10)
    assert (record.status, record.reason) == (137, "ttl")
    assert [event.reason for event in box.read_events(container, "exit")] == ["ttl"]


def test_a_month_is_a_time_to_live_too(box: Box) -> None:
    # More milliseconds than epoll_wait(2) takes at a time: its shim once died of that, and the container with it.
    container = box.run("sh", "-c", "sleep 0.5; exit 7", ttl=3e6)
    assert container.exec("true", timeout=3e6).wait(10).status == 0
    assert container.wait(10).status == 7


def test_the_time_to_live_begins_with_the_start(box: Box) -> None:
    container = box.create("sleep", "60", ttl=0.3)
    with pytest.raises(errors.DeadlineExceeded):
        container.wait(0.6)
    container.start()
    assert container.wait(10).reason == "ttl"


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 1e-9])
def test_a_time_limit_that_is_none_is_refused(box: Box, seconds: float) -> None:
    with pytest.raises(errors.InvalidArgument, match="ttl"):
        box.run("true", ttl=seconds)


def test_a_terminal_has_its_first_size_before_the_program_runs(box: Box, runtime: str) -> None:
    container = box.run("sh", "-c", "tty; stty size", stdio=TERMINAL, runtime=runtime)
    assert container.wait(10).status == 0
    assert container.output().split() == [b"/dev/pts/0", b"30", b"100"]


def test_an_exec_has_a_terminal_of_its_own(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime)
    process = container.exec("sh", "-c", f"{wait_size(runtime, 30, 100)}stty size; exit 4", stdio=TERMINAL)
    assert process.wait(10).status == 4
    assert process.output().split() == [b"30", b"100"]


def test_a_terminal_is_resized_typed_into_and_echoes(box: Box, runtime: str) -> None:
    container = box.run("sh", stdio=TERMINAL, runtime=runtime)
    container.resize(81, 25)
    with container.attach() as attachment:
        attachment.write(b"stty size\n")
        _wait_output(container, b"25 81")
        attachment.close_stdin()  # nothing: the end of a terminal's input is a character
        attachment.write(b"exit 3\n")
        output = b"".join(piece.data for piece in attachment)
    assert b"stty size\r\n" in output, "no echo"
    assert container.wait(10).status == 3


def test_the_interrupt_character_interrupts(box: Box) -> None:
    container = box.run("sh", "-c", "trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done", stdio=TERMINAL)
    _wait_output(container, b"ready")
    with container.attach() as attachment:
        attachment.write(b"\x03")
        assert container.wait(10).status == 9


def test_several_clients_share_one_terminal(box: Box) -> None:
    container = box.run("sh", stdio=TERMINAL)
    with container.attach() as one, container.attach() as two:
        one.write(b"echo from-one\n")
        two.write(b"echo from-two; exit\n")
        outputs = [b"".join(piece.data for piece in attachment) for attachment in (one, two)]
    assert outputs[0] == outputs[1]
    assert outputs[0].count(b"from-one") >= 2


@pytest.mark.parametrize(("width", "height"), [(0, 0), (70000, 1), (1, -1)])
def test_an_absurd_size_is_refused(box: Box, width: int, height: int) -> None:
    container = box.run("sleep", "60", stdio=TERMINAL)
    with pytest.raises(errors.InvalidArgument, match="resize"):
        container.resize(width, height)


def test_what_has_no_terminal_is_not_resized(box: Box) -> None:
    container = box.run("sleep", "60")
    with pytest.raises(errors.FailedPrecondition, match="terminal"):
        container.resize(80, 24)
