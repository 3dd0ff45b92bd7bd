"""A drawing of how large the daemon was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

_WIDTH, _HEIGHT, _LEFT = 720, 120, 110


class Sample(Protocol):
    """What is drawn."""

    @property
    def seconds(self) -> float: ...
    @property
    def pid(self) -> int: ...
    @property
    def rss_kib(self) -> int: ...
    @property
    def fds(self) -> int: ...
    @property
    def threads(self) -> int: ...


def draw(samples: Sequence[Sample]) -> str:
    """Return an SVG with one panel for memory, descriptors and threads over time; a new daemon begins a new line."""
    curves = {
        "KiB resident": [sample.rss_kib for sample in samples],
        "descriptors": [sample.fds for sample in samples],
        "threads": [sample.threads for sample in samples],
    }
    panels = [_panel(number, title, samples, values) for number, (title, values) in enumerate(curves.items())]
    height = 3 * (_HEIGHT + 30) + 30
    minutes = f'<text x="{_LEFT}" y="{height - 8}">minutes: 0 to {samples[-1].seconds / 60:.0f}</text>'
    style = "<style>text{font:12px sans-serif;fill:#555}polyline{fill:none;stroke:#0072b2;stroke-width:1.5}</style>"
    size = f'width="{_LEFT + _WIDTH + 20}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{"".join(panels)}{minutes}</svg>\n'


def _panel(number: int, title: str, samples: Sequence[Sample], values: Sequence[int]) -> str:
    top = max(values) * 1.1
    y = 20 + number * (_HEIGHT + 30)
    parts = [f'<text x="4" y="{y + 12}">{title}</text><text x="4" y="{y + 28}">at most {max(values):.0f}</text>']
    parts.append(f'<path d="M{_LEFT} {y}V{y + _HEIGHT}H{_LEFT + _WIDTH}" stroke="#999" fill="none"/>')
    lines: dict[int, list[str]] = {}
    for sample, value in zip(samples, values, strict=True):
        x = _LEFT + sample.seconds / samples[-1].seconds * _WIDTH
        lines.setdefault(sample.pid, []).append(f"{x:.1f},{y + _HEIGHT - value / top * _HEIGHT:.1f}")
    for points in lines.values():
        parts.append(f'<polyline points="{" ".join(points)}"/>')
        parts += [f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="1.6" fill="#0072b2"/>' for p in points]
    return "".join(parts)
