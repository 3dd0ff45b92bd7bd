"""Two hundred containers, ten at a time: every status right, every exit told, nothing left."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import leaks
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from wherry.client.sync import Sync
from wherry.model.request import Source

COUNT = 200
#: Lines of the journal and of logs may grow; nothing else may.
_MAY_GROW = ("journal/", "wherryd.log", "zygote.log")


def list_files(work: Path) -> set[str]:
    return {
        name
        for path in work.rglob("*")
        if not (name := str(path.relative_to(work))).removeprefix("root/").removeprefix("state/").startswith(_MAY_GROW)
    }


def list_fds(pid: int) -> list[str]:
    """Return what a process has open, without the inode numbers."""
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{name}").partition(":[")[0])
        except FileNotFoundError:
            continue
    return sorted(links)


@pytest.mark.requires("crun", "busybox")
@pytest.mark.timeout(120)
def test_two_hundred_containers_leave_nothing(make_daemon: Callable[..., Daemon], busybox_rootfs: Path) -> None:
    daemon = make_daemon(runtime="crun")
    with Sync(daemon.address) as client:

        def run(number: int) -> int:
            container = client.run(Source(kind="rootfs", path=str(busybox_rootfs)), "sh", "-c", f"exit {number}")
            status = container.wait(60).status
            container.delete()
            return status

        assert run(0) == 0  # whatever is made once is there before we look
        before_files = list_files(daemon.work)
        before_fds = list_fds(daemon.pid)
        before_processes = leaks.descendants(daemon.pid)
        before = leaks.take(containers=True)
        first = client.info().last_seq
        with ThreadPoolExecutor(10) as pool:
            assert list(pool.map(run, range(COUNT))) == list(range(COUNT))
        events = list(client.events(after=first, follow=False))
        assert [event.seq for event in events] == list(range(first + 1, first + 1 + 4 * COUNT))
        assert sorted(event.status for event in events if event.type == "exit") == list(range(COUNT))
        assert client.containers() == ()
        # Spare shims are others than before, as many.
        eventually(lambda: len(leaks.descendants(daemon.pid)) == len(before_processes))
        eventually(lambda: list_fds(daemon.pid) == before_fds)
        assert list_files(daemon.work) == before_files
        assert leaks.check(before, containers=True) == []
