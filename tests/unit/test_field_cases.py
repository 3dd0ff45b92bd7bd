"""tests/field.toml: every case of the field has tests that are there, or says why it has none."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CASES = tomllib.loads((ROOT / "tests" / "field.toml").read_text())["case"]


def test_every_test_that_a_case_names_is_there() -> None:
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    missing = [(case["source"], name) for case in CASES for name in case.get("tests", ()) if name not in there]
    assert missing == []


def test_every_case_has_either_tests_or_a_reason() -> None:
    for case in CASES:
        assert set(case) in ({"source", "tests"}, {"source", "why_not"}), case
        assert case.get("tests") or case.get("why_not"), case


def test_no_case_is_there_twice_and_none_of_our_own_is_missing() -> None:
    sources = [case["source"] for case in CASES]
    assert len(set(sources)) == len(sources)
    own = [int(source.split()[1]) for source in sources if source.startswith("own ")]
    assert own == list(range(1, 18))
