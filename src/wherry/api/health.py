"""`grpc.health.v1`: Check and Watch (grpc/health/v1/health.proto of the gRPC project)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from wherry import errors
from wherry.api import status
from wherry.wire import health_v1_pb2 as pb

SERVICES = ("", "wherry.v1.Containers", "wherry.v1.Events", "wherry.v1.System", "types.API")


class Health:
    """NOT_SERVING while recovering and while stopping, SERVING in between."""

    def __init__(self) -> None:
        self._serving = False
        self._changed = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        """Tell whether calls are answered now; watchers hear of it."""
        self._serving = serving
        self._changed.set()
        self._changed = asyncio.Event()

    def _status(self, service: str) -> pb.HealthCheckResponse:
        kind = pb.HealthCheckResponse
        if service not in SERVICES:
            return kind(status=kind.SERVICE_UNKNOWN)
        return kind(status=kind.SERVING if self._serving else kind.NOT_SERVING)

    async def check(self, data: bytes, context: Any) -> pb.HealthCheckResponse:
        """Answer once."""
        service = await _read_service(data, context)
        answer = self._status(service)
        if answer.status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"unknown service {service!r}")
        return answer

    async def watch(self, data: bytes, context: Any) -> AsyncIterator[pb.HealthCheckResponse]:
        """Answer at once and at each change."""
        service = await _read_service(data, context)
        while True:
            changed = self._changed
            yield self._status(service)
            await changed.wait()

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler of `grpc.health.v1.Health`."""
        write = pb.HealthCheckResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.unary_unary_rpc_method_handler(self.check, None, write),
                "Watch": grpc.unary_stream_rpc_method_handler(self.watch, None, write),
            },
        )


async def _read_service(data: bytes, context: Any) -> str:
    try:
        service: str = status.read_message(pb.HealthCheckRequest, data).service
    except errors.InvalidArgument as error:
        await status.abort(context, error)
    return service
