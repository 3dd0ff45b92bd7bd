"""The side of a migration that a container comes to.

It is the one that decides. What has been received does not run; once it is told to complete the migration, that is
written down first, then the container is made and goes on. The answer, `running` or `failed`, is written down as well
and stays the same until the other side says that it may be forgotten. Of what it has never heard, or has let go, it
says `failed`: it will not run here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wherry import errors
from wherry.linux import failpoint
from wherry.model import checkpoint as cp
from wherry.model import codec, ids
from wherry.model import migration as mg
from wherry.model import request as req
from wherry.model.value import dataclass
from wherry.oci import bundle
from wherry.runtime import record
from wherry.runtime.checkpoint import MOVING
from wherry.supervisor import migration, restoration, transfer
from wherry.supervisor.checkpoints import CheckpointCalls
from wherry.supervisor.core import Core

_logger = logging.getLogger(__name__)

#: Entries in the state directory: a container does not outlive that either.
_DIRECTORY = ".migrations"
#: Seconds that something received is kept without being completed, and an answer that nobody has let us forget.
_KEEP_RECEIVED = 3600.0
_KEEP_ANSWER = 7 * 86400.0
#: Seconds without a byte while a container is written down at the other side (patience.py).
_DUMP = 660.0
_TOKEN = re.compile(r"[0-9a-f]{16,64}")
_RECEIVED, _DECIDED = "received", "decided"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What is known of a migration: `state` is `received`, `decided`, or the answer."""

    token: str
    id: str
    namespace: str
    state: str = _RECEIVED
    problem: str = ""
    at_ns: int = 0


