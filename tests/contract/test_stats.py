"""What a container uses, from its cgroup."""

from __future__ import annotations

import itertools

import pytest

from tests.contract.conftest import Box, at_once
from tests.support.eventually import eventually
from wherry import errors
from wherry.model.request import Limits

LIMITS = Limits(memory_bytes=64 * 2**20, cpus=0.5, pids=50)


def test_stats_tell_what_a_container_uses(box: Box, runtime: str) -> None:
    container = box.run("sh", "-c", "sleep 60 & while :; do :; done", limits=LIMITS, runtime=runtime)
    eventually(lambda: container.stats().cpu.throttled_periods > 0)
    found = container.stats()
    assert found.cpu.total_ns > 0
    assert found.cpu.user_ns > 0
    assert 0 < found.memory.usage_bytes <= found.memory.max_usage_bytes <= found.memory.limit_bytes == 64 * 2**20
    assert found.memory.raw
    assert (found.pids.current, found.pids.limit) == (2, 50)
    assert [network.name for network in found.networks] == ["lo"]
    assert found.time_ns > 0


def test_a_stream_of_stats_ends_with_the_container(box: Box) -> None:
    container = box.run("sleep", "60")
    stream = container.watch_stats(0.05)
    first, second = itertools.islice(stream, 2)
    assert second.time_ns - first.time_ns >= 40_000_000
    container.kill("KILL")
    assert all(sample.id == container.container_id for sample in stream)


def test_however_many_watch_a_container_is_looked_at_twenty_times_a_second(box: Box) -> None:
    container = box.run("sleep", "60")

    def watch(_number: int) -> list[int]:
        return [sample.time_ns for sample in itertools.islice(container.watch_stats(0.05), 10)]

    seen = at_once(12, watch)
    times = sorted({time_ns for found in seen if not isinstance(found, BaseException) for time_ns in found})
    assert len(times) >= 10
    assert min(after - before for before, after in itertools.pairwise(times)) >= 40_000_000


def test_a_new_limit_is_in_the_stats_at_once(box: Box) -> None:
    container = box.run("sleep", "60", limits=LIMITS)
    for pids in range(51, 61):
        container.update(Limits(pids=pids))
        assert container.stats().pids.limit == pids


def test_stats_of_what_has_ended_are_refused(box: Box) -> None:
    container = box.run("true")
    container.wait(10)
    with pytest.raises(errors.FailedPrecondition, match="stopped"):
        container.stats()


@pytest.mark.parametrize("interval", [0.0, -1.0, 1e9, float("nan")])
def test_an_absurd_interval_is_refused(box: Box, interval: float) -> None:
    container = box.run("sleep", "60")
    with pytest.raises(errors.InvalidArgument, match="interval"):
        next(container.watch_stats(interval))
