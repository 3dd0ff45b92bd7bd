"""What a run has found, as values and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.figures import Summary, ratios, spread_ratios, summarize


@dataclass(frozen=True, slots=True)
class Ratio:
    """How a row relates to the row of `base` in the same case."""

    base: str
    summary: Summary


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table. `x` is the number a case grows with (containers, subscribers, bytes a block), 0 for none.

    Rows of one `chart` and unit are drawn together. `part_of` names the subject whose parts these are: the means of
    those with the same `case` and `part_of` sum up to its own.
    """

    measurement: str
    case: str
    subject: str
    unit: str
    summary: Summary
    x: int = 0
    chart: str = ""
    ratios: tuple[Ratio, ...] = ()
    note: str = ""
    part_of: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A whole run: the machine, how thorough it was, every row, and what was left out or must be known."""

    machine: Mapping[str, str] = field(default_factory=dict)
    level: str = ""
    rows: tuple[Row, ...] = ()
    remarks: tuple[str, ...] = ()


#: What a subject is compared with: the names of other subjects.
Bases = Mapping[str, Sequence[str]]


def make_rows(
    measurement: str,
    case: str,
    unit: str,
    found: Mapping[str, Sequence[float]],
    bases: Bases,
    *,
    x: int = 0,
    chart: str = "",
    notes: Mapping[str, str] | None = None,
    in_turn: bool = True,
) -> list[Row]:
    """Return a row for each subject with its ratios to those of its bases that were measured, too."""
    compare = ratios if in_turn else spread_ratios
    rows = []
    for subject, values in found.items():
        present = [base for base in bases.get(subject, ()) if base in found]
        compared = [(base, compare(values, found[base])) for base in present]
        rows.append(
            Row(
                measurement=measurement,
                case=case,
                subject=subject,
                unit=unit,
                summary=summarize(values),
                x=x,
                chart=chart,
                ratios=tuple(Ratio(base, summarize(items)) for base, items in compared if items),
                note=(notes or {}).get(subject, ""),
            )
        )
    return rows


def format_json(result: Result) -> str:
    """Return the result as JSON; `parse_json` reads it."""
    return json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n"


def parse_json(text: str) -> Result:
    """Return the result that `format_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    data = json.loads(text)
    return Result(
        machine=data["machine"],
        level=data["level"],
        rows=tuple(_parse_row(item) for item in data["rows"]),
        remarks=tuple(data["remarks"]),
    )


def _parse_row(data: dict[str, Any]) -> Row:
    ratios_ = tuple(Ratio(item["base"], Summary(**item["summary"])) for item in data["ratios"])
    return Row(**(data | {"summary": Summary(**data["summary"]), "ratios": ratios_}))


def of_measurement(rows: Iterable[Row], name: str) -> list[Row]:
    """Return the rows of one measurement."""
    return [row for row in rows if row.measurement == name]
