"""SECURITY.md: the tests that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", page))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 20
    assert named - there == set()


def test_every_class_names_a_test_or_says_why_not() -> None:
    rows = re.findall(r"^\| (\d+)\. .*$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    assert rows == [str(number) for number in range(1, 12)]
    for line in (ROOT / "SECURITY.md").read_text().splitlines():
        if re.match(r"\| \d+\. ", line):
            assert "`test_" in line or "**no " in line, line
