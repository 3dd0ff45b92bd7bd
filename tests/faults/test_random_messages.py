"""Random messages to every call of both APIs: each answers, none is an internal error, and the daemon goes on."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.faults import messages
from tests.faults.world import SLOW, World, scenario
from wherry.model import request as req
from wherry.wire import convert, methods, v0_pb2
from wherry.wire import wherry_v1_pb2 as pb

#: Messages in all, and calls under way at once.
COUNT = int(os.environ.get("WHERRY_TEST_MESSAGES", "250"))
AT_ONCE = 4
SEED = os.environ.get("WHERRY_TEST_SEED", "1")
#: Seconds in which a call must answer, and in which one is left that may have nothing to say for long.
DEADLINE = 30.0
PATIENCE = 0.3
WAITING = frozenset({"Wait", "Attach", "Logs", "Subscribe", "WatchStats", "Events"})
#: Called more often than the others: without containers all else is refused.
_MAKING = ("/wherry.v1.Containers/Run",) * 4 + ("/wherry.v1.Containers/Exec", "/types.API/CreateContainer") * 2
#: What the client's own library says when the other side has answered before all was sent.
_LEFT = "Internal error from Core"
_UPLOADS: dict[str, tuple[str, Any]] = {
    "Attach": (methods.ATTACH, pb.AttachInput),
    "ImportCheckpoint": (methods.IMPORT, pb.ImportInput),
    "Receive": (methods.RECEIVE, pb.ReceiveInput),
}
_V0 = v0_pb2.DESCRIPTOR.services_by_name["API"]

Call = Callable[[grpc.aio.Channel, messages.Writer, float], Any]


def _serialize(message: Any) -> bytes:
    data: bytes = message if isinstance(message, bytes) else message.SerializeToString()
    return data


def _unary(path: str, kind: Any, streams: bool) -> Call:
    def call(channel: grpc.aio.Channel, writer: messages.Writer, timeout: float) -> Any:
        make = channel.unary_stream if streams else channel.unary_unary
        return make(path, _serialize, bytes)(writer.write(kind), timeout=timeout)

    return call


def _upload(path: str, kind: Any, streams: bool) -> Call:
    def call(channel: grpc.aio.Channel, writer: messages.Writer, timeout: float) -> Any:
        make = channel.stream_stream if streams else channel.stream_unary
        parts = [writer.write(kind) for _ in range(4)]

        async def send() -> AsyncIterator[Any]:
            for part in parts:
                yield part

        return make(path, _serialize, bytes)(send(), timeout=timeout)

    return call


def _calls() -> dict[str, tuple[str, Call]]:
    """Return every call by its path, with its name."""
    found: dict[str, tuple[str, Call]] = {}
    for (_, name), method in methods.METHODS.items():
        found[method.path] = name, _unary(method.path, convert.message_of(method.request), method.streams)
    for name, (path, kind) in _UPLOADS.items():
        found[path] = name, _upload(path, kind, name == "Attach")
    for rpc in _V0.methods:
        path = f"/types.API/{rpc.name}"
        found[path] = rpc.name, _unary(path, getattr(v0_pb2, rpc.input_type.name), rpc.name == "Events")
    return found


async def _answer(call: Any) -> grpc.aio.AioRpcError | None:
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error
    return None


def _check(path: str, name: str, error: grpc.aio.AioRpcError) -> None:
    said = f"{path}: {error.code()}: {error.details()}"
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        assert name in WAITING, said
        return
    if error.details() == _LEFT:
        return
    kind = dict(error.trailing_metadata() or ()).get(methods.ERROR_KEY)
    # A runtime's own refusal is Internal by its code, and has its words.
    assert error.code() is not grpc.StatusCode.INTERNAL or kind == "RuntimeFailed", said
    assert error.code() is not grpc.StatusCode.UNKNOWN, said
    assert "Traceback" not in (error.details() or ""), said


async def _work(number: int, world: World, channel: grpc.aio.Channel) -> None:
    chance = random.Random(f"{SEED} {number}")
    writer = messages.Writer(chance, tuple(world.id(name) for name in "abc"), world.base)
    calls = _calls()
    for _ in range(COUNT // AT_ONCE):
        path = chance.choice((*sorted(calls), *_MAKING))
        name, call = calls[path]
        error = await _answer(call(channel, writer, PATIENCE if name in WAITING else DEADLINE * SLOW))
        if error is not None:
            _check(path, name, error)


@pytest.mark.timeout(60 + COUNT)
def test_random_messages_are_answered_and_harm_nobody(world: World, busybox_rootfs: Path) -> None:
    messages.make_directories(world.base, busybox_rootfs)
    pid = world.start()
    _send_all(world=world)
    assert world.pid == pid
    assert "Traceback" not in world.log(), world.log()


@scenario
async def _send_all(world: World) -> None:
    async with (
        grpc.aio.insecure_channel(world.address.replace("unix://", "unix:")) as channel,
        asyncio.TaskGroup() as group,
    ):
        for number in range(AT_ONCE):
            group.create_task(_work(number, world, channel))
    async with world.client() as client:
        assert (await client.service.version(req.Empty())).api
        await world.check_serving(client)
