"""Fixtures of the fault tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture
def small_state(world: World) -> Iterator[Path]:
    """Mount a disk of 1 MB as the state directory."""
    yield from _mount(world, world.state, "size=1m,mode=0711")


@pytest.fixture
def small_disk(world: World) -> Iterator[Path]:
    """Mount a disk of 2 MB as the root directory."""
    yield from _mount(world, world.root, "size=2m,mode=0700")


def _mount(world: World, directory: Path, options: str) -> Iterator[Path]:
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True)
    yield directory
    world.check_clean()
    subprocess.run(["umount", str(directory)], check=True)
