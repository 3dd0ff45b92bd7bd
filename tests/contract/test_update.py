"""Limits changed while a container is there, read back from the kernel's own files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.conftest import Box, at_once
from tests.support.eventually import eventually
from tests.support.fake_runtime import FakeRuntime
from wherry import errors
from wherry.client.sync import SyncContainer
from wherry.model.request import Limits, Mount
from wherry.model.status import ContainerInfo

MIB = 1 << 20
ENDLESS = "9223372036854771712"
FULL = Limits(memory_bytes=64 * MIB, memory_swap_bytes=96 * MIB, cpus=0.5, pids=50)
#: 40 MiB that cannot be reclaimed: the machine's swap, if any, is counted by the limit on both.
HOLDS_MEMORY = ("sh", "-c", "dd if=/dev/zero of=/held/file bs=1M count=40 2>/dev/null; echo holds; sleep 60")
HELD = (Mount(target="/held", type="tmpfs", options=("size=50m",)),)


def read_v1(container: SyncContainer, file: str) -> str:
    """Return what a file of the container's cgroup holds, CONTROLLER/FILE."""
    controller, _, name = file.partition("/")
    return Path("/sys/fs/cgroup", controller, container.info().cgroup.strip("/"), name).read_text().strip()


#: A change, the files of version 1 that tell of it, and what is shown.
CHANGES = [
    (Limits(memory_bytes=32 * MIB), {"memory/memory.limit_in_bytes": str(32 * MIB)}, {}),
    (Limits(memory_bytes=32 * MIB + 1), {"memory/memory.limit_in_bytes": str(32 * MIB)}, {"memory_bytes": 32 * MIB}),
    (Limits(memory_reservation_bytes=20 * MIB), {"memory/memory.soft_limit_in_bytes": str(20 * MIB)}, {}),
    (Limits(memory_swap_bytes=80 * MIB), {"memory/memory.memsw.limit_in_bytes": str(80 * MIB)}, {}),
    (
        Limits(memory_bytes=128 * MIB, memory_swap_bytes=128 * MIB),
        {"memory/memory.limit_in_bytes": str(128 * MIB), "memory/memory.memsw.limit_in_bytes": str(128 * MIB)},
        {},
    ),
    (
        Limits(memory_bytes=16 * MIB, memory_swap_bytes=16 * MIB),
        {"memory/memory.limit_in_bytes": str(16 * MIB), "memory/memory.memsw.limit_in_bytes": str(16 * MIB)},
        {},
    ),
    (Limits(memory_swap_bytes=-1), {"memory/memory.memsw.limit_in_bytes": ENDLESS}, {"memory_swap_bytes": None}),
    (
        Limits(memory_bytes=-1, memory_swap_bytes=-1),
        {"memory/memory.limit_in_bytes": ENDLESS, "memory/memory.memsw.limit_in_bytes": ENDLESS},
        {"memory_bytes": None, "memory_swap_bytes": None},
    ),
    (Limits(cpu_shares=512), {"cpu/cpu.shares": "512"}, {}),
    (Limits(cpu_quota_us=20_000), {"cpu/cpu.cfs_quota_us": "20000", "cpu/cpu.cfs_period_us": "100000"}, {"cpus": 0.2}),
    (Limits(cpu_period_us=50_000), {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "50000"}, {"cpus": 1.0}),
    (
        Limits(cpus=1.5),
        {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"},
        {"cpu_quota_us": 150_000},
    ),
    (Limits(cpus=-1), {"cpu/cpu.cfs_quota_us": "-1"}, {"cpus": None, "cpu_quota_us": None}),
    (
        Limits(cpu_quota_us=-1, cpu_period_us=50_000),
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "50000"},
        {"cpus": None, "cpu_quota_us": None},
    ),
    (Limits(cpuset_cpus="0", cpuset_mems="0"), {"cpuset/cpuset.cpus": "0", "cpuset/cpuset.mems": "0"}, {}),
    (Limits(pids=7), {"pids/pids.max": "7"}, {}),
    (Limits(pids=-1), {"pids/pids.max": "max"}, {"pids": None}),
]


@pytest.mark.requires("cgroup1")
@pytest.mark.parametrize(("change", "kernel", "shown"), CHANGES)
def test_a_change_is_in_the_kernel_and_shown_and_the_rest_stays(
    box: Box, runtime: str, change: Limits, kernel: dict[str, str], shown: dict[str, object]
) -> None:
    container = box.run("sleep", "60", runtime=runtime, limits=FULL)
    before = container.info().limits
    after = container.update(change).limits
    assert {file: read_v1(container, file) for file in kernel} == kernel
    asked = {name: value for name in Limits.__slots__ if (value := getattr(change, name)) not in (None, "", -1)}
    touched = asked | shown
    assert {name: getattr(after, name) for name in touched} == touched
    derived = {"cpus"} if {"cpu_quota_us", "cpu_period_us"} & touched.keys() else set()
    derived |= {"cpu_quota_us", "cpu_period_us"} if "cpus" in touched else set()
    for name in set(Limits.__slots__) - touched.keys() - derived:
        assert getattr(after, name) == getattr(before, name), name
    assert container.info().limits == after


