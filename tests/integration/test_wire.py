"""The edge of the native API: deadlines, clients that leave, sizes, health."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.fake_runtime import FakeRuntime
from wherry import errors
from wherry.client.sync import Sync
from wherry.model import request as req
from wherry.model import status as st
from wherry.wire import convert, health_v1_pb2, methods

SLEEPER = ("sleep", "60")
SERVING = health_v1_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_v1_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def channel(daemon: Daemon) -> Iterator[grpc.Channel]:
    """Return a bare gRPC channel, as another language's client would have."""
    with grpc.insecure_channel(f"unix://{daemon.socket_path}") as channel:
        yield channel


def call(channel: grpc.Channel, name: str, request: Any, timeout: float = 20.0) -> Any:
    """Make a call as it is on the wire."""
    method = methods.find(name)
    stub: Any = channel.unary_unary(
        method.path,
        request_serializer=convert.message_of(method.request).SerializeToString,
        response_deserializer=convert.message_of(method.response).FromString,
    )
    return convert.from_message(method.response, stub(convert.to_message(request), timeout=timeout))


def test_a_deadline_ends_the_wait_and_not_the_creation(
    daemon: Daemon, channel: grpc.Channel, fake_runtime: FakeRuntime, busybox_rootfs: Path
) -> None:
    fake_runtime.set("create", "delay", 1.0)
    source = req.Source(kind="rootfs", path=str(busybox_rootfs))
    request = req.CreateRequest(id="slow", source=source, args=("true",), runtime=str(fake_runtime))
    with pytest.raises(grpc.RpcError) as raised:
        call(channel, "create", request, timeout=0.3)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert call(channel, "get", req.ContainerRef(id="slow")).state == "creating", "a read never waits for a runtime"
    info: st.ContainerInfo = call(channel, "create", request)
    assert info.state == "created"
    created = [event for event in daemon.read("events", "--after", "0") if event["type"] == "create"]
    assert len(created) == 1


def test_a_wait_that_is_left_leaves_no_task(daemon: Daemon) -> None:
    with Sync(daemon.address) as client:
        container = client.run("host", *SLEEPER)
        before = daemon.count_tasks()

        def leave(_: int) -> None:
            with pytest.raises(errors.DeadlineExceeded):
                container.wait(0.3)

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(leave, range(20)))
        eventually(lambda: daemon.count_tasks() <= before)
        assert container.info().state == "running"


def test_a_message_above_the_limit_is_refused_and_harms_nothing(daemon: Daemon, channel: grpc.Channel) -> None:
    request = req.CreateRequest(id="big", args=("echo", "x" * (methods.MAX_REQUEST + 1)))
    with pytest.raises(grpc.RpcError) as raised:
        call(channel, "create", request)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with Sync(daemon.address) as client:
        with pytest.raises(errors.ResourceExhausted):
            client.create("host", "echo", "x" * (methods.MAX_REQUEST + 1))
        assert client.containers() == ()


def test_a_request_below_the_limit_that_fits_no_process_is_refused(daemon: Daemon) -> None:
    with Sync(daemon.address) as client:
        with pytest.raises(errors.InvalidArgument, match="3145728 bytes"):
            client.run("host", "echo", "x" * (3 << 20), id="big")
        assert client.containers() == ()
        assert client.run("host", "true", id="big", auto_remove=True).id == "big"


def test_an_error_carries_its_code_and_name(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        call(channel, "get", req.ContainerRef(id="nobody"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    metadata: Any = raised.value.trailing_metadata()
    assert (methods.ERROR_KEY, "NotFound") in [(item.key, item.value) for item in metadata]


def health(channel: grpc.Channel, name: str) -> Any:
    make: Any = channel.unary_unary if name == "Check" else channel.unary_stream
    return make(
        f"/grpc.health.v1.Health/{name}",
        request_serializer=health_v1_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_v1_pb2.HealthCheckResponse.FromString,
    )


def test_health_answers_for_known_services_only(channel: grpc.Channel) -> None:
    check = health(channel, "Check")
    for service in ("", "wherry.v1.Containers", "wherry.v1.Events", "wherry.v1.System"):
        assert check(health_v1_pb2.HealthCheckRequest(service=service)).status == SERVING
    with pytest.raises(grpc.RpcError) as raised:
        check(health_v1_pb2.HealthCheckRequest(service="other"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_watcher_hears_that_the_daemon_stops(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    seen: list[int] = []
    first = threading.Event()

    def watch() -> None:
        with grpc.insecure_channel(f"unix://{daemon.socket_path}") as channel:
            try:
                for answer in health(channel, "Watch")(health_v1_pb2.HealthCheckRequest(), timeout=20):
                    seen.append(answer.status)
                    first.set()
            except grpc.RpcError:
                return  # the end of the stream

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert first.wait(10)
    daemon.stop()
    watcher.join(20)
    assert seen == [SERVING, NOT_SERVING]
