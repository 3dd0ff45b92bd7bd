"""Versions of runtimes with public holes: a warning, and none for those that are mended."""

from __future__ import annotations

import pytest

from wherry.model import floors

OLD = "1.1.5+ds1 1.2.9 1.3.5 1.4.2 1.5.0-rc.1 1.3.6-rc1 0.1.0"
NEW = "1.3.6 1.3.7 1.4.3 1.5.0 1.6.0-rc.1 2.0"


@pytest.mark.parametrize(
    "line",
    [
        *(f"runc version {number}" for number in OLD.split()),
        *(f"crun version {n}" for n in ("1.8.1", "1.27")),
    ],
)
def test_one_with_a_public_hole_is_warned_of(line: str) -> None:
    warning = floors.find_warning(line)
    assert warning.startswith(f"{line[:4]} ")
    assert "is older than the releases that mend CVE-" in warning


@pytest.mark.parametrize(
    "line",
    [*(f"runc version {number}" for number in NEW.split()), *(f"crun version {n}" for n in ("1.28", "1.28.1", "2.0"))],
)
def test_one_without_is_not(line: str) -> None:
    assert floors.find_warning(line) == ""


@pytest.mark.parametrize(
    "line", ["", "youki version 0.5.0", "runc", "runc version unknown", "version 1.0.0", "runc 1.0"]
)
def test_nothing_is_said_of_what_is_not_known(line: str) -> None:
    assert floors.find_warning(line) == ""
