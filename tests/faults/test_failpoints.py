"""SIGKILL, errors and surprises at every failpoint that the code has, with one set of invariants afterwards.

WHERRY_TEST_HITS=all goes on to the second, third, ... time that the daemon comes to each place, until it comes there no
more; else only the first is tried.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from pathlib import Path

import pytest

import wherry
from tests.faults import invariants, test_migration, tour
from tests.faults.world import World, scenario
from wherry import errors

SOURCE = Path(wherry.__file__).parent
POINTS = sorted(
    {name for path in SOURCE.rglob("*.py") for name in re.findall(r'failpoint\.hit\("([^"]*)"\)', path.read_text())}
)
HITS = 1_000_000 if os.environ.get("WHERRY_TEST_HITS") == "all" else 1

#: In the supervisors of two sides: test_migration.py.
MIGRATION = [name for name in POINTS if name.startswith(("migrate.", "arrival."))]
SHIM = [name for name in POINTS if name.startswith("shim.")]
CHECKPOINT = [name for name in POINTS if name.startswith(("checkpoint.", "restore.", "layer."))]
DAEMON = [name for name in POINTS if name not in (*MIGRATION, *SHIM, *CHECKPOINT)]
#: Where a file operation may fail for want of room or because of the disk.
FILES = re.compile(r".*\.(open|write|fsync|rename|aside|back|mkdir|mkfifo|remove|.*-(open|write|rename))|shim.reserve")

#: What must go wrong before some places are come to.
BEFORE = {"layer.back": "layer.rename=1*error; "}

needs_criu = pytest.mark.requires("criu", "runc", "overlay")


def test_every_failpoint_is_in_one_list() -> None:
    assert len(POINTS) > 70
    assert sorted(test_migration.OWN) == MIGRATION
    assert sorted([*MIGRATION, *SHIM, *CHECKPOINT, *DAEMON]) == POINTS


def _make_junk(world: World) -> None:
    """Put something there that is no container, for the quarantine."""
    (world.state / "default").mkdir(mode=0o700, parents=True, exist_ok=True)
    (world.state / "default" / invariants.JUNK).write_text("junk")


async def _die(world: World, points: str, take: tour.Tour) -> bool:
    """Start a daemon, take a tour and end it; tell whether it died on the way."""
    world.start(failpoint=points)
    failures: list[errors.WherryError] = []
    try:
        async with world.client() as client:
            failures = await take(world, client)
    except errors.Unavailable as error:
        failures.append(error)
    assert world.daemon is not None
    if not any(isinstance(error, errors.Unavailable) for error in failures):
        assert not failures or ";" in points, (failures, world.log())  # of what goes wrong before
        world.daemon.terminate()  # for the places of its end
    status = await asyncio.to_thread(world.join)
    assert status in (0, -9), world.log()
    return status == -9


async def _check_next(world: World, take: tour.Tour) -> None:
    """Start the next daemon: everything holds, and the whole tour succeeds once more."""
    world.start()
    async with world.client() as client:
        await tour.check(world, client)
        await world.remove_all()
        assert await take(world, client) == [], world.log()
        await tour.check(world, client)


async def _kill_at(world: World, name: str, take: tour.Tour) -> None:
    for number in itertools.count() if HITS > 1 else range(HITS):
        _make_junk(world)
        has_died = await _die(world, f"{BEFORE.get(name, '')}{name}={number}*off->kill", take)
        assert has_died or number, f"{name} was not reached"
        await _check_next(world, take)
        world.kill(15)
        if not has_died:
            return


@pytest.mark.timeout(3600 if HITS > 1 else 60)
@pytest.mark.parametrize("name", DAEMON)
@scenario
async def test_a_daemon_killed_at_any_failpoint_loses_nothing(world: World, name: str) -> None:
    await _kill_at(world, name, tour.take)


@needs_criu
@pytest.mark.timeout(3600 if HITS > 1 else 60)
@pytest.mark.parametrize("name", CHECKPOINT)
@scenario
async def test_a_daemon_killed_at_any_failpoint_of_checkpoints_loses_nothing(world: World, name: str) -> None:
    world.runtime = "runc"
    await _kill_at(world, name, tour.take_checkpoints)


async def _disturb(world: World, points: str, take: tour.Tour) -> None:
    """Take a tour that may fail in any of its steps, but ends; then everything holds, and the next tour succeeds."""
    _make_junk(world)
    world.start(failpoint=points)
    assert world.daemon is not None
    if world.daemon.poll() is None:
        async with world.client() as client:
            failures = await take(world, client)
            assert all(str(error) for error in failures), failures
            assert world.daemon.poll() is None, f"the daemon has ended\n{world.log()}"
            if not world.is_surprised:  # else what is left by it is the next daemon's to put right
                await tour.check(world, client)
        world.kill(15)
    else:
        assert world.join() == 1, world.log()
        assert "wherryd: " in world.log()
    await _check_next(world, take)


def _find_tour(world: World, name: str) -> tour.Tour:
    if name not in CHECKPOINT:
        return tour.take
    world.runtime = "runc"
    return tour.take_checkpoints


@pytest.mark.parametrize("name", SHIM)
@scenario
async def test_shims_killed_at_any_failpoint_lose_nothing_and_harm_nobody(world: World, name: str) -> None:
    await _disturb(world, f"{name}=kill", tour.take)


@needs_criu
@pytest.mark.parametrize("name", [name for name in (*DAEMON, *CHECKPOINT, *SHIM) if FILES.fullmatch(name)])
@scenario
async def test_a_file_operation_that_fails_is_told_and_leaves_nothing_half(world: World, name: str) -> None:
    await _disturb(world, f"{BEFORE.get(name, '')}{name}=1*error(ENOSPC)", _find_tour(world, name))


#: A surprise here keeps an end from being told before the next daemon: nobody can go on from there.
ENDS = ("exec.exit-noticed", "exit.journaled", "exit.noticed", "exit.saved", "restart.recorded")


@needs_criu
@pytest.mark.parametrize(
    "name", [name for name in (*DAEMON, *CHECKPOINT) if not FILES.fullmatch(name) and name not in ENDS]
)
@scenario
async def test_a_surprise_at_any_step_ends_nothing_but_that_step(world: World, name: str) -> None:
    world.is_surprised = True
    await _disturb(world, f"{name}=1*panic", _find_tour(world, name))
