"""What all parts of the supervisor share: the directories, the journal, the zygote, the containers."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from wherry import errors
from wherry.model import status as st
from wherry.runtime import container as containers
from wherry.runtime import criu, probe
from wherry.runtime.checkpoint import Checkpoints
from wherry.runtime.container import Directories
from wherry.runtime.criu import Criu
from wherry.runtime.driver import Driver
from wherry.runtime.zygote import Zygote
from wherry.supervisor.journal import Journal
from wherry.supervisor.live import LiveContainer
from wherry.supervisor.peer import Connect
from wherry.supervisor.tasks import Tasks

_logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

#: Seconds between tries to write an event to a full disk.
FULL_DISK_RETRY = 1.0
#: Seconds until what could not be done for want of descriptors or memory is tried again.
SHORTAGE_RETRY = 0.1
#: Archives that are read or written at once.
MAX_TRANSFERS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What can be set of a supervisor; `wherryd --help` describes each."""

    state_dir: Path = Path("/run/wherry")
    root_dir: Path = Path("/var/lib/wherry")
    runtime: str = ""
    concurrency: int = 10
    start_timeout: float = 30.0
    event_retention: int = 100_000
    criu: str = ""


@dataclass(slots=True)
class Runtimes:
    """The OCI runtimes of this host, found by running a container with each."""

    wanted: str
    scratch: Path
    found: tuple[st.RuntimeInfo, ...] = ()
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def probe(self) -> tuple[st.RuntimeInfo, ...]:
        """Return all runtimes, the default one marked; probed once, again only while none works."""
        async with self._lock:
            if not any(item.default for item in self.found):
                self.found = await probe.find(self.wanted, self.scratch)
            return self.found

    async def resolve(self, name: str) -> str:
        """Return the path of the runtime `name` ("" is the default one). Raises NotFound or FailedPrecondition."""
        if name:
            return find_executable(name)
        found = await self.probe()
        for item in found:
            if item.default and not item.path:
                raise errors.NotFound(f"cannot use runtime {item.name}: {item.problem}")
            if item.default:
                return item.path
        reasons = "; ".join(f"{item.name}: {item.problem}" for item in found) or "neither crun nor runc is on PATH"
        raise errors.FailedPrecondition(
            f"no OCI runtime works on this host: {reasons}. `wherry doctor` says what to do"
        )


def find_executable(name: str) -> str:
    """Return the absolute path of a runtime given by name or absolute path. Raises NotFound or InvalidArgument."""
    if "/" in name and not name.startswith("/"):
        raise errors.InvalidArgument(f"runtime {name!r} is not valid: a name on PATH or an absolute path is expected")
    path = shutil.which(name)
    if path is None:
        raise errors.NotFound(f"cannot use runtime {name}: no such executable" + ("" if "/" in name else " on PATH"))
    return os.path.realpath(path) if not name.startswith("/") else name


