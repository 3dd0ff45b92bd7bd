"""`types.API` of Wherry: a container is created, which starts it, and gone once its exit event has come."""

from __future__ import annotations

import asyncio
import importlib.util
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from bench.stage import Stage, UnusableError

#: Seconds for a container that runs `true` to be told of.
_TIMEOUT = 30.0


class V0:
    """A connection to `types.API` with one subscriber. Used inside the loop that it was opened in."""

    def __init__(self, stage: Stage, socket_path: Path) -> None:
        if importlib.util.find_spec("wherry.api.v0") is None:
            raise UnusableError("this Wherry has no types.API")
        from wherry.wire import v0_pb2

        self._pb: Any = v0_pb2
        self._stage = stage
        self._path = socket_path
        self._exits: dict[str, asyncio.Event] = {}

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(f"unix://{self._path}")
        events: Any = self._channel.unary_stream(
            "/types.API/Events",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self._pb.Event.FromString,
        )
        self._events = events(self._pb.EventsRequest())
        await self._events.initial_metadata()  # from here on nothing is missed
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._follower = self._group.create_task(self._follow())
        await self._call("GetServerVersion", self._pb.GetServerVersionRequest(), self._pb.GetServerVersionResponse)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._follower.cancel()
        await self._group.__aexit__(None, None, None)
        await self._channel.close()

    async def _follow(self) -> None:
        with suppress(grpc.aio.AioRpcError):
            async for event in self._events:
                if event.type == "exit" and event.pid == "init" and event.id in self._exits:
                    self._exits[event.id].set()

    async def _call(self, name: str, request: Any, answer: Any) -> Any:
        call: Any = self._channel.unary_unary(
            f"/types.API/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        try:
            return await call(request)
        except grpc.aio.AioRpcError as error:
            raise UnusableError(f"types.API: {error.details()}") from error

    async def cycle(self, runtime: str, bundle: Path) -> None:
        """Run a container until its exit event; this API removes it by itself."""
        id = self._stage.make_id()
        self._exits[id] = asyncio.Event()
        request = self._pb.CreateContainerRequest(id=id, bundlePath=str(bundle), runtime=runtime)
        await self._call("CreateContainer", request, self._pb.CreateContainerResponse)
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._exits[id].wait()
        except TimeoutError:
            raise UnusableError(f"types.API told no exit of {id} within {_TIMEOUT:g} s") from None
        finally:
            del self._exits[id]
