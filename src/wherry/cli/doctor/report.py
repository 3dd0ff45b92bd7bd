"""All findings in order, and how they are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from wherry.cli import table
from wherry.cli.doctor import cgroups, checkpoints, filesystem, host, leftovers, runtimes
from wherry.cli.doctor.finding import FAIL, OK, WARN, Finding, Places

_CHECKS: dict[str, Callable[[Places], Iterable[Finding]]] = {
    "host": host.check,
    "cgroups": cgroups.check,
    "runtimes": runtimes.check,
    "checkpoints": checkpoints.check,
    "filesystem": filesystem.check,
    "leftovers": leftovers.check,
}
_MARKS = {OK: "ok  ", WARN: "warn", FAIL: "FAIL"}


def examine(places: Places) -> Iterator[Finding]:
    """Yield every finding; a check that itself fails is a finding too."""
    for name, check in _CHECKS.items():
        try:
            yield from check(places)
        except OSError as error:
            yield Finding(name, WARN, f"cannot examine it: {error}")


def format_finding(finding: Finding) -> str:
    """Return a finding in one line, its advice in a second."""
    lines = [f"{_MARKS[finding.status]}  {finding.name}: {table.clean(finding.detail)}"]
    if finding.advice:
        lines.append(f"      -> {table.clean(finding.advice)}")
    return "\n".join(lines)
