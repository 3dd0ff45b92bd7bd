"""Who may call what on TCP: decided before every call, by the names in the client's verified certificate."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import grpc
import grpc.aio

from wherry import errors
from wherry.api import roles, status

_logger = logging.getLogger(__name__)
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Read: TypeAlias = Callable[[Any], Any]
_Take: TypeAlias = Callable[[Any, Any], Awaitable[Any]]
_Check: TypeAlias = Callable[[Any], Awaitable[None]]


class Gate(grpc.aio.ServerInterceptor):
    """Lets a call through when a name in the certificate has a role that allows it, and no other."""

    def __init__(self, clients: Mapping[str, str]) -> None:
        self._clients = dict(clients)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Return the handler of a call behind the check; who calls is known only once it has begun."""
        found = await continuation(handler_call_details)
        check = functools.partial(self._check, handler_call_details.method)
        if found is None:
            return _unknown(check)
        return _guard_stream(found, check) if found.response_streaming else _guard(found, check)

    async def _check(self, path: str, context: Any) -> None:
        """End the call with PermissionDenied unless it is allowed."""
        names = read_names(context.auth_context())
        if any(roles.may_call(self._clients[name], path) for name in names if name in self._clients):
            return
        error = errors.PermissionDenied(f"cannot call {path}: {self._explain(names)}")
        _logger.info("refused to %s: %s", context.peer(), error.message)
        await status.abort(context, error)

    def _explain(self, names: list[str]) -> str:
        known = [f"{name!r} has the role {self._clients[name]}" for name in names if name in self._clients]
        if known:
            return f"{' and '.join(known)}, which does not allow it"
        shown = " or ".join(map(repr, names)) or "a certificate without a name"
        return f"tls-clients of this wherryd gives no role to {shown}"


def read_names(properties: Mapping[str, Any] | None) -> list[str]:
    """Return the subject's common name and the DNS names of a verified certificate.

    Names of other kinds do not count: an e-mail address or a URI may look like one of these.
    """
    found = properties or {}
    values = [*found.get("x509_common_name", ()), *found.get("peer_dns", ())]
    return list(dict.fromkeys(value.decode("utf-8", "replace") for value in values if value))


def _guard(handler: _Handler, check: _Check) -> _Handler:
    inner: Any = handler.stream_unary if handler.request_streaming else handler.unary_unary
    deserialize, take = _split_reading(handler)

    async def handle(requests: Any, context: Any) -> Any:
        await check(context)
        return await inner(await take(requests, context), context)

    return grpc.stream_unary_rpc_method_handler(handle, deserialize, handler.response_serializer)


def _guard_stream(handler: _Handler, check: _Check) -> _Handler:
    inner: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream
    deserialize, take = _split_reading(handler)

    async def handle(requests: Any, context: Any) -> AsyncIterator[Any]:
        await check(context)
        async with contextlib.aclosing(inner(await take(requests, context), context)) as answers:
            async for answer in answers:
                yield answer

    return grpc.stream_stream_rpc_method_handler(handle, deserialize, handler.response_serializer)


def _split_reading(handler: _Handler) -> tuple[_Read | None, _Take]:
    """Return how gRPC is to read messages, and how we are to get the request once the caller is known.

    To gRPC every call on TCP has a stream of requests, which are received when they are asked for. A single one it
    would receive whole (methods.MAX_REQUEST) before the handler is called, from anybody, in as many calls as he likes;
    and bytes that are none would end in a traceback in the log.
    """
    deserialize = handler.request_deserializer

    async def take_stream(requests: Any, _context: Any) -> Any:
        return requests

    async def take_one(_requests: Any, context: Any) -> Any:
        data = await context.read()
        if data is grpc.aio.EOF:
            await status.abort(context, errors.InvalidArgument("cannot read the request: there is none"))
        return deserialize(data) if deserialize else data

    return (deserialize, take_stream) if handler.request_streaming else (None, take_one)


def _unknown(check: _Check) -> _Handler:
    """Return a handler for a call that does not exist: only who may call everything is told so."""

    async def handle(_requests: Any, context: Any) -> AsyncIterator[bytes]:
        await check(context)
        # The words of gRPC itself.
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        yield b""

    return grpc.stream_stream_rpc_method_handler(handle)
