"""From an exit to the line that `ctr events` prints: the peer's way to hear of it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time

from bench.stage import UnusableError
from bench.subjects.containerd import Containerd
from bench.subjects.world import World

_TIMEOUT = 20.0


def measure_ctr(world: World, ctr: Containerd) -> list[float]:
    """Return the milliseconds from the death of each of some containers to its line."""
    found = []
    with subprocess.Popen(ctr.call_argv("events"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as events:
        try:
            assert events.stdout is not None
            os.set_blocking(events.stdout.fileno(), False)
            for _ in range(max(3, world.level.exits // 5)):
                id = ctr.start(world.runtime, world.bundles.get("sleep", "100000"))
                found.append(1000 * _measure_one(ctr.find_pid(id), id, events.stdout.fileno()))
                ctr.delete_all()
        finally:
            events.kill()
    return found


def _measure_one(pid: int, id: str, stream: int) -> float:
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [], _TIMEOUT)
        dead = time.perf_counter()
    finally:
        os.close(handle)
    text = b""
    while not any(b"/tasks/exit " in line and id.encode() in line for line in text.split(b"\n")):
        if not select.select([stream], [], [], _TIMEOUT)[0]:
            raise UnusableError("ctr events told no exit")
        text += os.read(stream, 65536)
    return time.perf_counter() - dead
