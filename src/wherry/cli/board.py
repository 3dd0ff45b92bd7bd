"""The picture that `wherry top` shows: one line per container, as much of it as the terminal has room for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wherry.cli import meter, table
from wherry.cli.commands.stats import format_bytes
from wherry.cli.meter import Meter, Rates
from wherry.model.stats import Stats

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

PLAIN_COLUMNS = ("ID", "CPU %", "MEMORY", "LIMIT", "PIDS", "READ/S", "WRITE/S", "RECV/S", "SENT/S")
_SPARK_WIDTH, _BAR_WIDTH, _GAP = 12, 10, 2
#: A container's name gives way on a narrow terminal, down to so much.
_ID_WIDTH = 12
#: Full use of one processor fills the history; use of several scales it.
_CPU_TOP = 100.0


@dataclass(frozen=True, slots=True)
class _Column:
    """`width` without the gap; those with the lowest `rank` go first when there is no room."""

    name: str
    width: int
    rank: int
    format: Callable[[Stats, Meter, bool], str]
    style: str = ""


def _cpu(_: Stats, of: Meter, __: bool) -> str:
    return f"{of.rates.cpu_percent:.1f}" if of.rates else "-"


def _cpu_spark(_: Stats, of: Meter, fancy: bool) -> str:
    blocks = meter.BLOCKS if fancy else meter.PLAIN_BLOCKS
    return meter.format_spark(of.cpu, _SPARK_WIDTH, max(_CPU_TOP, *of.cpu, 0.0), blocks)


def _memory_spark(last: Stats, of: Meter, fancy: bool) -> str:
    blocks = meter.BLOCKS if fancy else meter.PLAIN_BLOCKS
    return meter.format_spark(of.memory, _SPARK_WIDTH, last.memory.limit_bytes or max(of.memory), blocks)


def _memory_bar(last: Stats, _: Meter, fancy: bool) -> str:
    if not last.memory.limit_bytes:
        return "-"
    blocks = meter.BAR if fancy else meter.PLAIN_BAR
    bar = meter.format_bar(last.memory.usage_bytes, last.memory.limit_bytes, _BAR_WIDTH, blocks)
    return f"{bar} {last.memory.usage_bytes / last.memory.limit_bytes:4.0%}"


def _rate(name: str) -> Callable[[Stats, Meter, bool], str]:
    return lambda _, of, __: format_rate(of.rates, name)


def format_rate(rates: Rates | None, name: str) -> str:
    """Return one of the rates, "-" before there are any."""
    return format_bytes(int(getattr(rates, name))) if rates is not None else "-"


def format_limit(sample: Stats) -> str:
    """Return the memory limit, "-" without one."""
    return format_bytes(sample.memory.limit_bytes) if sample.memory.limit_bytes else "-"


_COLUMNS = (
    _Column("CPU %", 6, 99, _cpu),
    _Column("CPU", _SPARK_WIDTH, 2, _cpu_spark, "green"),
    _Column("MEMORY", 6, 98, lambda last, _, __: format_bytes(last.memory.usage_bytes)),
    _Column("LIMIT", 6, 5, lambda last, _, __: format_limit(last)),
    _Column("OF LIMIT", _BAR_WIDTH + 5, 6, _memory_bar, "cyan"),
    _Column("MEMORY ", _SPARK_WIDTH, 1, _memory_spark, "cyan"),
    _Column("PIDS", 5, 7, lambda last, _, __: str(last.pids.current)),
    _Column("READ/S", 7, 4, _rate("read")),
    _Column("WRITE/S", 7, 4, _rate("written")),
    _Column("RECV/S", 7, 3, _rate("received")),
    _Column("SENT/S", 7, 3, _rate("sent")),
)


def choose_columns(width: int) -> tuple[_Column, ...]:
    """Return the columns for which a terminal of `width` has room beside the names."""
    chosen = list(_COLUMNS)
    while _ID_WIDTH + sum(column.width + _GAP for column in chosen) > width and len(chosen) > 1:
        lowest = min(column.rank for column in chosen)
        chosen = [column for column in chosen if column.rank > lowest]
    return tuple(chosen)


def sort_meters(meters: Mapping[str, Meter]) -> list[tuple[str, Meter, Stats]]:
    """Return what has a sample, the busiest first."""
    shown = [(id, of, of.last) for id, of in meters.items() if of.last is not None]
    return sorted(shown, key=lambda row: (-(row[1].rates.cpu_percent if row[1].rates else 0.0), row[0]))


def draw(title: str, notice: str, meters: Mapping[str, Meter], size: tuple[int, int], *, fancy: bool) -> RenderableType:
    """Return the picture for a terminal of columns and rows; without `fancy` it is drawn with ASCII alone."""
    from rich.text import Text

    width, height = size
    rows = sort_meters(meters)
    room = max(1, height - 4)
    columns = choose_columns(width)
    id_width = max(1, width - sum(column.width + _GAP for column in columns))
    if rows:
        id_width = min(id_width, max(_ID_WIDTH, *(len(table.clean(row[0])) for row in rows)))
    lines = [Text(table.clean(title), style="bold"), Text(table.clean(notice), style="yellow")]
    lines.append(_line("ID", id_width, [(column.name, column) for column in columns], is_head=True))
    for id, of, last in rows[:room]:
        cells = [(column.format(last, of, fancy), column) for column in columns]
        lines.append(_line(table.clean(id), id_width, cells, is_head=False))
    if not rows and not notice:
        lines.append(Text("no container is alive", style="dim"))
    if len(rows) > room:
        lines.append(Text(f"and {len(rows) - room} more", style="dim"))
    return Text("\n", no_wrap=True, overflow="crop").join(lines)


def _line(id: str, id_width: int, cells: list[tuple[str, _Column]], *, is_head: bool) -> Text:
    """Return one line: the name on the left, whatever its length, everything else right-aligned."""
    from rich.text import Text

    line = Text(f"{id[:id_width]:<{id_width}}", style="reverse" if is_head else "")
    for text, column in cells:
        line.append(" " * _GAP + f"{text[: column.width]:>{column.width}}", style="" if is_head else column.style)
    return line


def make_plain_row(id: str, of: Meter, last: Stats) -> tuple[str, ...]:
    """Return one line of the table that is printed where there is no terminal."""
    rates = [format_rate(of.rates, name) for name in ("read", "written", "received", "sent")]
    usage = format_bytes(last.memory.usage_bytes)
    return (id, _cpu(last, of, False), usage, format_limit(last), str(last.pids.current), *rates)
