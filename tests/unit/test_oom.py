"""Kills for want of memory: what the kernel tells in both versions, and what is known to be told already."""

from __future__ import annotations

import os
import select
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wherry.linux import cgroup
from wherry.linux import oom as kernel
from wherry.model import status as st
from wherry.model.lifecycle import State
from wherry.supervisor import oom
from wherry.supervisor.journal import Journal

EVENTS = "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 1\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"


def _is_readable(fd: int, timeout: float = 0.0) -> bool:
    return bool(select.select([fd], [], [], timeout)[0])


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that stands for /sys/fs/cgroup."""
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    return tmp_path


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_both_versions_are_read(mounts: Path) -> None:
    _write(mounts / "memory" / "c" / "memory.oom_control", CONTROL)
    assert kernel.read_count("/c") == 2
    _write(mounts / "cgroup.controllers", "memory")
    _write(mounts / "c" / "memory.events", EVENTS)
    assert kernel.read_count("/c") == 3


def test_without_a_memory_controller_there_is_nothing_to_watch(mounts: Path) -> None:
    assert kernel.open_notices("/c") is None
    assert kernel.read_count("/c") is None


def test_a_kernel_that_does_not_count_has_no_count(mounts: Path) -> None:
    _write(mounts / "memory" / "c" / "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n")
    assert kernel.read_count("/c") is None


def test_a_refused_registration_leaves_nothing_open(mounts: Path) -> None:
    _write(mounts / "memory" / "c" / "memory.oom_control", CONTROL)
    (mounts / "memory" / "c" / "cgroup.event_control").mkdir()
    with pytest.raises(OSError, match="event_control"):
        kernel.open_notices("/c")


def test_a_file_that_cannot_be_polled_leaves_nothing_open(tmp_path: Path) -> None:
    _write(tmp_path / "memory.events", EVENTS)
    with pytest.raises(PermissionError):  # epoll(7) refuses ordinary files
        kernel.watch_file(tmp_path / "memory.events")


@pytest.fixture
def scratch2() -> Iterator[Path]:
    """Return a new cgroup of version 2, wherever that is mounted."""
    top = next((path for path in (cgroup.ROOT, cgroup.ROOT / "unified") if (path / "cgroup.procs").exists()), None)
    if top is None or not (top / "cgroup.controllers").exists():
        pytest.skip("cgroup version 2 is not mounted")
    made = top / f"wt-oom-{os.getpid()}"
    made.mkdir()
    yield made
    made.rmdir()


@pytest.mark.requires("root")
def test_a_change_in_version_2_is_told_once_and_a_loop_does_not_spin(scratch2: Path) -> None:
    # memory.events needs a host of version 2 alone; cgroup.events is told in the same way and is everywhere.
    notices = kernel.watch_file(scratch2 / "cgroup.events")
    try:
        for _ in range(3):
            assert not _is_readable(notices.fd)
            read, write = os.pipe()
            child = os.posix_spawn("/bin/sh", ["sh", "-c", "read x"], os.environ, file_actions=_stdin(read, write))
            (scratch2 / "cgroup.procs").write_text(str(child))
            assert _is_readable(notices.fd, 5)
            notices.clear()
            assert not _is_readable(notices.fd)
            os.close(read)
            os.close(write)
            os.waitpid(child, 0)
            assert _is_readable(notices.fd, 5)
            notices.clear()
    finally:
        notices.close()


def _stdin(read: int, write: int) -> list[tuple[Any, ...]]:
    return [(os.POSIX_SPAWN_DUP2, read, 0), (os.POSIX_SPAWN_CLOSE, write)]


@pytest.mark.requires("root", "cgroup1")
def test_the_removal_of_a_cgroup_of_version_1_is_harmless() -> None:
    directory = cgroup.ROOT / "memory" / f"wt-oom-{os.getpid()}"
    directory.mkdir()
    try:
        assert kernel.read_count(directory.name) == 0
        notices = kernel.open_notices(directory.name)
    finally:
        directory.rmdir()
    assert notices is not None
    assert _is_readable(notices.fd, 5), "the kernel tells of a removal as if it were a kill"
    notices.clear()
    assert not _is_readable(notices.fd)
    assert kernel.read_count(directory.name) is None
    notices.close()


async def test_the_journal_knows_what_was_told_of_each_run(tmp_path: Path) -> None:
    def append(type: str, generation: int, count: int = 0) -> None:
        who = {"namespace": "default", "container": f"c{generation}"}
        journal.append(type, generation=generation, process="init", count=count, **who)

    journal = Journal(tmp_path / "journal")
    journal.open()
    for generation, type, count in ((1, "oom", 1), (1, "oom", 4), (2, "oom", 5), (2, "restart", 1), (3, "start", 0)):
        append(type, generation, count)
    journal.close()
    journal = Journal(tmp_path / "journal")
    journal.open()
    assert journal.ooms == {1: 4}
    append("restart", 1)  # told by this supervisor: the run to come begins anew
    assert journal.ooms == {}
    journal.close()


class _Disk:
    def __init__(self, record: st.ExitRecord | None) -> None:
        self._record = record

    def exit_record(self) -> st.ExitRecord | None:
        return self._record


@pytest.mark.parametrize(
    ("ooms", "forgotten", "reason", "expected"),
    [
        ({}, False, None, 0),
        ({9: 2}, False, None, 2),
        ({9: 2}, True, None, 2),
        ({}, True, None, 3),
        ({}, True, "", 3),
        ({}, True, "oom", 2),
    ],
)
async def test_what_retention_has_removed_counts_as_told_but_for_the_last_kill(
    ooms: dict[int, int], forgotten: bool, reason: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "read_count", lambda _: 3)
    monkeypatch.setattr(kernel, "open_notices", lambda _: None)
    record = None if reason is None else st.ExitRecord(status=137, signal=9, oom=True, reason=reason)
    live: Any = types.SimpleNamespace(
        id="c",
        oom=None,
        state=State.RUNNING,
        saved=types.SimpleNamespace(cgroup="/c", generation=9, started_at_ns=5),
        init=types.SimpleNamespace(disk=_Disk(record)),
    )
    journal = types.SimpleNamespace(ooms=ooms, is_forgotten=lambda time_ns: forgotten and time_ns == 5)
    core: Any = types.SimpleNamespace(journal=journal, is_closing=True)
    oom.begin(core, live)
    assert live.oom.told == expected
    oom.end(live)
    assert live.oom is None
