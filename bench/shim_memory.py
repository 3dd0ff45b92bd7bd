"""Memory of idle shims: PSS and private pages per shim with N containers that sleep (proc(5), smaps_rollup)."""

from __future__ import annotations

import asyncio
import re
import statistics
import tempfile
from pathlib import Path

import wherry


def read_kb(pid: int) -> tuple[int, int]:
    """Return PSS and private memory of a process, kB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    values = {name: int(kb) for name, kb in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    return values["Pss"], values["Private_Clean"] + values["Private_Dirty"]


async def measure(count: int) -> tuple[float, float]:
    """Return the median PSS and private kB of `count` shims whose containers sleep."""
    with tempfile.TemporaryDirectory(prefix="wherry-bench-") as base:
        async with wherry.supervise(state_dir=f"{base}/state", root_dir=f"{base}/root") as client:
            containers = await asyncio.gather(*(client.run("host", "sleep", "1000") for _ in range(count)))
            shims = [int(path.read_text()) for path in Path(base, "state", "default").glob("*/init/shim.pid")]
            found = [read_kb(pid) for pid in shims]
            await asyncio.gather(*(container.delete(force=True) for container in containers))
    return statistics.median(pss for pss, _ in found), statistics.median(private for _, private in found)
