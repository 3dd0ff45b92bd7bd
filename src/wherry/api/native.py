"""`wherry.v1` on the wire: each call becomes one call of the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from wherry import errors
from wherry.api import status
from wherry.api.calls import Calls
from wherry.model import checkpoint as cp
from wherry.model import migration as mg
from wherry.model import request as req
from wherry.model import status as st
from wherry.supervisor.follow import Attachment
from wherry.supervisor.supervisor import Supervisor
from wherry.wire import convert, methods
from wherry.wire import wherry_v1_pb2 as pb


def handlers(service: Supervisor, calls: Calls) -> list[grpc.GenericRpcHandler]:
    """Return the handlers of all services of `wherry.v1`."""
    by_service: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
    for (group, wire), method in methods.METHODS.items():
        make = _stream_handler if method.streams else _unary_handler
        by_service.setdefault(group, {})[wire] = make(method, getattr(service, method.name), calls)
    by_service["Containers"]["Attach"] = grpc.stream_stream_rpc_method_handler(
        _attach(service, calls), pb.AttachInput.FromString, pb.Output.SerializeToString
    )
    by_service["Containers"]["ImportCheckpoint"] = grpc.stream_unary_rpc_method_handler(
        _upload(service.import_checkpoint, cp.ImportRequest, calls), pb.ImportInput.FromString, _serialize
    )
    by_service["Migrations"]["Receive"] = grpc.stream_unary_rpc_method_handler(
        _upload(service.receive, mg.MigrationOffer, calls), pb.ReceiveInput.FromString, _serialize
    )
    return [grpc.method_handlers_generic_handler(f"wherry.v1.{name}", table) for name, table in by_service.items()]


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _read(method: methods.Method, data: bytes) -> Any:
    return convert.from_message(method.request, status.read_message(convert.message_of(method.request), data))


def _unary_handler(method: methods.Method, call: Callable[[Any], Any], calls: Calls) -> grpc.RpcMethodHandler[Any, Any]:
    async def handle(data: bytes, context: Any) -> Any:
        try:
            with calls:
                return convert.to_message(await call(_read(method, data)))
        except Exception as error:  # noqa: BLE001 - the RPC boundary
            await status.abort(context, error)

    return grpc.unary_unary_rpc_method_handler(handle, None, _serialize)


def _stream_handler(
    method: methods.Method, call: Callable[[Any], AsyncIterator[Any]], calls: Calls
) -> grpc.RpcMethodHandler[Any, Any]:
    async def handle(data: bytes, context: Any) -> AsyncIterator[Any]:
        try:
            with calls:
                async for item in call(_read(method, data)):
                    yield convert.to_message(item)
        except Exception as error:  # noqa: BLE001 - the RPC boundary
            await status.abort(context, error)

    return grpc.unary_stream_rpc_method_handler(handle, None, _serialize)


def _attach(
    service: Supervisor, calls: Calls
) -> Callable[[AsyncIterator[pb.AttachInput], Any], AsyncIterator[pb.Output]]:
    async def handle(inputs: AsyncIterator[pb.AttachInput], context: Any) -> AsyncIterator[pb.Output]:
        try:
            with calls:
                first = await anext(inputs, None)
                if first is None or not first.HasField("start"):
                    raise errors.InvalidArgument("cannot attach: the first message must carry `start`")
                async with service.attach(convert.from_message(req.AttachRequest, first.start)) as attachment:
                    # Tells the client that it is attached: what happens from now on it will see.
                    await context.send_initial_metadata(((methods.TERMINAL_KEY, str(int(attachment.is_terminal))),))
                    async for output in _outputs(service, attachment, inputs):
                        yield convert.to_message(output)
        except Exception as error:  # noqa: BLE001 - the RPC boundary
            await status.abort(context, error)

    return handle


async def _outputs(
    service: Supervisor, attachment: Attachment, inputs: AsyncIterator[pb.AttachInput]
) -> AsyncIterator[st.Output]:
    feeder = service.core.tasks.start(_feed(attachment, inputs), "attach input")
    try:
        async for output in attachment:
            yield output
    finally:
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)


async def _feed(attachment: Attachment, inputs: AsyncIterator[pb.AttachInput]) -> None:
    """Carry what the client sends to the process; what comes after its end is nobody's."""
    try:
        async for message in inputs:
            if message.data:
                await attachment.write(message.data)
            if message.close_stdin:
                await attachment.close_stdin()
            if message.detach:
                attachment.leave()
                return
    except errors.FailedPrecondition:
        return


def _upload(
    call: Callable[[Any, AsyncIterator[bytes]], Awaitable[Any]], start: type, calls: Calls
) -> Callable[[AsyncIterator[Any], Any], Awaitable[Any]]:
    """Return the handler of a call that takes a `start`, and bytes after it."""

    async def handle(inputs: AsyncIterator[Any], context: Any) -> Any:
        try:
            with calls:
                first = await anext(inputs, None)
                if first is None or not first.HasField("start"):
                    raise errors.InvalidArgument("the first message must carry `start`")
                return convert.to_message(await call(convert.from_message(start, first.start), _pieces(inputs)))
        except Exception as error:  # noqa: BLE001 - the RPC boundary
            await status.abort(context, error)

    return handle


async def _pieces(inputs: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for message in inputs:
        yield message.data
