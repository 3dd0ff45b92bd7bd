"""What the supervisor holds in memory of a container and its processes; all of it can be read again from disk."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from wherry import errors
from wherry.model import codec, ids
from wherry.model import request as req
from wherry.model import status as st
from wherry.model.lifecycle import ALIVE, AT_REST, CONTAINER, EXEC, Change, State, advance
from wherry.model.stats import Stats
from wherry.runtime.container import Container, Record
from wherry.runtime.process import Process

if TYPE_CHECKING:
    from wherry.supervisor import health, oom

#: Our own part of process.json, beside the ancestor's keys.
EXTRA = "wherry"
#: How the ids of health checks begin: no id of anybody's has a leading dot.
CHECK = ".health-"


class LiveProcess:
    """One process. `settled` is set once it has ended, or could not be created; `exit` tells which."""

    def __init__(self, process_id: str, spec: dict[str, Any], state: State) -> None:
        self.id = process_id
        self.spec = spec
        self.state = state
        self.disk: Process | None = None
        self.pid = 0
        self.started_at_ns = 0
        self.exit: st.ExitRecord | None = None
        self.settled = asyncio.Event()
        self._stdio: tuple[dict[str, Any], req.Stdio] | None = None
        self._hung_up = False
        self._limit: asyncio.Timeout | None = None
        self._grace = 0.0

    @asynccontextmanager
    async def outlived(self, seconds: float) -> AsyncIterator[None]:
        """Do what needs the process: a TimeoutError ends it so many seconds after the process's shim has gone."""
        async with asyncio.timeout(seconds if self._hung_up else None) as limit:
            self._grace, self._limit = seconds, limit
            try:
                yield
            finally:
                self._limit = None

    def hang_up(self) -> None:
        """Be without a shim; that the process has ended is still to be told."""
        self._hung_up = True
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._grace)

    @property
    def is_check(self) -> bool:
        """It is a health check: told and shown nowhere."""
        return self.id.startswith(CHECK)

    @property
    def extra(self) -> dict[str, Any]:
        """Our own part of process.json."""
        extra = self.spec.get(EXTRA)
        return extra if isinstance(extra, dict) else {}

    @property
    def created_at_ns(self) -> int:
        """When it was asked for; 0 if that is not known."""
        found = self.extra.get("created_at_ns")
        return found if isinstance(found, int) and 0 <= found < 2**63 else 0

    @property
    def stdio(self) -> req.Stdio:
        """How the process's streams are carried."""
        if self._stdio is None or self._stdio[0] is not self.spec:
            try:
                found = codec.from_plain(req.Stdio, self.extra.get("stdio", {}))
            except ValueError:
                found = req.Stdio(mode="null")
            self._stdio = (self.spec, found)
        return self._stdio[1]

    def opened(self) -> Process:
        """Return the directory of a process that has one. Raises FailedPrecondition while it is being made."""
        if self.disk is None:
            raise errors.FailedPrecondition(f"cannot use process {self.id}: it is {self.state.value}")
        return self.disk

    async def read_exit(self) -> st.ExitRecord | None:
        """Return how the process ended, as its directory has it. Raises ResourceExhausted: to be asked again."""
        return self.opened().exit_record()

    async def read_status(self) -> int | None:
        """Return the status that its directory has. Raises ResourceExhausted: to be asked again."""
        return self.opened().exit_status()

    def let_go(self) -> None:
        """Watch it no more, and close its FIFOs; the process itself is not touched."""
        if self.disk is not None and self.disk.exit_fd >= 0:
            asyncio.get_running_loop().remove_reader(self.disk.exit_fd)
            self.disk.close()

    def change(self, change: Change) -> None:
        """Take the next state of an exec, as the table has it."""
        self.state = advance(f"process {self.id}", self.state, change, EXEC)

    def settle(self, record: st.ExitRecord | None) -> None:
        """Be ended; None when it never was."""
        self.exit = record
        self.settled.set()

    def info(self, log_path: str) -> st.ProcessInfo:
        """Return what is known of the process."""
        args, user = self.spec.get("args"), self.spec.get("user")
        user = user if isinstance(user, dict) else {}
        return st.ProcessInfo(
            id=self.id,
            state=self.state.value,
            pid=self.pid if self.state in ALIVE else 0,
            # A bundle's may be no Unicode text, a foreign file's anything: what is shown must fit a message.
            args=tuple(map(_show, args)) if isinstance(args, list) else (),
            user=_show(f"{user.get('uid', 0)}:{user.get('gid', 0)}"),
            terminal=bool(self.spec.get("terminal")),
            created_at_ns=self.created_at_ns,
            started_at_ns=self.started_at_ns,
            exit=self.exit,
            log_path=log_path if self.stdio.mode == "managed" else "",
        )


