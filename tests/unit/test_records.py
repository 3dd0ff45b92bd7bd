"""Small files that are read back: whole or refused by name, and nothing put in their place holds us up."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wherry import errors
from wherry.linux import files
from wherry.runtime import record


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(record.MAX_BYTES + 1)


FOREIGN: dict[str, Callable[[Path], Any]] = {
    "FIFO": os.mkfifo,
    "directory": os.mkdir,
    "socket": make_socket,
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "dangling link": lambda path: path.symlink_to("/no/such"),
    "link to itself": lambda path: path.symlink_to(path),
    "huge": make_huge,
}
_CONTENT = {
    "empty": b"",
    "torn": b'{"a": 1',
    "a list": b"[]",
    "a number": b"17",
    "null": b"null",
    "NULs": b"\0" * 100,
    "not UTF-8": b"\xff\xfe",
    "two": b"{}{}",
    "deep": b"[" * 100_000,
    "long number": b"9" * 5000,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_file_of_ours_is_data_loss_at_once_and_leaks_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    FOREIGN[kind](path)
    before = len(os.listdir("/proc/self/fd"))
    for read in (record.read_bytes, record.read_json):
        with pytest.raises(errors.DataLoss, match=f"^cannot read {path}: "):
            read(path)
    assert record.read_number(path) is None
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("content", _CONTENT.values(), ids=list(_CONTENT))
def test_what_is_no_json_object_is_data_loss(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(errors.DataLoss, match=f"^cannot read {path}: "):
        record.read_json(path)


def test_a_missing_file_is_missing_not_lost(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        record.read_json(tmp_path / "x")
    assert record.read_number(tmp_path / "x") is None
    (tmp_path / "file").touch()
    with pytest.raises(errors.DataLoss):
        record.read_json(tmp_path / "file" / "x")


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"17", 17),
        (b"17\n", 17),
        (b"-1", -1),
        (b"", None),
        (b"x", None),
        (b"1 2", None),
        (b"\xb2", None),
        (b"9" * 5000, None),
    ],
)
def test_a_number_is_a_number_or_nothing(tmp_path: Path, content: bytes, number: int | None) -> None:
    (tmp_path / "x").write_bytes(content)
    assert record.read_number(tmp_path / "x") == number


@given(some.dictionaries(some.text(max_size=8), some.none() | some.integers() | some.text(max_size=20), max_size=5))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "record.json"
    record.write_json(path, value)
    assert record.read_json(path) == value
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    record.write_json(path, {"a": 1})

    def full(_fd: int, _data: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            record.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_write_in_small_steps_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:3])))
        files.write_whole(tmp_path / "x", b"0123456789")
    assert (tmp_path / "x").read_bytes() == b"0123456789"


def test_a_leftover_of_a_writer_that_died_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".x.new").write_text("torn and longer than what comes")
    files.write_whole(tmp_path / "x", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"new"
