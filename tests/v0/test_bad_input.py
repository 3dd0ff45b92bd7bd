"""Whatever a client sends, it gets an answer, and the daemon goes on."""

from __future__ import annotations

import os
import random
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor

from tests.support.eventually import eventually
from tests.v0.client import Client
from wherry.wire import v0_pb2 as pb

CALLS = [method.name for method in pb.DESCRIPTOR.services_by_name["API"].methods if method.name != "Events"]
TEXTS = (
    "",
    "top",
    "init",
    "e1",
    "..",
    "../x",
    "a/b",
    "/",
    "/tmp",
    "\0",
    "é\u202e",
    "x" * 5000,
    "%s%n",
    "paused",
    "running",
    "{}",
)
NUMBERS = (0, 1, 9, 64, 65, 2**15, 2**31 - 1, 2**32 - 1)


def fill(chance: random.Random, message: Any, depth: int = 0) -> Any:
    """Set some fields of a message to something odd."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.4:
            continue
        values = [odd(chance, field, depth) for _ in range(chance.choice((1, 3)) if field.is_repeated else 1)]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            for value in values:
                target = getattr(message, field.name)
                (target.add() if field.is_repeated else target).CopyFrom(value)
        elif field.is_repeated:
            getattr(message, field.name).extend(values)
        else:
            setattr(message, field.name, values[0])
    return message


def odd(chance: random.Random, field: Any, depth: int) -> Any:
    """Return something odd for a field."""
    if field.message_type is not None:
        kind = field.message_type._concrete_class
        return fill(chance, kind(), depth + 1) if depth < 3 else kind()
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return chance.choice(TEXTS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return chance.random() < 0.5
    return chance.choice(NUMBERS)


@pytest.mark.parametrize("name", CALLS)
def test_odd_messages_have_clear_answers(v0: Client, name: str) -> None:
    bundle = v0.bundle("top")
    v0.start("top", bundle=bundle)
    number = v0.state("top")[0].processes[0].systemPid
    for seed in range(60):
        request = fill(random.Random(seed), getattr(pb, f"{name}Request")())
        if name == "CreateContainer" and seed % 2:
            request.bundlePath = bundle
        if name == "Signal" and request.signal in (1, 9):
            request.signal = 0
        method = v0._channel.unary_unary(
            f"/types.API/{name}", type(request).SerializeToString, getattr(pb, f"{name}Response").FromString
        )
        error: Any = method.future(request, timeout=20).exception()
        if error is not None:
            assert error.code() not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE), (seed, request, error)
            assert error.details(), (seed, request)
            assert "internal error" not in error.details(), (seed, request, error)
    if v0.state("top")[0].status == "paused":
        v0.call("UpdateContainer", id="top", status="running")
    assert v0.state("top")[0].processes[0].systemPid == number
    assert v0.exec("top", "last", "true") > 0


def test_the_daemon_grows_no_descriptors_by_failures(v0: Client) -> None:
    v0.start("top", "top")

    def count() -> int:
        return len(os.listdir(f"/proc/{v0.daemon.pid}/fd"))

    def fail() -> None:
        v0.fail("AddProcess", id="top", pid="e", args=["NoSuchFile"], cwd="/")
        v0.fail("CreateContainer", id="x", bundlePath=v0.bundle("NoSuchFile"), runtime=v0.runtime)

    fail()
    before = count()
    for _ in range(10):
        fail()
    eventually(lambda: count() <= before)


def test_bytes_that_are_no_message_are_refused_in_a_sentence(v0: Client) -> None:
    for rpc in CALLS:
        call: Any = v0._channel.unary_unary(f"/types.API/{rpc}")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff\xff", timeout=10)
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details() == f"cannot read the request: these 3 bytes are no types.{rpc}Request"
    assert "Traceback" not in v0.daemon.log_text
