"""The side of a migration that a container leaves.

The container stands still while it is sent, and then until the other side has said what became of it; that side
decides (arrival.py). Up to the moment it is asked to complete the migration the container simply goes on here when
anything fails. That moment is written down before: from then on only the other side's answer counts, and it is asked
until it gives one, over any number of restarts. So the container never runs in two places, and where the other side
cannot be reached just then, in none until it can; `give_up` is for who knows better.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import queue
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from wherry import errors
from wherry.linux import failpoint
from wherry.model import checkpoint as cp
from wherry.model import ids
from wherry.model import migration as mg
from wherry.model.lifecycle import Change, State
from wherry.runtime import checkpoint as disk
from wherry.runtime.checkpoint import MOVING
from wherry.supervisor import checkpoint, completion, health, kill, patience, pause, transfer
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer
from wherry.supervisor.peer import Peer

_logger = logging.getLogger(__name__)

#: Why a container ends that goes on elsewhere.
REASON = "migrated"
#: Seconds between questions to a side that does not answer, at first and at most.
_RETRY, _MAX_RETRY = 0.2, 5.0
#: Seconds for a question to be answered; the answer takes as long as criu takes to make the processes.
_ANSWER = 660.0
#: Seconds without a byte sent, or a word, after which what is not asked about yet goes on here.
_SILENCE = 60.0
#: Seconds in which the other side is told what it need not know.
_POLITE = 60.0


class _Stages:
    """Parts of an archive in the order in which they are there to be sent; a thread waits for the next."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()

    def add(self, *names: str) -> None:
        """Say that these are there; "" is the end."""
        for name in names:
            self._queue.put(name)

    def __iter__(self) -> Iterator[str]:
        while name := self._queue.get():
            yield name


async def migrate(core: Core, live: LiveContainer, request: mg.MigrateRequest) -> mg.MigrationInfo:
    """Hand a running container over; on failure it goes on here."""
    live.check(Change.MIGRATE)
    if live.process(ids.INIT).stdio.mode == "fifo":
        raise errors.FailedPrecondition(f"cannot migrate container {live.id}: its streams are FIFOs of a client")
    token = secrets.token_hex(16)
    async with live.lock:
        live.check(Change.MIGRATE)
        work = await checkpoint.prepare(core, live, _describe(live, request, token), "migrate")
        try:
            checkpoint.check_execs(live, f"cannot migrate container {live.id}")
            live.change(Change.MIGRATE, checkpointing=work.info.name, moving_to=request.to)
            failpoint.hit("migrate.recorded")
            begin, sent = await _send(core, live, work, request.to, token)
            live.save(is_asked=True)
        except asyncio.CancelledError:
            raise  # the supervisor closes; the next one lets it go on
        except Exception as error:
            _tell(core, request.to, token, "abandon")
            raise await checkpoint.undo(core, live, work, _name(live, request.to, error)) from error
        failpoint.hit("migrate.asked")
        downtime = await _resolve(core, live, work.path) - begin
    await _leave(core, live)
    return mg.MigrationInfo(
        id=live.id,
        namespace=live.disk.namespace,
        to=request.to,
        downtime_us=int(downtime * 1e6),
        sent_bytes=sent,
    )


def _name(live: LiveContainer, to: str, error: Exception) -> Exception:
    """Return the error that says which daemon is not there: whoever asks takes another one for his own."""
    if not isinstance(error, errors.Unavailable) or error.message.startswith("cannot migrate"):
        return error
    return errors.Unavailable(f"cannot migrate container {live.id}, which goes on here: {to}: {error.message}")


def _describe(live: LiveContainer, request: mg.MigrateRequest, token: str) -> cp.CheckpointRequest:
    return cp.CheckpointRequest(
        id=live.id,
        namespace=live.disk.namespace,
        name=f"{MOVING}{token}",
        tcp=request.tcp,
        unix_sockets=request.unix_sockets,
        shell=request.shell,
        pre_copy=request.pre_copy,
    )


