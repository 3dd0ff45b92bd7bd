"""Containers, processes, the machine and what is used of it, as messages of `types.API`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from wherry.api import v0_requests
from wherry.model import ids
from wherry.model import stats as st
from wherry.model.lifecycle import ALIVE, State
from wherry.model.status import ContainerInfo
from wherry.supervisor.live import LiveContainer
from wherry.wire import v0_pb2 as pb

#: How the states of ours are called; in the others a container has a running process.
_STATUS = {
    State.CREATED: "created",
    State.PAUSED: "paused",
    State.RESTARTING: "stopped",
    State.STOPPED: "stopped",
    State.DELETING: "stopped",
    State.UNKNOWN: "unknown",
}
#: What version 1 of cgroups shows where there is no limit: all of 64 bits, in pages.
_NO_LIMIT = 2**63 - 4096


def is_forgotten(live: LiveContainer) -> bool:
    """Tell whether a container is one that the original has forgotten: its exit was told, and it is about to go."""
    if not live.saved.request.auto_remove:
        return False
    if live.state is State.STOPPING:
        # The exit is told in this state. One that only is to stop has no exitStatus yet.
        init = live.init
        return init is not None and init.disk is not None and init.disk.exit_status() is not None
    return live.state in (State.STOPPED, State.DELETING)


def container(live: LiveContainer, pids: Iterable[int]) -> pb.Container:
    """Return a container with its living processes, and the numbers of all in its cgroup, `pids`."""
    shown = [item for item in live.processes.values() if item.pid and not item.is_check]
    processes = [item for item in shown if item.state in ALIVE and live.state in ALIVE]
    # In the order of their creation, also when they were found in a directory after a restart.
    processes.sort(key=lambda item: (item.id != ids.INIT, item.created_at_ns))
    found = _container(live.info(), _STATUS.get(live.state, "running"))
    found.processes.extend(process(item.id, item.spec, item.pid) for item in processes)
    found.pids.extend(pids)
    return found


def started(info: ContainerInfo, spec: Mapping[str, Any], pid: int) -> pb.Container:
    """Return a container that has just been started, and may have ended since."""
    found = _container(info, "running")
    found.processes.append(process(ids.INIT, spec, pid))
    return found


def _container(info: ContainerInfo, status: str) -> pb.Container:
    return pb.Container(
        id=info.id,
        bundlePath=info.bundle,
        status=status,
        labels=v0_requests.from_labels(info.request.labels),
        runtime=info.request.runtime or Path(info.runtime).name,
    )


def process(process_id: str, spec: Mapping[str, Any], pid: int) -> pb.Process:
    """Return a process; of one whose specification makes no sense only who it is: State must not fail for it."""
    try:
        return _process(process_id, spec, pid)
    except (AttributeError, KeyError, TypeError, ValueError):
        return pb.Process(pid=process_id, systemPid=pid)


def _process(process_id: str, spec: Mapping[str, Any], pid: int) -> pb.Process:
    user = spec.get("user") or {}
    capabilities = spec.get("capabilities") or {}
    limits = spec.get("rlimits") or ()
    return pb.Process(
        pid=process_id,
        systemPid=pid,
        terminal=bool(spec.get("terminal")),
        user=pb.User(uid=user.get("uid", 0), gid=user.get("gid", 0), additionalGids=user.get("additionalGids") or ()),
        args=spec.get("args") or (),
        env=spec.get("env") or (),
        cwd=spec.get("cwd", ""),
        stdin=spec.get("containerdStdin", ""),
        stdout=spec.get("containerdStdout", ""),
        stderr=spec.get("containerdStderr", ""),
        capabilities=capabilities.get("effective") or (),
        apparmorProfile=spec.get("apparmorProfile") or "",
        selinuxLabel=spec.get("selinuxLabel") or "",
        noNewPrivileges=bool(spec.get("noNewPrivileges")),
        rlimits=[pb.Rlimit(type=item["type"], soft=item["soft"], hard=item["hard"]) for item in limits],
    )


def machine() -> pb.Machine:
    """Return the processors of this machine, and its memory in MiB."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return pb.Machine(cpus=os.cpu_count() or 1, memory=pages * size // 1024**2)


def timestamp(time_ns: int) -> Timestamp:
    """Return a Unix time in nanoseconds."""
    return Timestamp(seconds=time_ns // 1_000_000_000, nanos=time_ns % 1_000_000_000)


def stats(found: st.Stats) -> pb.StatsResponse:
    """Return what a container uses."""
    answer = pb.StatsResponse(timestamp=timestamp(found.time_ns))
    group = answer.cgroup_stats
    group.cpu_stats.CopyFrom(_cpu(found.cpu))
    group.memory_stats.CopyFrom(_memory(found.memory))
    group.pids_stats.current = found.pids.current
    group.pids_stats.limit = found.pids.limit
    for device in found.block:
        for entries, read, write in (
            (group.blkio_stats.io_service_bytes_recursive, device.read_bytes, device.write_bytes),
            (group.blkio_stats.io_serviced_recursive, device.reads, device.writes),
        ):
            for op, value in (("Read", read), ("Write", write), ("Total", read + write)):
                entries.add(major=device.major, minor=device.minor, op=op, value=value)
    for page in found.hugetlb:
        huge = group.hugetlb_stats[page.size]
        huge.usage, huge.max_usage = page.usage_bytes, page.max_usage_bytes
        huge.failcnt, huge.limit = page.failcnt, page.limit_bytes
    answer.network_stats.extend(map(_network, found.networks))
    return answer


def _cpu(cpu: st.CpuStats) -> pb.CpuStats:
    return pb.CpuStats(
        cpu_usage=pb.CpuUsage(
            total_usage=cpu.total_ns,
            percpu_usage=cpu.percpu_ns,
            usage_in_kernelmode=cpu.system_ns,
            usage_in_usermode=cpu.user_ns,
        ),
        throttling_data=pb.ThrottlingData(
            periods=cpu.periods, throttled_periods=cpu.throttled_periods, throttled_time=cpu.throttled_ns
        ),
        system_usage=_system_usage(),
    )


def _system_usage() -> int:
    """Return the time of all processors so far, nanoseconds: user to softirq of proc(5), without steal and guests."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = file.readline().split()[1:8]
    return sum(map(int, ticks)) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _memory(memory: st.MemoryStats) -> pb.MemoryStats:
    return pb.MemoryStats(
        cache=memory.cache_bytes,
        usage=pb.MemoryData(
            usage=memory.usage_bytes,
            max_usage=memory.max_usage_bytes,
            failcnt=memory.failcnt,
            limit=memory.limit_bytes or _NO_LIMIT,
        ),
        # As the kernel's memsw: memory and swap together.
        swap_usage=pb.MemoryData(usage=memory.usage_bytes + memory.swap_bytes),
        kernel_usage=pb.MemoryData(usage=memory.kernel_bytes),
        stats=memory.raw,
    )


def _network(item: st.NetworkStats) -> pb.NetworkStats:
    return pb.NetworkStats(
        name=item.name,
        rx_bytes=item.rx_bytes,
        rx_Packets=item.rx_packets,
        Rx_errors=item.rx_errors,
        Rx_dropped=item.rx_dropped,
        Tx_bytes=item.tx_bytes,
        Tx_packets=item.tx_packets,
        Tx_errors=item.tx_errors,
        Tx_dropped=item.tx_dropped,
    )
