"""Fixtures of the integration tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import wherry
from tests.support import leaks
from tests.support.tcp import Tcp


@pytest.fixture(autouse=True)
def collected(no_leaks: None) -> Iterator[None]:
    """Collect garbage before leaks are looked for: a caught error's traceback keeps a channel, and that its sockets."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def shared_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tcp]:
    """Return a daemon on TCP for all tests that leave it as it is."""
    before = tuple(leaks.take(containers=False).children)
    made = Tcp(tmp_path_factory.mktemp("tcp"))
    try:
        made.daemon.start()
        yield made
    finally:
        made.daemon.destroy(before)


@pytest.fixture
def tcp(shared_tcp: Tcp, no_leaks: None) -> Iterator[Tcp]:
    """Return a daemon on TCP without containers, whatever the test before has left in it."""
    yield shared_tcp
    with wherry.Sync(shared_tcp.daemon.address) as client:
        for info in client.containers():
            client.container(info.id).delete(force=True)
