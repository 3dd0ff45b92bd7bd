"""Managed logs: what a process writes, in whatever pieces, is read back exactly; a failing disk is counted and said."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wherry.linux import libc
from wherry.runtime import log as reader_of
from wherry.shim import log

_PIECES = some.lists(
    some.tuples(
        some.sampled_from(["stdout", "stderr"]),
        some.binary(min_size=1, max_size=200) | some.text("ab \n", min_size=1, max_size=80).map(str.encode),
    ),
    max_size=20,
)
_EVERYTHING = 10**6


@contextmanager
def writing(path: Path, max_bytes: int = 10**6, max_files: int = _EVERYTHING) -> Iterator[log.Log]:
    writer = log.Log(str(path), max_bytes, max_files)
    try:
        yield writer
    finally:
        writer.close()


def read_all(reader: reader_of.Reader) -> dict[str, bytes]:
    found = {"stdout": b"", "stderr": b""}
    while block := reader.read():
        assert block.endswith(b"\n")
        for chunk in reader_of.parse_block(block):
            found[chunk.stream] += chunk.data
    return found


def read_path(path: Path, position: int = 0) -> dict[str, bytes]:
    reader = reader_of.Reader(path, position)
    try:
        return read_all(reader)
    finally:
        reader.close()


@given(_PIECES, some.integers(1, 600))
def test_any_bytes_in_any_pieces_come_back_exactly_over_any_rotation(
    pieces: list[tuple[str, bytes]], max_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        with writing(path, max_bytes) as writer:
            for stream, data in pieces:
                writer.write(stream, data)
        for stream in ("stdout", "stderr"):
            assert read_path(path)[stream] == b"".join(data for name, data in pieces if name == stream)
        assert writer.end == sum(item.stat().st_size for item in Path(directory).iterdir())


@given(_PIECES, some.integers(1, 300), some.integers(0, 20))
def test_a_reader_beside_the_writer_misses_nothing_and_gets_nothing_twice(
    pieces: list[tuple[str, bytes]], max_bytes: int, every: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        with writing(path, max_bytes) as writer:
            reader = reader_of.Reader(path)
            found = {"stdout": b"", "stderr": b""}
            for number, (stream, data) in enumerate([*pieces, ("stdout", b"end")]):
                writer.write(stream, data)
                if every and number % every:
                    continue
                for name, more in read_all(reader).items():
                    found[name] += more
            for name, more in read_all(reader).items():
                found[name] += more
            reader.close()
        assert found["stdout"] == b"".join(data for name, data in pieces if name == "stdout") + b"end"
        assert found["stderr"] == b"".join(data for name, data in pieces if name == "stderr")
        assert reader.lost == 0
        assert reader.position == writer.end


@given(some.text("ab \n", max_size=60).map(str.encode) | some.binary(max_size=200))
def test_each_line_is_one_entry_and_only_the_last_may_be_partial(data: bytes) -> None:
    raw = log.format_entries("TIME stdout ", data).split(b"\n")[:-1]
    assert len(raw) == data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    tags = [line.split(b" ", 3)[2] for line in raw]
    assert tags == [b"F"] * data.count(b"\n") + [b"P"] * (len(raw) - data.count(b"\n"))


def test_the_format_is_that_of_cri(tmp_path: Path) -> None:
    with writing(tmp_path / "log") as writer:
        writer.write("stdout", b"one\n\ntwo")
    first, second, third = (tmp_path / "log").read_bytes().splitlines()
    time = first.split()[0]
    assert (first, second, third) == (time + b" stdout F one", time + b" stdout F ", time + b" stdout P two")
    assert reader_of.format_time(reader_of.parse_time(time)) == time


def test_files_are_cut_at_lines_and_only_so_many_are_kept(tmp_path: Path) -> None:
    with writing(tmp_path / "log", max_bytes=500, max_files=3) as writer:
        for number in range(200):
            writer.write("stdout", b"line %d\n" % number)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    for file in files:
        assert file.read_bytes().endswith(b"\n")
        assert file.stat().st_size <= 500
        assert file.stat().st_mode & 0o777 == 0o600
    assert files[0].name == "log"
    assert int(files[2].name[4:]) == int(files[1].name[4:]) + files[1].stat().st_size
    lines = read_path(tmp_path / "log")["stdout"].splitlines()
    assert lines == [b"line %d" % number for number in range(200 - len(lines), 200)]


def test_other_files_beside_the_log_are_never_removed(tmp_path: Path) -> None:
    for name in ("log.old", "log.1x", "logs.00000000000000000000", "log."):
        (tmp_path / name).write_text("mine")
    with writing(tmp_path / "log", max_bytes=1, max_files=2) as writer:
        for _ in range(20):
            writer.write("stdout", b"x\n")
    assert len(list(tmp_path.iterdir())) == 4 + 2


def list_files(path: Path) -> list[tuple[int, bytes]]:
    """Return the position and the content of each file of a log, oldest first."""
    files = [(start, file.read_bytes()) for start, file in reader_of.list_rotated(path)]
    return [*files, (sum(len(content) for _, content in files), path.read_bytes())]


@given(some.lists(_PIECES, max_size=5), some.integers(1, 600))
def test_a_second_writer_goes_on_where_the_first_has_ended(
    lives: list[list[tuple[str, bytes]]], max_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        end = 0
        for pieces in lives:
            with writing(path, max_bytes) as writer:
                assert writer.end == end
                for stream, data in pieces:
                    writer.write(stream, data)
                end = writer.end
        if lives:
            position = 0
            for start, content in list_files(path):
                assert start == position
                position += len(content)
            assert position == end
            for stream in ("stdout", "stderr"):
                written = [data for pieces in lives for name, data in pieces if name == stream]
                assert read_path(path)[stream] == b"".join(written)


@given(some.lists(some.tuples(_PIECES, some.integers(0, 80)), max_size=5), some.integers(1, 600))
def test_what_a_killed_writer_has_torn_never_becomes_a_part_of_the_next_entry(
    lives: list[tuple[list[tuple[str, bytes]], int]], max_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        allowed = {b""}
        for pieces, cut in lives:
            with writing(path, max_bytes) as writer:
                for stream, data in pieces:
                    writer.write(stream, data)
            for _, content in list_files(path):
                allowed.update(content.split(b"\n"))
            size = path.stat().st_size
            os.truncate(path, max(0, size - cut))
            allowed.add(path.read_bytes().rpartition(b"\n")[2])
        for _, content in list_files(path) if lives else ():
            assert set(content.split(b"\n")) <= allowed
        if lives:
            with writing(path, max_bytes) as writer:
                writer.write("stdout", b"the next\n")
                assert writer.end == sum(len(content) for _, content in list_files(path))
            whole = [line for _, content in list_files(path) for line in content.split(b"\n") if line]
            assert whole[-1].endswith(b" stdout F the next")
            assert len(whole[-1].split(b" ")) == 5
            assert read_path(path)["stdout"].endswith(b"the next\n")


def test_a_torn_line_ends_where_it_was_torn(tmp_path: Path) -> None:
    with writing(tmp_path / "log") as writer:
        writer.write("stdout", b"whole\ntorn here\n")
    os.truncate(tmp_path / "log", writer.end - 6)
    with writing(tmp_path / "log") as writer:
        assert writer.end == (tmp_path / "log").stat().st_size
        writer.write("stdout", b"next\n")
        assert writer.end == (tmp_path / "log").stat().st_size
    assert read_path(tmp_path / "log")["stdout"] == b"whole\ntorn\nnext\n"


def test_a_torn_line_is_not_glued_when_the_first_try_to_write_behind_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(tmp_path / "log") as writer:
        writer.write("stdout", b"torn\n")
    os.truncate(tmp_path / "log", writer.end - 1)
    with writing(tmp_path / "log") as writer:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", fail(errno.ENOSPC))
            writer.write("stdout", b"lost\n")
        writer.write("stdout", b"next\n")
    assert read_path(tmp_path / "log")["stdout"] == b"torn\nnext\n"


def test_a_second_writer_keeps_only_so_many_files_of_both(tmp_path: Path) -> None:
    end = 0
    for life in range(4):
        with writing(tmp_path / "log", max_bytes=200, max_files=3) as writer:
            for number in range(20):
                writer.write("stdout", b"%d %d\n" % (life, number))
            end = writer.end
    assert len(list(tmp_path.iterdir())) == 3
    files = [(start, file.stat().st_size) for start, file in reader_of.list_rotated(tmp_path / "log")]
    assert files[1][0] == sum(files[0])
    assert end == sum(files[1]) + (tmp_path / "log").stat().st_size
    assert read_path(tmp_path / "log")["stdout"].endswith(b"3 18\n3 19\n")


def test_a_rotation_that_was_cut_short_loses_no_position(tmp_path: Path) -> None:
    with writing(tmp_path / "log") as writer:
        writer.write("stdout", b"before\n")
    (tmp_path / "log").rename(tmp_path / f"log.{0:020d}")
    with writing(tmp_path / "log") as second:
        assert second.end == writer.end
        second.write("stdout", b"after\n")
    assert read_path(tmp_path / "log")["stdout"] == b"before\nafter\n"


def fail(number: int) -> Any:
    def failing(*_arguments: Any, **_options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return failing


def test_what_could_not_be_written_is_counted_and_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with writing(tmp_path / "log") as writer:
        writer.write("stdout", b"before\n")
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", fail(errno.EIO))
            writer.write("stdout", b"lost\n")
            writer.write("stderr", b"lost too\n")
        assert writer.dropped_bytes == 14
        writer.write("stdout", b"after\n")
        writer.write("stdout", b"later\n")
    found = read_path(tmp_path / "log")
    assert found["stdout"] == b"before\nafter\nlater\n"
    assert found["stderr"] == b"wherry: 14 bytes of output dropped: Input/output error\n"


@pytest.mark.parametrize("call", ["rename", "open"])
def test_a_rotation_that_fails_drops_and_works_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with writing(tmp_path / "log", max_bytes=100) as writer:
        writer.write("stdout", b"a" * 60 + b"\n")
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail(errno.ENOSPC))
            writer.write("stdout", b"b" * 60 + b"\n")
            writer.write("stdout", b"c" * 60 + b"\n")
        assert writer.dropped_bytes == 122
        writer.write("stdout", b"d" * 60 + b"\n")
    found = read_path(tmp_path / "log")
    assert found["stdout"] == b"a" * 60 + b"\n" + b"d" * 60 + b"\n"
    assert b"122 bytes of output dropped: No space left on device" in found["stderr"]


def test_a_log_that_somebody_removes_does_not_end_the_logging(tmp_path: Path) -> None:
    with writing(tmp_path / "log", max_bytes=100) as writer:
        writer.write("stdout", b"a" * 60 + b"\n")
        (tmp_path / "log").unlink()
        writer.write("stdout", b"b" * 60 + b"\n")
    assert writer.dropped_bytes == 0
    assert b"b" * 60 in (tmp_path / "log").read_bytes()


@pytest.mark.requires("mountns")
def test_a_full_disk_keeps_whole_lines_counts_the_rest_and_says_so_when_there_is_room(tmp_path: Path) -> None:
    libc.mount("wherry-test", str(tmp_path), "tmpfs", 0, "size=1m")
    try:
        ballast = tmp_path / "ballast"
        ballast.write_bytes(b"x" * 900 * 1024)
        with writing(tmp_path / "log", max_bytes=64 * 1024) as writer:
            for number in range(60):
                writer.write("stdout", b"%04d %s\n" % (number, b"y" * 3000))
            assert writer.dropped_bytes > 0
            assert writer.dropped_bytes % 3006 == 0
            for item in tmp_path.glob("log*"):
                assert not item.read_bytes() or item.read_bytes().endswith(b"\n")
            ballast.unlink()
            writer.write("stdout", b"room again\n")
        found = read_path(tmp_path / "log")
        kept = found["stdout"].splitlines(keepends=True)
        assert kept[-1] == b"room again\n"
        assert len(kept) - 1 + writer.dropped_bytes // 3006 == 60
        words = f"wherry: {writer.dropped_bytes} bytes of output dropped: No space left on device\n"
        assert found["stderr"] == words.encode()
    finally:
        libc.umount(str(tmp_path))
