"""`wherry top` without a terminal: rates, what fits, whom it follows. With one: tests/integration/test_top.py."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from rich.console import Console, Group

from tests.support.eventually import eventually_async
from tests.unit.test_cli_fake import FakeService, install, wherry_main
from wherry import errors
from wherry.cli import board, meter, session
from wherry.cli.commands import top
from wherry.cli.meter import Meter
from wherry.model import request as req
from wherry.model import stats
from wherry.model import status as st
from wherry.model.stats import Stats

MB = 1_000_000


def make_sample(
    seconds: float, cpu: float = 0.0, *, id: str = "c", usage: int = MB, limit: int = 0, moved: int = 0
) -> Stats:
    return Stats(
        id=id,
        namespace="default",
        time_ns=int(seconds * 1e9),
        cpu=stats.CpuStats(total_ns=int(cpu * 1e9)),
        memory=stats.MemoryStats(usage_bytes=usage, limit_bytes=limit),
        pids=stats.PidsStats(current=3),
        block=(stats.BlockStats(major=8, minor=0, read_bytes=moved, write_bytes=2 * moved),),
        networks=(
            stats.NetworkStats(name="lo", rx_bytes=9 * moved),
            stats.NetworkStats(name="eth0", rx_bytes=3 * moved, tx_bytes=4 * moved),
        ),
    )


def make_meter(*cpu: float, id: str = "c", **fields: int) -> Meter:
    made = Meter()
    for second, used in enumerate(cpu):
        made.add(make_sample(second, used, id=id, **fields))
    return made


def test_rates_are_those_between_two_samples() -> None:
    found = meter.compute_rates(make_sample(1, 5, moved=0), make_sample(3, 6, moved=MB))
    assert found == meter.Rates(cpu_percent=50.0, read=MB / 2, written=MB, received=1.5 * MB, sent=2 * MB)


@pytest.mark.parametrize("after", [make_sample(1, 5), make_sample(0.5, 6), make_sample(2, 4)])
def test_without_time_between_or_after_a_new_begin_there_are_no_rates(after: Stats) -> None:
    assert meter.compute_rates(make_sample(1, 5), after) is None


def test_a_device_that_goes_away_gives_no_negative_rate() -> None:
    found = meter.compute_rates(make_sample(1, 5, moved=MB), make_sample(2, 6, moved=0))
    assert found is not None
    assert (found.read, found.sent) == (0, 0)


@pytest.mark.parametrize(
    ("values", "top", "expected"),
    [
        ((), 100, "    "),
        ((0, 100), 100, "  ▁█"),
        ((100, 0, 0, 0, 50), 100, "▁▁▁▅"),
        ((1000, -5), 100, "  █▁"),
        ((7,), 0, "   ▁"),
    ],
)
def test_a_history_is_the_newest_values_at_the_right(values: Sequence[float], top: float, expected: str) -> None:
    assert meter.format_spark(values, 4, top) == expected


@pytest.mark.parametrize(
    ("part", "whole", "expected"), [(0, 4, "...."), (2, 4, "##.."), (9, 4, "####"), (1, 0, "....")]
)
def test_a_bar_is_as_long_as_the_part(part: int, whole: int, expected: str) -> None:
    assert meter.format_bar(part, whole, 4, meter.PLAIN_BAR) == expected


def draw(meters: dict[str, Meter], columns: int = 140, rows: int = 24, *, fancy: bool = True, notice: str = "") -> str:
    console = Console(file=io.StringIO(), width=columns, height=rows, color_system=None)
    with console.capture() as captured:
        # In a group, as on the screen: a text that is printed itself is wrapped whatever it says.
        console.print(Group(board.draw("title", notice, meters, (columns, rows), fancy=fancy)))
    return captured.get()


def test_the_busiest_comes_first_and_the_rest_is_counted() -> None:
    meters = {f"c{number}": make_meter(0, number / 10) for number in range(9)}
    lines = draw(meters, rows=8).splitlines()
    assert [line.split()[0] for line in lines[3:7]] == ["c8", "c7", "c6", "c5"]
    assert lines[7].strip() == "and 5 more"


def test_a_limit_is_a_bar_and_none_is_none() -> None:
    picture = draw({"a": make_meter(0, 1, usage=3 * MB, limit=4 * MB), "b": make_meter(0, 0)})
    limited, free = picture.splitlines()[3:5]
    assert "████████░░  75%" in limited
    assert " 4MB" in limited
    assert free.split()[4:6] == ["-", "-"]


def test_a_terminal_without_unicode_gets_ascii() -> None:
    assert draw({"a": make_meter(0, 1, limit=4 * MB)}, fancy=False).isascii()


@settings(max_examples=40)
@given(
    columns=some.integers(1, 200),
    rows=some.integers(1, 60),
    ids=some.lists(some.text(min_size=1, max_size=140), max_size=8, unique=True),
)
def test_nothing_is_wider_or_higher_than_the_terminal(columns: int, rows: int, ids: list[str]) -> None:
    picture = draw({id: make_meter(0, 7, 12, limit=64 * MB) for id in ids}, columns, rows, notice="n" * 300)
    assert all(len(line) <= columns for line in picture.splitlines())
    assert len(picture.splitlines()) <= max(rows, 5)


def test_what_matters_most_stays_longest() -> None:
    fitting = [[column.name for column in board.choose_columns(columns)] for columns in range(20, 160)]
    assert fitting[0] == ["CPU %"]
    assert len(fitting[-1]) == 11
    assert all(set(fewer) <= set(more) for fewer, more in itertools.pairwise(fitting))
    assert "PIDS" in fitting[60], "on 80 columns"


def test_an_id_cannot_write_to_the_terminal() -> None:
    assert "\x1b" not in draw({"\x1b]0;x\x07": make_meter(0, 1)}, notice="\x1b[2J")


@pytest.mark.parametrize("text", ["10ms", "2h", "0"])
def test_an_absurd_interval_is_misuse(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert wherry_main("top", "--interval", text) == 2
    assert "interval" in capsys.readouterr().err


class Changing(FakeService):
    """A service whose samples and events a test sends."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: dict[str, asyncio.Queue[Stats | None]] = {}
        self.told: asyncio.Queue[st.Event | None] = asyncio.Queue()

    async def watch_stats(self, request: req.StatsRequest) -> AsyncIterator[Stats]:
        self._note("watch_stats", request)
        if self._find(request.id).state not in ("created", "running"):
            raise errors.FailedPrecondition("it has ended")
        while (sample := await self.samples.setdefault(request.id, asyncio.Queue()).get()) is not None:
            yield sample

    async def subscribe(self, request: req.SubscribeRequest) -> AsyncIterator[st.Event]:
        self._note("subscribe", request)
        while (event := await self.told.get()) is not None:
            yield event
        raise errors.Unavailable("the daemon went away: gone")

    def tell(self, type: str, id: str) -> None:
        """Send an event."""
        event = st.Event(seq=9, time_ns=1, type=type, namespace="default", container=id, generation=1)
        self.told.put_nowait(event)

    def give(self, sample: Stats | None, id: str) -> None:
        """Send a sample, or the end of the stream."""
        self.samples.setdefault(id, asyncio.Queue()).put_nowait(sample)


