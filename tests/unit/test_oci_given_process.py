"""An exec that brings a whole OCI process with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wherry import errors
from wherry.model.request import ExecRequest, Stdio
from wherry.oci import bundle

BASE = {"args": ["init"], "cwd": "/", "env": ["A=b"], "capabilities": {"bounding": ["CAP_KILL"]}}


def make(process: Any, **fields: Any) -> dict[str, Any]:
    """Return what the runtime gets."""
    content = process if isinstance(process, str) else json.dumps(process)
    return bundle.exec_process(BASE, ExecRequest(id="c", process="e", oci_process=content, **fields), "/")


def test_it_is_taken_as_it_is_and_nothing_of_the_containers() -> None:
    given = {"args": ["ls"], "cwd": "/tmp", "env": ["X=y"], "user": {"uid": 5, "gid": 6}, "rlimits": []}
    assert make(given) == given
    assert make({"args": ["ls"], "cwd": "/"})["user"] == {"uid": 0, "gid": 0}


def test_the_terminal_is_that_of_stdio() -> None:
    given = {"args": ["ls"], "cwd": "/", "terminal": True}
    found = make(given, stdio=Stdio(mode="fifo", terminal=True, width=80, height=24))
    assert found["consoleSize"] == {"height": 24, "width": 80}
    with pytest.raises(errors.InvalidArgument, match="differ in terminal"):
        make(given)


@pytest.mark.parametrize(
    "process",
    [
        "nonsense",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"args": ["ls"], "cwd": "/", "x": NaN}',
        {"args": [], "cwd": "/"},
        {"args": ["ls"]},
        {"args": ["ls"], "cwd": "tmp"},
        {"args": ["ls"], "cwd": "/proc/self/fd/7"},
        {"args": "ls", "cwd": "/"},
        {"args": ["ls"], "cwd": "/", "user": {"uid": -1}},
        {"args": ["ls"], "cwd": "/", "capabilities": ["CAP_KILL"]},
    ],
)
def test_nonsense_is_refused(process: Any) -> None:
    with pytest.raises(errors.InvalidArgument):
        make(process)