@pytest.mark.requires("cgroup1")
def test_the_weight_for_block_input_and_output_is_set_or_refused_with_the_reason(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime)
    directory = Path("/sys/fs/cgroup/blkio", container.info().cgroup.strip("/"))
    files = [directory / name for name in ("blkio.bfq.weight", "blkio.weight") if (directory / name).exists()]
    if files:
        assert container.update(Limits(blkio_weight=77)).limits.blkio_weight == 77
        assert files[0].read_text().strip() == "77"
        made = box.run("sleep", "60", runtime=runtime, limits=Limits(blkio_weight=88))
        assert made.info().limits.blkio_weight == 88
        made.stop(0)
        made.start()
        assert made.info().limits.blkio_weight == 88
    else:
        with pytest.raises(errors.FailedPrecondition, match=r"this kernel has no .*blkio\.weight"):
            container.update(Limits(blkio_weight=77))
        with pytest.raises(errors.FailedPrecondition, match=r"this kernel has no .*blkio\.weight"):
            box.run("sleep", "60", runtime=runtime, limits=Limits(blkio_weight=77))


@pytest.mark.requires("cgroup1")
def test_what_was_lifted_does_not_come_back_with_a_later_change(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime, limits=FULL)
    container.update(Limits(cpus=-1, pids=-1, memory_swap_bytes=-1))
    container.update(Limits(cpu_period_us=50_000))
    container.update(Limits(memory_bytes=128 * MIB))
    found = container.update(Limits(cpu_shares=99)).limits
    assert (found.cpus, found.cpu_quota_us, found.pids, found.memory_swap_bytes) == (None, None, None, None)
    assert (found.cpu_period_us, found.memory_bytes, found.cpu_shares) == (50_000, 128 * MIB, 99)


def test_created_and_paused_containers_are_updated_and_stay_so(box: Box, runtime: str) -> None:
    container = box.create("sleep", "60", runtime=runtime, limits=FULL)
    assert container.update(Limits(pids=20)).state == "created"
    container.start()
    assert container.info().limits.pids == 20
    container.pause()
    info = container.update(Limits(pids=30, memory_bytes=32 * MIB))
    assert (info.state, info.limits.pids, info.limits.memory_bytes) == ("paused", 30, 32 * MIB)
    assert container.resume().state == "running"
    assert container.exec("true").wait(10).status == 0


def test_what_is_not_alive_is_not_updated(box: Box) -> None:
    container = box.run("true", limits=FULL)
    container.wait(10)
    eventually(lambda: container.info().state == "stopped")
    with pytest.raises(errors.FailedPrecondition, match="cannot update container .*: it is stopped"):
        container.update(Limits(pids=5))
    assert box.read_events(container, "update") == []
    with pytest.raises(errors.NotFound):
        box.client.container("none").update(Limits(pids=5))


@pytest.mark.requires("cgroup1")
def test_a_limit_below_what_is_in_use_is_refused_and_nothing_of_the_update_stays(box: Box, runtime: str) -> None:
    container = box.run(*HOLDS_MEMORY, runtime=runtime, limits=FULL, mounts=HELD)
    eventually(lambda: b"holds" in container.output())
    before = container.info().limits
    both = Limits(memory_bytes=16 * MIB, memory_swap_bytes=16 * MIB, pids=5, cpu_shares=99, cpus=-1)
    for change in (Limits(memory_bytes=16 * MIB, memory_swap_bytes=20 * MIB), both):
        with pytest.raises(errors.FailedPrecondition, match="below what is in use") as raised:
            container.update(change)
        assert "taken back" not in raised.value.message
        assert container.info().limits == before
    assert box.read_events(container, "update") == []
    assert container.info().state == "running"


def test_fewer_processes_than_there_are_end_none_and_let_none_begin(box: Box, runtime: str) -> None:
    container = box.run("sh", "-c", "sleep 60 & sleep 60 & sleep 60 & wait", runtime=runtime)
    eventually(lambda: container.stats().pids.current == 4)
    container.update(Limits(pids=2))
    assert container.stats().pids.current == 4
    assert container.info().state == "running"


@pytest.mark.requires("cgroup1")
def test_a_processor_that_is_not_there_is_refused_and_nothing_of_the_update_stays(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime, limits=FULL)
    before = container.info().limits
    for change in (Limits(cpuset_cpus="8000"), Limits(cpuset_mems="1000", cpus=-1, pids=-1, memory_bytes=20 * MIB)):
        with pytest.raises(errors.FailedPrecondition, match="cannot update container .*cpuset"):
            container.update(change)
        assert container.info().limits == before


