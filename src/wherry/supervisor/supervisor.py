"""The supervisor: every call of the native API in terms of model values, for the gRPC edge and for `embed` alike."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import platform
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import wherry
from wherry import errors
from wherry.linux import cgroup, failpoint
from wherry.model import ids
from wherry.model import request as req
from wherry.model import status as st
from wherry.model.lifecycle import ALIVE, State
from wherry.model.stats import Stats
from wherry.oci import bundle
from wherry.runtime.container import Container, Record
from wherry.supervisor import (
    birth,
    deletion,
    filters,
    follow,
    health,
    kill,
    locks,
    logs,
    migration,
    oom,
    pause,
    processes,
    recovery,
    restart,
    restoration,
    stop,
    update,
    usage,
)
from wherry.supervisor.arrival import MigrationCalls
from wherry.supervisor.core import Core, Settings, find_executable
from wherry.supervisor.live import LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)

#: Seconds for changes of state under way to be finished when the supervisor closes.
CLOSE_TIMEOUT = 10.0
#: No log is that long, and pread(2) takes no offset whose sum with a size passes 63 bits.
MAX_OFFSET = 2**62


class Supervisor(MigrationCalls):
    """Runs and keeps containers. `open` first; `close` leaves the containers running."""

    def __init__(self, settings: Settings) -> None:
        self.core = Core(settings)
        self._lock_fds: list[int] = []
        self._background: list[asyncio.Task[None]] = []

    # -- the supervisor itself ----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take the directories and begin recovery; calls wait for its end.

        Raises FailedPrecondition when another supervisor has the directories, or they do not belong together, and
        PermissionDenied for directories that cannot be used or are a stranger's.
        """
        settings = self.core.settings
        try:
            failpoint.arm(failpoint.asked)
        except ValueError as error:
            raise errors.InvalidArgument(str(error)) from None
        for directory in (settings.state_dir, settings.root_dir):
            if not str(directory).isprintable():  # clients are shown paths in it, and messages hold nothing else
                raise errors.InvalidArgument(f"cannot use {str(directory)!r}: it is not printable text")
        try:
            failpoint.hit("state.mkdir")
            locks.take_directory(settings.state_dir, 0o711)
            locks.take_directory(settings.root_dir, 0o700)
            for directory, name in ((settings.state_dir, "wherryd.lock"), (settings.root_dir, "lock")):
                self._lock_fds.append(locks.take_lock(directory / name, directory))
            locks.check_pair(settings)
        except OSError as error:
            self._unlock()
            raise errors.PermissionDenied(f"cannot use {error.filename}: {error.strerror}") from error
        except errors.WherryError:
            self._unlock()
            raise
        self.core.zygote.launch()
        self.core.journal.open()
        start = self.core.tasks.start
        start(self._start_zygote(), "zygote")
        start(self._recover(), "recovery")
        self._background = [start(self.core.journal.keep_synced(), "journal sync")]

    async def _start_zygote(self) -> None:
        try:
            await self.core.zygote.start()
        except errors.WherryError as error:
            _logger.error("no container can be run: %s", error.message)

    async def _recover(self) -> None:
        _, found = await asyncio.gather(recovery.recover(self.core), self.core.runtimes.probe())
        self.core.tasks.start(self.recover_arrivals(), "migrations")
        if not any(item.default and not item.problem for item in found):
            reasons = "; ".join(f"{item.name}: {item.problem}" for item in found) or "neither crun nor runc is on PATH"
            _logger.error("no container can be run: %s", reasons)

    async def close(self) -> None:
        """Finish what is under way, bounded, and leave everything running."""
        self.core.is_closing = True
        try:
            for live in self.core.containers.values():
                restart.cancel(live)
            for task in self._background:
                task.cancel()
            await self.core.tasks.close(CLOSE_TIMEOUT)
            for live in self.core.containers.values():
                oom.end(live)
                health.end(live)
                for process in live.processes.values():
                    process.let_go()
            await self.core.tasks.close(CLOSE_TIMEOUT)  # ends that were noticed meanwhile
            alive = any(live.state in ALIVE for live in self.core.containers.values())
            await self.core.zygote.close(wait=not alive)
        finally:
            self.core.journal.close()
            self.core.close_threads()
            self._unlock()

    def _unlock(self) -> None:
        for fd in self._lock_fds:
            os.close(fd)
        self._lock_fds.clear()

    # -- changes ------------------------------------------------------------------------------------------------------

    async def create(self, request: req.CreateRequest) -> st.ContainerInfo:
        """Create a container; the same request again returns the same container, another one is AlreadyExists."""
        return (await self._create(request, State.CREATED)).info()

    async def _create(self, request: req.CreateRequest, goal: State, **fields: Any) -> LiveContainer:
        await self.core.recovered.wait()
        request = dataclasses.replace(request, id=request.id or ids.make())
        ids.check("container id", request.id)
        ids.check_namespace(request.namespace)
        bundle.validate(request)
        if request.runtime:
            find_executable(request.runtime)
        existing = self.core.containers.get((request.namespace, request.id))
        if existing is not None:
            return await _same(existing, request)
        disk = Container(self.core.directories, request.namespace, request.id)
        saved = Record(generation=self.core.make_generation(), request=request, goal=goal.value, **fields)
        live = LiveContainer(disk, saved)
        self.core.containers[live.key] = live
        await self.core.tasks.run(birth.create(self.core, live), f"create {live.id}")
        return live

    async def start(self, request: req.ContainerRef) -> st.ContainerInfo:
        """Start a created container, or once more one that has ended."""
        live = await self._find(request.namespace, request.id)
        await live.made.wait()
        start = restart.start_by_hand if live.state in (State.STOPPED, State.RESTARTING) else birth.start
        await self.core.tasks.run(start(self.core, live), f"start {live.id}")
        return live.info()

    async def run(self, request: req.CreateRequest) -> st.ContainerInfo:
        """Create and start a container; when the start fails nothing is left. The same request again finds it."""
        live = await self._create(request, State.RUNNING)
        await self.core.tasks.run(self._start_created(live), f"run {live.id}")
        return live.info()

    async def _go_on(self, request: req.CreateRequest, **fields: Any) -> LiveContainer:
        return await self._create(request, State.RUNNING, **fields)

    async def _start_created(self, live: LiveContainer) -> None:
        if live.state is not State.CREATED:
            return  # the same request was here before, or recovery has finished it
        try:
            await birth.start(self.core, live)
        except errors.WherryError:
            if live.saved.started_at_ns:
                return  # the same request, at the same time, was quicker
            await deletion.delete(self.core, live, force=True)
            raise

    async def exec(self, request: req.ExecRequest) -> st.ProcessInfo:
        """Start a further process in a running container."""
        live = await self._find(request.namespace, request.id)
        process_id = ids.check("process id", request.process or ids.make())
        if process_id in live.processes or process_id == ids.INIT:
            raise errors.AlreadyExists(f"cannot exec in container {live.id}: process {process_id!r} exists")
        if live.state is not State.RUNNING:
            raise errors.FailedPrecondition(f"cannot exec in container {live.id}: it is {live.state.value}")
        process = LiveProcess(process_id, {}, State.CREATING)
        live.processes[process_id] = process
        work = birth.exec(self.core, live, process, dataclasses.replace(request, process=process_id))
        await self.core.tasks.run(work, f"exec {live.id}/{process_id}")
        return process.info(str(live.disk.log_path(process_id)))

    async def kill(self, request: req.KillRequest) -> req.Empty:
        """Send a signal to one process, through its pidfd."""
        live = await self._find(request.namespace, request.id)
        migration.refuse(live)
        await kill.kill(self.core, live, request)
        return req.Empty()

    async def pause(self, request: req.ContainerRef) -> st.ContainerInfo:
        """Freeze a running container."""
        live = await self._find(request.namespace, request.id)
        await self.core.tasks.run(pause.pause(self.core, live), f"pause {live.id}")
        return live.info()

    async def resume(self, request: req.ContainerRef) -> st.ContainerInfo:
        """Let a paused container go on."""
        live = await self._find(request.namespace, request.id)
        await self.core.tasks.run(pause.resume(self.core, live), f"resume {live.id}")
        return live.info()

    async def update(self, request: req.UpdateRequest) -> st.ContainerInfo:
        """Change limits of a running container."""
        live = await self._find(request.namespace, request.id)
        await self.core.tasks.run(update.update(self.core, live, request.limits), f"update {live.id}")
        return await self.get(req.ContainerRef(id=request.id, namespace=request.namespace))

    async def stop(self, request: req.StopRequest) -> st.ExitRecord:
        """Stop a container: stop signal, grace, SIGKILL. One that has ended is left as it is."""
        live = await self._find_to_stop(request)
        return await self.core.tasks.run(stop.stop(self.core, live, request.timeout), f"stop {live.id}")

    async def restart(self, request: req.StopRequest) -> st.ContainerInfo:
        """Stop a container, if it runs, and start it once more."""
        live = await self._find_to_stop(request)
        await live.made.wait()
        await self.core.tasks.run(stop.stop_and_start(self.core, live, request.timeout), f"restart {live.id}")
        return live.info()

    async def _find_to_stop(self, request: req.StopRequest) -> LiveContainer:
        live = await self._find(request.namespace, request.id)
        migration.refuse(live)
        if not 0 <= request.timeout <= 86400 * 365:
            raise errors.InvalidArgument(f"cannot stop container {live.id}: a timeout of {request.timeout} s")
        return live

    async def delete(self, request: req.DeleteRequest) -> req.Empty:
        """Delete a container that has ended; `force` kills it first."""
        live = await self._find(request.namespace, request.id)
        if request.force:
            await restoration.interrupt(self.core, live)
        await live.made.wait()
        migration.refuse(live)
        await self.core.tasks.run(deletion.delete(self.core, live, force=request.force), f"delete {live.id}")
        return req.Empty()

    async def close_stdin(self, request: req.ProcessRef) -> req.Empty:
        """Close a process's stdin after what was written to it."""
        live = await self._find(request.namespace, request.id)
        process = live.process(request.process or ids.INIT)
        if process.settled.is_set():
            raise errors.FailedPrecondition(f"cannot close stdin of process {process.id}: it has ended")
        process.opened().close_stdin()
        return req.Empty()

    async def resize(self, request: req.ResizeRequest) -> req.Empty:
        """Set the size of a process's terminal."""
        live = await self._find(request.namespace, request.id)
        process = live.process(request.process or ids.INIT)
        if not (0 < request.width < 65536 and 0 < request.height < 65536):
            raise errors.InvalidArgument(
                f"cannot resize process {process.id}: {request.width}x{request.height} is not"
                " between 1x1 and 65535x65535"
            )
        if not process.spec.get("terminal"):
            raise errors.FailedPrecondition(f"cannot resize process {process.id}: it has no terminal")
        if process.settled.is_set():
            raise errors.FailedPrecondition(f"cannot resize process {process.id}: it has ended")
        process.opened().resize(request.width, request.height)
        return req.Empty()

    # -- reads --------------------------------------------------------------------------------------------------------

    async def _find(self, namespace: str, container_id: str) -> LiveContainer:
        await self.core.recovered.wait()
        ids.check("container id", container_id)
        return self.core.find(ids.check_namespace(namespace or ids.DEFAULT_NAMESPACE), container_id)

    async def wait(self, request: req.ProcessRef) -> st.ExitRecord:
        """Return how a process ended, at once if it has; a container that is started again has not."""
        live = await self._find(request.namespace, request.id)
        await live.made.wait()
        process = live.process(request.process or ids.INIT)
        if process.id == ids.INIT:
            await live.wait_rest()
        else:
            await process.settled.wait()
        record = process.exit if process.id != ids.INIT else live.saved.last_exit
        if record is None:
            raise errors.NotFound(f"process {process.id} of container {live.id} was never started")
        return record

    async def get(self, request: req.ContainerRef) -> st.ContainerInfo:
        """Return what is known of a container."""
        live = await self._find(request.namespace, request.id)
        return dataclasses.replace(live.info(), limits=update.read_limits(live))

    async def list(self, request: req.ListRequest) -> st.ContainerList:
        """Return what is known of every container, oldest first."""
        await self.core.recovered.wait()
        if request.namespace:
            ids.check_namespace(request.namespace)
        chosen = [
            live
            for live in self.core.containers.values()
            if request.namespace in ("", live.disk.namespace) and _matches(live.saved.request.labels, request.labels)
        ]
        chosen.sort(key=lambda live: live.saved.generation)
        return st.ContainerList(containers=tuple(live.info() for live in chosen))

    async def processes(self, request: req.ContainerRef) -> st.HostProcessList:
        """Return every process in a container's cgroup."""
        return await processes.list_processes(self.core, await self._find(request.namespace, request.id))

    async def stats(self, request: req.StatsRequest) -> Stats:
        """Return what a container uses now."""
        return usage.take(await self._find(request.namespace, request.id))

    async def watch_stats(self, request: req.StatsRequest) -> AsyncIterator[Stats]:
        """Yield what a container uses every so many seconds, until it ends."""
        live = await self._find(request.namespace, request.id)
        async for sample in usage.watch(live, request.interval):
            yield sample

    async def logs(self, request: req.LogsRequest) -> AsyncIterator[st.LogChunk]:
        """Yield a managed log."""
        live = await self._find(request.namespace, request.id)
        process = live.process(request.process or ids.INIT)
        _check_managed(live, process)
        with live.reading():
            async for chunk in logs.read(live, process, request):
                yield chunk

    @asynccontextmanager
    async def attach(self, request: req.AttachRequest) -> AsyncIterator[follow.Attachment]:
        """Attach to a process's managed stdio; one that has ended for good gives what its log holds."""
        live = await self._find(request.namespace, request.id)
        await live.made.wait()
        process = live.process(request.process or ids.INIT)
        _check_managed(live, process)
        if not -1 <= request.offset < MAX_OFFSET:
            raise errors.InvalidArgument(f"cannot attach to container {live.id}: offset {request.offset}")
        attachment = follow.open_attachment(live, process, request.offset)
        with live.reading():
            try:
                yield attachment
            finally:
                attachment.close()

    async def subscribe(self, request: req.SubscribeRequest) -> AsyncIterator[st.Event]:
        """Yield events above a sequence number, then follow."""
        matches = filters.parse(request.filters)
        await self.core.recovered.wait()
        async for event in self.core.journal.subscribe(request.after, follow=request.follow):
            if matches(event):
                yield event

    async def version(self, request: req.Empty) -> st.Version:
        """Return the version of this package."""
        return st.Version(version=wherry.__version__, api="wherry.v1", python=platform.python_version())

    async def info(self, request: req.Empty) -> st.Info:
        """Return the supervisor and its host."""
        core = self.core
        return st.Info(
            version=wherry.__version__,
            pid=os.getpid(),
            state_dir=str(core.settings.state_dir),
            root_dir=str(core.settings.root_dir),
            cgroup_mode=cgroup.read_mode(),
            kernel=platform.release(),
            recovering=not core.recovered.is_set(),
            containers=len(core.containers),
            running=sum(live.state in ALIVE for live in core.containers.values()),
            last_seq=core.journal.last_seq,
            zygote_pid=core.zygote.pid,
            runtimes=await core.runtimes.probe(),
        )


async def _same(existing: LiveContainer, request: req.CreateRequest) -> LiveContainer:
    """Return the container of an identical request, once it is made. Raises AlreadyExists for another request."""
    if existing.saved.request != request:
        raise errors.AlreadyExists(f"cannot create container {request.id}: it exists, from a different request")
    await existing.made.wait()
    if existing.failure is not None:
        raise existing.failure
    if existing.is_gone:  # a dead supervisor was removing it
        raise errors.Aborted(f"cannot create container {request.id}: the one of that id was deleted meanwhile")
    return existing


def _check_managed(live: LiveContainer, process: LiveProcess) -> None:
    if process.stdio.mode != "managed":
        raise errors.FailedPrecondition(
            f"process {process.id} of container {live.id} has no managed stdio: its streams are the client's own"
        )


def _matches(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())
