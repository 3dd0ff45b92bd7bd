"""Where in the journal a time begins: never too late, and with several segments not at its very beginning."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from wherry.supervisor import journal
from wherry.supervisor.journal import Journal


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """Return a journal of 100 events at the times 10, 20, ... in segments of 8, the last 5 in memory."""
    times = itertools.count(10, 10)
    monkeypatch.setattr(journal, "SEGMENT_EVENTS", 8)
    monkeypatch.setattr(journal, "RECENT", 5)
    monkeypatch.setattr("wherry.supervisor.journal.time.time_ns", lambda: next(times))
    book = Journal(tmp_path, retention_age=1e15)
    book.open()
    for _ in range(100):
        book.append("start", namespace="n", container="c", generation=1)
    return book


def later_than(book: Journal, time_ns: int, position: int) -> list[int]:
    """Return the times of the events above `position` that are later than a time."""

    async def collect() -> list[int]:
        return [event.time_ns async for event in book.subscribe(position, follow=False) if event.time_ns > time_ns]

    return asyncio.run(collect())


@pytest.mark.parametrize("time_ns", [0, 5, 10, 79, 80, 81, 500, 955, 960, 961, 990, 1000, 5000])
def test_nothing_later_is_missed(book: Journal, time_ns: int) -> None:
    every = later_than(book, time_ns, book.first_seq - 1)
    position = asyncio.run(book.find_position(time_ns))
    assert later_than(book, time_ns, position) == every
    book.close()


def test_not_all_is_read_for_the_end(book: Journal) -> None:
    assert asyncio.run(book.find_position(10**9)) >= book.last_seq - 8
    first = asyncio.run(book.find_position(500))
    assert 32 <= first - book.first_seq + 1 <= 50
    book.close()


def test_an_empty_journal_has_no_times(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    book.open()
    assert asyncio.run(book.find_position(5)) == book.last_seq
    book.close()
