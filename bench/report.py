"""The figures of docs/performance.md: they come from a result's JSON, never from a keyboard."""

from __future__ import annotations

from pathlib import Path

from bench import chart, machine, measurements, table
from bench.result import Result, of_measurement

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN = "<!-- figures: written by `python -m bench --report` -->"
END = "<!-- end of figures -->"


def fill(found: Result, page: Path = PAGE) -> None:
    """Replace the figures of `page`, and the charts in the directory of its name beside it. Raises ValueError."""
    text = replace(page.read_text(), format_figures(found, page.stem))
    directory = page.with_suffix("")
    directory.mkdir(exist_ok=True)
    for old in directory.glob("*.svg"):
        old.unlink()
    for item in measurements.ALL:
        for name, drawing in chart.draw_all(item.name, of_measurement(found.rows, item.name)).items():
            (directory / name).write_text(drawing)
    page.write_text(text)


def replace(text: str, figures: str) -> str:
    """Return `text` with `figures` between the two marks. Raises ValueError when they are not there."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"cannot fill in figures: the marks {BEGIN} and {END} are expected")
    return f"{head}{BEGIN}\n\n{figures}\n{END}{tail}"


def format_figures(found: Result, directory: str) -> str:
    """Return machine, remarks, and each measurement's table and charts as Markdown."""
    parts = [f"Level `{found.level}`.", "\n".join(f"- {line}" for line in machine.format_lines(found.machine))]
    if found.remarks:
        parts.append("\n".join(["Remarks:", "", *(f"- {text}" for text in found.remarks)]))
    for item in measurements.ALL:
        rows = of_measurement(found.rows, item.name)
        if not rows:
            continue
        parts.append(f"### {item.title}")
        parts.append(table.format_markdown(rows).rstrip())
        parts.extend(f"![{name}]({directory}/{name})" for name in chart.draw_all(item.name, rows))
    return "\n\n".join(parts) + "\n"
