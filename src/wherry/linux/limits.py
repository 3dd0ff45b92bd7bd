"""The limits of a cgroup, from its files: version 1 (Documentation/admin-guide/cgroup-v1) or 2 (cgroup-v2.rst)."""

from __future__ import annotations

from pathlib import Path

from wherry.linux import cgroup
from wherry.model.request import Limits

#: From here on a limit is none: version 1 shows the largest multiple of a page.
_NO_LIMIT = 2**62
#: Fields of Limits and the files that hold them, below the hierarchy; the first that is there counts.
_V1: dict[str, tuple[str, ...]] = {
    "memory_bytes": ("memory/memory.limit_in_bytes",),
    "memory_reservation_bytes": ("memory/memory.soft_limit_in_bytes",),
    "memory_swap_bytes": ("memory/memory.memsw.limit_in_bytes",),
    "cpu_shares": ("cpu/cpu.shares",),
    "cpu_quota_us": ("cpu/cpu.cfs_quota_us",),
    "cpu_period_us": ("cpu/cpu.cfs_period_us",),
    "cpuset_cpus": ("cpuset/cpuset.cpus",),
    "cpuset_mems": ("cpuset/cpuset.mems",),
    "pids": ("pids/pids.max",),
    "blkio_weight": ("blkio/blkio.bfq.weight", "blkio/blkio.weight"),
}
_V2: dict[str, tuple[str, ...]] = {
    "memory_bytes": ("memory.max",),
    "memory_reservation_bytes": ("memory.low",),
    "memory_swap_bytes": ("memory.swap.max",),
    "cpu_shares": ("cpu.weight",),
    "cpu_quota_us": ("cpu.max",),
    "cpu_period_us": ("cpu.max",),
    "cpuset_cpus": ("cpuset.cpus",),
    "cpuset_mems": ("cpuset.mems",),
    "pids": ("pids.max",),
    "blkio_weight": ("io.bfq.weight", "io.weight"),
}


def is_v2() -> bool:
    """Tell whether the controllers of this host are those of version 2."""
    return cgroup.read_mode() == "v2"


def find_file(path: str, name: str) -> Path | None:
    """Return the file that holds the limit `name` of the cgroup `path`, None when this kernel has none."""
    for place in candidates(name):
        controller, _, file = place.rpartition("/")
        found = cgroup.ROOT / controller / path.strip("/") / file
        if found.exists():
            return found
    return None


def candidates(name: str) -> tuple[str, ...]:
    """Return the names of the files that may hold the limit `name`."""
    return (_V2 if is_v2() else _V1)[name]


def read(path: str) -> Limits:
    """Return the limits of the cgroup `path`, None where there is none. Raises FileNotFoundError when it is gone.

    Version 2 has weights of its own (cpu.weight, io.weight), into which each version of each runtime converts those of
    version 1 in its own way: they are not converted back, and None.
    """
    controller = "" if is_v2() else "memory"
    (cgroup.ROOT / controller / path.strip("/")).stat()
    return _read_v2(path) if is_v2() else _read_v1(path)


def _read_v1(path: str) -> Limits:
    quota = _number(_text(path, "cpu_quota_us"))
    period = _number(_text(path, "cpu_period_us"))
    return Limits(
        memory_bytes=_number(_text(path, "memory_bytes")),
        memory_reservation_bytes=_number(_text(path, "memory_reservation_bytes")),
        memory_swap_bytes=_number(_text(path, "memory_swap_bytes")),
        cpus=quota / period if quota and period else None,
        cpu_shares=_number(_text(path, "cpu_shares")),
        cpu_quota_us=quota,
        cpu_period_us=period,
        cpuset_cpus=_text(path, "cpuset_cpus"),
        cpuset_mems=_text(path, "cpuset_mems"),
        pids=_number(_text(path, "pids")),
        blkio_weight=_number(_text(path, "blkio_weight")),
    )


def _read_v2(path: str) -> Limits:
    memory = _number(_text(path, "memory_bytes"))
    swap = _number(_text(path, "memory_swap_bytes"))
    quota, period = (_number(word) for word in [*_text(path, "cpu_quota_us").split(), "", ""][:2])
    return Limits(
        memory_bytes=memory,
        memory_reservation_bytes=_number(_text(path, "memory_reservation_bytes")) or None,
        # Version 2 limits swap alone, and 0 of it is a limit.
        memory_swap_bytes=memory + swap if memory is not None and swap is not None else None,
        cpus=quota / period if quota and period else None,
        cpu_quota_us=quota,
        cpu_period_us=period,
        cpuset_cpus=_text(path, "cpuset_cpus"),
        cpuset_mems=_text(path, "cpuset_mems"),
        pids=_number(_text(path, "pids")),
        blkio_weight=_read_io_weight(path),
    )


def _read_io_weight(path: str) -> int | None:
    file = find_file(path, "blkio_weight")
    if file is None or file.name != "io.bfq.weight":
        return None
    # `default 100`, then lines for single devices; older kernels write the number alone.
    words = _text(path, "blkio_weight").split()
    return _number((words[1:2] if words[:1] == ["default"] else words[:1] or [""])[0])


def _text(path: str, name: str) -> str:
    file = find_file(path, name)
    try:
        return file.read_text().strip() if file else ""
    except OSError:  # removed meanwhile, or the controller has gone
        return ""


def _number(text: str) -> int | None:
    number = int(text) if text.isdigit() else _NO_LIMIT  # "max" and -1 are no limit
    return number if number < _NO_LIMIT else None


def write(path: str, name: str, text: str) -> None:
    """Write the limit `name` of the cgroup `path`. Raises OSError: FileNotFoundError where this kernel has none."""
    file = find_file(path, name)
    if file is None:
        raise FileNotFoundError(2, "no such limit", candidates(name)[0])
    file.write_text(text)
