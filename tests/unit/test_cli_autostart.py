"""Starting a daemon when none answers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.test_cli_fake import FakeService, install, wherry_main
from wherry import errors
from wherry.cli import autostart, session


@pytest.fixture
def socket_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run" / "wherry.sock"
    monkeypatch.setattr(session, "DEFAULT_ADDRESS", f"unix://{path}")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() if os.getuid() == 0 else 0)
    monkeypatch.setattr(autostart, "GRACE_SECONDS", 0.1)
    return path


def spawn(monkeypatch: pytest.MonkeyPatch, code: str) -> list[subprocess.Popen[bytes]]:
    """Let `code` be the daemon that is started; return the list of those started."""
    started: list[subprocess.Popen[bytes]] = []

    def run(log: int) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log))
        return started[-1]

    monkeypatch.setattr(autostart, "_spawn", run)
    return started


def test_a_daemon_is_started_and_announced(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = spawn(monkeypatch, "pass")
    install(monkeypatch, FakeService(), [errors.Unavailable("no daemon answers")] * 3)
    assert wherry_main("ps", "-q") == 0
    pid = started[0].pid
    with contextlib.suppress(ChildProcessError):  # it is left to itself on purpose, unless it was quick
        os.waitpid(pid, 0)
    assert capsys.readouterr().err == (
        f"wherry: no daemon at unix://{socket_path}: started one (pid {pid},"
        " ends after 10 minutes without containers or clients)\n"
    )
    assert socket_path.parent.stat().st_mode & 0o777 == 0o711
    assert (socket_path.parent / "wherryd.log").stat().st_mode & 0o777 == 0o600


def test_a_daemon_that_ends_at_once_is_quoted(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    socket_path.parent.mkdir(mode=0o711)
    log = socket_path.parent / "wherryd.log"
    log.write_text("of an earlier daemon\n")
    spawn(monkeypatch, "print('no such luck'); raise SystemExit(3)")
    install(monkeypatch, FakeService(), [errors.Unavailable("no daemon answers")] * 10_000)
    assert wherry_main("ps") == 125
    err = capsys.readouterr().err
    assert f"cannot start a daemon: it ended with status 3\n{log} says:\n  no such luck\n" in err
    assert "earlier" not in err


def test_the_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic link"):
        autostart.open_log(str(tmp_path), str(tmp_path / "log"))
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError, match="only root can write"):
        autostart.open_log(str(tmp_path), str(tmp_path / "log"))


def test_version_and_doctor_start_nothing(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = spawn(monkeypatch, "pass")
    install(monkeypatch, FakeService(), [errors.Unavailable("no daemon answers")])
    assert wherry_main("version") == 0
    assert wherry_main("doctor") in (0, 1)
    assert started == []
    assert not socket_path.parent.exists()
