"""What a container uses, as its cgroup tells it. Bytes, nanoseconds and counts; 0 is also "the host does not tell"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from wherry.model.value import dataclass


def _no_map() -> Mapping[str, int]:
    return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class CpuStats:
    """Processor time. `percpu_ns` only cgroup version 1 tells; the throttling counts are those of the CPU quota."""

    total_ns: int = 0
    user_ns: int = 0
    system_ns: int = 0
    percpu_ns: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryStats:
    """Memory; a limit of 0 is none. `failcnt` counts how often the limit was hit; `raw` is the whole memory.stat."""

    usage_bytes: int = 0
    max_usage_bytes: int = 0
    limit_bytes: int = 0
    failcnt: int = 0
    cache_bytes: int = 0
    rss_bytes: int = 0
    swap_bytes: int = 0
    kernel_bytes: int = 0
    raw: Mapping[str, int] = field(default_factory=_no_map)


@dataclass(frozen=True, kw_only=True, slots=True)
class PidsStats:
    """Processes and threads; a limit of 0 is none."""

    current: int = 0
    limit: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockStats:
    """What went to and came from one block device."""

    major: int
    minor: int
    read_bytes: int = 0
    write_bytes: int = 0
    reads: int = 0
    writes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class HugetlbStats:
    """Huge pages of one size (`2MB`)."""

    size: str
    usage_bytes: int = 0
    max_usage_bytes: int = 0
    limit_bytes: int = 0
    failcnt: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkStats:
    """One interface in the container's network namespace (proc(5), /proc/PID/net/dev)."""

    name: str
    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """What a container used up to `time_ns`."""

    id: str
    namespace: str
    time_ns: int
    cpu: CpuStats = CpuStats()
    memory: MemoryStats = MemoryStats()
    pids: PidsStats = PidsStats()
    block: tuple[BlockStats, ...] = ()
    hugetlb: tuple[HugetlbStats, ...] = ()
    networks: tuple[NetworkStats, ...] = ()
