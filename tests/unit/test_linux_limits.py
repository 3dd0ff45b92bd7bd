"""Limits of a cgroup from its files, in trees as the kernel shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wherry.linux import cgroup, limits
from wherry.model.request import Limits

ENDLESS = "9223372036854771712\n"
V1 = {
    "memory/memory.limit_in_bytes": ENDLESS,
    "memory/memory.soft_limit_in_bytes": ENDLESS,
    "memory/memory.memsw.limit_in_bytes": ENDLESS,
    "cpu/cpu.shares": "1024\n",
    "cpu/cpu.cfs_quota_us": "-1\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "cpuset/cpuset.cpus": "0-3\n",
    "cpuset/cpuset.mems": "0\n",
    "pids/pids.max": "max\n",
}
V2 = {
    "memory.max": "max\n",
    "memory.low": "0\n",
    "memory.swap.max": "max\n",
    "cpu.weight": "100\n",
    "cpu.max": "max 100000\n",
    "cpuset.cpus": "\n",
    "cpuset.mems": "\n",
    "pids.max": "max\n",
    "io.weight": "default 100\n",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    return tmp_path


def make_v1(tree: Path) -> None:
    for place, text in V1.items():
        controller, _, name = place.partition("/")
        directory = tree / controller / "c1"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
        (tree / controller / "cgroup.procs").touch()


def make_v2(tree: Path) -> None:
    (tree / "cgroup.controllers").touch()
    (tree / "c1").mkdir()
    for name, text in V2.items():
        (tree / "c1" / name).write_text(text)


def test_version_1_without_limits_has_its_defaults_and_nothing_else(tree: Path) -> None:
    make_v1(tree)
    assert limits.read("/c1") == Limits(cpu_shares=1024, cpu_period_us=100_000, cpuset_cpus="0-3", cpuset_mems="0")


def test_version_1_with_limits(tree: Path) -> None:
    make_v1(tree)
    texts = {
        "memory/c1/memory.limit_in_bytes": "67108864",
        "memory/c1/memory.memsw.limit_in_bytes": "134217728",
        "memory/c1/memory.soft_limit_in_bytes": "33554432",
        "cpu/c1/cpu.cfs_quota_us": "20000",
        "cpu/c1/cpu.cfs_period_us": "40000",
        "pids/c1/pids.max": "7",
    }
    for name, text in texts.items():
        (tree / name).write_text(f"{text}\n")
    (tree / "blkio/c1").mkdir(parents=True)
    (tree / "blkio/c1/blkio.weight").write_text("500\n")
    assert limits.read("c1") == Limits(
        memory_bytes=67108864,
        memory_swap_bytes=134217728,
        memory_reservation_bytes=33554432,
        cpus=0.5,
        cpu_quota_us=20_000,
        cpu_period_us=40_000,
        cpu_shares=1024,
        cpuset_cpus="0-3",
        cpuset_mems="0",
        pids=7,
        blkio_weight=500,
    )
    (tree / "blkio/c1/blkio.bfq.weight").write_text("77\n")
    assert limits.read("c1").blkio_weight == 77


def test_version_2_without_limits_has_its_period_and_nothing_else(tree: Path) -> None:
    make_v2(tree)
    assert limits.read("/c1") == Limits(cpu_period_us=100_000)


def test_version_2_with_limits(tree: Path) -> None:
    make_v2(tree)
    texts = {
        "memory.max": "67108864",
        "memory.low": "33554432",
        "memory.swap.max": "1048576",
        "cpu.max": "20000 40000",
        "cpuset.cpus": "1,3",
        "cpuset.mems": "0",
        "pids.max": "7",
        "io.bfq.weight": "default 300\n8:0 100",
    }
    for name, text in texts.items():
        (tree / "c1" / name).write_text(f"{text}\n")
    assert limits.read("/c1") == Limits(
        memory_bytes=67108864,
        memory_reservation_bytes=33554432,
        memory_swap_bytes=67108864 + 1048576,
        cpus=0.5,
        cpu_quota_us=20_000,
        cpu_period_us=40_000,
        cpuset_cpus="1,3",
        cpuset_mems="0",
        pids=7,
        blkio_weight=300,
    )
    (tree / "c1/memory.swap.max").write_text("0\n")
    assert limits.read("/c1").memory_swap_bytes == 67108864, "no swap at all is a limit"


@pytest.mark.parametrize("make", [make_v1, make_v2])
def test_a_controller_that_is_not_there_is_no_limit_and_a_cgroup_that_is_gone_an_error(
    tree: Path, make: Callable[[Path], None]
) -> None:
    make(tree)
    for name in ("pids/c1/pids.max", "c1/pids.max", "cpu/c1/cpu.cfs_period_us", "c1/cpu.max"):
        (tree / name).unlink(missing_ok=True)
    found = limits.read("/c1")
    assert (found.pids, found.cpu_period_us, found.cpus) == (None, None, None)
    assert limits.find_file("/c1", "pids") is None
    with pytest.raises(FileNotFoundError):
        limits.write("/c1", "pids", "5")
    with pytest.raises(FileNotFoundError):
        limits.read("/c2")


def test_what_is_written_is_where_it_is_read(tree: Path) -> None:
    make_v2(tree)
    limits.write("/c1", "cpu_quota_us", "50000 100000")
    assert limits.read("/c1").cpus == 0.5


def test_every_limit_has_its_files_in_both_versions() -> None:
    named = set(Limits.__slots__) - {"cpus"}
    assert limits._V1.keys() == limits._V2.keys() == named
