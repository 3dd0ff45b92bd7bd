"""Kills what may be killed: the daemon, its zygote, shims, and clients of the command line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults.world import World, children, name_of
from tests.soak.worker import Worker
from wherry.linux import proc

#: What the command line of a zygote's rehearsal contains.
_REHEARSAL = ("rehearsal", "shim/__main__")


class Chaos:
    """Does something bad from time to time; `killed` counts it."""

    def __init__(self, world: World, workers: list[Worker], seed: str) -> None:
        self._world = world
        self._workers = workers
        self._random = random.Random(f"{seed}/chaos")
        self.killed: Counter[str] = Counter()
        self.spares_daemon = False
        self._count = 0

    async def rage(self, is_over: Callable[[], bool]) -> None:
        """Go on until it is over; then the daemon runs."""
        while not is_over():
            await asyncio.sleep(self._random.uniform(0.1, 1.5))
            kind = self._random.choice(("daemon", "shim", "shim", "zygote", "client", "client"))
            if kind == "daemon" and self.spares_daemon:
                continue
            await getattr(self, f"_kill_{kind}")()

    async def _kill_daemon(self) -> None:
        self._world.kill()
        self.killed["daemon"] += 1
        await asyncio.sleep(self._random.choice((0.0, 0.0, 0.5, 2.0)))
        await asyncio.to_thread(self._world.start)

    async def _kill_zygote(self) -> None:
        for pid in children(self._world.pid):
            if name_of(pid).startswith("wherry-zygote"):
                self._kill(pid, "zygote")

    async def _kill_shim(self) -> None:
        """Kill any shim, or the child of one that makes a process or waits to be asked to, whatever it is doing."""
        shims = [pid for pid in self._world.descendants() if name_of(pid).startswith("wherry-shim")]
        makers = [pid for pid in shims if proc.read_parent(pid) in shims]
        if not shims:
            return
        pid = self._random.choice(makers if makers and self._random.random() < 0.5 else shims)
        with contextlib.suppress(OSError):
            held = os.pidfd_open(pid)
            try:
                self._end_shim(pid, held)
            finally:
                os.close(held)

    def _end_shim(self, pid: int, held: int) -> None:
        """Stop it first, so that what it says of itself is still true when it dies."""
        signal.pidfd_send_signal(held, signal.SIGSTOP)
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        # The number may have become another's before it was held; and a zygote waits 20 s for who rehearses.
        if not name_of(pid).startswith("wherry-shim") or any(sign in words for sign in _REHEARSAL):
            signal.pidfd_send_signal(held, signal.SIGCONT)
            return
        for worker in self._workers:
            for known in worker.known.values():
                known.is_harmed = known.is_harmed or f"/{self._world.id(known.name)}/" in words
        signal.pidfd_send_signal(held, signal.SIGKILL)
        self.killed["shim"] += 1

    async def _kill_client(self) -> None:
        """Kill a command in the middle of its work; what it had run goes on, or goes with it."""
        self._count += 1
        run = ("run", "--rm", "--name", self._world.id(f"cli{self._count}"), "host", "--", "true")
        words = self._random.choice((("events",), ("stats",), ("ps", "-a"), run))
        devnull = asyncio.subprocess.DEVNULL
        client = await asyncio.create_subprocess_exec(
            *self._world.cli_argv(*words), env=self._world.environment, stdin=devnull, stdout=devnull, stderr=devnull
        )
        await asyncio.sleep(self._random.uniform(0.0, 0.6))
        with contextlib.suppress(ProcessLookupError):
            client.kill()
            self.killed["client"] += 1
        await client.wait()

    def _kill(self, pid: int, what: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.killed[what] += 1
