"""Reading managed logs from anywhere, whatever happened to the files meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.unit.test_log_writer import read_path, writing
from wherry.runtime import log


def rotated(path: Path) -> list[Path]:
    return [item for _, item in log.list_rotated(path)]


def boundaries(path: Path) -> list[int]:
    content = b"".join(item.read_bytes() for item in [*rotated(path), path])
    return [0, *(index + 1 for index, byte in enumerate(content) if byte == 10)]


@settings(max_examples=30)
@given(
    some.lists(some.text("ab\n", min_size=1, max_size=30).map(str.encode), min_size=1, max_size=12),
    some.integers(1, 300),
)
def test_a_reader_started_at_any_entry_reads_exactly_the_rest(pieces: list[bytes], max_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        with writing(path, max_bytes) as writer:
            for data in pieces:
                writer.write("stdout", data)
        whole = read_path(path)["stdout"]
        rests = [read_path(path, position)["stdout"] for position in boundaries(path)]
    assert rests[0] == whole
    assert rests[-1] == b""
    assert all(len(later) <= len(earlier) for earlier, later in itertools.pairwise(rests))
    assert all(whole.endswith(rest) for rest in rests)


@given(
    some.lists(some.text("ab\n", min_size=1, max_size=20).map(str.encode), min_size=1, max_size=12),
    some.integers(1, 300),
    some.integers(0, 20),
)
def test_the_tail_is_the_last_lines_over_any_rotation(pieces: list[bytes], max_bytes: int, lines: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        with writing(path, max_bytes) as writer:
            for data in pieces:
                writer.write("stdout", data)
        found = read_path(path, log.find_tail(path, lines))["stdout"]
    wanted = b"".join(pieces).splitlines(keepends=True)
    assert found == b"".join(wanted[len(wanted) - min(lines, len(wanted)) :])


def test_the_tail_of_an_empty_log_is_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    assert log.find_tail(tmp_path / "log", 5) == 0
    assert log.find_tail(tmp_path / "log", 0) == 0


def test_what_was_rotated_away_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with writing(path, max_bytes=200, max_files=2) as writer:
        writer.write("stdout", b"first\n")
        reader = log.Reader(path)
        assert reader.read()
        for number in range(50):
            writer.write("stdout", b"line %d\n" % number)
        begin = int(rotated(path)[0].name[4:])
        # The old file is still open here, and is read to its end before what is gone is missed.
        while reader.read():
            pass
        assert 0 < reader.lost < begin
        assert reader.position == writer.end
        reader.close()
    late = log.Reader(path)
    assert late.read()
    assert late.lost == begin
    late.close()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_a_file_that_somebody_removed_is_a_hole_not_an_endless_loop(tmp_path: Path, which: int) -> None:
    path = tmp_path / "log"
    with writing(path, max_bytes=100) as writer:
        for number in range(5):
            writer.write("stdout", b"%d" % number * 60 + b"\n")
    gone = rotated(path)[which]
    size = gone.stat().st_size
    gone.unlink()
    reader = log.Reader(path)
    content = b""
    while block := reader.read():
        content += block
    reader.close()
    if which < 3:
        assert reader.lost == size
        assert sorted({chunk.data[:1] for chunk in log.parse_block(content)}) == sorted(
            b"%d" % number for number in range(5) if number != which
        )


@pytest.mark.timeout(20)
@pytest.mark.parametrize("tail", [b"torn", b"x" * (log.BLOCK + 10)])
def test_a_rotated_file_without_a_line_end_is_no_endless_loop(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log"
    with writing(path) as writer:
        writer.write("stdout", b"one\n")
    with path.open("ab") as file:
        file.write(tail)
    path.rename(tmp_path / f"log.{0:020}")
    with writing(path) as writer:
        writer.write("stdout", b"two\n")
    assert read_path(path)["stdout"] == b"one\ntwo\n"


def test_reading_up_to_a_position_stops_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with writing(path, max_bytes=100) as writer:
        for number in range(6):
            writer.write("stdout", b"%d" % number * 30 + b"\n")
    for end in boundaries(path):
        reader = log.Reader(path)
        while reader.read(end):
            pass
        assert reader.position == end
        reader.close()


def test_no_log_yet_is_nothing_and_then_it_is_read(tmp_path: Path) -> None:
    reader = log.Reader(tmp_path / "log")
    assert reader.read() == b""
    with writing(tmp_path / "log") as writer:
        writer.write("stderr", b"x\n")
    assert [chunk.data for chunk in log.parse_block(reader.read())] == [b"x\n"]
    (tmp_path / "log").unlink()
    assert reader.read() == b""
    reader.close()


def test_a_link_in_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("2026-01-01T00:00:00.000000000Z stdout F secret\n")
    (tmp_path / "log").symlink_to(tmp_path / "secret")
    reader = log.Reader(tmp_path / "log")
    with pytest.raises(OSError, match="symbolic links"):
        reader.read()
    reader.close()


def test_a_half_written_line_is_not_handed_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"T stdout F one\nT stdout F tw")
    reader = log.Reader(path)
    assert reader.read() == b"T stdout F one\n"
    assert reader.read() == b""
    with path.open("ab") as file:
        file.write(b"o\n")
    assert reader.read() == b"T stdout F two\n"
    reader.close()


@given(some.integers(0, 2**63 - 1))
def test_times_survive_and_sort_as_texts(time_ns: int) -> None:
    text = log.format_time(time_ns)
    assert log.parse_time(text) == time_ns
    assert (text <= log.format_time(10**18)) == (time_ns <= 10**18)


def test_since_leaves_out_what_came_before(tmp_path: Path) -> None:
    block = b"".join(log.format_time(number) + b" stdout F %d\n" % number for number in (5, 10, 15))
    found = [chunk.data for chunk in log.parse_block(block, log.format_time(10))]
    assert found == [b"10\n", b"15\n"]


@given(some.binary(max_size=200))
def test_foreign_lines_are_passed_over(garbage: bytes) -> None:
    good = b"2026-01-01T00:00:00.000000000Z stderr F good"
    with contextlib.suppress(ValueError):
        log.parse_entry(garbage)
    found = list(log.parse_block(garbage.replace(b"\n", b"\n\n") + b"\n" + good + b"\n"))
    assert found[-1].data.endswith(b"good\n")


def test_a_foreign_time_is_no_time(tmp_path: Path) -> None:
    (chunk,) = log.parse_block(b"yesterday stdout P x\n")
    assert (chunk.time_ns, chunk.data) == (0, b"x")


def test_readers_leave_no_descriptor_open(tmp_path: Path) -> None:
    with writing(tmp_path / "log", max_bytes=1) as writer:
        for _ in range(30):
            writer.write("stdout", b"x\n")
    before = len(os.listdir("/proc/self/fd"))
    for position in boundaries(tmp_path / "log"):
        read_path(tmp_path / "log", position)
    assert len(os.listdir("/proc/self/fd")) == before
