"""A terminal on FIFO stdio: the shim copies between the client's FIFOs and the master of the terminal."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import select
import struct
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Box, wait_size
from tests.support.eventually import eventually
from tests.support.fifo import open_reader, read_until
from wherry import errors
from wherry.client.sync import SyncContainer
from wherry.model.request import Mount, Stdio

#: A writable place inside a container.
TMP = Mount(type="tmpfs", target="/tmp")
#: Neither echo nor CR LF: what is written is what arrives.
PLAIN = "stty -echo -onlcr; "


@pytest.fixture
def tty(tmp_path: Path) -> Stdio:
    """Return a terminal on two FIFOs; a path for stderr is named and not there."""
    stdin, stdout, stderr = (str(tmp_path / name) for name in ("stdin", "stdout", "missing"))
    os.mkfifo(stdin)
    os.mkfifo(stdout)
    return Stdio(mode="fifo", stdin=stdin, stdout=stdout, stderr=stderr, terminal=True, width=91, height=17)


@pytest.fixture
def keyboard(tty: Stdio) -> Iterator[int]:
    """Return a write end of the stdin FIFO; it may be opened before anybody reads."""
    fd = os.open(tty.stdin, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def screen(tty: Stdio) -> Iterator[int]:
    """Return a read end of the stdout FIFO."""
    fd = open_reader(tty.stdout)
    try:
        yield fd
    finally:
        os.close(fd)


def read_to(fd: int, end: bytes) -> bytes:
    """Read until `end` has arrived."""
    found = b""

    def more() -> bool:
        nonlocal found
        with contextlib.suppress(BlockingIOError):
            found += os.read(fd, 1 << 16)
        return found.endswith(end)

    eventually(more, what=f"output that ends in {end!r}")
    return found


def read_shim_pid(box: Box, container: SyncContainer) -> int:
    directory = Path(box.client.info().state_dir, container.namespace, container.container_id, "init")
    return int((directory / "shim.pid").read_text())


def read_cpu(pid: int) -> int:
    """Return the clock ticks that a process has used (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


def is_full(fifo: int) -> bool:
    """Tell whether a FIFO has no room; pieces need not fill its pages, so this is not a number of bytes."""
    return not select.select([], [fifo], [], 0)[1]


def is_blocked(path: str) -> bool:
    """Tell whether a FIFO that nobody here has open is full."""
    probe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        return is_full(probe)
    finally:
        os.close(probe)


def count_ready(fifo: int) -> int:
    """Return how many bytes a FIFO holds."""
    return int(struct.unpack("i", fcntl.ioctl(fifo, termios.FIONREAD, b"\0" * 4))[0])


def test_a_terminal_on_fifos_has_input_echo_and_its_first_size(
    box: Box, runtime: str, tty: Stdio, keyboard: int, screen: int
) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && stty size; read x; echo got $x >&2; exit 3"
    container = box.run("sh", "-c", script, stdio=tty, runtime=runtime)
    assert read_to(screen, b"\n") == b"17 91\r\n"
    os.write(keyboard, b"a word\n")
    assert read_to(screen, b"got a word\r\n") == b"a word\r\ngot a word\r\n"
    assert container.wait(10).status == 3
    eventually(lambda: os.read(screen, 1) == b"", what="end of file after the exit")


def test_a_terminal_on_fifos_is_resized(box: Box, runtime: str, tty: Stdio, keyboard: int, screen: int) -> None:
    script = f"{PLAIN}trap 'stty size' WINCH; echo ready; while :; do read x && stty size; done"
    container = box.run("sh", "-c", script, stdio=tty, runtime=runtime)
    read_to(screen, b"ready\n")
    container.resize(120, 40)

    def ask() -> bool:
        os.write(keyboard, b"\n")
        return read_to(screen, b"\n").endswith(b"40 120\n")

    eventually(ask)


def test_a_terminal_is_resized_while_nobody_reads(box: Box, tty: Stdio) -> None:
    holder = os.open(tty.stdout, os.O_RDWR | os.O_NONBLOCK)
    try:
        container = box.run("sh", "-c", f"{PLAIN}yes", stdio=tty)
        eventually(lambda: is_full(holder))
        container.resize(33, 44)
        terminal = f"/proc/{container.info().processes[0].pid}/fd/0"

        def size() -> bytes:
            fd = os.open(terminal, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                return fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8)
            finally:
                os.close(fd)

        eventually(lambda: size() == struct.pack("4H", 44, 33, 0, 0))
        container.kill("KILL")
        assert container.wait(10).status == 137
    finally:
        os.close(holder)


def test_a_reader_of_a_terminal_may_come_later_and_leave_and_come_back(box: Box, runtime: str, tty: Stdio) -> None:
    # Five digits and a line end: more than FIFO, shim and terminal hold together, so the process has to wait.
    expected = "".join(f"{number}\n" for number in range(10000, 60000)).encode()
    container = box.run("sh", "-c", f"{PLAIN}seq 10000 59999; read x", stdio=tty, runtime=runtime)
    shim = read_shim_pid(box, container)
    assert len(expected) == 300_000
    found = b""
    for size in (10_000, 100_000, len(expected)):
        # The process has to wait while nobody reads; the probe holds nothing open.
        eventually(lambda: is_blocked(tty.stdout))
        reader = open_reader(tty.stdout)
        try:
            found += read_until(reader, size - len(found))
        finally:
            os.close(reader)
        assert container.info().state == "running"
    assert found == expected
    assert read_rss(shim) < 40_000
    Path(tty.stdin).write_bytes(b"\n")
    assert container.wait(10).status == 0


def read_rss(pid: int) -> int:
    """Return the resident memory of a process, kB."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0])


def test_writers_of_a_terminal_may_leave_and_close_stdin_does_nothing(
    box: Box, runtime: str, tty: Stdio, screen: int
) -> None:
    script = f"{PLAIN}echo ready; while read x; do echo got $x; done"
    container = box.run("sh", "-c", script, stdio=tty, runtime=runtime)
    read_to(screen, b"ready\n")
    for word in (b"one\n", b"two\n"):
        Path(tty.stdin).write_bytes(word)
        assert read_to(screen, word) == b"got " + word
    container.close_stdin()
    Path(tty.stdin).write_bytes(b"three\n")
    assert read_to(screen, b"three\n") == b"got three\n"
    Path(tty.stdin).write_bytes(b"\x04")
    assert container.wait(10).status == 0


def test_input_waits_for_a_process_that_does_not_read(box: Box, tty: Stdio, keyboard: int, screen: int) -> None:
    script = f"{PLAIN}echo ready; while ! test -e /tmp/go; do sleep 0.05; done; head -n 30000 | md5sum"
    container = box.run("sh", "-c", script, stdio=tty, mounts=(TMP,))
    read_to(screen, b"ready\n")
    data = b"".join(b"%05d\n" % number for number in range(30000))
    rest = data

    def is_stuck() -> bool:
        nonlocal rest
        try:
            rest = rest[os.write(keyboard, rest) :]
        except BlockingIOError:
            return True
        return False

    eventually(is_stuck)
    assert rest, "nothing here takes all of it"
    assert container.exec("touch", "/tmp/go").wait(10).status == 0
    eventually(lambda: not rest or (is_stuck() and False), what="all input taken")
    assert read_to(screen, b"\n").split()[0].decode() == hashlib.md5(data).hexdigest()
    assert container.wait(10).status == 0


def test_an_exit_is_told_though_the_fifo_of_its_terminal_is_full_and_what_it_holds_is_kept(
    box: Box, runtime: str, tty: Stdio
) -> None:
    holder = os.open(tty.stdout, os.O_RDWR | os.O_NONBLOCK)  # a FIFO that nobody has open any more holds nothing
    try:
        script = f"{PLAIN}seq 10000 59999 & while ! test -e /tmp/go; do sleep 0.05; done; exit 6"
        container = box.run("sh", "-c", script, stdio=tty, runtime=runtime, mounts=(TMP,))
        eventually(lambda: is_full(holder))
        assert container.exec("touch", "/tmp/go").wait(10).status == 0
        record = container.wait(20)
        assert record.status == 6
        assert record.dropped_bytes > 0, "what the FIFO had no room for is counted"
        held = read_until(holder, count_ready(holder))
        assert len(held) > 4096
        expected = "".join(f"{number}\n" for number in range(10000, 60000)).encode()
        assert expected.startswith(held)
    finally:
        os.close(holder)


@pytest.mark.parametrize("is_read", [False, True], ids=["unread", "read"])
def test_an_exec_has_a_terminal_on_fifos(box: Box, runtime: str, tty: Stdio, is_read: bool) -> None:
    container = box.run("sleep", "60", runtime=runtime)
    reader = open_reader(tty.stdout) if is_read else -1
    try:
        script = f"{PLAIN}{wait_size(runtime, 17, 91)}test -t 0 && stty size; seq 1 5000; exit 4"
        process = container.exec("sh", "-c", script, stdio=tty)
        if is_read:
            expected = "17 91\n" + "".join(f"{number}\n" for number in range(1, 5001))
            assert read_until(reader, len(expected)) == expected.encode()
        assert process.wait(10).status == 4
    finally:
        if is_read:
            os.close(reader)


def test_an_exec_is_told_though_the_fifo_of_its_terminal_is_full(box: Box, tty: Stdio) -> None:
    container = box.run("sleep", "60")
    holder = os.open(tty.stdout, os.O_RDWR | os.O_NONBLOCK)
    try:
        process = container.exec("sh", "-c", f"{PLAIN}(trap '' HUP; exec yes) & exec sleep 1000", stdio=tty)
        eventually(lambda: is_full(holder))
        process.kill("KILL")
        assert process.wait(10).status == 137
    finally:
        os.close(holder)


def test_a_terminal_without_paths_is_dev_null(box: Box, runtime: str) -> None:
    stdio = Stdio(mode="fifo", terminal=True)
    container = box.run("sh", "-c", "test -t 0 && seq 1 20000", stdio=stdio, runtime=runtime)
    assert container.wait(10).status == 0


def test_an_idle_shim_of_a_terminal_uses_no_processor_in_any_state(box: Box, tty: Stdio, keyboard: int) -> None:
    holder = os.open(tty.stdout, os.O_RDWR | os.O_NONBLOCK)
    try:
        container = box.run("sh", "-c", f"{PLAIN}echo ready; read x; yes", stdio=tty)
        shim = read_shim_pid(box, container)

        def is_idle() -> bool:
            before = read_cpu(shim)
            time.sleep(0.5)  # what is measured is a time in which nothing happens
            return read_cpu(shim) - before <= 1

        assert is_idle(), "nobody reads"
        reader = open_reader(tty.stdout)
        read_to(reader, b"ready\n")
        assert is_idle(), "somebody reads"
        os.close(reader)
        assert is_idle(), "the reader has left"
        Path(tty.stdin).write_bytes(b"x")
        assert is_idle(), "a writer has left"
        os.write(keyboard, b"\n")
        eventually(lambda: is_full(holder))
        eventually(is_idle, what="idle with a full FIFO")
        assert is_idle(), "the FIFO is full"
    finally:
        os.close(holder)


def test_the_null_mode_has_no_terminal(box: Box) -> None:
    with pytest.raises(errors.InvalidArgument, match="managed and fifo have it"):
        box.run("true", stdio=Stdio(mode="null", terminal=True))
