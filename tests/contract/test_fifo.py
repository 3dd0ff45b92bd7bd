"""FIFO stdio: the client makes the FIFOs, the container has them itself, no byte is copied."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.contract.conftest import Box
from tests.support.eventually import eventually
from wherry.model.request import Stdio


@pytest.fixture
def fifos(tmp_path: Path) -> Stdio:
    """Return three FIFOs."""
    paths = [tmp_path / name for name in ("stdin", "stdout", "stderr")]
    for path in paths:
        os.mkfifo(path)
    return Stdio(mode="fifo", stdin=str(paths[0]), stdout=str(paths[1]), stderr=str(paths[2]))


def open_reader(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def read_until(fd: int, size: int) -> bytes:
    """Read until there are `size` bytes."""
    found = b""

    def more() -> bool:
        nonlocal found
        try:
            found += os.read(fd, 1 << 20)
        except BlockingIOError:
            pass
        return len(found) >= size

    eventually(more, what=f"{size} bytes")
    return found


def test_output_arrives_at_its_own_fifo(box: Box, runtime: str, fifos: Stdio) -> None:
    readers = [open_reader(fifos.stdout), open_reader(fifos.stderr)]
    try:
        container = box.run("sh", "-c", "echo out; echo err >&2", stdio=fifos, runtime=runtime)
        assert [read_until(reader, 4) for reader in readers] == [b"out\n", b"err\n"]
        assert container.wait(10).status == 0
        assert [os.read(reader, 1) for reader in readers] == [b"", b""], "end of file after the exit"
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
