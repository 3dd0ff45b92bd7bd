"""What a process holds, for tests that say it must not grow."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.faults.world import World, count_fds


def read_rss(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None, pid
    return int(found[1]) * 1024


def count_threads(pid: int) -> int:
    """Return how many threads a process has."""
    return len(os.listdir(f"/proc/{pid}/task"))


def count_cgroups(world: World) -> int:
    """Return how many cgroups of this world's containers there are."""
    root = Path("/sys/fs/cgroup")
    return len([*root.glob(f"*/wherry~{world.token}*"), *root.glob(f"wherry~{world.token}*")])


def count_mounts(world: World) -> int:
    """Return how many mounts below this world's directories can be seen from here."""
    return sum(f"{world.base}/" in line for line in Path("/proc/self/mountinfo").read_text().splitlines())


def count_all(world: World) -> dict[str, int]:
    """Return what must be as before once all containers are gone."""
    return {
        "descriptors": count_fds(world.pid),
        "threads": count_threads(world.pid),
        "cgroups": count_cgroups(world),
        "mounts": count_mounts(world),
        "processes": len(list(world.descendants())),
    }
