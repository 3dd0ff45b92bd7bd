"""The journal: numbers never repeat, nothing is missed or comes twice, and nothing on disk stops it."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from wherry import errors
from wherry.linux import libc, proc
from wherry.model import status as st
from wherry.supervisor import journal
from wherry.supervisor.journal import Journal


@contextmanager
def opened(directory: Path, **options: Any) -> Iterator[Journal]:
    book = Journal(directory, **options)
    book.open()
    try:
        yield book
    finally:
        book.close()


def add(book: Journal, count: int = 1, type: str = "start") -> list[int]:
    return [book.append(type, namespace="n", container="c", generation=1, process="init").seq for _ in range(count)]


def replay(book: Journal, after: int = 0) -> list[int]:
    async def collect() -> list[int]:
        return [event.seq async for event in book.subscribe(after, follow=False)]

    return asyncio.run(collect())


async def take(book: Journal, after: int, last: int, pause: Callable[[int], Awaitable[None]]) -> list[int]:
    seen: list[int] = []
    async for event in book.subscribe(after, follow=True):
        seen.append(event.seq)
        await pause(len(seen))
        if event.seq >= last:
            break
    return seen


async def at_once(_count: int) -> None:
    """Do not wait."""


def test_what_was_appended_is_replayed_from_anywhere(tmp_path: Path) -> None:
    with opened(tmp_path) as book:
        assert add(book, 10) == list(range(1, 11))
        for after in range(11):
            assert replay(book, after) == list(range(after + 1, 11))
        assert replay(book, -1) == []


def test_no_gap_and_no_duplicate_while_events_are_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_EVENTS", 40)
    monkeypatch.setattr(journal, "_BATCH", 7)

    async def scenario(book: Journal) -> list[list[int]]:
        async def yielding(_count: int) -> None:
            await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            followers = [group.create_task(take(book, after, 500, yielding)) for after in (0, 3, 100, -1)]
            for number in range(400):
                add(book)
                if number % 3 == 0:
                    await asyncio.sleep(0)
        return [task.result() for task in followers]

    with opened(tmp_path) as book:
        add(book, 100)
        book._recent = type(book._recent)(book._recent, maxlen=16)  # slow ones must go to the disk
        first, second, third, new = asyncio.run(scenario(book))
    assert first == list(range(1, 501))
    assert second == list(range(4, 501))
    assert third == list(range(101, 501))
    assert new == list(range(new[0], 501))
    assert new[0] > 100


def test_a_slow_subscriber_reads_from_disk_what_memory_no_longer_has(tmp_path: Path) -> None:
    count = journal.RECENT * 2

    async def scenario(book: Journal) -> list[int]:
        go = asyncio.Event()

        async def slow(seen: int) -> None:
            if seen == 1:
                go.set()
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            reader = group.create_task(take(book, 0, count, slow))
            await go.wait()
            add(book, count - 1)
        return reader.result()

    with opened(tmp_path) as book:
        add(book)
        assert asyncio.run(scenario(book)) == list(range(1, count + 1))


def count_held() -> int:
    return sum(isinstance(thing, st.Event) for thing in gc.get_objects())


async def stall(book: Journal, subscribers: int, check: Callable[[], None]) -> None:
    """Have subscribers from the beginning that take one event and no more, and check while they wait."""
    streams = [aiter(book.subscribe(0, follow=True)) for _ in range(subscribers)]
    for stream in streams:
        assert (await anext(stream)).seq == 1
    check()
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined] # it is a generator


def test_slow_subscribers_hold_a_few_events_each_and_not_a_segment(tmp_path: Path) -> None:
    with opened(tmp_path) as book:
        add(book, journal.RECENT + 2 * journal.SEGMENT_EVENTS)
        before = count_held()

        def check() -> None:
            assert count_held() - before <= 20 * 64

        asyncio.run(stall(book, 20, check))


def test_slow_subscribers_hold_few_bytes_however_large_the_labels_are(tmp_path: Path) -> None:
    with opened(tmp_path) as book:
        for _ in range(2 * journal.RECENT):
            book.append("start", namespace="n", container="c", generation=1, labels={"a": "x" * 16_000})
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()

            def check() -> None:
                assert tracemalloc.get_traced_memory()[0] - before < 20 * 64_000

            asyncio.run(stall(book, 20, check))
        finally:
            tracemalloc.stop()


def test_a_replay_reads_each_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = 0
    parse = json.loads

    def counting(line: bytes) -> Any:
        nonlocal lines
        lines += 1
        return parse(line)

    with opened(tmp_path) as book:
        count = 2 * journal.SEGMENT_EVENTS
        add(book, count)
        book._recent.clear()
        monkeypatch.setattr(json, "loads", counting)
        assert replay(book) == list(range(1, count + 1))
        assert count <= lines <= count + 10
        lines = 0
        assert replay(book, 1000) == list(range(1001, count + 1))
        assert count <= lines <= count + 10


def test_a_line_that_is_just_being_written_is_told_when_it_is_whole(tmp_path: Path) -> None:
    async def scenario(book: Journal) -> None:
        book._recent.clear()
        stream = aiter(book.subscribe(0, follow=True))
        assert [(await anext(stream)).seq for _ in range(3)] == [1, 2, 3]
        with segment.open("ab", buffering=0) as file:
            file.write(line[:20])
            book.last_seq = 4
            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                waiting = group.create_task(take(book, 3, 4, at_once))
                await asyncio.sleep(0.1)
                assert not waiting.done()
                file.write(line[20:])
                add(book)
                book._recent.clear()
        assert waiting.result() == [4]
        assert [(await anext(stream)).seq for _ in range(2)] == [4, 5]

    with opened(tmp_path) as book:
        add(book, 3)
        (segment,) = tmp_path.iterdir()
        line = segment.read_bytes().splitlines(keepends=True)[-1].replace(b'"seq":3', b'"seq":4')
        asyncio.run(scenario(book))


def test_closing_ends_those_who_follow(tmp_path: Path) -> None:
    async def scenario(book: Journal) -> list[int]:
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(take(book, 0, 10**9, at_once))
            await asyncio.sleep(0)
            book.close()
        return reader.result()

    book = Journal(tmp_path)
    book.open()
    add(book, 3)
    assert asyncio.run(asyncio.wait_for(scenario(book), 10)) == [1, 2, 3]


def test_a_restart_keeps_numbers_and_what_was_told(tmp_path: Path) -> None:
    with opened(tmp_path) as book:
        add(book, 3)
        add(book, 1, "exit")
    for restart in range(3):
        with opened(tmp_path) as book:
            assert book.last_seq == 4 + restart
            assert book.find_told(1, "init", 0) == "exit"
            assert replay(book) == list(range(1, 5 + restart))
            assert add(book, 1, "exit") == [5 + restart]


def test_restarts_without_events_leave_no_files_and_no_gap(tmp_path: Path) -> None:
    for _ in range(5):
        with opened(tmp_path):
            pass
    assert len(list(tmp_path.iterdir())) == 1
    with opened(tmp_path) as book:
        assert add(book) == [1]


def test_after_another_boot_numbers_leap_since_some_may_have_been_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as book:
        add(book, 2)
    monkeypatch.setattr(proc, "read_boot_id", lambda: "another")
    with opened(tmp_path) as book:
        assert add(book) == [3 + journal.LEAP]
        assert replay(book) == [1, 2, 3 + journal.LEAP]
        assert replay(book, 2) == [3 + journal.LEAP]


@pytest.mark.parametrize("left", [b"", b"\0" * 4096], ids=["empty", "NULs"])
def test_numbers_do_not_repeat_when_a_power_cut_took_the_whole_first_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes
) -> None:
    with opened(tmp_path) as book:
        told = add(book, 5)
    (segment,) = tmp_path.iterdir()
    segment.write_bytes(left)
    monkeypatch.setattr(proc, "read_boot_id", lambda: "another")
    with opened(tmp_path) as book:
        assert not set(add(book, 5)) & set(told)


@pytest.mark.parametrize(
    "tail",
    [b'{"seq":4,"ty', b"\0" * 300, b"\xff\xfe", b"[" * 100_000, b"[]", b"17", b'{"seq":"x"}', b"{}", b"9" * 5000],
)
def test_a_torn_or_foreign_tail_is_passed_over_and_cuts_nothing_off(tmp_path: Path, tail: bytes) -> None:
    with opened(tmp_path) as book:
        add(book, 3)
    (segment,) = tmp_path.iterdir()
    with segment.open("ab") as file:
        file.write(tail)
    with opened(tmp_path) as book:
        assert add(book) == [4]
        assert replay(book) == [1, 2, 3, 4]
    with opened(tmp_path) as book:
        assert replay(book) == [1, 2, 3, 4]


@pytest.mark.parametrize("seq", [0, -5, 2**62, 10**30])
def test_an_absurd_number_does_not_become_ours(tmp_path: Path, seq: int) -> None:
    with opened(tmp_path) as book:
        add(book)
    (segment,) = tmp_path.iterdir()
    event = {"seq": seq, "time_ns": 1, "type": "exit", "namespace": "n", "container": "c", "generation": 1}
    with segment.open("a") as file:
        file.write(json.dumps(event) + "\n")
    with opened(tmp_path) as book:
        assert add(book) == [2]
        assert replay(book) == [1, 2]


def test_foreign_files_are_left_alone_and_never_hold_us_up(tmp_path: Path) -> None:
    for name in ("notes.jsonl", "\u00b2.jsonl", "7.jsonl", "9" * 20 + ".jsonl", "0" * 20 + ".jsonl", "-1.jsonl"):
        (tmp_path / name).write_text("not ours")
    os.mkfifo(tmp_path / f"{1:020}.jsonl")
    (tmp_path / f"{2:020}.jsonl").mkdir()
    (tmp_path / "target").write_text("precious")
    (tmp_path / f"{3:020}.jsonl").symlink_to(tmp_path / "target")
    before = sorted(path.name for path in tmp_path.iterdir())
    with opened(tmp_path) as book:
        numbers = add(book, 2)
        assert replay(book, numbers[0] - 1) == numbers
    after = sorted(path.name for path in tmp_path.iterdir())
    assert set(before) < set(after)
    assert (tmp_path / "target").read_text() == "precious"
    with opened(tmp_path) as book:
        assert add(book) == [numbers[-1] + 1]


def test_retention_by_count_keeps_that_many_and_says_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_EVENTS", 10)
    with opened(tmp_path, retention=25) as book:
        add(book, 100)
        kept = replay(book, book.first_seq - 1)
        assert 25 <= len(kept) <= 25 + 2 * 10
        assert kept[-1] == 100
        text = f"^cannot subscribe after 3: events up to {kept[0] - 1} are no longer kept; resume after {kept[0] - 1}$"
        with pytest.raises(errors.OutOfRange, match=text):
            replay(book, 3)
    with opened(tmp_path, retention=25) as book:
        still = replay(book, book.first_seq - 1)
        assert len(still) >= 25
        assert still == kept[-len(still) :]


def test_retention_by_age_removes_old_segments_but_never_the_newest(tmp_path: Path) -> None:
    for _ in range(3):
        with opened(tmp_path) as book:
            add(book, 2)
    oldest, second, _ = sorted(tmp_path.iterdir())
    for path in (oldest, second):
        os.utime(path, (1.0, 1.0))
    with opened(tmp_path, retention_age=3600.0) as book:
        assert replay(book, book.first_seq - 1) == [5, 6]
        assert add(book) == [7]
    for path in tmp_path.iterdir():
        os.utime(path, (1.0, 1.0))
    with opened(tmp_path, retention_age=3600.0) as book:
        assert book.last_seq == 7
        assert add(book) == [8]


def test_a_follower_that_retention_overtakes_is_told_where_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_EVENTS", 10)
    monkeypatch.setattr(journal, "_BATCH", 5)
    with opened(tmp_path, retention=10) as book:
        add(book, 10)
        book._recent = type(book._recent)(book._recent, maxlen=2)

        async def overtake(seen: int) -> None:
            if seen == 1:
                add(book, 100)

        with pytest.raises(errors.OutOfRange, match=r"after 5: events up to \d+ are no longer kept; resume after"):
            asyncio.run(take(book, 0, 110, overtake))


@pytest.mark.parametrize(
    ("after", "cls", "text"),
    [
        (4, errors.OutOfRange, "^cannot subscribe after 4: the last event is 3$"),
        (2**62, errors.OutOfRange, "the last event is 3$"),
        (-2, errors.InvalidArgument, "^cannot subscribe after -2: sequence numbers begin at 1$"),
    ],
)
def test_a_position_that_is_none_is_refused(tmp_path: Path, after: int, cls: type[Exception], text: str) -> None:
    with opened(tmp_path) as book:
        add(book, 3)
        with pytest.raises(cls, match=text):
            replay(book, after)


def test_no_room_for_a_new_segment_loses_neither_number_nor_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_EVENTS", 3)
    real_open = os.open

    def full(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EMFILE, "Too many open files", path)
        return real_open(path, flags, mode)

    with opened(tmp_path) as book:
        add(book, 3)
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", full)
            for _ in range(2):
                with pytest.raises(errors.ResourceExhausted, match="Too many open files"):
                    add(book)
        assert add(book, 2) == [4, 5]
        assert replay(book) == [1, 2, 3, 4, 5]


@pytest.mark.requires("mountns")
def test_a_full_disk_refuses_an_event_leaves_whole_lines_and_works_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    libc.mount("wherry-test", str(disk), "tmpfs", 0, "size=64k")
    try:
        with opened(disk / "journal") as book:
            with pytest.raises(errors.ResourceExhausted, match="cannot write the journal in .*No space left"):
                add(book, 10_000)
            last = book.last_seq
            (segment,) = (disk / "journal").iterdir()
            assert segment.read_bytes().endswith(b"}\n")
            assert replay(book) == list(range(1, last + 1))
            libc.mount("wherry-test", str(disk), "tmpfs", 0x20, "size=1m")  # MS_REMOUNT
            assert add(book) == [last + 1]
        with opened(disk / "journal") as book:
            assert replay(book) == list(range(1, last + 2))
    finally:
        libc.umount(str(disk))


def test_syncing_survives_a_new_segment_and_stops_when_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SYNC_INTERVAL", 0.0)
    monkeypatch.setattr(journal, "SEGMENT_EVENTS", 2)

    async def scenario(book: Journal) -> None:
        async with asyncio.TaskGroup() as group:
            syncing = group.create_task(book.keep_synced())
            for _ in range(50):
                add(book)
                await asyncio.sleep(0.001)
            assert not syncing.done()
            syncing.cancel()

    with opened(tmp_path) as book:
        asyncio.run(scenario(book))
        assert replay(book) == list(range(1, 51))


def test_the_events_are_whole(tmp_path: Path) -> None:
    async def first(book: Journal) -> st.Event:
        return await anext(aiter(book.subscribe(0, follow=False)))

    with opened(tmp_path) as book:
        labels = {"a": "\u2028\n\0"}
        event = book.append("exit", namespace="n", container="c", generation=7, process="x", status=3, labels=labels)
        book._recent.clear()
        assert asyncio.run(first(book)) == event
