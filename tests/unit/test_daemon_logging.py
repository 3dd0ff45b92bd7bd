"""The daemon's log: one line a record, and nothing in it that a terminal obeys."""

from __future__ import annotations

import json
import logging

import pytest

from wherry.daemon.logging import _Json, _Text

EVIL = "/a/\x1b[2J\r\nb \u202e\udcff"


def make_record(*, raised: bool) -> logging.LogRecord:
    error = OSError(5, EVIL)
    given = (OSError, error, None) if raised else None
    return logging.LogRecord("wherry.x", logging.ERROR, "x.py", 1, "cannot read %s", (EVIL,), given)


@pytest.mark.parametrize("raised", [False, True])
def test_what_does_not_print_is_written_as_an_escape(raised: bool) -> None:
    first, *trace = _Text().format(make_record(raised=raised)).split("\n")
    assert first.endswith(r"error   wherry.x: cannot read /a/\x1b[2J\r\nb \u202e\udcff")
    assert bool(trace) == raised
    assert all(line.isprintable() for line in (first, *trace))


def test_json_has_escapes_of_its_own() -> None:
    text = _Json().format(make_record(raised=True))
    assert text.isprintable()
    assert json.loads(text)["message"] == f"cannot read {EVIL}"
