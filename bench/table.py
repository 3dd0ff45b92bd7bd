"""The table: on a terminal with rich, else plain; the same cells as Markdown for the documentation."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from bench.figures import Summary, format_number
from bench.result import Row

COLUMNS = ("case", "subject", "median", "quartiles", "unit", "n", "ratio", "note")
_RIGHT = frozenset({"median", "quartiles", "n"})


def cells(row: Row) -> tuple[str, ...]:
    """Return what the table shows of `row`, in the order of COLUMNS."""
    subject = f"  {row.subject}" if row.part_of else row.subject
    return (
        row.case,
        subject,
        format_number(row.summary.median),
        _quartiles(row.summary),
        row.unit,
        str(row.summary.count),
        "; ".join(f"{_with_spread(ratio.summary)} x {ratio.base}" for ratio in row.ratios),
        row.note,
    )


def _quartiles(summary: Summary) -> str:
    return f"{format_number(summary.low)}-{format_number(summary.high)}" if summary.count > 1 else ""


def _with_spread(summary: Summary) -> str:
    spread = _quartiles(summary)
    return f"{format_number(summary.median)} ({spread})" if spread else format_number(summary.median)


def format_plain(rows: Iterable[Row]) -> str:
    """Return the table as text with aligned columns, the repeated case left away."""
    lines = [COLUMNS, *_without_repeats([cells(row) for row in rows])]
    widths = [max(len(line[index]) for line in lines) for index in range(len(COLUMNS))]
    text = []
    for line in lines:
        parts = [
            cell.rjust(width) if name in _RIGHT else cell.ljust(width)
            for cell, width, name in zip(line, widths, COLUMNS, strict=True)
        ]
        text.append("  ".join(parts).rstrip())
    return "\n".join(text) + "\n"


def format_markdown(rows: Iterable[Row]) -> str:
    """Return the table as Markdown."""
    head = f"| {' | '.join(COLUMNS)} |"
    rule = f"|{'|'.join('--:' if name in _RIGHT else '---' for name in COLUMNS)}|"
    body = [f"| {' | '.join(_escape(cell) for cell in line)} |" for line in _without_repeats([cells(r) for r in rows])]
    return "\n".join([head, rule, *body]) + "\n"


def _escape(cell: str) -> str:
    indented = cell.startswith("  ")
    plain = cell.strip().replace("|", "\\|")
    return f"· {plain}" if indented else plain


def _without_repeats(lines: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    last = ""
    for line in lines:
        found.append(("", *line[1:]) if line[0] == last else line)
        last = line[0]
    return found


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the rows under `title` on stdout."""
    if not sys.stdout.isatty():
        print(f"\n{title}\n{format_plain(rows)}", end="", flush=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in _RIGHT else "left")
    for line in _without_repeats([cells(row) for row in rows]):
        table.add_row(*(Text(cell) for cell in line))
    Console().print(table)
