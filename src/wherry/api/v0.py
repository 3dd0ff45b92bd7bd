"""`types.API`, the interface of containerd v0.2, for its clients as they are.

What a call does is what the native API does, for containers of the namespace `default`; names, order and texts are
the original's (docs/compat-v0.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import grpc

import wherry
from wherry import errors
from wherry.api import status, v0_checkpoints, v0_events, v0_requests, v0_state, v0_texts
from wherry.api.calls import Calls
from wherry.model import ids
from wherry.model import request as req
from wherry.model import status as st
from wherry.model.lifecycle import ALIVE, State
from wherry.oci import bundle
from wherry.supervisor import birth, kill
from wherry.supervisor.live import LiveContainer, LiveProcess
from wherry.supervisor.supervisor import Supervisor
from wherry.wire import v0_pb2 as pb

T = TypeVar("T")

SERVICE = "types.API"
#: What the original says of itself at v0.2.8; its constant was not kept up to date.
VERSION = (0, 2, 3)
#: Seconds for an ended container to be gone, when its id is wanted again.
GONE_TIMEOUT = 10.0
#: Seconds for a creation that nobody waits for to come to its end by itself: nothing is as clean.
TAKE_BACK_GRACE = 2.0


class Api:
    """The calls. A client that goes away from a creation or an exec takes it back, unless the server stops."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.is_stopping = False
        self._supervisor = supervisor
        self._core = supervisor.core
        #: Where the containers of v0 are, for the texts that name it.
        self._directory = supervisor.core.settings.state_dir / ids.DEFAULT_NAMESPACE
        #: Ids of containers that are being made for us.
        self._claimed: set[str] = set()

    # -- finding ------------------------------------------------------------------------------------------------------

    async def _find(self, container_id: str) -> LiveContainer:
        """Return a container that the original would know, too. Raises NotFound."""
        await self._core.recovered.wait()
        live = self._core.containers.get((ids.DEFAULT_NAMESPACE, container_id))
        if live is None or v0_state.is_forgotten(live):
            raise errors.NotFound(v0_texts.NO_CONTAINER)
        return live

    async def _find_process(self, container_id: str, process_id: str) -> tuple[LiveContainer, LiveProcess]:
        """Return a process that has not ended, but for a container's own, which is kept. Raises NotFound."""
        live = await self._find(container_id)
        process = live.processes.get(process_id)
        if process is None or process.is_check or (process.id != ids.INIT and process.settled.is_set()):
            raise errors.NotFound(v0_texts.NO_PROCESS)
        return live, process

    async def _finish(
        self, work: Coroutine[Any, Any, T], name: str, take_back: Callable[[asyncio.Task[T]], Coroutine[Any, Any, None]]
    ) -> T:
        """Return the result of `work`; when the client does not wait for it, have it taken back (034682e)."""
        task = self._core.tasks.start(work, name)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not self.is_stopping:
                self._core.tasks.start(take_back(task), f"take back {name}")
            raise

    # -- containers ---------------------------------------------------------------------------------------------------

    async def get_server_version(self, _request: pb.GetServerVersionRequest) -> pb.GetServerVersionResponse:
        """Return the version of the interface."""
        major, minor, patch = VERSION
        return pb.GetServerVersionResponse(
            major=major, minor=minor, patch=patch, revision=f"wherry-{wherry.__version__}"
        )

    async def create_container(self, request: pb.CreateContainerRequest) -> pb.CreateContainerResponse:
        """Create a container of a bundle and start it."""
        if not request.bundlePath:
            raise errors.InvalidArgument("empty bundle path")
        v0_requests.check_id(request.id, self._directory)
        await self._core.recovered.wait()
        await self._make_way(request.id)
        path = None
        if request.checkpoint:
            path = v0_checkpoints.find(request.bundlePath, request.checkpoint, request.checkpointDir)
        config = await self._load_config(request.bundlePath)
        runtime = v0_requests.find_runtime(request.runtime)
        wanted = v0_requests.to_create(request, config, runtime)
        await self._make_way(request.id)
        # Nothing gives way between the look above and this claim.
        self._claimed.add(request.id)

        async def take_back(task: asyncio.Task[st.ContainerInfo]) -> None:
            await self._take_back_container(request.id, task)

        info = await self._finish(
            self._create(wanted, str(config["process"]["args"][0]), path), f"create {request.id}", take_back
        )
        live = self._core.containers.get((info.namespace, info.id))
        init = live.init if live is not None and live.saved.generation == info.generation else None
        found = (init.spec, init.pid) if init is not None else (config["process"], 0)
        return pb.CreateContainerResponse(container=v0_state.started(info, *found))

    async def _create(self, request: req.CreateRequest, command: str, path: Path | None) -> st.ContainerInfo:
        try:
            if path is not None:
                return await self._supervisor.run_from(request, path)
            return await self._supervisor.run(request)
        except errors.AlreadyExists:
            raise self._exists(request.id) from None
        except errors.WherryError as error:
            raise v0_texts.of_start(error, command) from error
        finally:
            self._claimed.discard(request.id)

    def _exists(self, *parts: str) -> errors.AlreadyExists:
        return errors.AlreadyExists(f"mkdir {self._directory.joinpath(*parts)}: file exists")

    async def _make_way(self, container_id: str) -> None:
        """Wait until an ended container of that id is gone. Raises AlreadyExists for another one."""
        try:
            async with asyncio.timeout(GONE_TIMEOUT):
                while live := self._core.containers.get((ids.DEFAULT_NAMESPACE, container_id)):
                    if container_id in self._claimed or not v0_state.is_forgotten(live):
                        break
                    await self._supervisor.delete(req.DeleteRequest(id=container_id))
        except (TimeoutError, errors.FailedPrecondition):
            raise self._exists(container_id) from None
        except errors.NotFound:
            pass  # gone just now
        if container_id in self._claimed or (ids.DEFAULT_NAMESPACE, container_id) in self._core.containers:
            raise self._exists(container_id)

    async def _load_config(self, path: str) -> dict[str, Any]:
        file = str(Path(path) / "config.json")
        if not path.startswith("/") or "\0" in path:
            raise errors.InvalidArgument(f"bundle path {path[:100]!r} is not valid: it is not an absolute path")
        try:
            return await self._core.thread(bundle.load_config, Path(file))
        except errors.WherryError as error:
            raise v0_texts.of_bundle(error, file) from error

    async def _take_back_container(self, container_id: str, task: asyncio.Task[st.ContainerInfo]) -> None:
        if not await _ends_soon(task):
            live = self._core.containers.get((ids.DEFAULT_NAMESPACE, container_id))
            if live is not None and live.init is not None and live.init.disk is not None:
                await self._core.thread(kill.end_shim, live.init.disk)
        try:
            generation = (await task).generation
            live = self._core.containers.get((ids.DEFAULT_NAMESPACE, container_id))
            if live is not None and live.saved.generation == generation:
                await self._supervisor.delete(req.DeleteRequest(id=container_id, force=True))
        except errors.WherryError:
            pass  # it was not made, or has ended: nothing to take back

    async def update_container(self, request: pb.UpdateContainerRequest) -> pb.UpdateContainerResponse:
        """Pause or resume a container, else change its limits."""
        live = await self._find(request.id)
        ref = req.ContainerRef(id=live.id)
        if request.status in ("paused", "running"):
            change = self._supervisor.pause if request.status == "paused" else self._supervisor.resume
            try:
                await change(ref)
            except errors.FailedPrecondition as error:
                said = "container not running" if request.status == "paused" else "container not paused"
                raise v0_texts.again(error, v0_texts.of_runtime(errors.Internal(said)).message) from error
            except errors.RuntimeFailed as error:
                raise v0_texts.of_runtime(error) from error
        elif request.status:
            raise errors.InvalidArgument("containerd: unknown container status ")
        elif request.HasField("resources"):
            limits = v0_requests.to_limits(live.id, request.resources)
            if limits != req.Limits():
                await self._supervisor.update(req.UpdateRequest(id=live.id, limits=limits))
        return pb.UpdateContainerResponse()

    async def state(self, request: pb.StateRequest) -> pb.StateResponse:
        """Return all containers, or one."""
        if request.id:
            chosen = [await self._find(request.id)]
        else:
            await self._core.recovered.wait()
            chosen = [
                live
                for live in self._core.containers.values()
                if live.disk.namespace == ids.DEFAULT_NAMESPACE and live.state is not State.CREATING
            ]
        chosen.sort(key=lambda live: live.saved.generation)
        pids = await asyncio.gather(*(self._read_pids(live) for live in chosen))
        found = [
            v0_state.container(live, numbers)
            for live, numbers in zip(chosen, pids, strict=True)
            if not v0_state.is_forgotten(live)
        ]
        return pb.StateResponse(containers=found, machine=v0_state.machine())

    async def _read_pids(self, live: LiveContainer) -> list[int]:
        """Return the processes in a container; none of one that ends meanwhile, which is no reason to fail."""
        if live.state not in ALIVE or v0_state.is_forgotten(live):
            return []
        try:
            found = await self._supervisor.processes(req.ContainerRef(id=live.id))
        except (errors.FailedPrecondition, errors.NotFound):
            return []
        return [process.pid for process in found.processes]

    async def stats(self, request: pb.StatsRequest) -> pb.StatsResponse:
        """Return what a container uses."""
        live = await self._find(request.id)
        return v0_state.stats(await self._supervisor.stats(req.StatsRequest(id=live.id)))

    # -- processes ----------------------------------------------------------------------------------------------------

    async def add_process(self, request: pb.AddProcessRequest) -> pb.AddProcessResponse:
        """Start a further process in a container; the id of one that has ended is free again."""
        if not request.id:
            raise errors.InvalidArgument("container id cannot be empty")
        if not request.pid:
            raise errors.InvalidArgument("process id cannot be empty")
        live = await self._find(request.id)
        ids.check("process id", request.pid)
        init = live.init
        wanted = v0_requests.to_exec(request, init.spec if init is not None else {})
        birth.forget_exec(live, request.pid)
        if request.pid in live.processes or request.pid == ids.INIT:
            raise self._exists(request.id, request.pid)

        async def take_back(task: asyncio.Task[int]) -> None:
            await self._take_back_exec(live, request.pid, task)

        work = self._exec(live, wanted, request.args[0])
        pid = await self._finish(work, f"exec {live.id}/{request.pid}", take_back)
        return pb.AddProcessResponse(systemPid=pid)

    async def _exec(self, live: LiveContainer, request: req.ExecRequest, command: str) -> int:
        try:
            info = await self._supervisor.exec(request)
        except errors.AlreadyExists:
            raise self._exists(request.id, request.process) from None
        except errors.NotFound as error:
            if isinstance(error, errors.CommandNotFound) or not live.is_gone:
                raise v0_texts.of_start(error, command) from error
            raise errors.NotFound(v0_texts.NO_CONTAINER) from error
        except errors.FailedPrecondition as error:
            if live.state is State.RUNNING:
                raise v0_texts.of_start(error, command) from error
            kind = live.state.value if live.state in (State.CREATING, State.CREATED, State.PAUSED) else "stopped"
            text = f"oci runtime error: exec failed: cannot exec in a {kind} container"
            raise errors.FailedPrecondition(text) from error
        except errors.WherryError as error:
            raise v0_texts.of_start(error, command) from error
        # One that has ended already has a number all the same.
        process = live.processes.get(info.id)
        return process.pid if process is not None else info.pid

    async def _take_back_exec(self, live: LiveContainer, process_id: str, task: asyncio.Task[int]) -> None:
        process = live.processes.get(process_id)
        if not await _ends_soon(task) and process is not None and process.disk is not None:
            await self._core.thread(kill.end_shim, process.disk)
        try:
            await task
            await self._supervisor.kill(req.KillRequest(id=live.id, process=process_id, signal=9))
        except errors.WherryError:
            pass  # it was not made, or has ended: nothing to take back

    async def update_process(self, request: pb.UpdateProcessRequest) -> pb.UpdateProcessResponse:
        """Close a process's stdin, set the size of its terminal, or both; no terminal, no size."""
        live, process = await self._find_process(request.id, request.pid)
        if process.settled.is_set():
            raise errors.NotFound(v0_texts.NO_PROCESS)
        if request.closeStdin:
            await self._supervisor.close_stdin(req.ProcessRef(id=live.id, process=process.id))
        if (request.width or request.height) and process.spec.get("terminal"):
            size = req.ResizeRequest(id=live.id, process=process.id, width=request.width, height=request.height)
            await self._supervisor.resize(size)
        return pb.UpdateProcessResponse()

    async def signal(self, request: pb.SignalRequest) -> pb.SignalResponse:
        """Send a signal to a process; 0 asks whether it is there."""
        live, process = await self._find_process(request.id, request.pid)
        if not 0 <= request.signal <= 64:
            raise errors.InvalidArgument("invalid argument")
        try:
            if request.signal:
                await self._supervisor.kill(req.KillRequest(id=live.id, process=process.id, signal=request.signal))
            elif process.settled.is_set():
                raise errors.FailedPrecondition(f"process {process.id} has ended")
            else:
                process.opened().send_signal(0)
        except errors.FailedPrecondition as error:
            raise v0_texts.again(error, "no such process") from error
        except (errors.PermissionDenied, PermissionError) as error:
            raise errors.PermissionDenied("operation not permitted") from error
        return pb.SignalResponse()

    # -- checkpoints --------------------------------------------------------------------------------------------------

    async def create_checkpoint(self, request: pb.CreateCheckpointRequest) -> pb.CreateCheckpointResponse:
        """Write a running container down."""
        live = await self._find(request.id)
        if not request.HasField("checkpoint"):
            raise errors.InvalidArgument("checkpoint cannot be empty")
        v0_requests.check_checkpoint(request.checkpoint.name, request.checkpointDir)
        await v0_checkpoints.create(self._supervisor, live, request)
        return pb.CreateCheckpointResponse()

    async def delete_checkpoint(self, request: pb.DeleteCheckpointRequest) -> pb.DeleteCheckpointResponse:
        """Delete a checkpoint; one that is not there is fine."""
        v0_requests.check_checkpoint(request.name, request.checkpointDir)
        live = await self._find(request.id)
        await self._core.thread(v0_checkpoints.delete, live, request)
        return pb.DeleteCheckpointResponse()

    async def list_checkpoint(self, request: pb.ListCheckpointRequest) -> pb.ListCheckpointResponse:
        """Return the checkpoints in a directory."""
        try:
            live = await self._find(request.id)
        except errors.NotFound as error:
            raise v0_texts.again(error, "no such containers") from error
        if request.checkpointDir:
            v0_requests.check_checkpoint("any", request.checkpointDir)
        found = await self._core.thread(v0_checkpoints.list_all, live, request)
        return pb.ListCheckpointResponse(checkpoints=found)

    # -- events -------------------------------------------------------------------------------------------------------

    async def events(self, request: pb.EventsRequest, context: Any) -> AsyncIterator[pb.Event]:
        """Yield events, of all containers or one."""
        feed = v0_events.Feed(self._supervisor, v0_requests.to_time_ns(request), request)
        await context.send_initial_metadata(())  # tells the client that nothing is missed from now on
        async for event in feed.read():
            yield event


