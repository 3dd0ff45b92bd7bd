"""Processes and control groups of the real kernel: nobody but the one that is meant gets a signal."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from wherry.linux import cgroup, pidfd, proc


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose name ends the field of its name in /proc/PID/stat too early, for a careless reader."""
    program = tmp_path / "a) R 1 (b) "
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([program, "60"], executable=program)
    yield process
    process.kill()
    process.wait()


def test_a_name_with_parentheses_does_not_mislead(sleeper: subprocess.Popen[bytes]) -> None:
    name = Path(f"/proc/{sleeper.pid}/comm")
    eventually(lambda: name.read_text() == "a) R 1 (b) \n")
    assert proc.read_parent(sleeper.pid) == os.getpid()
    started = proc.read_starttime(sleeper.pid)
    own = proc.read_starttime(os.getpid())
    assert started is not None
    assert own is not None
    assert own <= started
    assert not proc.is_zombie(sleeper.pid)


def test_a_zombie_is_one_and_has_ended_and_what_is_gone_is_nothing(sleeper: subprocess.Popen[bytes]) -> None:
    started = proc.read_starttime(sleeper.pid)
    sleeper.kill()
    eventually(lambda: proc.is_zombie(sleeper.pid))
    assert pidfd.wait_end(sleeper.pid, started, 0.0)
    sleeper.wait()
    assert not proc.is_zombie(sleeper.pid)
    assert (proc.read_starttime(sleeper.pid), proc.read_parent(sleeper.pid)) == (None, None)
    assert pidfd.wait_end(sleeper.pid, started, 0.0)
    with pytest.raises(ProcessLookupError):
        pidfd.send_signal(sleeper.pid, started, signal.SIGTERM)


def test_the_very_process_gets_the_signal(sleeper: subprocess.Popen[bytes]) -> None:
    started = proc.read_starttime(sleeper.pid)
    assert not pidfd.wait_end(sleeper.pid, started, 0.01)
    pidfd.send_signal(sleeper.pid, started, signal.SIGTERM)
    assert pidfd.wait_end(sleeper.pid, started, 10.0)
    assert sleeper.wait() == -signal.SIGTERM


@pytest.mark.parametrize("difference", [-1, 1, None])
def test_another_start_time_is_another_process_and_leaks_nothing(
    sleeper: subprocess.Popen[bytes], difference: int | None
) -> None:
    started = proc.read_starttime(sleeper.pid)
    assert started is not None
    wrong = None if difference is None else started + difference
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(ProcessLookupError):
            pidfd.send_signal(sleeper.pid, wrong, signal.SIGKILL)
        assert pidfd.wait_end(sleeper.pid, wrong, 5.0)
    assert len(os.listdir("/proc/self/fd")) == before
    assert sleeper.poll() is None


def test_the_boot_has_a_name_that_stays() -> None:
    assert str(uuid.UUID(proc.read_boot_id())) == proc.read_boot_id()
    assert proc.read_boot_id() == proc.read_boot_id()


@pytest.fixture
def groups() -> Iterator[str]:
    """Two cgroups in every hierarchy, of which one's name begins with the other's; return the shorter."""
    path = f"/wherry-unit-{os.getpid()}"
    for hierarchy in cgroup.hierarchies():
        for name in (path, f"{path}/below", f"{path}0"):
            (hierarchy / name.strip("/")).mkdir()
    yield path
    for name in (path, f"{path}0"):
        cgroup.kill_all(name)
        eventually(lambda name=name: remove(name))  # type: ignore[misc]


def remove(path: str) -> bool:
    """Remove a cgroup; False while the kernel is still taking leave of its processes."""
    try:
        cgroup.remove(path)
    except OSError:
        return False
    return True


def enter(pid: int, path: str) -> None:
    for hierarchy in cgroup.hierarchies():
        own = hierarchy / path.strip("/")
        if (own / "cpuset.cpus").exists() and not (own / "cpuset.cpus").read_text().strip():
            continue  # takes nobody in before it has processors
        (own / "cgroup.procs").write_text(str(pid))


@pytest.mark.requires("root", "cgroup")
def test_the_cgroup_of_a_process_is_found_and_emptied(groups: str, sleeper: subprocess.Popen[bytes]) -> None:
    enter(sleeper.pid, f"{groups}/below")
    assert cgroup.read_path(sleeper.pid) == f"{groups}/below"
    assert cgroup.exists(groups)
    with pytest.raises(OSError, match="busy"):
        cgroup.remove(groups)
    assert cgroup.kill_all(groups) or sleeper.wait() == -signal.SIGKILL
    assert sleeper.wait() == -signal.SIGKILL
    assert cgroup.read_path(sleeper.pid) == ""


@pytest.mark.requires("root", "cgroup1")
def test_a_frozen_cgroup_is_emptied_too(groups: str, sleeper: subprocess.Popen[bytes]) -> None:
    enter(sleeper.pid, groups)
    freezer = cgroup.ROOT / "freezer" / groups.strip("/") / "freezer.state"
    freezer.write_text("FROZEN")
    eventually(lambda: freezer.read_text() == "FROZEN\n")
    cgroup.kill_all(groups)
    assert sleeper.wait(10) == -signal.SIGKILL


@pytest.mark.requires("root", "cgroup")
def test_a_process_elsewhere_is_not_killed(groups: str, sleeper: subprocess.Popen[bytes]) -> None:
    enter(sleeper.pid, f"{groups}0")
    for path in ("", "/", groups, f"{groups}/below", "/.."):
        cgroup.send_one(sleeper.pid, path)
        assert cgroup.kill_all(path, 0.1)
    cgroup.send_one(2**22, groups)
    assert sleeper.poll() is None
    cgroup.send_one(sleeper.pid, f"{groups}0")
    assert sleeper.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("path", ["", "/", "//", "/..", "/a/../..", "../x"])
def test_a_path_out_of_the_hierarchy_is_nowhere(path: str) -> None:
    assert not cgroup.exists(path)
    cgroup.remove(path)
    assert cgroup.kill_all(path, 0.0)
    assert Path("/sys/fs/cgroup").exists()


def test_the_mode_is_one_of_four() -> None:
    assert cgroup.read_mode() in ("v2", "hybrid", "v1", "none")
    assert cgroup.read_path(2**22) == ""


def test_descendants_are_found_while_they_come_and_go() -> None:
    script = "i=0; while [ $i -lt 300 ]; do sh -c 'sh -c true; true' & i=$((i+1)); done; wait"
    with subprocess.Popen(["/bin/sh", "-c", script]) as shell:
        seen = set()
        while shell.poll() is None:
            seen |= set(proc.descendants(shell.pid))
        assert seen
    assert proc.descendants(shell.pid) == []