async def _send(core: Core, live: LiveContainer, work: checkpoint.Work, to: str, token: str) -> tuple[float, int]:
    """Send everything; return since when the container stands still (time.monotonic) and how many bytes it was."""
    offer = mg.MigrationOffer(token=token, info=dataclasses.replace(work.info, name="migration"))
    stages = _Stages()
    sent = 0

    async def count() -> AsyncIterator[bytes]:
        nonlocal sent
        async for data in transfer.read_archive(core, work.path, layers=live.disk.storage, stages=stages):
            sent += len(data)
            yield data

    async with _reach(core, to) as peer:
        async with _bounded(to):
            await peer.offer(offer)
        failpoint.hit("migrate.offered")
        receiving = core.tasks.start(_receive(peer, offer, count()), f"send {live.id}")
        try:
            parent = await checkpoint.copy_before(core, live, work, stages.add)
            begin = await checkpoint.dump_frozen(core, live, work, parent)
            failpoint.hit("migrate.dumped")
            stages.add(disk.IMAGE, disk.LAYER, "")
            await _wait_sent(receiving, lambda: sent, to)
            failpoint.hit("migrate.sent")
        finally:
            stages.add("")
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
    return begin, sent


@asynccontextmanager
async def _bounded(to: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_SILENCE):
            yield
    except TimeoutError:
        raise errors.Unavailable(f"cannot migrate: {to} does not answer") from None


async def _wait_sent(receiving: asyncio.Task[None], read_sent: Callable[[], int], to: str) -> None:
    """Wait until everything is received; the container stands still meanwhile, so a side that stands still is left."""
    while True:
        before = read_sent()
        await asyncio.wait({receiving}, timeout=_SILENCE)
        if receiving.done():
            return receiving.result()
        if read_sent() == before:
            raise errors.Unavailable(f"cannot migrate: {to} takes nothing any more")


async def _receive(peer: Peer, offer: mg.MigrationOffer, data: AsyncIterator[bytes]) -> None:
    await peer.receive(offer, data)


def _reach(core: Core, address: str) -> AbstractAsyncContextManager[Peer]:
    if core.connect is None:
        raise errors.FailedPrecondition("cannot migrate: this supervisor has no way to reach another one")
    return core.connect(address)


def _tell(core: Core, to: str, token: str, verb: str) -> None:
    """Tell the other side to `abandon` or to `forget` a migration, in the background; in the end it does by itself."""
    core.tasks.start(_keep_telling(core, to, token, verb), f"{verb} migration {token}")


async def _keep_telling(core: Core, to: str, token: str, verb: str) -> bool:
    """Tell the other side, again and again for a while; return False when the supervisor closes before that is done."""
    end, wait = time.monotonic() + _POLITE, _RETRY
    while not core.is_closing:
        try:
            async with asyncio.timeout(_POLITE), _reach(core, to) as peer:
                await (peer.forget if verb == "forget" else peer.abandon)(mg.MigrationToken(token=token))
                return True
        except (errors.Unavailable, TimeoutError, OSError) as error:
            problem: object = error
        except errors.WherryError as error:
            _logger.warning("migration %s: %s does not %s it: %s", token, to, verb, error)
            return True
        if time.monotonic() > end:
            _logger.info("migration %s: cannot tell %s to %s it: %s", token, to, verb, problem)
            return True
        await asyncio.sleep(wait)
        wait = min(wait * 2, 1.0)
    return False


def _token(live: LiveContainer) -> mg.MigrationToken:
    return mg.MigrationToken(token=live.saved.checkpointing.removeprefix(MOVING))


async def _ask(core: Core, live: LiveContainer) -> mg.Arrival:
    """Return what the other side says became of the container, asked until it answers, or somebody gives up."""
    wait = _RETRY
    given_up = core.tasks.start(live.is_given_up.wait(), f"give up {live.id}")
    try:
        while not given_up.done():
            asking = core.tasks.start(_ask_once(core, live), f"ask about {live.id}")
            try:
                await asyncio.wait({asking, given_up}, return_when=asyncio.FIRST_COMPLETED)
                if asking.done() and (answer := asking.result()) is not None:
                    return answer
            finally:
                asking.cancel()
            await asyncio.wait({given_up}, timeout=wait)
            wait = min(wait * 2, _MAX_RETRY)
        return mg.Arrival(state="", problem="it was given up by hand")
    finally:
        given_up.cancel()


async def _ask_once(core: Core, live: LiveContainer) -> mg.Arrival | None:
    to = live.saved.moving_to
    try:
        async with asyncio.timeout(_ANSWER), _reach(core, to) as peer:
            answer = await peer.commit(_token(live))
            if answer.state not in (mg.RUNNING, mg.FAILED):  # of a version to come, perhaps: no answer, then
                raise errors.Unimplemented(f"the answer {answer.state[:40]!r} is not known here")
            return answer
    except (errors.WherryError, TimeoutError, OSError) as error:
        _logger.warning("container %s: %s does not say whether it runs there: %s", live.id, to, error)
        return None


