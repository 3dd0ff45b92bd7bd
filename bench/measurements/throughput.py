"""Standard output: how fast a container can write, and what the supervisor spends on it.

The writer is the same everywhere: `dd` of a file of 100-byte lines, in writes of one block; the shell round it takes
the time. It waits at a FIFO in the root filesystem and tells its times at another one: nothing of its start counts.
Processor time is that of shim, daemon and client, as the kernel counted it; writer and reader are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench.measurements.flows import Flow, Yard
from bench.result import Row, make_rows
from bench.rounds import take_turns
from bench.subjects.world import World

NAME = "throughput"
BLOCKS = {100: "100 B", 4096: "4 KiB", 65536: "64 KiB", 1 << 20: "1 MiB"}


def measure(world: World) -> Iterator[Row]:
    """Yield bytes a second and processor seconds for each way and block size."""
    yard = Yard(world)
    world.stage.remark("throughput: without a reader FIFO stdio holds what a pipe does, 64 KiB, and the writer waits")
    for block, label in BLOCKS.items():
        flows: dict[str, list[Flow]] = {}
        ways = {name: partial(_flow, name, yard, block, flows) for name in yard.ways}
        found = take_turns(world.stage, ways, world.level.streams, warm=False)
        bases = {name: ["bare pipe"] for name in found if name != "bare pipe"}
        for name, compared in bases.items():
            if name.startswith("wherry"):
                compared.append("ctr run" if "FIFO" in name else "conmon, log")
        notes = {name: _describe_loss(flows[name]) for name in found}
        case = f"writes of {label}"
        yield from make_rows(NAME, case, "MB/s", found, bases, x=block, chart="rate", notes=notes)
        cpu = {name: [flow.cpu for flow in flows[name]] for name in found if name != "bare pipe"}
        yield from make_rows(NAME, case, "cpu s/GB", cpu, {}, x=block, chart="processor")


def _flow(name: str, yard: Yard, block: int, flows: dict[str, list[Flow]]) -> float:
    flow = yard.flow(name, block)
    flows.setdefault(name, []).append(flow)
    return flow.rate


def _describe_loss(flows: list[Flow]) -> str:
    lost = max(flow.lost for flow in flows)
    return f"a reader lost up to {100 * lost:.0f} %, and was told" if lost > 0 else ""
