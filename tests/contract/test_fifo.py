"""FIFO stdio: the client makes the FIFOs. The container has them itself, but for a terminal, which the shim copies."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Box
from tests.support.eventually import eventually
from tests.support.fifo import has_ended, open_reader, read_until
from wherry import errors
from wherry.model.request import Stdio


@pytest.fixture
def fifos(tmp_path: Path) -> Stdio:
    """Return three FIFOs."""
    paths = [tmp_path / name for name in ("stdin", "stdout", "stderr")]
    for path in paths:
        os.mkfifo(path)
    return Stdio(mode="fifo", stdin=str(paths[0]), stdout=str(paths[1]), stderr=str(paths[2]))


def test_output_arrives_at_its_own_fifo(box: Box, runtime: str, fifos: Stdio) -> None:
    readers = [open_reader(fifos.stdout), open_reader(fifos.stderr)]
    try:
        container = box.run("sh", "-c", "echo out; echo err >&2", stdio=fifos, runtime=runtime)
        assert [read_until(reader, 4) for reader in readers] == [b"out\n", b"err\n"]
        assert container.wait(10).status == 0
        # The exit is told first, then the shim lets go of the FIFOs.
        eventually(lambda: all(map(has_ended, readers)), what="end of file after the exit")
    finally:
        for reader in readers:
            os.close(reader)


def test_nobody_has_to_read(box: Box, fifos: Stdio) -> None:
    started = time.monotonic()
    assert box.run("echo", "unheard", stdio=fifos).wait(10).status == 0
    assert time.monotonic() - started < 5


def test_a_reader_may_come_later_and_leave_and_come_back(box: Box, fifos: Stdio) -> None:
    script = "echo first; read x; echo second; read x; echo third; read x"
    container = box.run("sh", "-c", script, stdio=fifos)
    writer = os.open(fifos.stdin, os.O_WRONLY | os.O_NONBLOCK)
    try:
        for expected in (b"first\n", b"second\n", b"third\n"):
            reader = open_reader(fifos.stdout)
            try:
                assert read_until(reader, len(expected)) == expected
            finally:
                os.close(reader)
            # Nobody reads now; what is written stays in the FIFO.
            os.write(writer, b"go\n")
        assert container.wait(10).status == 0
    finally:
        os.close(writer)


def test_stdin_ends_by_close_stdin_and_not_by_a_writer_that_leaves(box: Box, runtime: str, fifos: Stdio) -> None:
    container = box.run("cat", stdio=fifos, runtime=runtime)
    reader = open_reader(fifos.stdout)
    try:
        for word in (b"one\n", b"two\n"):
            Path(fifos.stdin).write_bytes(word)
            assert read_until(reader, 4) == word
        assert container.info().state == "running"
        container.close_stdin()
        assert container.wait(10).status == 0
    finally:
        os.close(reader)


def test_both_streams_may_share_a_path(box: Box, fifos: Stdio) -> None:
    reader = open_reader(fifos.stdout)
    try:
        stdio = Stdio(mode="fifo", stdout=fifos.stdout, stderr=fifos.stdout)
        box.run("sh", "-c", "echo a; echo b >&2; echo c", stdio=stdio).wait(10)
        assert read_until(reader, 6) == b"a\nb\nc\n"
    finally:
        os.close(reader)


def test_null_streams_are_empty_and_swallow(box: Box, runtime: str) -> None:
    container = box.run("sh", "-c", 'echo x; test -z "$(cat)"', stdio=Stdio(mode="null"), runtime=runtime)
    assert container.wait(10).status == 0


def test_an_exec_has_fifos_too(box: Box, fifos: Stdio) -> None:
    reader = open_reader(fifos.stdout)
    try:
        container = box.run("sleep", "60")
        assert container.exec("echo", "exec", stdio=fifos).wait(10).status == 0
        assert read_until(reader, 5) == b"exec\n"
    finally:
        os.close(reader)


# -- paths that are no FIFOs -------------------------------------------------------------------------------------------


def make_bad_path(kind: str, tmp_path: Path) -> str:
    """Return a path of a kind that no stream can be."""
    path = tmp_path / kind
    if kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    return str(path)


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
@pytest.mark.parametrize("stream", ["stdin", "stdout"])
@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("missing", errors.NotFound, "No such file or directory"),
        ("directory", errors.InvalidArgument, "is neither a FIFO, a file nor a character device"),
        ("socket", errors.InvalidArgument, "is neither a FIFO, a file nor a character device"),
    ],
)
def test_a_path_that_is_no_stream_is_an_error_that_names_it_and_leaves_nothing(
    box: Box, tmp_path: Path, kind: str, error: type[Exception], words: str, stream: str, terminal: bool
) -> None:
    bad = make_bad_path(kind, tmp_path)
    paths: dict[str, Any] = {stream: bad}
    before = {info.id for info in box.client.containers()}
    with pytest.raises(error, match=f"{re.escape(bad)}: {words}"):
        box.run("true", stdio=Stdio(mode="fifo", terminal=terminal, **paths))
    assert {info.id for info in box.client.containers()} == before
    sleeper = box.run("sleep", "60")
    with pytest.raises(error, match=f"{re.escape(bad)}: {words}"):
        sleeper.exec("true", stdio=Stdio(mode="fifo", terminal=terminal, **paths))
    assert [process.id for process in sleeper.info().processes] == ["init"]
    directory = Path(box.client.info().state_dir, sleeper.namespace, sleeper.container_id)
    assert [item.name for item in directory.iterdir() if item.is_dir()] == ["init"]


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
def test_files_serve_as_streams(box: Box, runtime: str, tmp_path: Path, terminal: bool) -> None:
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"line %d\n" * 3 % (1, 2, 3))
    sink.write_bytes(b"kept\n")
    stdio = Stdio(mode="fifo", stdin=str(source), stdout=str(sink), terminal=terminal)
    script = f"{'stty -echo -onlcr; ' if terminal else ''}echo begin; for i in 1 2 3; do read x; echo got $x; done"
    assert box.run("sh", "-c", script, stdio=stdio, runtime=runtime).wait(10).status == 0
    # What comes before `begin` is the echo of input that was there before the echo was turned off.
    assert sink.read_bytes().startswith(b"kept\n")
    assert sink.read_bytes().endswith(b"begin\ngot line 1\ngot line 2\ngot line 3\n")


def test_a_terminal_on_a_full_disk_never_waits_and_counts_what_is_lost(box: Box) -> None:
    stdio = Stdio(mode="fifo", stdout="/dev/full", terminal=True)
    record = box.run("sh", "-c", "stty -onlcr; seq 1 20000", stdio=stdio).wait(20)
    assert record.status == 0
    assert record.dropped_bytes == sum(len(f"{number}\n") for number in range(1, 20001))