@pytest.mark.parametrize(
    "change",
    [
        Limits(),
        Limits(memory_bytes=1),
        Limits(memory_bytes=-2),
        Limits(memory_bytes=64 * MIB, memory_swap_bytes=32 * MIB),
        Limits(memory_bytes=16 * MIB, memory_reservation_bytes=32 * MIB),
        Limits(cpus=1, cpu_quota_us=1000),
        Limits(cpus=float("nan")),
        Limits(cpus=0),
        Limits(pids=0),
        Limits(cpu_shares=1),
        Limits(cpu_period_us=-1),
        Limits(cpuset_cpus="a-b"),
        Limits(cpuset_cpus="3-1"),
        Limits(blkio_weight=5),
    ],
)
def test_a_change_that_is_nonsense_is_refused(box: Box, change: Limits) -> None:
    container = box.run("sleep", "60", limits=FULL)
    before = container.info().limits
    with pytest.raises(errors.InvalidArgument):
        container.update(change)
    assert container.info().limits == before


def test_a_change_at_odds_with_a_limit_in_force_says_which(box: Box) -> None:
    container = box.run("sleep", "60", limits=FULL)
    before = container.info().limits
    with pytest.raises(errors.FailedPrecondition, match=f"{96 * MIB}.*the memory limit is {128 * MIB}.*together"):
        container.update(Limits(memory_bytes=128 * MIB))
    with pytest.raises(errors.FailedPrecondition, match="without a memory limit"):
        container.update(Limits(memory_bytes=-1))
    with pytest.raises(errors.FailedPrecondition, match="reservation"):
        container.update(Limits(memory_reservation_bytes=65 * MIB))
    assert container.info().limits == before


def test_an_update_is_told_once(box: Box) -> None:
    container = box.run("sleep", "60")
    container.update(Limits(pids=9, cpus=1))
    events = box.read_events(container)
    assert [(event.type, event.process) for event in events] == [("create", ""), ("start", "init"), ("update", "")]


def test_updates_at_once_are_serial_and_none_is_lost(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime, limits=FULL)

    def change(number: int) -> ContainerInfo:
        if number % 2:
            return container.update(Limits(pids=100 + number))
        size = (20 + number) * MIB
        return container.update(Limits(memory_bytes=size, memory_swap_bytes=size))

    answers = at_once(8, change)
    assert [answer for answer in answers if isinstance(answer, BaseException)] == []
    found = container.info().limits
    assert found.memory_bytes == found.memory_swap_bytes
    assert found.memory_bytes in [(20 + number) * MIB for number in range(0, 8, 2)]
    assert found.pids in [100 + number for number in range(1, 8, 2)]
    assert len(box.read_events(container, "update")) == 8


def test_a_runtime_that_only_says_it_has_done_it_is_found_out(box: Box, fake_runtime: FakeRuntime) -> None:
    container = box.run("sleep", "60", runtime=str(fake_runtime), limits=FULL)
    before = container.info().limits
    fake_runtime.set("update", "no-pid")
    with pytest.raises(errors.RuntimeFailed, match="cpu_shares of 300 has not taken effect, 1024 is in force"):
        container.update(Limits(cpu_shares=300))
    fake_runtime.set("update", "silent")
    with pytest.raises(errors.RuntimeFailed, match="it gave no reason; .*now in force: cpu_quota_us -1"):
        container.update(Limits(cpus=-1, cpu_shares=300))
    fake_runtime.reset()
    restored = container.update(Limits(cpus=0.5)).limits
    assert restored == before
    assert len(box.read_events(container, "update")) == 1


def test_a_container_that_is_started_once_more_has_what_was_changed(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime, limits=FULL)
    container.update(Limits(memory_bytes=128 * MIB, memory_swap_bytes=128 * MIB, cpus=-1))
    changed = container.update(Limits(pids=-1, cpu_shares=300)).limits
    container.kill("KILL")
    container.wait(10)
    ended = container.info().limits
    assert ended == Limits(memory_bytes=128 * MIB, memory_swap_bytes=128 * MIB, cpu_shares=300, cpu_period_us=100_000)
    container.start()
    assert container.info().limits == changed
    assert container.info().request.limits == FULL


def test_limits_of_the_creation_are_shown_as_the_kernel_has_them(box: Box, runtime: str) -> None:
    asked = Limits(
        memory_bytes=64 * MIB,
        memory_swap_bytes=-1,
        memory_reservation_bytes=32 * MIB,
        cpu_shares=512,
        cpu_quota_us=20_000,
        cpu_period_us=40_000,
        cpuset_cpus="0",
        cpuset_mems="0",
        pids=-1,
    )
    container = box.run("sleep", "60", runtime=runtime, limits=asked)
    found = container.info().limits
    expected = replace(asked, memory_swap_bytes=None, pids=None, cpus=0.5)
    assert replace(found, blkio_weight=None) == expected
    container.kill("KILL")
    container.wait(10)
    eventually(lambda: container.info().state == "stopped")
    assert container.info().limits == expected
