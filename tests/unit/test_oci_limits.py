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
        Limits(memory_bytes=-2),
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
        Limits(pids=-2),
        Limits(pids=10**30),
        Limits(memory_reservation_bytes=0),
        Limits(memory_reservation_bytes=64 << 20, memory_bytes=32 << 20),
        Limits(memory_swap_bytes=64 << 20),
        Limits(memory_swap_bytes=64 << 20, memory_bytes=-1),
        Limits(memory_swap_bytes=64 << 20, memory_bytes=65 << 20),
        Limits(cpu_shares=1),
        Limits(cpu_shares=-1),
        Limits(cpu_shares=262145),
        Limits(cpu_quota_us=999),
        Limits(cpu_period_us=999),
        Limits(cpu_period_us=-1),
        Limits(cpu_period_us=1_000_001),
        Limits(cpus=1, cpu_quota_us=100_000),
        Limits(cpus=1, cpu_period_us=100_000),
        Limits(cpus=-1, cpu_quota_us=-1),
        Limits(blkio_weight=9),
        Limits(blkio_weight=1001),
    ],
)
def test_an_impossible_limit_is_refused_shortly(bad: Limits) -> None:
    with pytest.raises(errors.InvalidArgument, match="is not valid") as raised:
        limits.check(bad)
    assert len(raised.value.message) < 200


def test_zero_says_how_to_have_no_limit() -> None:
    with pytest.raises(errors.InvalidArgument, match="leave it out, or say none \\(-1\\), for no limit"):
        limits.check(Limits(memory_bytes=0))


@pytest.mark.parametrize(
    "good",
    [
        Limits(),
        Limits(memory_bytes=4 << 20, memory_swap_bytes=4 << 20, memory_reservation_bytes=4096),
        Limits(memory_bytes=-1, memory_swap_bytes=-1, memory_reservation_bytes=-1, pids=-1, cpus=-1),
        Limits(memory_bytes=64 << 20, memory_swap_bytes=-1),
        Limits(memory_reservation_bytes=64 << 20, memory_bytes=-1),
        Limits(cpus=0.01),
        Limits(cpus=8192),
        Limits(pids=1),
        Limits(cpu_quota_us=-1),
        Limits(cpu_quota_us=1000, cpu_period_us=1000, cpu_shares=2, blkio_weight=10),
        Limits(cpuset_cpus="0", cpuset_mems="0-1,4,8191"),
    ],
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


def test_every_field_has_its_place_in_the_specification() -> None:
    asked = Limits(
        memory_bytes=64 << 20,
        memory_reservation_bytes=32 << 20,
        memory_swap_bytes=128 << 20,
        pids=5,
        cpu_shares=512,
        cpu_quota_us=20_000,
        cpu_period_us=40_000,
        cpuset_cpus="0-1",
        cpuset_mems="0",
        blkio_weight=300,
    )
    expected = {
        "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 128 << 20},
        "pids": {"limit": 5},
        "cpu": {"shares": 512, "quota": 20_000, "period": 40_000, "cpus": "0-1", "mems": "0"},
        "blockIO": {"weight": 300},
    }
    assert limits.resources(asked) == limits.changes(asked) == expected
    assert all(limits.names_set(asked).get(name) for name in Limits.__slots__ if name != "cpus")


def test_what_is_lifted_is_left_out_of_a_new_container_and_said_to_an_old_one() -> None:
    lifted = Limits(memory_bytes=-1, pids=-1, cpus=-1)
    assert limits.resources(lifted) == {}
    assert limits.changes(lifted) == {"memory": {"limit": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}}


def test_a_later_change_takes_the_place_of_what_it_sets_and_leaves_the_rest() -> None:
    base = Limits(memory_bytes=64 << 20, cpus=0.5, cpuset_cpus="0")
    assert limits.overlay(base, Limits(pids=3)) == Limits(
        memory_bytes=64 << 20, cpu_quota_us=50_000, cpu_period_us=100_000, cpuset_cpus="0", pids=3
    )
    assert limits.overlay(base, Limits(cpu_quota_us=70_000)).cpu_quota_us == 70_000
    assert limits.overlay(Limits(cpu_quota_us=1000, cpu_period_us=5000), Limits(cpus=2)) == limits.expand(
        Limits(cpus=2)
    )
    assert limits.overlay(base, Limits(cpus=-1)).cpu_quota_us == -1


def test_limits_are_shown_without_those_that_are_none() -> None:
    assert limits.shown(Limits(cpu_quota_us=50_000)) == Limits(cpus=0.5, cpu_quota_us=50_000)
    assert limits.shown(Limits(cpus=-1, memory_bytes=-1, pids=4)) == Limits(pids=4)
    assert limits.shown(Limits(cpus=0.5)) == Limits(cpus=0.5, cpu_quota_us=50_000, cpu_period_us=100_000)


@pytest.mark.parametrize(
    "bad", ["x", "-1", "0-", "0,,1", "0 1", "3-1", "8192", "0-99999", "0\n", "\u0663", "1," * 20000 + "1", " 0"]
)
def test_a_list_that_is_none_is_refused(bad: str) -> None:
    for asked in (Limits(cpuset_cpus=bad), Limits(cpuset_mems=bad)):
        with pytest.raises(errors.InvalidArgument, match="list .* is not valid") as raised:
            limits.check(asked)
        assert len(raised.value.message) < 250


def test_lists_are_numbers_however_they_are_written() -> None:
    assert limits.parse_cpuset("list", "0-2,7,1") == {0, 1, 2, 7}


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