async def _resolve(core: Core, live: LiveContainer, path: Path) -> float:
    """Ask, and act on the answer: end the container here, or let it go on and raise why. The caller holds the lock.

    Returns when the answer came (time.monotonic).
    """
    answer = await _ask(core, live)
    answered = time.monotonic()
    live.is_given_up.clear()
    if answer.state == mg.RUNNING:
        await core.insist(lambda: live.save(end_reason=REASON, by_hand=True, wants_restart=False))
        failpoint.hit("migrate.answered")
        await _end(core, live, path)
        return answered
    await pause.go_on(core, live)
    to, token = live.saved.moving_to, _token(live).token
    await core.insist(lambda: live.change(Change.CHECKPOINTED, checkpointing="", moving_to="", is_asked=False))
    await completion.discard(core, live, path)
    _tell(core, to, token, "forget" if answer.state == mg.FAILED else "abandon")
    raise errors.FailedPrecondition(
        f"cannot migrate container {live.id}: it could not go on there, and goes on here: {answer.problem}"
    )


async def _end(core: Core, live: LiveContainer, path: Path) -> None:
    """End what goes on elsewhere: killed while it stands still, so that none of it runs once more."""
    begun_ns = disk.load(path)[0].created_at_ns if path.exists() else 0
    # By us, or by the supervisor before: what the journal was found to hold says nothing of what we have told since.
    is_told = live.told_migration == live.saved.checkpointing
    if not is_told and core.journal.find_told(live.saved.generation, "", begun_ns) != "migrate":
        await core.emit(live, "migrate", process="", reason=live.saved.moving_to)
    live.told_migration = live.saved.checkpointing
    failpoint.hit("migrate.journaled")
    await core.thread(kill.kill_now, live, live.process(ids.INIT))
    await completion.discard(core, live, path)


async def _leave(core: Core, live: LiveContainer) -> None:
    """Wait until the end of a container that goes on elsewhere is told; then the other side may forget it."""
    await live.process(ids.INIT).settled.wait()
    failpoint.hit("migrate.ended")
    core.tasks.start(_part(core, live), f"part with {live.id}")


async def _part(core: Core, live: LiveContainer) -> None:
    """Have the other side forget a migration, then forget it here, too: not sooner, for the next supervisor's sake."""
    to, name = live.saved.moving_to, live.saved.checkpointing
    if not await _keep_telling(core, to, name.removeprefix(MOVING), "forget"):
        return
    async with live.lock:
        if live.state is State.STOPPED and live.saved.checkpointing == name:  # not started anew, nor deleted
            await core.insist(lambda: live.save(checkpointing="", moving_to="", is_asked=False))


async def settle(core: Core, live: LiveContainer) -> None:
    """Finish the migration that a dead supervisor was at. The caller holds the lock."""
    if live.state is not State.MIGRATING:
        return
    path = core.checkpoints.making(live.disk.namespace, live.id, live.saved.checkpointing)
    if live.saved.end_reason == REASON:
        await _end(core, live, path)
    elif live.saved.is_asked:
        try:
            await _resolve(core, live, path)
        except errors.FailedPrecondition as error:
            _logger.warning("%s", error.message)
    else:
        _logger.warning("container %s: a migration was not finished, and is taken back", live.id)
        await patience.wait_idle(core, live, path)
        await pause.go_on(core, live)
        to, token = live.saved.moving_to, _token(live).token
        await core.insist(lambda: live.change(Change.CHECKPOINTED, checkpointing="", moving_to=""))
        await completion.discard(core, live, path)
        _tell(core, to, token, "abandon")


async def recover(core: Core, live: LiveContainer) -> None:
    """Go on with the migration that a dead supervisor was at; see `settle`."""
    async with live.lock:
        await settle(core, live)
        if live.state is State.RUNNING:
            await health.resume(core, live)
    if live.saved.end_reason == REASON:
        await _leave(core, live)


def give_up(live: LiveContainer) -> None:
    """Let a container go on here whose other side does not answer. Raises FailedPrecondition for any other."""
    if live.state is not State.MIGRATING or not live.saved.is_asked or live.saved.end_reason == REASON:
        raise errors.FailedPrecondition(
            f"cannot give up the migration of container {live.id}: it is {live.state.value}, and waits for no answer"
        )
    live.is_given_up.set()


def refuse(live: LiveContainer) -> None:
    """Raise FailedPrecondition for a container that may be running elsewhere already."""
    if live.state is State.MIGRATING and live.saved.is_asked:
        raise errors.FailedPrecondition(
            f"container {live.id} is being handed over to {live.saved.moving_to}, and stands still until that answers;"
            " `wherry migrate --give-up` lets it go on here, if it does not run there"
        )
