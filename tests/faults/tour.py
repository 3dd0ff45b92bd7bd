"""Everything that a daemon does, once, in a few seconds.

A step that fails is left, and the next one taken: what fails, and when, is the caller's choice.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable

from tests.faults import invariants
from tests.faults.world import World
from wherry import errors
from wherry.client.client import Client
from wherry.model import checkpoint as cp
from wherry.model import request as req

Tour = Callable[[World, Client], Awaitable[list[errors.WherryError]]]

#: How processes of these tours end by themselves, by container and process; whatever is killed has 137.
STATUSES = {("a", "e"): 3, ("b", "init"): 7, ("r", "init"): 5, ("x", "init"): 4, ("l", "init"): 0, ("c", "e"): 3}
KILLED = 137


class Steps:
    """Takes steps, whatever becomes of them."""

    def __init__(self) -> None:
        self.failures: list[errors.WherryError] = []

    async def take(self, *calls: Callable[[], Awaitable[object]]) -> bool:
        """Do one after the other; return False when one has failed, and leave the rest of them."""
        try:
            for call in calls:
                await call()
        except errors.WherryError as error:
            self.failures.append(error)
            return False
        return True


async def take(world: World, client: Client) -> list[errors.WherryError]:
    """Create, start, exec, pause, update, restart, check, rotate, stop, delete; return what has failed."""
    steps, service = Steps(), client.service

    def run(name: str, *args: str, **options: object) -> Callable[[], Awaitable[object]]:
        return lambda: service.run(world.request(name, *args, **options))

    def wait(name: str, process: str = "init") -> Callable[[], Awaitable[object]]:
        return lambda: service.wait(world.process_ref(name, process))

    def delete(name: str) -> Callable[[], Awaitable[object]]:
        return lambda: service.delete(req.DeleteRequest(id=world.id(name), force=True))

    exec_ = req.ExecRequest(id=world.id("a"), process="e", args=("sh", "-c", "exit 3"))
    limits = req.UpdateRequest(id=world.id("a"), limits=req.Limits(pids=50))
    if await steps.take(run("a", "sleep", "300")):
        await steps.take(lambda: service.exec(exec_), wait("a", "e"))
        await steps.take(lambda: service.pause(world.ref("a")), lambda: service.resume(world.ref("a")))
        await steps.take(lambda: service.update(limits))
    await steps.take(lambda: service.create(world.request("b", "sh", "-c", "exit 7")))
    await steps.take(lambda: service.start(world.ref("b")), wait("b"), delete("b"))
    policy = req.RestartPolicy(name="on-failure", max_retries=1, delay=0.02, max_delay=0.02)
    await steps.take(run("r", "sh", "-c", "exit 5", restart=policy), wait("r"))
    check = req.HealthCheck(args=("true",), interval=0.05)
    await steps.take(run("h", "sleep", "300", health=check), lambda: _wait_healthy(world, client))
    await steps.take(run("x", "sh", "-c", "exit 4", auto_remove=True), wait("x"))
    stdio = req.Stdio(log_max_bytes=65536, log_max_files=2)
    await steps.take(run("l", "seq", "20000", stdio=stdio), wait("l"))
    await steps.take(lambda: service.stop(req.StopRequest(id=world.id("a"), timeout=0)))
    for name in ("a", "b", "r", "h", "l"):
        await steps.take(delete(name))
    return [error for error in steps.failures if not isinstance(error, errors.NotFound)]


async def _wait_healthy(world: World, client: Client) -> None:
    for _ in range(200):
        if (await client.service.get(world.ref("h"))).health.status == "healthy":
            return
        await asyncio.sleep(0.02)
    raise errors.DeadlineExceeded("it does not get healthy")


async def take_checkpoints(world: World, client: Client) -> list[errors.WherryError]:
    """Checkpoint, export, import, restore in place, clone, restore what was deleted, delete; return what has failed."""
    steps, service = Steps(), client.service
    reference = cp.CheckpointRef(id=world.id("c"), name="one")
    archive: list[bytes] = []

    async def export() -> None:
        archive.extend([piece.data async for piece in service.export_checkpoint(reference)])

    async def import_() -> None:
        await service.delete_checkpoint(reference)
        await service.import_checkpoint(cp.ImportRequest(grants=("all",)), _replay(archive))

    await steps.take(
        lambda: service.run(world.request("c", "sleep", "300")),
        lambda: service.checkpoint(cp.CheckpointRequest(id=world.id("c"), name="one", exit=True)),
        export,
        import_,
        lambda: service.restore(reference),
        lambda: service.clone(cp.CloneRequest(id=world.id("c"), name="one", new_ids=(world.id("d"),))),
        lambda: service.delete(req.DeleteRequest(id=world.id("c"), force=True)),
        lambda: service.restore(reference),
    )
    for name in ("c", "d"):
        await steps.take(functools.partial(service.delete, req.DeleteRequest(id=world.id(name), force=True)))
    await steps.take(lambda: service.delete_checkpoint(reference))
    return [error for error in steps.failures if not isinstance(error, errors.NotFound)]


async def _replay(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def check(world: World, client: Client) -> None:
    """Fail unless the invariants hold in the middle of a tour."""
    await invariants.check(world, client, lambda name, process: {STATUSES.get((name, process), KILLED), KILLED})
