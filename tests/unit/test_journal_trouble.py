"""A journal whose disk refuses: an event is refused in one way that its writer knows, or told; none is lost."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_journal import add, opened, replay
from wherry import errors
from wherry.linux import failpoint, proc
from wherry.supervisor import journal


def _fail(number: int) -> Any:
    def fail(*_args: object, **_named: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def _count_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_torn_event_that_cannot_be_cut_off_is_refused_and_harms_no_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with opened(tmp_path) as book:
        add(book, 2)
        for torn in (lambda fd, line: write(fd, line[:20]), _fail(errno.EROFS), lambda fd, line: write(fd, line[:-1])):
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", torn)
                patch.setattr(os, "ftruncate", _fail(errno.EROFS))
                with pytest.raises(errors.ResourceExhausted):
                    add(book)
        assert add(book, 2) == [3, 4]
        with monkeypatch.context() as patch:  # and what is cut off then is the new part alone
            patch.setattr(os, "write", lambda fd, line: write(fd, line[:20]))
            with pytest.raises(errors.ResourceExhausted):
                add(book)
        assert add(book) == [5]
        book._recent.clear()
        assert replay(book) == [1, 2, 3, 4, 5]
    with opened(tmp_path) as book:
        assert book.last_seq == 5
        book._recent.clear()
        assert replay(book) == [1, 2, 3, 4, 5]


def test_a_segment_that_cannot_be_synced_or_removed_keeps_no_event_from_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_EVENTS", 4)
    with opened(tmp_path, retention=8) as book:
        add(book, 4)
        before = _count_fds()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", _fail(errno.EIO))
            patch.setattr(Path, "unlink", _fail(errno.EROFS))
            assert add(book, 20) == list(range(5, 25))
        assert _count_fds() == before
        assert replay(book) == list(range(1, 25))
        add(book, 1)
        assert book.first_seq == 17, "what could not be removed is removed later"


def test_a_want_of_descriptors_at_a_new_segment_refuses_the_event_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_EVENTS", 4)
    with opened(tmp_path) as book:
        add(book, 4)
        with monkeypatch.context() as patch:
            patch.setattr(proc, "read_boot_id", _fail(errno.EMFILE))
            with pytest.raises(errors.ResourceExhausted):
                add(book)
        assert add(book, 5) == [5, 6, 7, 8, 9]
        assert replay(book) == list(range(1, 10))


def test_a_journal_that_cannot_be_synced_at_its_end_is_closed(tmp_path: Path) -> None:
    before = _count_fds()
    try:
        with opened(tmp_path) as book:
            add(book)
            failpoint.arm("journal.fsync=error(EIO)")
    finally:
        failpoint.arm("")
    assert _count_fds() == before


def test_a_want_of_descriptors_does_not_end_the_syncing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        loop, synced = asyncio.get_running_loop(), asyncio.Event()
        monkeypatch.setattr(journal, "SYNC_INTERVAL", 0.01)
        monkeypatch.setattr(journal, "SYNC_RETRY", 0.01)
        monkeypatch.setattr(os, "fdatasync", lambda _fd: loop.call_soon_threadsafe(synced.set))
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            with opened(tmp_path) as book, monkeypatch.context() as patch:
                patch.setattr(os, "dup", _fail(errno.EMFILE))
                syncing = group.create_task(book.keep_synced())
                add(book)
                await asyncio.sleep(0.1)
                patch.undo()
                await synced.wait()
                syncing.cancel()
                await asyncio.wait((syncing,))

    asyncio.run(scenario())
