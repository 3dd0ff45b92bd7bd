"""A process as a directory: made, found again, and never misunderstood."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.test_records import FOREIGN
from wherry import errors
from wherry.model import status as st
from wherry.runtime.process import Process

_SPEC = {"args": ["true"], "exec": False}


@contextmanager
def made(directory: Path) -> Iterator[Process]:
    process = Process.create(directory, _SPEC)
    try:
        yield process
    finally:
        process.close()


@contextmanager
def loaded(directory: Path) -> Iterator[Process]:
    process = Process.load(directory)
    try:
        yield process
    finally:
        process.close()


def test_the_names_are_those_of_old_and_private(tmp_path: Path) -> None:
    with made(tmp_path / "init"):
        assert sorted(path.name for path in (tmp_path / "init").iterdir()) == ["control", "exit", "process.json"]
        assert (tmp_path / "init").stat().st_mode & 0o777 == 0o700
        for path in (tmp_path / "init").iterdir():
            assert path.stat().st_mode & 0o777 == 0o600


def test_one_that_cannot_be_opened_whole_leaves_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, before = os.open, len(os.listdir("/proc/self/fd"))

    def fail(path: Path, flags: int, mode: int = 0o777) -> int:
        if path.name == "control":
            raise OSError(errno.EMFILE, "Too many open files", str(path))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match="Too many"):
        Process.create(tmp_path / "init", _SPEC)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_same_directory_gives_the_same_process_back(tmp_path: Path) -> None:
    with made(tmp_path / "init") as first, loaded(tmp_path / "init") as again:
        assert (again.id, again.spec, again.pid, again.starttime) == (first.id, first.spec, 0, None)
        assert again.exit_status() is None
        assert again.exit_record() is None
    with pytest.raises(FileExistsError):
        Process.create(tmp_path / "init", {})


def test_a_shim_lives_while_it_holds_the_pipe_and_not_a_moment_longer(tmp_path: Path) -> None:
    with made(tmp_path / "init") as process:
        assert not process.is_shim_alive()  # never had one
        writer = process.open_exit_writer()
        assert process.is_shim_alive()
        with loaded(tmp_path / "init") as again:  # found again while it lives
            assert again.is_shim_alive()
            os.close(writer)
            assert not again.is_shim_alive()
        assert not process.is_shim_alive()
        with loaded(tmp_path / "init") as late:  # opened after the last writer left: no hang-up, ever
            assert not late.is_shim_alive()


@pytest.mark.parametrize("name", ["process.json", "exit", "control"])
def test_a_missing_file_is_data_loss_and_leaks_nothing(tmp_path: Path, name: str) -> None:
    Process.create(tmp_path / "init", _SPEC).close()
    (tmp_path / "init" / name).unlink()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(errors.DataLoss, match=f"^cannot load .*{name}"):
        Process.load(tmp_path / "init")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name, own in (("process.json", "file"), ("exit", "FIFO"), ("control", "FIFO"))
        for kind in (*FOREIGN, "file")
        if kind != own
    ],
)
def test_a_foreign_file_is_data_loss_and_never_a_hang(tmp_path: Path, name: str, kind: str) -> None:
    Process.create(tmp_path / "init", _SPEC).close()
    path = tmp_path / "init" / name
    path.unlink()
    (FOREIGN[kind] if kind != "file" else Path.touch)(path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(errors.DataLoss, match=f"^cannot (load|read) .*{name}"):
        Process.load(tmp_path / "init")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["exit.json", "exitStatus", "pid", "starttime", "shim.pid", "shim.log"])
def test_a_foreign_answer_is_no_answer(tmp_path: Path, name: str, kind: str) -> None:
    with made(tmp_path / "init") as process:
        FOREIGN[kind](tmp_path / "init" / name)
        assert (process.exit_record(), process.exit_status()) == (None, None)
        assert (process.pid, process.starttime, process.shim_pid, process.words()) == (0, None, 0, "")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("0", 0),
        ("7", 7),
        ("255", 255),
        ("137\n", 137),
        ("-1", 255),
        ("999", 255),
        ("-999999", 255),
        ("", None),
        ("x", None),
    ],
)
def test_the_status_fits_a_byte_whatever_an_old_writer_left(tmp_path: Path, content: str, status: int | None) -> None:
    with made(tmp_path / "init") as process:
        (tmp_path / "init" / "exitStatus").write_text(content)
        assert process.exit_status() == status
        found = process.exit_record()
        assert (found and found.status) == status
        assert not found or found.reason == ("unknown" if status == 255 else "")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"status": 999}', '{"status": -1}', '{"status": "0"}', '{"status": true}']
)
def test_a_torn_exit_record_falls_back_to_the_status(tmp_path: Path, text: str) -> None:
    with made(tmp_path / "init") as process:
        (tmp_path / "init" / "exit.json").write_text(text)
        assert process.exit_record() is None
        (tmp_path / "init" / "exitStatus").write_text("3")
        assert process.exit_record() == st.ExitRecord(status=3)


def test_an_exit_record_that_is_written_is_read(tmp_path: Path) -> None:
    for status in (0, 137):
        with made(tmp_path / str(status)) as process:
            wanted = st.ExitRecord(status=status, signal=9, reason="shim-lost", exited_at_ns=5)
            process.write_exit_record(wanted)
            assert process.exit_record() == wanted
            assert process.exit_status() == status
            assert (tmp_path / str(status) / "exitStatus").read_text() == str(status)


@pytest.mark.parametrize("content", ["-1", "0", "9" * 30, "4194304", "x"])
def test_an_absurd_pid_is_none_and_nobody_is_signalled(tmp_path: Path, content: str) -> None:
    with made(tmp_path / "init") as process:
        for name in ("pid", "shim.pid"):
            (tmp_path / "init" / name).write_text(content)
        (tmp_path / "init" / "starttime").write_text("1")
        assert (process.pid, process.shim_pid) == (0, 0)
        with pytest.raises(errors.FailedPrecondition, match="^cannot signal process init: it "):
            process.send_signal(9)


def test_a_stranger_with_the_same_number_is_not_signalled(tmp_path: Path) -> None:
    with made(tmp_path / "init") as process:
        (tmp_path / "init" / "pid").write_text(str(os.getpid()))
        for starttime in ("1", ""):
            (tmp_path / "init" / "starttime").write_text(starttime)
            with pytest.raises(errors.FailedPrecondition):
                process.send_signal(9)


def fill(process: Process) -> None:
    for _ in range(100_000):
        process.close_stdin()


def test_closing_stdin_is_the_line_of_old_and_a_deaf_shim_does_not_hold_us(tmp_path: Path) -> None:
    with made(tmp_path / "init") as process:
        process.close_stdin()
        assert os.read(process._control_fd, 100) == b"0 0 0\n"
        with pytest.raises(errors.Unavailable, match="cannot control process init: its shim does not read"):
            fill(process)


def test_only_the_last_words_are_kept(tmp_path: Path) -> None:
    with made(tmp_path / "init") as process:
        assert process.words() == ""
        (tmp_path / "init" / "shim.log").write_bytes(b"x" * 100_000 + b"\xffend\n")
        assert process.words().endswith("\ufffdend")
        assert len(process.words()) <= 4096


def test_closing_twice_closes_nobody_elses(tmp_path: Path) -> None:
    process = Process.create(tmp_path / "init", _SPEC)
    process.close()
    with open("/dev/null") as other:
        process.close()
        assert os.fstat(other.fileno())