class Core:
    """The shared state of one supervisor."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.directories = Directories(state=settings.state_dir, root=settings.root_dir)
        self.journal = Journal(self.directories.journal, retention=settings.event_retention)
        self.zygote = Zygote(settings.state_dir / "zygote.log")
        self.tasks = Tasks()
        self.runtimes = Runtimes(settings.runtime, settings.state_dir)
        self.containers: dict[tuple[str, str], LiveContainer] = {}
        self.checkpoints = Checkpoints(settings.root_dir)
        #: From how many calls at the moment containers are made from one, by namespace, container and name.
        self.checkpoints_in_use: Counter[tuple[str, str, str]] = Counter()
        self._criu: Criu | None = None
        #: Limits creations and execs under way at once.
        self.starts = asyncio.Semaphore(settings.concurrency)
        #: Limits health checks among them, so that calls find a place.
        self.checks = asyncio.Semaphore(max(1, settings.concurrency // 2))
        self.recovered = asyncio.Event()
        #: No new work is begun.
        self.is_closing = False
        self._executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="wherry-disk")
        self._reader = ThreadPoolExecutor(max_workers=2, thread_name_prefix="wherry-reading")
        self._remover = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wherry-removal")
        #: Reaches another supervisor by its address; None where there is no way to.
        self.connect: Connect | None = None
        #: Migrations that come here, by their token: each is decided once.
        self.arrivals: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        #: Reading and writing archives: each as long as its other end takes. None waits for another, which might wait
        #: for something at the other end that waits for this one.
        self.transfers = ThreadPoolExecutor(max_workers=MAX_TRANSFERS, thread_name_prefix="wherry-transfer")
        self.transfers_under_way = 0
        self._last_generation = 0

    async def thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work on a file system or on processes beside the loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work for who only looks: he may ask a thousand times, and no change waits behind him."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, lambda: function(*args, **kwargs))

    async def discard(self, directory: Path) -> None:
        """Remove a directory tree, in a thread of its own: it may have a million files. Raises what `from_os` gives."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._remover, containers.discard, directory)
        except OSError as error:
            raise errors.from_os(f"remove {directory}", error) from error

    async def insist(self, action: Callable[[], None]) -> None:
        """Do what must be written down, again and again while the state directory is full: nothing may overtake it."""
        while True:
            try:
                action()
            except OSError as error:
                _logger.error("cannot write down what has happened: %s; trying again", error)
                await asyncio.sleep(FULL_DISK_RETRY)
            else:
                return

    async def reread(self, read: Callable[[], Awaitable[T]]) -> T:
        """Do what may be done twice, again and again while descriptors, memory or room are short: that says nothing."""
        while True:
            try:
                return await read()
            except (errors.ResourceExhausted, OSError) as error:
                if isinstance(error, OSError) and not errors.is_passing(error):
                    raise
                _logger.error("%s; trying again", error)
                await asyncio.sleep(SHORTAGE_RETRY)

    async def find_criu(self) -> Criu:
        """Return the criu to use, looked for until one that works is found. Raises FailedPrecondition, NotFound."""
        if self._criu is None or self._criu.problem:
            self._criu = await criu.find(self.settings.criu)
        return self._criu

    async def find_working_criu(self, what: str) -> Criu:
        """Return a criu that works here. Raises FailedPrecondition, which says `what` cannot be done without it."""
        found = await self.find_criu()
        if found.problem:
            raise errors.FailedPrecondition(
                f"{what}: criu {found.version} at {found.path} does not work here: {found.problem}"
            )
        return found

    def close_threads(self) -> None:
        """Let the threads end."""
        self._executor.shutdown(wait=True)
        self._reader.shutdown(wait=True)
        self._remover.shutdown(wait=True)
        self.transfers.shutdown(wait=True)

    def make_generation(self) -> int:
        """Return a number that no container of these directories had before: the time, in nanoseconds."""
        self._last_generation = max(time.time_ns(), self._last_generation + 1)
        return self._last_generation

    def find(self, namespace: str, container_id: str) -> LiveContainer:
        """Return a container. Raises NotFound."""
        live = self.containers.get((namespace, container_id))
        if live is None:
            raise errors.NotFound(f"no container {container_id!r} in namespace {namespace!r}")
        return live

    def driver(self, live: LiveContainer) -> Driver:
        """Return the driver of the runtime that made the container."""
        runtime = live.saved.runtime
        root = self.directories.runtime_root(live.disk.namespace, runtime)
        request = live.saved.request
        return Driver(runtime, root, self.settings.start_timeout, request.runtime_args, request.no_pivot)

    async def emit(self, live: LiveContainer, type: str, **fields: Any) -> st.Event:
        """Journal an event of a container; waits while the disk is full, since nothing may overtake it."""
        while True:
            try:
                return self.journal.append(
                    type,
                    namespace=live.disk.namespace,
                    container=live.id,
                    generation=live.saved.generation,
                    labels=live.saved.request.labels,
                    **fields,
                )
            except errors.ResourceExhausted as error:
                _logger.error("%s; trying again", error)
                await asyncio.sleep(FULL_DISK_RETRY)
