"""Charts as SVG: bars for subjects side by side, lines for what grows with a number. Written by hand, no dependency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from bench.figures import format_number
from bench.result import Row

WIDTH = 860
_LEFT = 250
_BAR = 18
_GAP = 6
_HEIGHT = 420
#: Readable on white and on black, and apart from each other for most eyes.
_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"),
    *("#56b4e9", "#7f7f7f", "#8c564b", "#b8a000", "#5d3a9b"),
)
_STYLE = (
    "text{font:12px sans-serif;fill:#555}.title{font-size:15px;font-weight:bold}"
    ".axis{stroke:#999;stroke-width:1}.spread{stroke:#333;stroke-width:1.5}"
)


def draw(title: str, rows: Sequence[Row]) -> str:
    """Return a chart of rows of one unit: lines when their `x` grows, else bars."""
    if len({row.x for row in rows}) > 1:
        return draw_lines(title, rows)
    return draw_bars(title, rows)


def draw_bars(title: str, rows: Sequence[Row]) -> str:
    """Return one bar a row, as long as its median, with a line from quartile to quartile."""
    top = max((row.summary.high for row in rows), default=0.0) or 1.0
    scale = (WIDTH - _LEFT - 90) / top
    parts = []
    y = 44
    for row in rows:
        label = " · ".join(part for part in (row.subject, row.case) if part)
        colour = _COLOURS[0] if "wherry" in row.subject else _COLOURS[6]
        length = max(1.0, row.summary.median * scale)
        middle = y + _BAR / 2
        parts.append(_text(_LEFT - 8, middle + 4, label, "end"))
        parts.append(f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>')
        low, high = _LEFT + row.summary.low * scale, _LEFT + row.summary.high * scale
        parts.append(f'<line class="spread" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>')
        value = f"{format_number(row.summary.median)} {row.unit}"
        parts.append(_text(max(high, _LEFT + length) + 6, middle + 4, value))
        y += _BAR + _GAP
    return _frame(title, y + 10, parts)


def draw_lines(title: str, rows: Sequence[Row]) -> str:
    """Return one line a subject and case over `x`; both axes are logarithmic, as what grows tenfold calls for."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row.subject, []).append(row)
    drawn = [row for row in rows if row.x > 0 and row.summary.median > 0]
    if not drawn:
        return draw_bars(title, rows)
    across = _axis([row.x for row in drawn], 70, WIDTH - 300)
    up = _axis([row.summary.median for row in drawn], _HEIGHT - 40, 50)
    parts = [*_grid(across, up, drawn[0].unit)]
    for index, (name, items) in enumerate(lines.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        points = [
            (_place(across, item.x), _place(up, item.summary.median))
            for item in sorted(items, key=lambda item: item.x)
            if item.x > 0 and item.summary.median > 0
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
        parts.append(f'<rect x="{WIDTH - 285}" y="{46 + index * 18}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(WIDTH - 268, 55 + index * 18, name))
    return _frame(title, max(_HEIGHT, 70 + 18 * len(lines)), parts)


#: Smallest and largest power of ten, and where they lie in the picture.
_Axis = tuple[int, int, float, float]


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low = math.floor(math.log10(min(values)))
    high = math.ceil(math.log10(max(values)))
    return (low, max(high, low + 1), start, end)


def _place(axis: _Axis, value: float) -> float:
    low, high, start, end = axis
    return start + (math.log10(value) - low) / (high - low) * (end - start)


def _grid(across: _Axis, up: _Axis, unit: str) -> list[str]:
    left, right, bottom, top = across[2], across[3], up[2], up[3]
    parts = [_text(left, top - 8, unit)]
    for power in range(across[0], across[1] + 1):
        x = _place(across, 10**power)
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{top}" stroke-dasharray="2 4"/>')
        parts.append(_text(x, bottom + 16, format_number(10**power), "middle"))
    for power in range(up[0], up[1] + 1):
        y = _place(up, 10**power)
        parts.append(f'<line class="axis" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke-dasharray="2 4"/>')
        parts.append(_text(left - 6, y + 4, format_number(10**power), "end"))
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _frame(title: str, height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}">'
    caption = f'<text class="title" x="10" y="22">{escape(title)}</text>'
    return "\n".join([head, f"<style>{_STYLE}</style>", caption, *parts, "</svg>"]) + "\n"


def draw_all(name: str, rows: Sequence[Row]) -> Mapping[str, str]:
    """Return every chart of one measurement by the name of its file; the parts of a whole are in the table only."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.part_of:
            continue
        groups.setdefault(f"{row.chart} [{row.unit}]", []).append(row)
    charts = {}
    for group, items in groups.items():
        slug = "".join(letter if letter.isalnum() else "-" for letter in group.replace("/", " per ").lower()).strip("-")
        while "--" in slug:
            slug = slug.replace("--", "-")
        charts[f"{name}-{slug}.svg"] = draw(f"{name}: {group.strip()}", items)
    return charts
