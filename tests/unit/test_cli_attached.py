"""Attached `run`, `exec` and `attach`: bytes, signals, status, and a daemon that dies meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from tests.unit.test_cli_fake import NOW_NS, FakeService, install, wherry_main
from wherry import errors
from wherry.cli import interrupts, relay, session, streams, tasks
from wherry.model import request as req
from wherry.model import status as st


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    service = FakeService()
    install(monkeypatch, service)
    return service


@pytest.fixture
def stdin_pipe() -> Iterator[int]:
    """Put a pipe on descriptor 0; yield its write end."""
    kept = os.dup(0)
    read, write = os.pipe()
    os.dup2(read, 0)
    os.close(read)
    yield write
    os.dup2(kept, 0)
    os.close(kept)


def test_output_and_status_are_those_of_the_container(
    fake: FakeService, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    big = bytes(range(256)) * 1000
    fake.script = [("stdout", b"a\xff\0"), ("stderr", b"e\n"), ("stdout", big)]
    fake.record = st.ExitRecord(status=7)
    assert wherry_main("run", "host", "--", "x") == 7
    assert capfdbinary.readouterr() == (b"a\xff\0" + big, b"e\n")
    kinds = [type(call).__name__ for call in fake.calls]
    assert kinds.index("CreateRequest") < kinds.index("AttachRequest") < kinds.index("ContainerRef")
    assert fake.sent(req.DeleteRequest) == []


def test_rm_asks_the_daemon_to_delete(fake: FakeService) -> None:
    assert wherry_main("run", "--rm", "host", "x") == 0
    created = fake.sent(req.CreateRequest)[0]
    assert created.auto_remove


@pytest.mark.parametrize("words", [[], ["--rm"]])
def test_a_start_that_fails_leaves_nothing(
    words: list[str], fake: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.failures["start"] = errors.CommandNotFound("cannot start c1: nope: not found")
    assert wherry_main("run", *words, "--name", "c1", "host", "nope") == 127
    assert capsys.readouterr().err == "wherry: cannot start c1: nope: not found\n"
    assert fake.containers == {}


def test_a_name_taken_meanwhile_is_not_deleted(fake: FakeService) -> None:
    fake.failures["create"] = errors.AlreadyExists("cannot create c1: another has that id")
    assert wherry_main("run", "--name", "c1", "host", "x") == 125
    assert fake.sent(req.DeleteRequest) == []


def test_an_end_out_of_the_ordinary_is_told(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.record = st.ExitRecord(status=137, signal=9, reason="oom")
    assert wherry_main("run", "--name", "c1", "host", "x") == 137
    assert capsys.readouterr().err == "wherry: c1 ended with status 137: oom\n"


def test_stdin_is_carried_to_its_end(fake: FakeService, stdin_pipe: int) -> None:
    os.write(stdin_pipe, b"hello\n")
    os.close(stdin_pipe)
    fake.ends_on_stdin = True
    assert wherry_main("run", "-i", "host", "cat") == 0
    assert fake.stdin == b"hello\n"


def test_stdin_may_be_a_file(fake: FakeService, tmp_path: os.PathLike[str], stdin_pipe: int) -> None:
    os.close(stdin_pipe)
    path = os.path.join(tmp_path, "in")
    with open(path, "wb") as file:
        file.write(b"x" * 200_000)
    source = os.open(path, os.O_RDONLY)
    os.dup2(source, 0)
    os.close(source)
    fake.ends_on_stdin = True
    fake.add("c1")
    assert wherry_main("exec", "-i", "c1", "cat") == 0
    assert fake.stdin == b"x" * 200_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1])
def test_signals_reach_the_container(
    number: signal.Signals, fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.ends_on_signal = True
    start = fake.start

    async def start_then_signal(request: req.ContainerRef) -> st.ContainerInfo:
        info = await start(request)
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)
        return info

    monkeypatch.setattr(fake, "start", start_then_signal)
    assert wherry_main("run", "--name", "c1", "host", "x") == 128 + number
    assert fake.sent(req.KillRequest) == [req.KillRequest(id="c1", signal=number)]


def test_a_signal_before_the_start_undoes_the_create(fake: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(request: req.ContainerRef) -> st.ContainerInfo:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(fake, "start", hang)
    assert wherry_main("run", "host", "x") == 128 + signal.SIGTERM
    assert fake.containers == {}


def test_a_daemon_that_dies_is_waited_for_and_no_byte_is_lost_or_doubled(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    fake = FakeService()
    refused: list[errors.WherryError] = []
    asked = install(monkeypatch, fake, refused)
    fake.script = [("stdout", b"one "), ("stdout", b"two "), ("stdout", b"three")]
    fake.lost_at = 8
    fake.record = st.ExitRecord(status=4)
    assert wherry_main("run", "--name", "c1", "host", "x") == 4
    captured = capfdbinary.readouterr()
    assert captured.out == b"one two three"
    assert b"lost the daemon" in captured.err
    assert b"is back" in captured.err
    offsets = [call.offset for call in fake.calls if isinstance(call, req.AttachRequest)]
    assert offsets == [0, 4]
    assert len(asked) == 2


def test_a_daemon_that_stays_away_ends_in_advice(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "RECONNECT_SECONDS", 0.1)
    fake.script = [("stdout", b"one")]
    fake.lost_at = 3

    async def version(request: req.Empty) -> st.Version:
        raise errors.Unavailable("cannot reach it")

    monkeypatch.setattr(fake, "version", version)
    assert wherry_main("run", "--name", "c1", "host", "x") == 125
    assert "`wherry attach c1` joins it again" in capsys.readouterr().err
    assert "c1" in fake.containers


def test_the_exit_of_a_deleted_container_comes_from_the_journal(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(request: req.ProcessRef) -> st.ExitRecord:
        raise errors.NotFound("cannot find c1")

    monkeypatch.setattr(fake, "wait", gone)
    exit = {"time_ns": NOW_NS, "type": "exit", "namespace": "default", "container": "c1", "process": "init"}
    fake.events = [
        st.Event(seq=7, generation=1, status=1, **exit),  # type: ignore[arg-type]
        st.Event(seq=8, generation=1, status=5, **exit),  # type: ignore[arg-type]
        st.Event(seq=9, generation=2, status=6, **exit),  # type: ignore[arg-type]
    ]
    assert wherry_main("run", "--rm", "--name", "c1", "host", "x") == 5


def test_a_container_deleted_while_the_daemon_was_away_has_its_status(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.script = [("stdout", b"one")]
    fake.lost_at = 3
    version = fake.version

    async def recovered(request: req.Empty) -> st.Version:
        fake.containers.clear()
        fake.events = [
            st.Event(seq=8, time_ns=NOW_NS, type="exit", namespace="default", container="c1", generation=1, status=5)
        ]
        return await version(request)

    monkeypatch.setattr(fake, "version", recovered)
    assert wherry_main("run", "--rm", "--name", "c1", "host", "x") == 5
    assert "c1 is deleted by now: what it wrote meanwhile may be missing" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "left"), [([], {"c1"}), (["--rm"], set())])
def test_a_reader_that_goes_away_ends_quietly(
    words: list[str],
    left: set[str],
    fake: FakeService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def broken(self: streams.Outlet, stream: str, data: bytes) -> None:
        raise streams.ReaderGone

    monkeypatch.setattr(streams.Outlet, "write", broken)
    fake.script = [("stdout", b"x")]
    assert wherry_main("run", *words, "--name", "c1", "host", "yes") == 141
    assert set(fake.containers) == left
    assert capsys.readouterr().err == ""


def test_exec_has_the_status_of_the_process(fake: FakeService, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    fake.add("c1")
    fake.script = [("stdout", b"out")]
    fake.record = st.ExitRecord(status=9)
    assert wherry_main("exec", "c1", "--", "sh", "-c", "exit 9") == 9
    assert capfdbinary.readouterr().out == b"out"
    process = fake.sent(req.ExecRequest)[0]
    assert isinstance(process, req.ExecRequest)
    assert fake.sent(req.AttachRequest) == [req.AttachRequest(id="c1", process=process.process, offset=0)]


def test_exec_in_nothing_is_125(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    assert wherry_main("exec", "nope", "true") == 125
    assert capsys.readouterr().err == "wherry: cannot find container nope: no such container\n"


def test_detached_exec_prints_the_process(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.add("c1")
    assert wherry_main("exec", "-d", "c1", "true") == 0
    assert len(capsys.readouterr().out.strip()) == 12


@pytest.mark.parametrize(("words", "offset"), [([], -1), (["--from-start"], 0)])
def test_attach(words: list[str], offset: int, fake: FakeService, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    fake.add("c1")
    fake.script = [("stderr", b"e")]
    fake.record = st.ExitRecord(status=3)
    assert wherry_main("attach", *words, "c1") == 3
    assert capfdbinary.readouterr() == (b"", b"e")
    assert fake.sent(req.AttachRequest) == [req.AttachRequest(id="c1", offset=offset)]


def test_attach_names_an_exec_that_is_not_there(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.add("c1")
    assert wherry_main("attach", "--process", "e9", "c1") == 125
    assert "it has no process e9" in capsys.readouterr().err


def test_the_third_ctrl_c_on_a_terminal_kills(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: True)

    async def press() -> list[int]:
        carried = relay.Relay(session.Session(session.Settings()), req.ProcessRef(id="c1"), with_stdin=False)
        carried.begun = True
        forwarder = interrupts.Forwarder(carried)
        for _ in range(3):
            forwarder.receive(signal.SIGINT)
        return [carried.signals.get_nowait() for _ in range(3)]

    assert asyncio.run(press()) == [signal.SIGINT, signal.SIGINT, signal.SIGKILL]
    assert "wherry kill -s KILL c1" in capsys.readouterr().err


def test_of_several_failures_the_telling_one_is_raised() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def both() -> None:
        async with tasks.open_group() as group:
            group.create_task(fail(errors.Unavailable("gone")))
            group.create_task(fail(errors.NotFound("told")))

    with pytest.raises(errors.NotFound):
        asyncio.run(both())
