"""Limits that are none, that are absurd, and that the daemon cannot give."""

from __future__ import annotations

import math
import resource

import pytest

from wherry import errors
from wherry.model.request import Limits, Ulimit
from wherry.oci import capabilities, limits

EVERYTHING = frozenset(capabilities.NAMES)


@pytest.mark.parametrize(
    "bad",
    [
        Limits(memory_bytes=0),
        Limits(memory_bytes=-1),
        Limits(memory_bytes=4 * 1024 * 1024 - 1),
        Limits(memory_bytes=2**63),
        Limits(memory_bytes=10**30),
        Limits(memory_bytes=10**5000),
        Limits(cpus=0),
        Limits(cpus=-0.5),
        Limits(cpus=0.009),
        Limits(cpus=1e30),
        Limits(cpus=math.inf),
        Limits(cpus=math.nan),
        Limits(pids=0),
        Limits(pids=-1),
        Limits(pids=10**30),
    ],
)
def test_an_impossible_limit_is_refused_shortly(bad: Limits) -> None:
    with pytest.raises(errors.InvalidArgument, match="limit") as raised:
        limits.check(bad)
    assert len(raised.value.message) < 200


def test_zero_says_how_to_have_no_limit() -> None:
    with pytest.raises(errors.InvalidArgument, match="leave it out for no limit"):
        limits.check(Limits(memory_bytes=0))


@pytest.mark.parametrize(
    "good", [Limits(), Limits(memory_bytes=4 << 20), Limits(cpus=0.01), Limits(cpus=8192), Limits(pids=1)]
)
def test_a_possible_limit_is_taken(good: Limits) -> None:
    limits.check(good)


def test_resources_hold_what_was_asked_for_and_nothing_else() -> None:
    assert limits.resources(Limits()) == {}
    assert limits.resources(Limits(memory_bytes=64 << 20, cpus=0.5, pids=10)) == {
        "memory": {"limit": 64 << 20},
        "cpu": {"quota": 50000, "period": 100000},
        "pids": {"limit": 10},
    }
    assert limits.resources(Limits(cpus=0.01))["cpu"]["quota"] == 1000


@pytest.mark.parametrize(
    ("ulimit", "cause"),
    [
        (Ulimit(name="NOFILE", soft=1, hard=1), "the names are"),
        (Ulimit(name="", soft=1, hard=1), "the names are"),
        (Ulimit(name="nofile", soft=2, hard=1), "above the hard limit"),
        (Ulimit(name="nofile", soft=-1, hard=1), "above the hard limit"),
        (Ulimit(name="nofile", soft=-2, hard=1), "are allowed"),
        (Ulimit(name="nofile", soft=1, hard=2**64), "are allowed"),
    ],
)
def test_a_bad_ulimit_is_refused(ulimit: Ulimit, cause: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=cause):
        limits.check_ulimits((ulimit,))


def test_a_ulimit_given_twice_is_refused() -> None:
    one = Ulimit(name="core", soft=0, hard=0)
    with pytest.raises(errors.InvalidArgument, match="twice"):
        limits.check_ulimits((one, one))


def test_the_numbers_of_ulimits_are_the_kernels() -> None:
    for name in ("cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as"):
        number = getattr(resource, f"RLIMIT_{name.upper()}")
        own = resource.getrlimit(number)[0]
        limits.rlimits((Ulimit(name=name, soft=own, hard=own),), EVERYTHING)
        assert limits._RLIMITS[name] == number


def test_a_hard_limit_above_the_daemons_needs_a_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    asked = (Ulimit(name="nofile", soft=5, hard=200),)
    assert limits.rlimits(asked, EVERYTHING) == [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 200}]
    with pytest.raises(errors.PermissionDenied, match="cannot set ulimit nofile to 200"):
        limits.rlimits(asked, frozenset())
    with pytest.raises(errors.PermissionDenied, match="cannot set ulimit nofile to -1"):
        limits.rlimits((Ulimit(name="nofile", soft=5, hard=-1),), frozenset())


def test_no_limit_is_the_largest_number() -> None:
    assert limits.rlimits((Ulimit(name="nofile", soft=-1, hard=-1),), EVERYTHING) == [
        {"type": "RLIMIT_NOFILE", "soft": 2**64 - 1, "hard": 2**64 - 1}
    ]
