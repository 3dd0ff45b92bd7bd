"""The start of a zygote, which rehearses before it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import leaks
from tests.support.eventually import eventually
from wherry import errors
from wherry.runtime.zygote import Zygote


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.04, 0.06, 0.08])
async def test_one_that_is_killed_in_its_rehearsal_leaves_nothing_in_the_way(tmp_path: Path, delay: float) -> None:
    before = leaks.take(containers=False).children
    zygote = Zygote(tmp_path / "zygote.log")

    async def start() -> None:
        with contextlib.suppress(errors.Internal):
            await zygote.start()

    async with asyncio.TaskGroup() as group:
        group.create_task(start())
        while not zygote.pid:
            await asyncio.sleep(0)
        await asyncio.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(zygote.pid, signal.SIGKILL)
    await zygote.start()
    assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "zygote.log").read_text() == "", "the rehearsal was whole"
    await zygote.close(wait=True)

    # What the killed one has left came to us, as it comes to the daemon, which has a reaper.
    eventually(lambda: _is_reaped(before))


@pytest.mark.parametrize("limit", [14, 16, 18, 20, 22])
async def test_one_whose_rehearsal_fails_half_way_still_reaps_its_shims(tmp_path: Path, limit: int) -> None:
    before = leaks.take(containers=False).children
    zygote = Zygote(tmp_path / "zygote.log")
    zygote.launch()
    # Descriptors run out in the middle of it.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, (limit, hard))
    await zygote.start()
    assert "the rehearsal failed" in (tmp_path / "zygote.log").read_text()
    pid = zygote.pid
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, hard))
    eventually(lambda: len(leaks.descendants(pid)) >= 2)
    spare = min(leaks.descendants(pid))
    os.kill(spare, signal.SIGKILL)
    eventually(lambda: spare not in leaks.descendants(pid))
    await zygote.close(wait=True)
    eventually(lambda: _is_reaped(before))


async def test_one_in_a_directory_whose_path_is_longer_than_a_socket_may_have_rehearses(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100)
    directory.mkdir()
    zygote = Zygote(directory / "zygote.log")
    await zygote.start()
    assert (directory / "zygote.log").read_text() == "", "the rehearsal was whole"
    await zygote.close(wait=True)


@pytest.mark.parametrize("delay", [0.0, 0.05])
async def test_one_that_is_closed_in_its_rehearsal_leaves_nothing(tmp_path: Path, delay: float) -> None:
    zygote = Zygote(tmp_path / "zygote.log")
    zygote.launch()
    await asyncio.sleep(delay)
    await zygote.close(wait=True)
    assert [path.name for path in tmp_path.iterdir()] == ["zygote.log"]
    assert (tmp_path / "zygote.log").read_text() == ""


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.06, 0.09])
def test_one_whose_daemon_is_killed_ends_in_its_rehearsal(tmp_path: Path, delay: float) -> None:
    before = leaks.take(containers=False).children
    script = (
        "import sys, time; from pathlib import Path; from wherry.runtime.zygote import Zygote\n"
        "Zygote(Path(sys.argv[1])).launch(); print(flush=True); time.sleep(60)"
    )
    daemon = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "zygote.log")], stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    daemon.stdout.readline()
    time.sleep(delay)  # not a wait: where in the rehearsal it is killed
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    # Its successor does this, which must not keep anybody waiting for what is gone.
    for path in tmp_path.glob(".*"):
        shutil.rmtree(path, ignore_errors=True)
    eventually(lambda: _is_reaped(before), 3.0)
    assert (tmp_path / "zygote.log").read_text() == ""


def _is_reaped(before: frozenset[int]) -> bool:
    leaks.reap(before)
    return leaks.take(containers=False).children == before


async def test_one_for_which_no_descriptor_was_left_is_followed_by_one_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    zygote = Zygote(tmp_path / "zygote.log")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", fail)
        with pytest.raises(errors.ResourceExhausted):
            await zygote.start()
    assert zygote.pid == 0
    await zygote.start()
    assert zygote.pid > 0
    await zygote.close(wait=True)
