"""Random operations by several clients with random kills, and a model that knows what must be true: `make soak`.

Time passes in rounds. In each, clients work while things are killed; then all hold still, the invariants of the fault
tests are checked against what the clients know, everything is deleted, and nothing may be left. In the first half of
the time the daemon itself is killed, too; in the second it is not, and must not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults import invariants
from tests.faults.world import World
from tests.soak import plot
from tests.soak.chaos import Chaos
from tests.soak.worker import Worker
from wherry.client.client import Client

WORKERS = 4
ROUND = 12.0
#: How much larger the daemon may be at the end than after the first third of its life; it may not have more else.
GROWTH = 1.15


@dataclass(frozen=True)
class Sample:
    """The daemon when nothing is there: seconds since the beginning, its pid, KiB resident, descriptors, threads."""

    seconds: float
    pid: int
    rss_kib: int
    fds: int
    threads: int


def _sample(begin: float, pid: int) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    fds = len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(time.monotonic() - begin, pid, int(status["VmRSS"].split()[0]), fds, int(status["Threads"]))


class Soak:
    """Rounds of work on one state directory."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.world = World()
        self.samples: list[Sample] = []
        self.done = 0
        self.rounds = 0
        self.killed: dict[str, int] = {}
        self._last_seq = 0

    async def run(self, seconds: float) -> None:
        """Go on for so long; raises AssertionError for what must not be."""
        begin = time.monotonic()
        self.world.start()
        while (passed := time.monotonic() - begin) < seconds:
            await self._round(spares_daemon=passed > seconds / 2)
            self.samples.append(_sample(begin, self.world.pid))
            print(f"{passed:6.0f} s  {self.done} operations, killed {self.killed}, {self.samples[-1]}", flush=True)
        check_flat(self.samples)

    async def _round(self, *, spares_daemon: bool) -> None:
        self.rounds += 1
        seed = f"{self.seed}/{self.rounds}"
        workers = [Worker(self.world, number, seed) for number in range(WORKERS)]
        chaos = Chaos(self.world, workers, seed)
        chaos.spares_daemon = spares_daemon
        end = time.monotonic() + ROUND
        async with asyncio.TaskGroup() as group:
            for work in (*(worker.work for worker in workers), chaos.rage):
                group.create_task(work(lambda: time.monotonic() > end))
        self.done += sum(worker.done for worker in workers)
        for what, count in chaos.killed.items():
            self.killed[what] = self.killed.get(what, 0) + count
        async with self.world.client() as client:
            await self._check(client, workers)

    async def _check(self, client: Client, workers: list[Worker]) -> None:
        known = {name: each for worker in workers for name, each in worker.known.items()}

        def allowed(name: str, process: str) -> set[int]:
            # A command that was killed leaves one whose name nobody knows: it runs `true`.
            return known[name].statuses[process] if name in known else {0, 137}

        infos, _ = await invariants.check(self.world, client, allowed)
        ids = {self.world.id(name) for name in known}
        assert all(info.id in ids or info.request.auto_remove for info in infos), infos
        await self.world.remove_all()
        await invariants.check(self.world, client, allowed)
        assert self.world.leftovers() == []


def check_flat(samples: list[Sample]) -> None:
    """Fail if the daemon that lived longest grew after the first third of its life."""
    last = [sample for sample in samples if sample.pid == samples[-1].pid]
    if len(last) < 6:
        print("too short to say whether the daemon grows", flush=True)
        return
    early = last[len(last) // 3]
    assert last[-1].fds <= early.fds + 2, (early, last[-1])
    assert last[-1].threads <= early.threads + 2, (early, last[-1])
    assert last[-1].rss_kib <= early.rss_kib * GROWTH, (early, last[-1])


def main() -> int:
    """Soak for as long as asked; the seed makes the same decisions again."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", default=str(random.randrange(10**9)))
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="write soak.json and soak.svg there")
    options = parser.parse_args()
    soak = Soak(options.seed)
    print(f"seed {soak.seed}", flush=True)
    try:
        asyncio.run(soak.run(options.minutes * 60))
        soak.world.check_clean()
    except BaseException:
        print(f"{soak.world.log()[-8000:]}\nonce more: python -m tests.soak --seed {soak.seed}", file=sys.stderr)
        raise
    finally:
        soak.world.destroy()
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        rows = {"seed": soak.seed, "operations": soak.done, "killed": soak.killed}
        text = json.dumps(rows | {"samples": [asdict(sample) for sample in soak.samples]}, indent=1)
        (options.write / "soak.json").write_text(text + "\n")
        (options.write / "soak.svg").write_text(plot.draw(soak.samples))
    print(f"{soak.rounds} rounds, {soak.done} operations, killed {soak.killed}: nothing lost, nothing left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
