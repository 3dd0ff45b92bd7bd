"""The processes of a container, as its cgroup lists them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from wherry import errors
from wherry.linux import cgroup, proc
from wherry.model import status as st
from wherry.model.lifecycle import ALIVE
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer

#: Bytes of the arguments of one process, and of all together: the answer is one message.
_MAX_COMMAND, _MAX_COMMANDS = 4096, 1 << 20
#: Of a container with very many processes, each has at least so many.
_MIN_COMMAND = 32
#: Of version 1, the hierarchies that the runtimes always make, in order of preference.
_HIERARCHIES = ("pids", "memory", "freezer")


async def list_processes(core: Core, live: LiveContainer) -> st.HostProcessList:
    """Return every process in a container's cgroup and below it. Raises FailedPrecondition when it has none."""
    if live.state not in ALIVE:
        raise errors.FailedPrecondition(f"cannot list processes of container {live.id}: it is {live.state.value}")
    if not live.saved.cgroup:
        raise errors.FailedPrecondition(f"cannot list processes of container {live.id}: it has no cgroup of its own")
    known = {
        process.pid: process.id for process in live.processes.values() if process.pid and not process.settled.is_set()
    }
    return await core.read(_read, live.saved.cgroup, known)


def _read(path: str, known: Mapping[int, str]) -> st.HostProcessList:
    pids = _read_pids(path)
    limit = max(_MIN_COMMAND, min(_MAX_COMMAND, _MAX_COMMANDS // max(1, len(pids))))
    found = {pid: process for pid in pids if (process := proc.read_process(pid, path, limit))}
    parents = {pid: process.parent for pid, process in found.items()}
    return st.HostProcessList(
        processes=tuple(
            dataclasses.replace(process, process=find_owner(pid, parents, known)) for pid, process in found.items()
        )
    )


def _read_pids(path: str) -> list[int]:
    relative = path.strip("/")
    tops = [cgroup.ROOT] if cgroup.read_mode() == "v2" else [cgroup.ROOT / name for name in _HIERARCHIES]
    top = next((top / relative for top in tops if (top / relative).is_dir()), None)
    found: set[int] = set()
    for parent, _, _ in os.walk(top) if top is not None else ():
        try:
            found.update(map(int, Path(parent, "cgroup.procs").read_text().split()))
        except OSError:
            continue  # removed meanwhile
    return sorted(found)


def find_owner(pid: int, parents: Mapping[int, int], known: Mapping[int, str]) -> str:
    """Return the id of the `known` process that `pid` is or descends from, "" when there is none among `parents`."""
    seen: set[int] = set()
    while pid in parents and pid not in seen:
        if pid in known:
            return known[pid]
        seen.add(pid)  # read one after another, the parents may even form a ring
        pid = parents[pid]
    return ""
