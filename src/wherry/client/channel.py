"""The service at the other end of a gRPC channel."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import grpc
import grpc.aio

from wherry import errors
from wherry.model import checkpoint as cp
from wherry.model import migration as mg
from wherry.model import request as req
from wherry.model import status as st
from wherry.model.stats import Stats
from wherry.wire import convert, methods
from wherry.wire import wherry_v1_pb2 as pb

_BY_CODE: dict[int, type[errors.WherryError]] = {
    int(errors.Code.CANCELLED): errors.Cancelled,
    int(errors.Code.INVALID_ARGUMENT): errors.InvalidArgument,
    int(errors.Code.DEADLINE_EXCEEDED): errors.DeadlineExceeded,
    int(errors.Code.NOT_FOUND): errors.NotFound,
    int(errors.Code.ALREADY_EXISTS): errors.AlreadyExists,
    int(errors.Code.PERMISSION_DENIED): errors.PermissionDenied,
    int(errors.Code.RESOURCE_EXHAUSTED): errors.ResourceExhausted,
    int(errors.Code.FAILED_PRECONDITION): errors.FailedPrecondition,
    int(errors.Code.ABORTED): errors.Aborted,
    int(errors.Code.OUT_OF_RANGE): errors.OutOfRange,
    int(errors.Code.UNIMPLEMENTED): errors.Unimplemented,
    int(errors.Code.INTERNAL): errors.Internal,
    int(errors.Code.UNAVAILABLE): errors.Unavailable,
    int(errors.Code.DATA_LOSS): errors.DataLoss,
}


#: Seconds for the daemon to deliver what was written to an attachment that is being left.
LEAVE_TIMEOUT = 2.0
_ENDED = "cannot write to the process: it has ended"


def to_error(error: grpc.aio.AioRpcError) -> errors.WherryError:
    """Return the error that the daemon raised; by its name, else by its code."""
    details = error.details() or error.code().name
    for key, value in error.trailing_metadata() or ():
        name = value.decode() if isinstance(value, bytes) else value
        if key == methods.ERROR_KEY and name in errors.named():
            return errors.named()[name](details)
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return errors.Unavailable(f"the daemon went away: {details}")
    code = error.code().value[0]
    return _BY_CODE.get(code, errors.WherryError)(details)


class _Attachment:
    """The client's half of an Attach call. `reopen` makes another one, from a position in the log on."""

    def __init__(self, call: Any, offset: int, reopen: Callable[[int], Awaitable[Any]]) -> None:
        self.call = call
        self._offset = offset
        self._reopen = reopen
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[st.Output]:
        while True:
            try:
                while (message := await self.call.read()) is not grpc.aio.EOF:
                    output = convert.from_message(st.Output, message)
                    self._offset = max(self._offset, output.offset)
                    yield output
                return
            except grpc.aio.AioRpcError as error:
                if not _is_own(error):
                    raise to_error(error) from None
            if self._offset < 0:
                return
            # A write behind the end of the call has made gRPC forget what was still to be read.
            self.call = await self._reopen(self._offset)

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), 1 << 20):
            await self._write(pb.AttachInput(data=data[start : start + (1 << 20)]))

    async def close_stdin(self) -> None:
        await self._write(pb.AttachInput(close_stdin=True))
        told = await self.call.initial_metadata() or ()
        self._is_closed = (methods.TERMINAL_KEY, "1") not in {(key, value) for key, value in told}

    async def _write(self, message: pb.AttachInput) -> None:
        if self._is_closed:
            raise errors.FailedPrecondition("cannot write to the process: its stdin was closed here")
        try:
            await self.call.write(message)
        except grpc.aio.AioRpcError as error:
            if not _is_own(error):
                raise to_error(error) from None
            raise errors.FailedPrecondition(_ENDED) from None
        except (asyncio.InvalidStateError, grpc.aio.BaseError):  # the call has ended under our hands
            raise errors.FailedPrecondition(_ENDED) from None


def _is_own(error: grpc.aio.AioRpcError) -> bool:
    """Tell whether gRPC on our side made the error: for a write to a call whose end it has not told us yet."""
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == "Internal error from Core"


