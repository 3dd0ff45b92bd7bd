"""`wherry top` on a real terminal: what it shows, and that the terminal is as it was on every way out."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.daemon import Daemon, make_environment
from tests.support.eventually import SLOW, eventually

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
ENTER, LEAVE, SHOW_CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


class Terminal:
    """`wherry top` as the foreground of a terminal of its own."""

    def __init__(self, daemon: Daemon, *words: str) -> None:
        self.main, self._other = pty.openpty()
        self.resize(140, 24)
        self.attributes = termios.tcgetattr(self._other)
        self.raw = ""
        # setsid -c makes it the controlling terminal, so that Ctrl-C, Ctrl-Z and resizes are signals.
        argv = ["setsid", "-c", sys.executable, "-m", "wherry.cli", "top", "--interval", "100ms", *words]
        env = make_environment({"WHERRY_ADDRESS": daemon.address, "TERM": "xterm", "LANG": "C.UTF-8"})
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            env.pop(name, None)
        self.process = subprocess.Popen(argv, stdin=self._other, stdout=self._other, stderr=self._other, env=env)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal."""
        self.rows = rows
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self) -> str:
        """Return everything shown so far."""
        while select.select([self.main], [], [], 0)[0]:
            self.raw += os.read(self.main, 65536).decode(errors="replace")
        return self.raw

    def page(self) -> str:
        """Return the newest whole page, without escapes."""
        pages = [page.split("\x1b[?")[0] for page in self.read().split("\x1b[H")[1:]]
        whole = [page for page in pages[-2:] if page.count("\n") == self.rows - 1]
        return ESCAPE.sub("", whole[-1]) if whole else ""

    def wait_page(self, text: str) -> str:
        """Wait until a page shows `text`."""
        return eventually(lambda: self.page() if text in self.page() else "", what=f"a page with {text!r}")

    def type(self, keys: bytes) -> None:
        """Type."""
        os.write(self.main, keys)

    def check_left(self, status: int) -> str:
        """Wait for the end; fail unless the terminal is as it was. Return what is said behind the picture."""
        eventually(lambda: self.read() is not None and self.process.poll() is not None, what="the end")
        assert self.process.wait() == status, self.read()[-2000:]
        shown = self.read()
        assert shown.count(ENTER) == shown.count(LEAVE) > 0
        assert shown.rindex(SHOW_CURSOR) > shown.rindex("\x1b[?25l")
        assert termios.tcgetattr(self._other) == self.attributes
        return shown[shown.rindex(LEAVE) + len(LEAVE) :]

    def close(self) -> None:
        """End what is left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.main)
        os.close(self._other)


@contextmanager
def open_top(daemon: Daemon, *words: str) -> Iterator[Terminal]:
    terminal = Terminal(daemon, *words)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.fixture
def busy(daemon: Daemon) -> Daemon:
    """Return a daemon with one container that uses a processor."""
    daemon.wherry("run", "-d", "--name", "busy", "--memory", "64M", "host", "--", "sh", "-c", "while :; do :; done")
    return daemon


def test_it_shows_use_and_what_comes_and_goes(busy: Daemon) -> None:
    with open_top(busy) as terminal:
        page = terminal.wait_page("busy")
        assert "1 container " in page
        row = eventually(lambda: _find_row(terminal, "busy", minimum=20.0))
        assert "67.1MB" in row
        eventually(lambda: "▅" in (row := _find_row(terminal, "busy", minimum=20.0)) or "█" in row)
        busy.wherry("run", "-d", "--name", "late", "host", "--", "sleep", "300")
        assert terminal.wait_page("late").index("busy") < terminal.page().index("late"), "the busiest first"
        busy.wherry("rm", "-f", "busy")
        eventually(lambda: terminal.page() and "busy" not in terminal.page())
        assert "late" in terminal.page()
        busy.wherry("stop", "-t", "0", "late")
        terminal.wait_page("no container is alive")
        busy.wherry("start", "late")
        terminal.wait_page("late")
        terminal.type(b"q")
        assert terminal.check_left(0).strip() == ""


def _find_row(terminal: Terminal, name: str, minimum: float) -> str:
    lines = [line for line in terminal.page().splitlines() if line.startswith(name)]
    words = lines[0].split() if lines else []
    return lines[0] if len(words) > 1 and words[1] != "-" and float(words[1]) >= minimum else ""


def test_only_those_named_are_shown(busy: Daemon) -> None:
    busy.wherry("run", "-d", "--name", "other", "host", "--", "sleep", "300")
    with open_top(busy, "other") as terminal:
        assert "busy" not in terminal.wait_page("other")
        terminal.type(b"q")
        terminal.check_left(0)


@pytest.mark.parametrize(
    ("leave", "status"),
    [
        pytest.param(lambda terminal: terminal.type(b"Q"), 0, id="q"),
        pytest.param(lambda terminal: terminal.type(b"\x03"), 0, id="ctrl-c"),
        pytest.param(lambda terminal: terminal.process.send_signal(signal.SIGTERM), 143, id="SIGTERM"),
        pytest.param(lambda terminal: terminal.process.send_signal(signal.SIGHUP), 129, id="SIGHUP"),
        pytest.param(lambda terminal: terminal.type(b"\x1c"), 131, id="SIGQUIT"),
    ],
)
def test_the_terminal_is_given_back(busy: Daemon, leave: Callable[[Terminal], None], status: int) -> None:
    with open_top(busy) as terminal:
        terminal.wait_page("busy")
        leave(terminal)
        assert terminal.check_left(status).strip() == ""


def test_ctrl_z_gives_the_terminal_back_for_a_while(busy: Daemon) -> None:
    with open_top(busy) as terminal:
        terminal.wait_page("busy")
        terminal.type(b"\x1a")
        eventually(lambda: LEAVE in terminal.read())
        eventually(lambda: _is_stopped(terminal.process.pid))
        assert termios.tcgetattr(terminal._other) == terminal.attributes
        terminal.process.send_signal(signal.SIGCONT)
        eventually(lambda: terminal.read().count(ENTER) == 2)
        shown = len(terminal.read())
        eventually(lambda: "busy" in terminal.read()[shown:])
        terminal.type(b"q")
        terminal.check_left(0)


def _is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b") ")[2][:1] == b"T"


def test_another_size_is_another_picture(busy: Daemon) -> None:
    with open_top(busy, "--interval", "30s") as terminal:
        assert "READ/S" in terminal.wait_page("busy")
        terminal.resize(40, 10)
        page = eventually(lambda: page if "READ/S" not in (page := terminal.page()) and "busy" in page else "")
        assert max(map(len, page.splitlines())) <= 40
        assert len(page.splitlines()) <= 10
        terminal.resize(140, 24)
        terminal.wait_page("READ/S")
        terminal.type(b"q")
        terminal.check_left(0)


@pytest.mark.parametrize("kill", [True, False])
def test_a_daemon_that_goes_away_is_waited_for(busy: Daemon, kill: bool) -> None:
    with open_top(busy) as terminal:
        terminal.wait_page("busy")
        busy.kill() if kill else busy.stop()
        terminal.wait_page("lost the daemon")
        assert "busy" not in terminal.page().replace("lost the daemon", "").splitlines()[3:]
        busy.start()
        page = terminal.wait_page("busy")
        assert "lost the daemon" not in page
        terminal.type(b"q")
        assert terminal.check_left(0).strip() == ""


@pytest.mark.timeout(90)
def test_a_daemon_that_stays_away_ends_it_with_one_line(busy: Daemon) -> None:
    with open_top(busy) as terminal:
        terminal.wait_page("busy")
        busy.kill()
        terminal.wait_page("lost the daemon")
        eventually(lambda: terminal.read() is not None and terminal.process.poll() is not None, 30 * SLOW)
        said = terminal.check_left(125).strip()
        assert said.startswith("wherry: cannot reach a daemon at")
        assert len(said.splitlines()) == 1


def test_a_container_cannot_write_to_the_terminal(daemon: Daemon) -> None:
    daemon.wherry("run", "-d", "--name", "bad", "host", "--", "sh", "-c", "sleep 300; true", "\x1b]0;owned\x07")
    done = daemon.cli("processes", "bad")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\\x1b]0;owned\\x07" in done.stdout


def test_the_plain_table_is_printed_once(busy: Daemon) -> None:
    lines = busy.wherry("top", "--once", "--interval", "200ms").splitlines()
    assert lines[0].split()[:3] == ["ID", "CPU", "%"]
    (row,) = [line.split() for line in lines[1:]]
    assert row[0] == "busy"
    assert float(row[1]) > 20


def test_a_container_that_is_not_there_is_named(busy: Daemon) -> None:
    done = busy.cli("top", "nope")
    assert done.returncode == 125
    assert "nope" in done.stderr


def test_plain_tables_end_with_the_containers_named(daemon: Daemon) -> None:
    daemon.wherry("run", "-d", "--name", "short", "host", "--", "sleep", "1")
    done = daemon.cli("top", "--interval", "100ms", "short")
    assert done.returncode == 0
    assert done.stdout.count("short") > 1