def _show(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


class LiveContainer:
    """One container. `lock` makes work on it serial; reading it never needs the lock."""

    def __init__(self, disk: Container, saved: Record) -> None:
        self.disk = disk
        self.saved = saved
        self.lock = asyncio.Lock()
        self.problem = ""
        self.processes: dict[str, LiveProcess] = {}
        #: Set once the creation has succeeded or failed.
        self.made = asyncio.Event()
        self.failure: errors.WherryError | None = None
        self.is_gone = False
        #: What the runtime kept of the last run is removed.
        self.is_released = False
        #: An unknown container that was started: its exit is still to be told, when it is removed.
        self.owes_exit = False
        #: Its removal is told, and not yet done.
        self.is_told_deleted = False
        #: The last migration from here that this supervisor has told.
        self.told_migration = ""
        #: Kills for want of memory in the present run; None while nobody looks for them.
        self.oom: oom.Watch | None = None
        #: What is known of its health; the status is the last that was told.
        self.health = st.Health(status=saved.health)
        #: The health checks of the present run; None while there are none.
        self.checks: health.Watch | None = None
        #: Somebody says that it does not run where it was to go on.
        self.is_given_up = asyncio.Event()
        #: What it used, when that was read (time.monotonic) and the record at that time; None as long as nobody asks.
        self.sample: tuple[Stats, float, Record] | None = None
        #: Changes of state so far: the same number before and after tells that nothing has come between.
        self.moves = 0
        #: Runs out when a restart is due, or the removal of a container that removes itself.
        self.timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._readers = 0
        self._unread = asyncio.Event()
        self._unread.set()

    @property
    def id(self) -> str:
        """The container's id."""
        return self.disk.id

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Be somebody who reads a log of this container: an automatic removal waits for him."""
        self._readers += 1
        self._unread.clear()
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self._unread.set()

    async def wait_unread(self) -> None:
        """Wait until nobody reads a log; a client that is gone reads no more."""
        await self._unread.wait()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and id."""
        return self.disk.namespace, self.disk.id

    @property
    def state(self) -> State:
        """Where the container is in its life."""
        return State(self.saved.state)

    @property
    def is_at_rest(self) -> bool:
        """No process will come of itself."""
        return self.is_gone or self.failure is not None or self.state in AT_REST

    def pulse(self) -> None:
        """Wake who waits for a change of state."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_change(self) -> None:
        """Wait for the next change of state."""
        await self._changed.wait()

    async def wait_rest(self) -> None:
        """Wait until the container has ended and is not to be started again."""
        while not self.is_at_rest:
            await self.wait_change()

    @property
    def init(self) -> LiveProcess | None:
        """The container's own process, None before it has a directory."""
        return self.processes.get(ids.INIT)

    @property
    def execs(self) -> list[LiveProcess]:
        """All other processes, in the order in which they were asked for."""
        return [process for process in self.processes.values() if process.id != ids.INIT]

    def check(self, change: Change) -> State:
        """Return the state that `change` would lead to. Raises FailedPrecondition."""
        return advance(f"container {self.id}", self.state, change, CONTAINER)

    def change(self, change: Change, **fields: Any) -> None:
        """Take the next state, as the table has it, and save it."""
        self.save(state=self.check(change).value, **fields)

    def show(self, state: State) -> None:
        """Be in a state that is not worth a write: the next supervisor finds it out by itself."""
        self.saved = dataclasses.replace(self.saved, state=state.value)
        self.pulse()

    def save(self, **fields: Any) -> None:
        """Change the durable record, on disk first."""
        saved = dataclasses.replace(self.saved, **fields)
        try:
            self.disk.save(saved)
        except FileNotFoundError as error:
            if not self.is_gone:
                raise
            # Not an OSError: whoever insists on writing that down need not try again.
            raise errors.NotFound(f"container {self.id} was deleted meanwhile") from error
        self.saved = saved
        if "state" in fields:
            self.moves += 1
            self.pulse()

    def process(self, process_id: str) -> LiveProcess:
        """Return a process by its id. Raises NotFound."""
        process = self.processes.get(process_id)
        if process is None or process.is_check:
            raise errors.NotFound(f"container {self.id} has no process {process_id!r}")
        return process

    def put_back(self, saved: Record) -> None:
        """Have the record that there was before a change that has failed."""
        self.save(**{field.name: getattr(saved, field.name) for field in dataclasses.fields(saved)})

    def info(self) -> st.ContainerInfo:
        """Return what is known of the container."""
        init = self.init
        saved = self.saved
        shown = [process for process in self.processes.values() if not process.is_check]
        ordered = sorted(shown, key=lambda process: process.id != ids.INIT)
        return st.ContainerInfo(
            id=self.id,
            namespace=self.disk.namespace,
            generation=saved.generation,
            state=saved.state,
            problem=self.problem,
            pid=init.pid if init and self.state in ALIVE else 0,
            created_at_ns=saved.created_at_ns,
            started_at_ns=saved.started_at_ns,
            exit=(init.exit if init else None) or (None if self.state in ALIVE else saved.last_exit),
            runtime=saved.runtime,
            bundle=saved.bundle,
            cgroup=saved.cgroup,
            layer=saved.layer,
            request=saved.request,
            processes=tuple(process.info(str(self.disk.log_path(process.id))) for process in ordered),
            restarts=saved.restarts,
            restart_at_ns=saved.restart_at_ns,
            health=self.health,
        )