async def _ends_soon(task: asyncio.Task[Any]) -> bool:
    return bool((await asyncio.wait([task], timeout=TAKE_BACK_GRACE))[0])


_CALLS: dict[str, str] = {
    "GetServerVersion": "get_server_version",
    "CreateContainer": "create_container",
    "UpdateContainer": "update_container",
    "Signal": "signal",
    "UpdateProcess": "update_process",
    "AddProcess": "add_process",
    "CreateCheckpoint": "create_checkpoint",
    "DeleteCheckpoint": "delete_checkpoint",
    "ListCheckpoint": "list_checkpoint",
    "State": "state",
    "Stats": "stats",
}


def handler(api: Api, calls: Calls) -> grpc.GenericRpcHandler:
    """Return the handler of `types.API`."""
    table = {wire: _unary(wire, getattr(api, name), calls) for wire, name in _CALLS.items()}
    table["Events"] = grpc.unary_stream_rpc_method_handler(_events(api, calls), None, pb.Event.SerializeToString)
    return grpc.method_handlers_generic_handler(SERVICE, table)


def _unary(wire: str, call: Callable[[Any], Coroutine[Any, Any, Any]], calls: Calls) -> grpc.RpcMethodHandler[Any, Any]:
    read = getattr(pb, f"{wire}Request")

    async def handle(data: bytes, context: Any) -> Any:
        try:
            with calls:
                return await call(status.read_message(read, data))
        except Exception as error:  # noqa: BLE001 - the RPC boundary
            await status.abort(context, error)

    return grpc.unary_unary_rpc_method_handler(handle, None, getattr(pb, f"{wire}Response").SerializeToString)


def _events(api: Api, calls: Calls) -> Callable[[bytes, Any], AsyncIterator[pb.Event]]:
    async def handle(data: bytes, context: Any) -> AsyncIterator[pb.Event]:
        try:
            with calls:
                async for event in api.events(status.read_message(pb.EventsRequest, data), context):
                    yield event
        except Exception as error:  # noqa: BLE001 - the RPC boundary
            await status.abort(context, error)

    return handle
