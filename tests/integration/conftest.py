"""Fixtures of the integration tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.support import leaks
from tests.support.tcp import Tcp


@pytest.fixture(autouse=True)
def collected(no_leaks: None) -> Iterator[None]:
    """Collect garbage before leaks are looked for: a caught error's traceback keeps a channel, and that its sockets."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tcp]:
    """Return a daemon on TCP for all tests that leave it as it is; each takes away what it has made."""
    before = tuple(leaks.take(containers=False).children)
    made = Tcp(tmp_path_factory.mktemp("tcp"))
    try:
        made.daemon.start()
        yield made
    finally:
        made.daemon.destroy(before)
