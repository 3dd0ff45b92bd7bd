"""One client that does what comes to its mind, and knows what must be true of its containers afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.faults.world import World
from wherry import errors
from wherry.client.client import Client
from wherry.model import request as req

KILLED = 128 + signal.SIGKILL
#: Most containers that one worker has at a time.
MOST = 6
_LINES = 200


@dataclass
class Known:
    """What is known of a container: how its processes may end, and what it writes."""

    name: str
    #: By process; a status is known before anything can end with it.
    statuses: dict[str, set[int]] = field(default_factory=lambda: {"init": {KILLED}})
    lines: int = 0
    #: Somebody may have killed its shim, and with it the rest of its output.
    is_harmed: bool = False


class Worker:
    """Does one thing after the other to containers of its own; a daemon that is away is waited for."""

    def __init__(self, world: World, number: int, seed: str) -> None:
        self._world = world
        self._number = number
        self._random = random.Random(f"{seed}/{number}")
        self._count = 0
        self.known: dict[str, Known] = {}
        self.done = 0

    async def work(self, is_over: Callable[[], bool]) -> None:
        """Work until it is over."""
        while not is_over():
            try:
                async with self._world.client() as client:
                    while not is_over():
                        await self._step(client)
                        self.done += 1
            except errors.Unavailable:
                await asyncio.sleep(0.05)  # the daemon is away, or the zygote

    async def _step(self, client: Client) -> None:
        choose = self._random
        if len(self.known) < 2 or (len(self.known) < MOST and choose.random() < 0.4):
            kinds: list[Callable[[Client], Awaitable[object]]] = [self._run, self._run_sleeper, self._create]
            await self._try(choose.choice(kinds)(client))
            return
        known = self.known[choose.choice(sorted(self.known))]
        acts = [self._exec, self._exec, self._kill, self._pause, self._stop, self._restart, self._read, self._delete]
        await self._try(choose.choice(acts)(client, known))

    async def _try(self, work: Awaitable[object]) -> None:
        """Do it; states in which it cannot be done are as good as any. What must not be said is a failure."""
        # RuntimeFailed: of a container that has just ended, or whose maker was killed.
        refusals = (errors.FailedPrecondition, errors.NotFound, errors.AlreadyExists, errors.Aborted)
        with contextlib.suppress(*refusals, errors.RuntimeFailed):
            await work

    def _begin(self) -> Known:
        self._count += 1
        known = Known(f"w{self._number}-{self._count}")
        self.known[known.name] = known
        return known

    async def _run(self, client: Client) -> None:
        """Run something that writes and ends by itself."""
        known, status = self._begin(), self._random.randrange(100)
        known.statuses["init"].add(status)
        known.lines = _LINES
        script = f"i=0; while [ $i -lt {_LINES} ]; do echo line $i; i=$((i+1)); done; exit {status}"
        await client.service.run(self._world.request(known.name, "sh", "-c", script))

    async def _run_sleeper(self, client: Client) -> None:
        known = self._begin()
        policies = (req.RestartPolicy(), req.RestartPolicy(name="on-failure", max_retries=2, delay=0.05))
        policy = self._random.choice(policies)
        await client.service.run(self._world.request(known.name, "sleep", "300", restart=policy))

    async def _create(self, client: Client) -> None:
        known, status = self._begin(), self._random.randrange(100)
        known.statuses["init"].add(status)
        await client.service.create(self._world.request(known.name, "sh", "-c", f"exit {status}"))
        if self._random.random() < 0.8:
            await client.service.start(self._world.ref(known.name))

    async def _exec(self, client: Client, known: Known) -> None:
        self._count += 1
        process, status = f"e{self._count}", self._random.randrange(100)
        known.statuses[process] = {status, KILLED}
        args = ("sh", "-c", f"sleep 0.{self._random.randrange(10)}; exit {status}")
        request = req.ExecRequest(id=self._world.id(known.name), process=process, args=args)
        await client.service.exec(request)
        if self._random.random() < 0.5:
            record = await client.service.wait(self._world.process_ref(known.name, process))
            assert record.status in known.statuses[process], record

    async def _kill(self, client: Client, known: Known) -> None:
        number = self._random.choice((signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1))
        known.statuses["init"].add(128 + number)
        await client.service.kill(req.KillRequest(id=self._world.id(known.name), signal=number))

    async def _pause(self, client: Client, known: Known) -> None:
        await client.service.pause(self._world.ref(known.name))
        await client.service.resume(self._world.ref(known.name))

    async def _stop(self, client: Client, known: Known) -> None:
        known.statuses["init"].add(128 + signal.SIGTERM)
        record = await client.service.stop(req.StopRequest(id=self._world.id(known.name), timeout=0.2))
        assert record.status in known.statuses["init"], (known, record)

    async def _restart(self, client: Client, known: Known) -> None:
        known.statuses["init"].add(128 + signal.SIGTERM)
        known.lines = 0  # the log goes on over runs
        await client.service.restart(req.StopRequest(id=self._world.id(known.name), timeout=0.2))

    async def _read(self, client: Client, known: Known) -> None:
        """Read what it wrote: from the beginning without a gap, and all of it once it has ended by itself."""
        info = await client.service.get(self._world.ref(known.name))
        text = (await client.container(self._world.id(known.name)).output()).decode()
        if not known.lines or known.is_harmed:
            return
        lines = text.splitlines(keepends=True)
        whole = lines if text.endswith("\n") else lines[:-1]
        assert whole == [f"line {number}\n" for number in range(len(whole))], (known, text)
        has_ended = info.exit is not None and not info.exit.signal and not info.exit.reason
        assert not has_ended or len(whole) == known.lines, (known, info, text)

    async def _delete(self, client: Client, known: Known) -> None:
        await client.service.delete(req.DeleteRequest(id=self._world.id(known.name), force=True))
        del self.known[known.name]
