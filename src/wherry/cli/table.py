"""Tables and JSON on stdout."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wherry import errors

_GAP = "   "


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under column names: with rich on a terminal, as plain aligned text elsewhere."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cells)
    else:
        print("\n".join(format_plain(columns, cells)))


def _print_rich(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, len(_GAP), 0, 0))
    for index, column in enumerate(columns):
        # Only the last column gives way on a narrow terminal.
        width = None if index == len(columns) - 1 else max(len(column), *(len(row[index]) for row in cells), 1)
        table.add_column(column, no_wrap=True, overflow="ellipsis", min_width=width)
    for row in cells:
        # Text, not str: rich would take [words in brackets] for its own markup.
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def format_plain(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned lines, the column names first."""
    lines = [list(columns), *(list(row) for row in cells)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return [_GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def clean(text: str) -> str:
    """Return `text` on one line and harmless to a terminal: what does not print is written as an escape."""
    return errors.printable(text)


def to_plain(value: Any) -> Any:
    """Return a model value as what JSON knows; bytes are read as UTF-8 with replacement."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """Print one JSON document, indented."""
    print(json.dumps(to_plain(value), indent=2))


def print_json_line(value: Any) -> None:
    """Print one object on one line, at once: somebody may be reading along."""
    print(json.dumps(to_plain(value), separators=(",", ":")), flush=True)


def format_time(time_ns: int) -> str:
    """Return Unix nanoseconds as RFC 3339 in UTC with nine digits; "-" for 0."""
    if time_ns <= 0:
        return "-"
    seconds, rest = divmod(time_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def format_age(then_ns: int, now_ns: int) -> str:
    """Return how long ago `then_ns` was: `5s`, `3m`, `7h`, `12d`; "-" for 0."""
    if then_ns <= 0:
        return "-"
    seconds = max(0, now_ns - then_ns) // 10**9
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
