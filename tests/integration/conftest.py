"""Fixtures of the integration tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def collected(no_leaks: None) -> Iterator[None]:
    """Collect garbage before leaks are looked for: a caught error's traceback keeps a channel, and that its sockets."""
    yield
    gc.collect()
