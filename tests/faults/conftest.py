"""Fixtures of the fault tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.world import World


@pytest.fixture
def world(no_leaks: None) -> Iterator[World]:
    """Give a place for one daemon; afterwards nothing may be left of it."""
    place = World()
    try:
        yield place
        place.check_clean()
    finally:
        place.destroy()


@pytest.fixture
def pair(no_leaks: None) -> Iterator[tuple[World, World]]:
    """Give places for two daemons; afterwards nothing may be left of either."""
    home, other = World("runc"), World("runc")
    try:
        yield home, other
        home.check_clean(other)
    finally:
        home.destroy()
        other.destroy()