@contextlib.asynccontextmanager
async def watching(monkeypatch: pytest.MonkeyPatch, fake: Changing, *ids: str) -> AsyncIterator[top._Watch]:
    install(monkeypatch, fake)
    opened = session.Session(session.Settings())
    await opened.connect()
    watch = top._Watch(opened, opened.settings, ids, 1.0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run())
        await eventually_async(lambda: bool(fake.sent(req.SubscribeRequest)))
        yield watch
        task.cancel()
    await opened.close()


async def test_what_begins_is_followed_and_what_ends_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Changing()
    fake.add("a")
    fake.add("gone", state="stopped")
    async with watching(monkeypatch, fake) as watch:
        fake.give(make_sample(1), "a")
        await eventually_async(lambda: set(watch.meters) == {"a"})
        fake.add("b")
        fake.tell("create", "b")
        fake.give(make_sample(1), "b")
        await eventually_async(lambda: set(watch.meters) == {"a", "b"})
        fake.add("a", state="stopped")
        fake.give(None, "a")
        await eventually_async(lambda: set(watch.meters) == {"b"})
    assert [request.id for request in fake.sent(req.StatsRequest)] == ["a", "b"]


async def test_a_start_told_before_the_end_of_the_last_run_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Changing()
    fake.add("a")
    async with watching(monkeypatch, fake) as watch:
        fake.give(make_sample(1, 50), "a")
        await eventually_async(lambda: "a" in watch.meters)
        fake.tell("start", "a")
        await eventually_async(fake.told.empty)
        fake.give(None, "a")
        fake.give(make_sample(2, 1), "a")
        await eventually_async(lambda: len(fake.sent(req.StatsRequest)) == 2 and "a" in watch.meters)
        assert watch.meters["a"].rates is None, "a new run is measured anew"


async def test_others_than_those_named_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Changing()
    fake.add("a")
    fake.add("b")
    async with watching(monkeypatch, fake, "b"):
        fake.tell("start", "c")
        await eventually_async(fake.told.empty)
    assert [request.id for request in fake.sent(req.StatsRequest)] == ["b"]


async def test_a_daemon_that_comes_back_is_followed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Changing()
    fake.add("a")
    async with watching(monkeypatch, fake) as watch:
        fake.give(make_sample(1), "a")
        await eventually_async(lambda: "a" in watch.meters)
        fake.told.put_nowait(None)
        await eventually_async(lambda: len(fake.sent(req.SubscribeRequest)) == 2)
        assert (watch.notice, watch.meters) == ("", {})
        fake.give(make_sample(2), "a")
        await eventually_async(lambda: "a" in watch.meters)


def test_processes_are_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeService()
    install(monkeypatch, fake)
    fake.add("c1")
    assert wherry_main("processes", "c1") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["PID", "PPID", "PROCESS", "UID", "STATE", "THREADS", "CPU", "RSS", "COMMAND"]
    assert row.split() == ["42", "1", "init", "0", "S", "1", "0.00s", "0B", "sleep", "60"]
    assert wherry_main("processes", "--json", "c1") == 0
    assert '"command": [' in capsys.readouterr().out
    assert wherry_main("processes", "nope") == 125