class Ledger:
    """The entries on disk."""

    def __init__(self, state: Path) -> None:
        self._directory = state / _DIRECTORY

    def load(self, token: str) -> Entry | None:
        """Return an entry, None for one that is not there. Raises DataLoss for one that cannot be understood."""
        try:
            entry = codec.from_plain(Entry, record.read_json(self._directory / token))
            if entry.token != token:
                raise ValueError(f"it is that of {entry.token[:80]!r}")
            ids.check("container id", entry.id)
            ids.check_namespace(entry.namespace)
            return entry
        except FileNotFoundError:
            return None
        except (ValueError, errors.InvalidArgument) as error:  # no answer is better than a wrong one
            raise errors.DataLoss(f"cannot read migration {token}: {error}") from error

    def list(self) -> list[Entry]:
        """Return all entries that can be understood."""
        found = []
        for path in self._directory.glob("*"):
            try:
                if _TOKEN.fullmatch(path.name) and (entry := self.load(path.name)) is not None:
                    found.append(entry)
            except errors.DataLoss as error:
                _logger.error("%s", error.message)
        return found

    def save(self, entry: Entry) -> None:
        """Write an entry down."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        record.write_json(
            self._directory / entry.token, codec.to_plain(dataclasses.replace(entry, at_ns=time.time_ns()))
        )

    def remove(self, token: str) -> None:
        """Forget an entry."""
        (self._directory / token).unlink(missing_ok=True)
        try:
            self._directory.rmdir()
        except OSError:
            pass  # there are others, or none was ever there


class MigrationCalls(CheckpointCalls):
    """The calls by which a container is handed over to another supervisor, and by which that takes it."""

    async def migrate(self, request: mg.MigrateRequest) -> mg.MigrationInfo:
        """Hand a running container over, or give that up."""
        live = await self._find(request.namespace, request.id)
        if request.give_up:
            migration.give_up(live)
            return mg.MigrationInfo(id=live.id, namespace=live.disk.namespace, to=live.saved.moving_to)
        if not request.to:
            raise errors.InvalidArgument(f"cannot migrate container {live.id}: where to is not said")
        await live.made.wait()
        return await self.core.tasks.run(migration.migrate(self.core, live, request), f"migrate {live.id}")

    async def offer(self, request: mg.MigrationOffer) -> req.Empty:
        """Say whether a container could be taken, before anything is sent. Raises the reason why not."""
        core = self.core
        await core.recovered.wait()
        _check_token(request.token)
        info = request.info
        what = f"cannot take container {info.id}"
        ids.check("container id", info.id)
        ids.check_namespace(info.namespace)
        bundle.validate(info.request)
        if (info.namespace, info.id) in core.containers:
            raise errors.AlreadyExists(f"{what}: there is one of that id")
        if info.request.stdio.mode == "fifo":
            raise errors.FailedPrecondition(f"{what}: its streams are FIFOs of a client")
        restoration.find_runtime(info)
        await core.find_working_criu(what)
        return req.Empty()

    async def receive(self, request: mg.MigrationOffer, data: AsyncIterator[bytes]) -> req.Empty:
        """Take what a container is made from; it does not run yet."""
        await self.offer(request)
        core, token = self.core, request.token
        ledger = Ledger(core.settings.state_dir)
        await self._expire(ledger)
        # Whoever abandons it meanwhile waits: there would be nothing yet to let go.
        async with self._deciding(token):
            if ledger.load(token) is not None:
                raise errors.AlreadyExists(f"migration {token} is known")
            await self._take(request, data, ledger)
        failpoint.hit("arrival.received")
        return req.Empty()

    async def _take(self, request: mg.MigrationOffer, data: AsyncIterator[bytes], ledger: Ledger) -> None:
        wanted = cp.ImportRequest(
            id=request.info.id, namespace=request.info.namespace, name=f"{MOVING}{request.token}", grants=("all",)
        )
        try:
            info = await transfer.write_archive(self.core, wanted, data, silence=_DUMP)
            ledger.save(Entry(token=request.token, id=info.id, namespace=info.namespace))
        except BaseException as error:  # a sender that goes away in the last moment, too
            path = self._path(wanted.namespace, wanted.id, request.token)
            await self.core.thread(self.core.checkpoints.discard, path)
            if isinstance(error, OSError):
                raise errors.from_os(f"take container {wanted.id}", error) from error
            raise

    def _path(self, namespace: str, container_id: str, token: str) -> Path:
        return self.core.checkpoints.path(namespace, container_id, f"{MOVING}{token}")

    async def _expire(self, ledger: Ledger) -> None:
        """Let go what was received long ago and never completed, and answers that nobody asks for any more."""
        for old in await self.core.thread(ledger.list):
            age = (time.time_ns() - old.at_ns) / 1e9
            if age < _KEEP_RECEIVED:
                continue
            async with self._deciding(old.token):
                entry = ledger.load(old.token)  # it may be decided by now
                if entry is not None and entry.state == _RECEIVED:
                    await self.core.thread(self._let_go, ledger, entry)
                elif entry is not None and entry.state in (mg.RUNNING, mg.FAILED) and age > _KEEP_ANSWER:
                    ledger.remove(entry.token)

    def _let_go(self, ledger: Ledger, entry: Entry) -> None:
        ledger.remove(entry.token)
        self.core.checkpoints.discard(self._path(entry.namespace, entry.id, entry.token))

    async def commit(self, request: mg.MigrationToken) -> mg.Arrival:
        """Complete a migration: let the container go on here, if that can be, and say for good whether it does."""
        await self.core.recovered.wait()
        _check_token(request.token)
        return await self.core.tasks.run(self._commit(request.token), f"migration {request.token}")

    @asynccontextmanager
    async def _deciding(self, token: str) -> AsyncIterator[None]:
        """Be alone with a migration."""
        lock = self.core.arrivals.setdefault(token, asyncio.Lock())  # there as long as somebody has it
        async with lock:
            yield

    async def _commit(self, token: str) -> mg.Arrival:
        async with self._deciding(token):
            ledger = Ledger(self.core.settings.state_dir)
            entry = ledger.load(token)
            if entry is None:
                return mg.Arrival(state=mg.FAILED, problem="it is not known there")
            if entry.state == _RECEIVED:
                entry = dataclasses.replace(entry, state=_DECIDED)
                ledger.save(entry)
                failpoint.hit("arrival.decided")
            if entry.state == _DECIDED:
                entry = await self._complete(ledger, entry)
            return mg.Arrival(state=entry.state, problem=entry.problem)

    async def _complete(self, ledger: Ledger, entry: Entry) -> Entry:
        """Let a container go on, and write down whether it does."""
        path = self._path(entry.namespace, entry.id, entry.token)
        try:
            await self._run(entry)
            entry = dataclasses.replace(entry, state=mg.RUNNING)
        except asyncio.CancelledError:
            raise  # the supervisor closes; the next one is asked again
        except Exception as error:  # noqa: BLE001 - whatever it is, the other side has to be told that it runs there
            problem = error.message if isinstance(error, errors.WherryError) else repr(error)
            entry = dataclasses.replace(entry, state=mg.FAILED, problem=problem)
        failpoint.hit("arrival.completed")
        await self.core.insist(lambda: ledger.save(entry))
        await self.core.thread(self.core.checkpoints.discard, path)
        return entry

    async def _run(self, entry: Entry) -> None:
        core = self.core
        reference = f"{entry.id}/{MOVING}{entry.token}"
        existing = core.containers.get((entry.namespace, entry.id))
        if existing is not None:
            await existing.made.wait()
            # Not the one that its present run goes on from: it may have ended and been started again meanwhile.
            if existing.saved.made_from != reference:
                raise errors.AlreadyExists(f"there is a container {entry.id}")
            if not existing.is_gone:
                return  # the supervisor before us has made it
        info = core.checkpoints.load(entry.namespace, entry.id, f"{MOVING}{entry.token}")
        await self._make(info, info.request)

    async def abandon(self, request: mg.MigrationToken) -> req.Empty:
        """Let go what was received. Raises FailedPrecondition for a migration that is decided."""
        await self.core.recovered.wait()
        _check_token(request.token)
        async with self._deciding(request.token):
            ledger = Ledger(self.core.settings.state_dir)
            entry = ledger.load(request.token)
            if entry is not None and entry.state != _RECEIVED:
                raise errors.FailedPrecondition(f"migration {request.token} is {entry.state}")
            if entry is not None:
                await self.core.thread(self._let_go, ledger, entry)
        return req.Empty()

    async def forget(self, request: mg.MigrationToken) -> req.Empty:
        """Forget an answer: whoever asked has acted on it."""
        await self.core.recovered.wait()
        _check_token(request.token)
        async with self._deciding(request.token):
            ledger = Ledger(self.core.settings.state_dir)
            entry = ledger.load(request.token)
            if entry is not None and entry.state in (mg.RUNNING, mg.FAILED):
                ledger.remove(entry.token)
        return req.Empty()

    async def recover_arrivals(self) -> None:
        """Complete what a dead supervisor had decided: the other side stands still until it hears of it."""
        ledger = Ledger(self.core.settings.state_dir)
        await self._expire(ledger)
        for entry in ledger.list():
            if entry.state == _DECIDED:
                await self._commit(entry.token)


def find_kept(core: Core) -> set[Path]:
    """Return the checkpoints that migrations of a dead supervisor are completed from."""
    found = Ledger(core.settings.state_dir).list()
    return {
        core.checkpoints.path(entry.namespace, entry.id, f"{MOVING}{entry.token}")
        for entry in found
        if entry.state in (_RECEIVED, _DECIDED)
    }


def _check_token(token: str) -> None:
    if _TOKEN.fullmatch(token) is None:
        raise errors.InvalidArgument(f"migration token {token[:80]!r} is not valid: 16 to 64 hexadecimal digits")