async def _leave(call: Any) -> None:
    """End an attach so that what was written before is delivered: a cancelled call forgets what is on its way."""
    with contextlib.suppress(TimeoutError, grpc.aio.BaseError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
        async with asyncio.timeout(LEAVE_TIMEOUT):
            await call.write(pb.AttachInput(detach=True))
            while await call.read() is not grpc.aio.EOF:
                pass


class Remote:
    """Calls a daemon; implements `client.service.Service`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._attached: dict[tuple[str, str, str], list[_Attachment]] = {}

    async def _call(self, name: str, request: Any) -> Any:
        method = methods.find(name)
        call: Any = self._channel.unary_unary(
            method.path,
            request_serializer=lambda message: cast("bytes", message.SerializeToString()),
            response_deserializer=convert.message_of(method.response).FromString,
        )
        try:
            answer = await call(convert.to_message(request))
        except grpc.aio.AioRpcError as error:
            raise to_error(error) from None
        return convert.from_message(method.response, answer)

    async def _stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        method = methods.find(name)
        call: Any = self._channel.unary_stream(
            method.path,
            request_serializer=lambda message: cast("bytes", message.SerializeToString()),
            response_deserializer=convert.message_of(method.response).FromString,
        )(convert.to_message(request))
        try:
            async for message in call:
                yield convert.from_message(method.response, message)
        except grpc.aio.AioRpcError as error:
            raise to_error(error) from None
        finally:
            call.cancel()

    async def create(self, request: req.CreateRequest) -> st.ContainerInfo:
        return cast("st.ContainerInfo", await self._call("create", request))

    async def start(self, request: req.ContainerRef) -> st.ContainerInfo:
        return cast("st.ContainerInfo", await self._call("start", request))

    async def run(self, request: req.CreateRequest) -> st.ContainerInfo:
        return cast("st.ContainerInfo", await self._call("run", request))

    async def exec(self, request: req.ExecRequest) -> st.ProcessInfo:
        return cast("st.ProcessInfo", await self._call("exec", request))

    async def kill(self, request: req.KillRequest) -> req.Empty:
        return cast("req.Empty", await self._call("kill", request))

    async def stop(self, request: req.StopRequest) -> st.ExitRecord:
        return cast("st.ExitRecord", await self._call("stop", request))

    async def restart(self, request: req.StopRequest) -> st.ContainerInfo:
        return cast("st.ContainerInfo", await self._call("restart", request))

    async def pause(self, request: req.ContainerRef) -> st.ContainerInfo:
        return cast("st.ContainerInfo", await self._call("pause", request))

    async def resume(self, request: req.ContainerRef) -> st.ContainerInfo:
        return cast("st.ContainerInfo", await self._call("resume", request))

    async def update(self, request: req.UpdateRequest) -> st.ContainerInfo:
        return cast("st.ContainerInfo", await self._call("update", request))

    async def processes(self, request: req.ContainerRef) -> st.HostProcessList:
        return cast("st.HostProcessList", await self._call("processes", request))

    async def wait(self, request: req.ProcessRef) -> st.ExitRecord:
        return cast("st.ExitRecord", await self._call("wait", request))

    async def delete(self, request: req.DeleteRequest) -> req.Empty:
        return cast("req.Empty", await self._call("delete", request))

    async def get(self, request: req.ContainerRef) -> st.ContainerInfo:
        return cast("st.ContainerInfo", await self._call("get", request))

    async def list(self, request: req.ListRequest) -> st.ContainerList:
        return cast("st.ContainerList", await self._call("list", request))

    async def close_stdin(self, request: req.ProcessRef) -> req.Empty:
        # What was written to an attachment may be on its way: the end must not overtake it.
        for attachment in self._attached.get((request.namespace, request.id, request.process), ()):
            with contextlib.suppress(errors.FailedPrecondition):
                await attachment.close_stdin()
                return req.Empty()
        return cast("req.Empty", await self._call("close_stdin", request))

    async def resize(self, request: req.ResizeRequest) -> req.Empty:
        return cast("req.Empty", await self._call("resize", request))

    async def version(self, request: req.Empty) -> st.Version:
        return cast("st.Version", await self._call("version", request))

    async def info(self, request: req.Empty) -> st.Info:
        return cast("st.Info", await self._call("info", request))

    async def checkpoint(self, request: cp.CheckpointRequest) -> cp.CheckpointInfo:
        return cast("cp.CheckpointInfo", await self._call("checkpoint", request))

    async def list_checkpoints(self, request: cp.ListCheckpointsRequest) -> cp.CheckpointList:
        return cast("cp.CheckpointList", await self._call("list_checkpoints", request))

    async def get_checkpoint(self, request: cp.CheckpointRef) -> cp.CheckpointInfo:
        return cast("cp.CheckpointInfo", await self._call("get_checkpoint", request))

    async def delete_checkpoint(self, request: cp.CheckpointRef) -> req.Empty:
        return cast("req.Empty", await self._call("delete_checkpoint", request))

    async def restore(self, request: cp.CheckpointRef) -> st.ContainerInfo:
        return cast("st.ContainerInfo", await self._call("restore", request))

    async def clone(self, request: cp.CloneRequest) -> st.ContainerList:
        return cast("st.ContainerList", await self._call("clone", request))

    def export_checkpoint(self, request: cp.CheckpointRef) -> AsyncIterator[cp.CheckpointPiece]:
        return self._stream("export_checkpoint", request)

    async def import_checkpoint(self, request: cp.ImportRequest, data: AsyncIterator[bytes]) -> cp.CheckpointInfo:
        made = await self._upload(methods.IMPORT, pb.ImportInput, pb.CheckpointInfo, request, data)
        return convert.from_message(cp.CheckpointInfo, made)

    async def migrate(self, request: mg.MigrateRequest) -> mg.MigrationInfo:
        return cast("mg.MigrationInfo", await self._call("migrate", request))

    async def offer(self, request: mg.MigrationOffer) -> req.Empty:
        return cast("req.Empty", await self._call("offer", request))

    async def receive(self, request: mg.MigrationOffer, data: AsyncIterator[bytes]) -> req.Empty:
        await self._upload(methods.RECEIVE, pb.ReceiveInput, pb.Empty, request, data)
        return req.Empty()

    async def commit(self, request: mg.MigrationToken) -> mg.Arrival:
        return cast("mg.Arrival", await self._call("commit", request))

    async def abandon(self, request: mg.MigrationToken) -> req.Empty:
        return cast("req.Empty", await self._call("abandon", request))

    async def forget(self, request: mg.MigrationToken) -> req.Empty:
        return cast("req.Empty", await self._call("forget", request))

    async def _upload(self, path: str, message: Any, answer: Any, start: Any, data: AsyncIterator[bytes]) -> Any:
        """Send `start`, then bytes; return the answer. `data` is used up, or closed; what it raises is raised."""
        failures: list[Exception] = []

        async def inputs() -> AsyncIterator[Any]:
            yield message(start=convert.to_message(start))
            try:
                async with aclosing(data):  # type: ignore[type-var]
                    async for piece in data:
                        for begin in range(0, len(piece), 1 << 20):
                            yield message(data=piece[begin : begin + (1 << 20)])
            except Exception as error:
                failures.append(error)
                raise

        call: Any = self._channel.stream_unary(
            path, request_serializer=message.SerializeToString, response_deserializer=answer.FromString
        )(inputs())
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise to_error(error) from None
        except asyncio.CancelledError:  # by gRPC, which keeps to itself why
            if failures:
                raise failures[0] from None
            raise
        finally:
            call.cancel()

    async def stats(self, request: req.StatsRequest) -> Stats:
        return cast("Stats", await self._call("stats", request))

    def watch_stats(self, request: req.StatsRequest) -> AsyncIterator[Stats]:
        return self._stream("watch_stats", request)

    def logs(self, request: req.LogsRequest) -> AsyncIterator[st.LogChunk]:
        return self._stream("logs", request)

    def subscribe(self, request: req.SubscribeRequest) -> AsyncIterator[st.Event]:
        return self._stream("subscribe", request)

    @asynccontextmanager
    async def attach(self, request: req.AttachRequest) -> AsyncIterator[_Attachment]:
        calls: list[Any] = []

        async def reopen(offset: int) -> Any:
            calls.append(await self._open_attach(dataclasses.replace(request, offset=offset)))
            return calls[-1]

        try:
            attachment = _Attachment(await reopen(request.offset), request.offset, reopen)
            with self._listed(request, attachment):
                yield attachment
            await _leave(attachment.call)
        except grpc.aio.AioRpcError as error:
            raise to_error(error) from None
        finally:
            for call in calls:
                call.cancel()

    @contextlib.contextmanager
    def _listed(self, request: req.AttachRequest, attachment: _Attachment) -> Iterator[None]:
        key = (request.namespace, request.id, request.process)
        self._attached.setdefault(key, []).append(attachment)
        try:
            yield
        finally:
            self._attached[key].remove(attachment)
            if not self._attached[key]:
                del self._attached[key]

    async def _open_attach(self, request: req.AttachRequest) -> Any:
        call: Any = self._channel.stream_stream(
            methods.ATTACH,
            request_serializer=pb.AttachInput.SerializeToString,
            response_deserializer=pb.Output.FromString,
        )()
        try:
            await call.write(pb.AttachInput(start=convert.to_message(request)))
            # The daemon sends its head once it is attached: from then on nothing is missed.
            await call.initial_metadata()
            if call.done() and await call.code() != grpc.StatusCode.OK:
                await call.read()
        except BaseException as error:
            call.cancel()
            is_late = isinstance(error, asyncio.InvalidStateError | grpc.aio.BaseError)  # it ended before the write
            if is_late or (isinstance(error, grpc.aio.AioRpcError) and _is_own(error)):
                await self._hear_refusal(request)
            raise
        return call

    async def _hear_refusal(self, request: req.AttachRequest) -> None:
        """Raise why an attach was refused: a write that came after the refusal has made gRPC forget it.

        Asked in one piece there is no such write. Seen with a role that may not attach, two times in five.
        """
        call: Any = self._channel.unary_stream(
            methods.ATTACH,
            request_serializer=pb.AttachInput.SerializeToString,
            response_deserializer=pb.Output.FromString,
        )(pb.AttachInput(start=convert.to_message(request)))
        try:
            with contextlib.suppress(TimeoutError):  # not refused this time
                async with asyncio.timeout(LEAVE_TIMEOUT):
                    await call.read()
        finally:
            call.cancel()
