"""What a cgroup has used, from its files: version 1 (Documentation/admin-guide/cgroup-v1) or 2 (cgroup-v2.rst)."""

from __future__ import annotations

import os
from pathlib import Path

from wherry.linux import cgroup
from wherry.model import stats as st

#: From here on a limit is none: version 1 shows the largest multiple of a page.
_NO_LIMIT = 2**62
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def read(
    path: str,
) -> tuple[st.CpuStats, st.MemoryStats, st.PidsStats, tuple[st.BlockStats, ...], tuple[st.HugetlbStats, ...]]:
    """Return what the cgroup `path` has used. Raises FileNotFoundError when it is gone."""
    relative = path.strip("/")
    if cgroup.read_mode() == "v2":
        top = cgroup.ROOT / relative
        top.stat()
        return _cpu_v2(top), _memory_v2(top), _pids(top), _block_v2(top), _hugetlb(top, "current", "max")
    groups = {name: cgroup.ROOT / name / relative for name in ("cpu", "cpuacct", "memory", "pids", "blkio", "hugetlb")}
    groups["memory"].stat()
    return (
        _cpu_v1(groups["cpuacct"], groups["cpu"]),
        _memory_v1(groups["memory"]),
        _pids(groups["pids"]),
        _block_v1(groups["blkio"]),
        _hugetlb(groups["hugetlb"], "usage_in_bytes", "limit_in_bytes"),
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")  # of names in it anybody may be the author
    except OSError:  # this kernel, or this controller, does not have it
        return ""


def _number(file: Path) -> int:
    text = _text(file).strip()
    number = int(text) if text.isdigit() else 0  # "max" is no limit
    return number if number < _NO_LIMIT else 0


def _pairs(file: Path) -> dict[str, int]:
    """Return the lines `name number` of a file."""
    split = (line.split() for line in _text(file).splitlines())
    return {words[0]: int(words[1]) for words in split if len(words) == 2 and words[1].isdigit()}


def _cpu_v1(cpuacct: Path, cpu: Path) -> st.CpuStats:
    ticks = _pairs(cpuacct / "cpuacct.stat")
    quota = _pairs(cpu / "cpu.stat")
    return st.CpuStats(
        total_ns=_number(cpuacct / "cpuacct.usage"),
        user_ns=ticks.get("user", 0) * _TICK_NS,
        system_ns=ticks.get("system", 0) * _TICK_NS,
        percpu_ns=tuple(map(int, _text(cpuacct / "cpuacct.usage_percpu").split())),
        periods=quota.get("nr_periods", 0),
        throttled_periods=quota.get("nr_throttled", 0),
        throttled_ns=quota.get("throttled_time", 0),
    )


def _cpu_v2(top: Path) -> st.CpuStats:
    found = _pairs(top / "cpu.stat")
    return st.CpuStats(
        total_ns=found.get("usage_usec", 0) * 1000,
        user_ns=found.get("user_usec", 0) * 1000,
        system_ns=found.get("system_usec", 0) * 1000,
        periods=found.get("nr_periods", 0),
        throttled_periods=found.get("nr_throttled", 0),
        throttled_ns=found.get("throttled_usec", 0) * 1000,
    )


def _memory_v1(top: Path) -> st.MemoryStats:
    raw = _pairs(top / "memory.stat")
    both = _number(top / "memory.memsw.usage_in_bytes")
    usage = _number(top / "memory.usage_in_bytes")
    return st.MemoryStats(
        usage_bytes=usage,
        max_usage_bytes=_number(top / "memory.max_usage_in_bytes"),
        limit_bytes=_number(top / "memory.limit_in_bytes"),
        failcnt=_number(top / "memory.failcnt"),
        cache_bytes=raw.get("total_cache", raw.get("cache", 0)),
        rss_bytes=raw.get("total_rss", raw.get("rss", 0)),
        swap_bytes=raw.get("total_swap", max(0, both - usage)),
        kernel_bytes=_number(top / "memory.kmem.usage_in_bytes"),
        raw=raw,
    )


def _memory_v2(top: Path) -> st.MemoryStats:
    raw = _pairs(top / "memory.stat")
    return st.MemoryStats(
        usage_bytes=_number(top / "memory.current"),
        max_usage_bytes=_number(top / "memory.peak"),
        limit_bytes=_number(top / "memory.max"),
        failcnt=_pairs(top / "memory.events").get("max", 0),
        cache_bytes=raw.get("file", 0),
        rss_bytes=raw.get("anon", 0),
        swap_bytes=_number(top / "memory.swap.current"),
        kernel_bytes=raw.get("kernel", 0),
        raw=raw,
    )


def _pids(top: Path) -> st.PidsStats:
    return st.PidsStats(current=_number(top / "pids.current"), limit=_number(top / "pids.max"))


def _block_v1(top: Path) -> tuple[st.BlockStats, ...]:
    """Read the lines `MAJOR:MINOR Read|Write|... N` of the throttling counters, which every kernel has."""
    found: dict[tuple[int, int], dict[str, int]] = {}
    names = {"Read": ("read_bytes", "reads"), "Write": ("write_bytes", "writes")}
    for index, file in enumerate(("io_service_bytes_recursive", "io_serviced_recursive")):
        for line in _text(top / f"blkio.throttle.{file}").splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in names:
                found.setdefault(_device(words[0]), {})[names[words[1]][index]] = int(words[2])
    return tuple(st.BlockStats(major=device[0], minor=device[1], **counts) for device, counts in sorted(found.items()))


def _block_v2(top: Path) -> tuple[st.BlockStats, ...]:
    """Read the lines `MAJOR:MINOR rbytes=N wbytes=N rios=N wios=N ...`."""
    found = []
    for line in _text(top / "io.stat").splitlines():
        device, *words = line.split()
        counts = dict(word.split("=", 1) for word in words if "=" in word)
        major, minor = _device(device)
        found.append(
            st.BlockStats(
                major=major,
                minor=minor,
                read_bytes=int(counts.get("rbytes", 0)),
                write_bytes=int(counts.get("wbytes", 0)),
                reads=int(counts.get("rios", 0)),
                writes=int(counts.get("wios", 0)),
            )
        )
    return tuple(found)


def _device(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(":")
    return int(major), int(minor)


def _hugetlb(top: Path, usage: str, limit: str) -> tuple[st.HugetlbStats, ...]:
    sizes = sorted(file.name.split(".")[1] for file in top.glob(f"hugetlb.*.{usage}") if ".rsvd." not in file.name)
    return tuple(
        st.HugetlbStats(
            size=size,
            usage_bytes=_number(top / f"hugetlb.{size}.{usage}"),
            max_usage_bytes=_number(top / f"hugetlb.{size}.max_usage_in_bytes"),
            limit_bytes=_number(top / f"hugetlb.{size}.{limit}"),
            failcnt=_number(top / f"hugetlb.{size}.failcnt") or _pairs(top / f"hugetlb.{size}.events").get("max", 0),
        )
        for size in sizes
    )


def read_networks(pid: int) -> tuple[st.NetworkStats, ...]:
    """Return the interfaces that `pid` sees, with their counters; none when it has ended."""
    found = []
    for line in _text(Path(f"/proc/{pid}/net/dev")).split("\n")[2:]:
        name, _, rest = line.partition(":")
        numbers = [int(word) for word in rest.split()]
        if len(numbers) < 12:
            continue
        rx, tx = numbers[:4], numbers[8:12]
        keys = ("bytes", "packets", "errors", "dropped")
        counts = {f"rx_{key}": value for key, value in zip(keys, rx, strict=True)}
        counts |= {f"tx_{key}": value for key, value in zip(keys, tx, strict=True)}
        found.append(st.NetworkStats(name=name.lstrip(" "), **counts))
    return tuple(found)
