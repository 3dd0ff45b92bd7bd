"""Fixtures of the tests of `types.API`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.v0.client import Client


@pytest.fixture(scope="session")
def shared_daemon() -> Iterator[Daemon]:
    """Return one daemon for all tests that do not harm it."""
    daemon = Daemon()
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.destroy()


@pytest.fixture(autouse=True)
def collected(no_leaks: None) -> Iterator[None]:
    """Collect garbage before leaks are looked for: a caught error's traceback keeps a channel, and that its sockets."""
    yield
    gc.collect()


@pytest.fixture
def v0(shared_daemon: Daemon, runtime: str, tmp_path: Path, busybox_rootfs: Path, collected: None) -> Iterator[Client]:
    """Return a client of the shared daemon, for each OCI runtime in turn."""
    client = Client(shared_daemon, tmp_path, busybox_rootfs, runtime)
    yield client
    client.close()
    shared_daemon.remove_containers()


@pytest.fixture
def v0_alone(
    make_daemon: Callable[..., Daemon], runtime: str, tmp_path: Path, busybox_rootfs: Path, collected: None
) -> Iterator[Client]:
    """Return a client of a daemon of its own, which may be killed."""
    client = Client(make_daemon(), tmp_path, busybox_rootfs, runtime)
    yield client
    client.close()
