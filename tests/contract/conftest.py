"""One set of tests for two ways to the supervisor: gRPC to a real wherryd, and in this process without one.

The tests use the synchronous client, so that they are plain functions and it is under test as well.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

import wherry
from tests.support.daemon import Daemon
from wherry import errors
from wherry.client.sync import Sync, SyncContainer, SyncProcess
from wherry.model import request as req
from wherry.model import status as st

T = TypeVar("T")


class Box:
    """Makes containers, in a busybox root filesystem unless said otherwise, and takes them away again."""

    def __init__(self, client: Sync, rootfs: Path) -> None:
        self.client = client
        self.source = req.Source(kind="rootfs", path=str(rootfs))
        self.made: list[SyncContainer] = []

    def run(self, *args: str, source: str | req.Source = "", **options: Any) -> SyncContainer:
        """Run a container that is deleted when the test has ended."""
        return self.keep(self.client.run(source or self.source, *args, **options))

    def create(self, *args: str, source: str | req.Source = "", **options: Any) -> SyncContainer:
        """Create a container that is deleted when the test has ended."""
        return self.keep(self.client.create(source or self.source, *args, **options))

    def keep(self, container: SyncContainer) -> SyncContainer:
        """Have a container deleted when the test has ended."""
        self.made.append(container)
        return container

    def output_of(self, *args: str, **options: Any) -> str:
        """Run a command to its end with status 0 and return what it wrote."""
        container = self.run(*args, **options)
        status = container.wait(20).status
        output = container.output().decode()
        assert status == 0, output
        return output

    def read_events(self, container: SyncProcess, *types: str) -> list[st.Event]:
        """Return the events of a container so far."""
        filters = [f"container={container.container_id}", *(f"type={name}" for name in types)]
        return list(self.client.events(after=0, follow=False, filters=filters))

    def clean(self) -> None:
        """Delete everything."""
        for container in reversed(self.made):
            with contextlib.suppress(errors.NotFound):
                container.delete(force=True)


def at_once(count: int, work: Callable[[int], T]) -> list[T | BaseException]:
    """Do `work` in `count` threads at once; an error is returned in its place."""

    def try_work(number: int) -> T | BaseException:
        try:
            return work(number)
        except errors.WherryError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(try_work, range(count)))


@pytest.fixture(scope="session")
def shared_daemon() -> Iterator[Daemon]:
    """Return one daemon for all contract tests."""
    daemon = Daemon()
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.destroy()


@pytest.fixture(scope="session", params=["grpc", "embedded"])
def client(request: pytest.FixtureRequest) -> Iterator[Sync]:
    """Return a client over each transport in turn."""
    if request.param == "grpc":
        with Sync(request.getfixturevalue("shared_daemon").address) as client:
            client.version()  # connects: what the connection opens is there before a test is watched for leaks
            yield client
        return
    work = Path(tempfile.mkdtemp(prefix="wt-"))
    try:
        with wherry.Sync.supervise(state_dir=work / "state", root_dir=work / "root") as client:
            yield client
    finally:
        shutil.rmtree(work)


@pytest.fixture
def box(client: Sync, busybox_rootfs: Path, no_leaks: None) -> Iterator[Box]:
    """Return a maker of containers."""
    box = Box(client, busybox_rootfs)
    yield box
    box.clean()


def wait_size(runtime: str, rows: int, columns: int) -> str:
    """Return a script that waits for the first size of an exec's terminal: crun sets it while the program begins."""
    if runtime == "runc":
        return ""
    return f"until stty size 2>/dev/null | grep -qx '{rows} {columns}'; do :; done; "
