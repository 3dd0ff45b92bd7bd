"""Which of a change the runtime does, and which we do ourselves, on either version of cgroups."""

from __future__ import annotations

import pytest

from wherry.linux import limits as files
from wherry.model.request import Limits
from wherry.oci import limits as rules
from wherry.supervisor import update

MIB = 1 << 20
BEFORE = Limits(
    memory_bytes=64 * MIB, memory_swap_bytes=96 * MIB, cpu_quota_us=50_000, cpu_period_us=100_000, cpu_shares=1024
)


def plan(monkeypatch: pytest.MonkeyPatch, wanted: Limits, *, v2: bool) -> tuple[dict[str, str], Limits]:
    monkeypatch.setattr(files, "is_v2", lambda: v2)
    both = rules.overlay(BEFORE, wanted)
    direct = update._find_direct(wanted, both)
    return direct, update._complete(wanted, both, frozenset(direct))


@pytest.mark.parametrize("v2", [False, True])
def test_of_a_pair_the_runtime_always_gets_both(monkeypatch: pytest.MonkeyPatch, v2: bool) -> None:
    assert plan(monkeypatch, Limits(memory_bytes=32 * MIB), v2=v2) == (
        {},
        Limits(memory_bytes=32 * MIB, memory_swap_bytes=96 * MIB),
    )
    assert plan(monkeypatch, Limits(memory_swap_bytes=-1), v2=v2)[1] == Limits(
        memory_bytes=64 * MIB, memory_swap_bytes=-1
    )
    for change in (Limits(cpu_quota_us=70_000), Limits(cpu_period_us=20_000)):
        expected = rules.overlay(Limits(cpu_quota_us=50_000, cpu_period_us=100_000), change)
        assert plan(monkeypatch, change, v2=v2) == ({}, expected)
    assert plan(monkeypatch, Limits(pids=5), v2=v2) == ({}, Limits(pids=5))


@pytest.mark.parametrize(
    ("v2", "quota", "period"), [(False, "-1", "20000"), (True, "max", "max 20000")], ids=["v1", "v2"]
)
def test_what_is_lifted_is_not_left_to_the_runtime(
    monkeypatch: pytest.MonkeyPatch, v2: bool, quota: str, period: str
) -> None:
    assert plan(monkeypatch, Limits(cpu_quota_us=-1), v2=v2) == ({"cpu_quota_us": quota}, Limits())
    lifted = Limits(cpu_quota_us=-1, cpu_period_us=20_000, pids=-1, cpu_shares=5)
    direct, rest = plan(monkeypatch, lifted, v2=v2)
    assert direct == {"cpu_quota_us": quota, "cpu_period_us": period, "pids": "max"}
    assert rest == Limits(cpu_shares=5)


def test_a_reservation_that_is_lifted_is_none_and_not_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    change = Limits(memory_reservation_bytes=-1)
    assert plan(monkeypatch, change, v2=True) == ({"memory_reservation_bytes": "0"}, Limits())
    assert plan(monkeypatch, change, v2=False) == ({}, change)


def test_the_weight_for_block_io_is_ours_on_version_1_only(monkeypatch: pytest.MonkeyPatch) -> None:
    change = Limits(blkio_weight=77)
    assert plan(monkeypatch, change, v2=False) == ({"blkio_weight": "77"}, Limits())
    assert plan(monkeypatch, change, v2=True) == ({}, change)


def test_the_way_back_lifts_what_was_not_there() -> None:
    now = Limits(memory_bytes=5, pids=7, cpuset_cpus="0")
    assert update._find_way_back(now, Limits(pids=8, cpuset_cpus="0-1")) == Limits(
        memory_bytes=-1, pids=8, cpuset_cpus="0-1"
    )
