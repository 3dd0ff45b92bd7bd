"""Many clients at the same few containers: named errors only, and every life is told whole."""

from __future__ import annotations

import collections
import random

from tests.contract.conftest import Box, at_once
from tests.support.eventually import eventually
from wherry import errors

#: What one client may be told because of another one.
EXPECTED = (errors.NotFound, errors.AlreadyExists, errors.FailedPrecondition, errors.Aborted)
ORDER = {"create": 0, "start": 1, "exit": 2, "delete": 3}


def act(box: Box, dice: random.Random, runtime: str) -> None:
    """Do something to one of three containers."""
    container = box.client.container(f"rival{dice.randrange(3)}")
    match dice.randrange(6):
        case 0 | 1:
            box.client.run(box.source, "sleep", "60", id=container.id, runtime=runtime)
        case 2:
            box.client.create(box.source, "sleep", "60", id=container.id, runtime=runtime)
        case 3:
            container.exec("true").wait(20)
        case 4:
            container.stop(0)
        case _:
            container.delete(force=dice.random() < 0.7)


def test_rivals_get_named_errors_and_every_life_is_told_whole(box: Box, runtime: str) -> None:
    first = box.client.info().last_seq
    unexpected: list[errors.WherryError] = []

    def rival(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(25):
            try:
                act(box, dice, runtime)
            except EXPECTED:
                continue
            except errors.WherryError as error:
                unexpected.append(error)

    at_once(6, rival)
    at_once(3, lambda number: box.client.container(f"rival{number}").delete(force=True))
    assert [repr(error) for error in unexpected] == []
    lives: dict[int, list[str]] = collections.defaultdict(list)
    events = list(box.client.events(after=first, follow=False))
    assert [event.seq for event in events] == list(range(first + 1, first + 1 + len(events)))
    for event in events:
        if event.process in ("", "init"):
            lives[event.generation].append(event.type)
    for told in lives.values():
        assert told == sorted(set(told), key=ORDER.__getitem__), told
        assert told[-2:] == ["exit", "delete"], told
    assert len(lives) > 3
    eventually(lambda: not [info for info in box.client.containers() if info.id.startswith("rival")])
