"""What criu's words mean, and which criu is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from wherry import errors
from wherry.runtime import criu

DUMP = """\
(00.027788) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.124160) Error (criu/files-reg.c:1790): Can't lookup mount=27 for fd=1 path=/tmp/cr/ff
(00.124175) Error (criu/cr-dump.c:1681): Dump files (pid: 20999) failed with -1
(00.124520) Error (criu/cr-dump.c:2111): Dumping FAILED.
"""


def test_a_file_outside_is_named() -> None:
    assert criu.explain(DUMP) == "it has /tmp/cr/ff open, which lies on no filesystem of its own"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Error (criu/vdso.c:1): Unexpected rt vDSO area bounds", "too old for the kernel"),
        ("(00.1) Error (criu/sk-inet.c:1): inet: Connected TCP socket, consider using --tcp-established", "--tcp"),
        ("(00.1) Error (criu/sk-unix.c:1): unix: External socket is used. Consider using", "--unix-sockets"),
        ("(00.1) Error (criu/tty.c:1): tty: Found dangling tty", "--shell"),
        ("(00.1) Error (criu/net.c:1): net: Locking network failed: iptables-restore", "nftables"),
        ("(00.1)     12: Error (criu/sockets.c:1): sockets: Can't get 1:16 opt: no", "before 4.2"),
        ("(00.1) Error (criu/x.c:1): something that nobody knows", "something that nobody knows"),
        ("(00.1) Error (criu/x.c:1): \x1b[31mred", "?[31mred"),
        ("(00.1) Warn (criu/x.c:1): only a warning", ""),
        ("", ""),
    ],
)
def test_what_criu_says_has_a_meaning(said: str, meant: str) -> None:
    found = criu.explain(said)
    assert meant in found
    assert bool(found) == bool(meant)


def test_a_log_tells_whether_all_was_written(tmp_path: Path) -> None:
    log = tmp_path / "dump.log"
    assert not criu.has_finished(log)
    log.write_text("(00.1) Pre-dumping finished successfully\n")
    assert not criu.has_finished(log)
    log.write_text(f"{'x' * 10000}\n(00.1) Dumping finished successfully\n")
    assert criu.has_finished(log)
    assert criu.read_problem(tmp_path / "none") == ""


def _make(directory: Path, name: str, script: str) -> str:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


async def test_the_first_that_works_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = _make(tmp_path / "old", "criu", "echo Version: 3.17.1; [ $1 != check ]")
    new = _make(tmp_path / "new", "criu", "echo Version: 4.2.1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'old'}:/usr/bin:/bin")
    monkeypatch.setattr(criu, "FALLBACK", new)
    found = await criu.find()
    assert (found.path, found.version, found.problem) == (new, "4.2.1", "")
    chosen = await criu.find(old)
    assert (chosen.path, chosen.version) == (old, "3.17.1")
    assert chosen.problem == "it ended with status 1"


async def test_none_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(criu, "FALLBACK", str(tmp_path / "none"))
    with pytest.raises(errors.FailedPrecondition, match="install criu"):
        await criu.find()
    with pytest.raises(errors.NotFound, match="no such executable"):
        await criu.find(str(tmp_path / "criu"))


async def test_one_of_another_name_is_refused(tmp_path: Path) -> None:
    found = await criu.find(_make(tmp_path / "x", "criu-4.2", "echo Version: 4.2"))
    assert "its name is not criu" in found.problem
