"""What goes wrong is said in the original's words, each with the code that it should have had (v0-system 2.6, 4.4)."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.fake_runtime import FakeRuntime
from tests.v0.client import ZERO, Client
from wherry.wire import v0_pb2 as pb

Code = grpc.StatusCode
NO_CONTAINER = (Code.NOT_FOUND, "containerd: container not found")
NO_PROCESS = (Code.NOT_FOUND, "containerd: process not found for container")
STORED_ONLY = "invalid parameter: StoredOnly cannot be specified without setting a valid Timestamp"


def check_nothing_left(client: Client) -> None:
    """Fail when there is a container, or a directory of one."""
    assert client.state() == []
    directory = client.daemon.state_dir / "default"
    found = [path.name for path in directory.iterdir() if not path.name.startswith(".")] if directory.exists() else []
    assert found == []


@pytest.fixture
def top(v0: Client) -> Client:
    """Return a client with the container `top`."""
    v0.start("top", "top")
    return v0


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("Signal", {"id": "none", "pid": "init", "signal": 9}, NO_CONTAINER),
        ("Signal", {"id": "", "pid": "init", "signal": 9}, NO_CONTAINER),
        ("Signal", {"id": "../top", "pid": "init", "signal": 9}, NO_CONTAINER),
        ("Signal", {"id": "top", "pid": "none", "signal": 9}, NO_PROCESS),
        ("Signal", {"id": "top", "pid": "", "signal": 9}, NO_PROCESS),
        ("Signal", {"id": "top", "pid": "init", "signal": 999}, (Code.INVALID_ARGUMENT, "invalid argument")),
        ("Signal", {"id": "top", "pid": "init", "signal": 65}, (Code.INVALID_ARGUMENT, "invalid argument")),
        ("Signal", {"id": "top", "pid": "init", "signal": 2**32 - 1}, (Code.INVALID_ARGUMENT, "invalid argument")),
        ("UpdateProcess", {"id": "none", "pid": "init"}, NO_CONTAINER),
        ("UpdateProcess", {"id": "top", "pid": "none", "closeStdin": True}, NO_PROCESS),
        ("UpdateContainer", {"id": "none", "status": "paused"}, NO_CONTAINER),
        (
            "UpdateContainer",
            {"id": "top", "status": "frozen"},
            (Code.INVALID_ARGUMENT, "containerd: unknown container status "),
        ),
        (
            "UpdateContainer",
            {"id": "top", "status": "running"},
            (Code.FAILED_PRECONDITION, 'exit status 1: "container not paused\\n"'),
        ),
        ("State", {"id": "none"}, NO_CONTAINER),
        ("State", {"id": ".."}, NO_CONTAINER),
        ("Stats", {"id": "none"}, NO_CONTAINER),
        ("Stats", {"id": ""}, NO_CONTAINER),
        ("AddProcess", {"id": "", "pid": "e"}, (Code.INVALID_ARGUMENT, "container id cannot be empty")),
        ("AddProcess", {"id": "top", "pid": ""}, (Code.INVALID_ARGUMENT, "process id cannot be empty")),
        ("AddProcess", {"id": "none", "pid": "e"}, NO_CONTAINER),
        (
            "AddProcess",
            {"id": "top", "pid": "e", "cwd": "/"},
            (Code.INVALID_ARGUMENT, "oci runtime error: exec failed: args must not be empty"),
        ),
        (
            "AddProcess",
            {"id": "top", "pid": "e", "args": ["ls"]},
            (Code.INVALID_ARGUMENT, "oci runtime error: exec failed: Cwd property must not be empty"),
        ),
        (
            "AddProcess",
            {"id": "top", "pid": "e", "args": ["ls"], "cwd": "tmp"},
            (Code.INVALID_ARGUMENT, "oci runtime error: exec failed: Cwd must be an absolute path"),
        ),
        ("CreateContainer", {"id": "new"}, (Code.INVALID_ARGUMENT, "empty bundle path")),
        (
            "CreateContainer",
            {"id": "new", "bundlePath": "/nope"},
            (Code.NOT_FOUND, "open /nope/config.json: no such file or directory"),
        ),
        (
            "CreateContainer",
            {"id": "a b", "bundlePath": "/b"},
            (Code.INVALID_ARGUMENT, "oci runtime error: runc create failed: invalid container ID format"),
        ),
        (
            "CreateContainer",
            {"id": "../evil", "bundlePath": "/b"},
            (Code.INVALID_ARGUMENT, "oci runtime error: runc create failed: invalid container ID format"),
        ),
        ("DeleteCheckpoint", {"id": "top"}, (Code.INVALID_ARGUMENT, "checkpoint name cannot be empty")),
        ("ListCheckpoint", {"id": "none"}, (Code.NOT_FOUND, "no such containers")),
        ("CreateCheckpoint", {"id": "none", "checkpoint": pb.Checkpoint(name="c")}, NO_CONTAINER),
    ],
)  # fmt: skip
def test_text_and_code(top: Client, name: str, fields: dict[str, Any], expected: tuple[Code, str]) -> None:
    assert top.fail(name, **fields) == expected
    assert [found.id for found in top.state()] == ["top"]


def test_an_id_that_is_taken_names_the_directory(top: Client) -> None:
    directory = top.daemon.state_dir / "default"
    bundle = top.bundle("top")
    for container, path in (("top", directory / "top"), ("", directory), (".", directory), ("..", directory.parent)):
        expected = (Code.ALREADY_EXISTS, f"mkdir {path}: file exists")
        assert top.fail("CreateContainer", id=container, bundlePath=bundle) == expected
    expected = (Code.NOT_FOUND, f"mkdir {directory}/no/b: no such file or directory")
    assert top.fail("CreateContainer", id="no/b", bundlePath=bundle) == expected
    top.exec("top", "e1", "top")
    for pid in ("e1", "init"):
        wanted = {"id": "top", "pid": pid, "args": ["ls"], "cwd": "/"}
        assert top.fail("AddProcess", **wanted) == (Code.ALREADY_EXISTS, f"mkdir {directory}/top/{pid}: file exists")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("broken", "invalid character 'b' looking for beginning of value"),
        ("{'a': 1}", "invalid character ''' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a": 1', "unexpected end of JSON input"),
        ("", "unexpected end of JSON input"),
        ('{"root": 1}', "json: cannot unmarshal "),
        ('{"root": {"path": "r"}, "process": {"args": "ls", "cwd": "/"}}', "json: cannot unmarshal "),
    ],
)
def test_a_configuration_that_makes_no_sense(v0: Client, content: str, text: str) -> None:
    bundle = Path(v0.bundle("ls"))
    (bundle / "config.json").write_text(content)
    code, said = v0.fail("CreateContainer", id="new", bundlePath=str(bundle))
    assert (code, said[: len(text)]) == (Code.INVALID_ARGUMENT, text)
    check_nothing_left(v0)


def test_a_runtime_that_is_not_there(v0: Client) -> None:
    for runtime, text in (
        ("no-such-runc", "shim error: no-such-runc not installed on system"),
        ("/no/such/runc", "shim error: fork/exec /no/such/runc: no such file or directory"),
    ):
        wanted = {"id": "new", "bundlePath": v0.bundle("ls"), "runtime": runtime}
        assert v0.fail("CreateContainer", **wanted) == (Code.NOT_FOUND, text)
    check_nothing_left(v0)


@pytest.mark.parametrize(
    ("mode", "code", "text"),
    [
        ("silent", Code.INTERNAL, "containerd: container not started"),
        ("megabyte", Code.INTERNAL, "containerd: container not started"),
        ("no-pid", Code.INTERNAL, "shim error: open pid: no such file or directory"),
        ("hang", Code.DEADLINE_EXCEEDED, "containerd: container did not start before the specified timeout"),
    ],
)
def test_a_runtime_that_fails(
    make_daemon: Callable[..., Daemon],
    fake_runtime: FakeRuntime,
    tmp_path: Path,
    busybox_rootfs: Path,
    mode: str,
    code: Code,
    text: str,
) -> None:
    client = Client(make_daemon("--start-timeout", "2"), tmp_path, busybox_rootfs, str(fake_runtime))
    try:
        events = client.events()
        client.start("top", "top")
        fake_runtime.set("create,run", mode)
        wanted = {"id": "new", "bundlePath": client.bundle("ls"), "runtime": str(fake_runtime)}
        found, said = client.fail("CreateContainer", **wanted)
        assert (found, said[: len(text)]) == (code, text)
        fake_runtime.set("exec", mode)
        found, said = client.fail("AddProcess", id="top", pid="e1", args=["ls"], cwd="/")
        assert (found, said[: len(text)]) == (code, text)
        fake_runtime.reset()
        assert events.of("new") == []
        assert [item.pid for item in client.state("top")[0].processes] == ["init"]
        assert client.exec("top", "e1", "true") > 0
    finally:
        client.close()


def test_a_start_that_fails_is_no_exit(
    make_daemon: Callable[..., Daemon], fake_runtime: FakeRuntime, tmp_path: Path, busybox_rootfs: Path
) -> None:
    client = Client(make_daemon(), tmp_path, busybox_rootfs, str(fake_runtime))
    try:
        events = client.events()
        fake_runtime.set("start,run", "silent")
        wanted = {"id": "new", "bundlePath": client.bundle("ls"), "runtime": str(fake_runtime)}
        assert client.fail("CreateContainer", **wanted) == (Code.INTERNAL, "containerd: container not started")
        fake_runtime.reset()
        client.start("new", "true")
        events.wait("new", ("start-container", "", 0), ("exit", "init", 0))
        stored = client.stored(Timestamp(seconds=1))
        assert [event.type for event in stored] == ["start-container", "exit"]
    finally:
        client.close()


def test_a_shim_that_dies_in_the_creation(
    make_daemon: Callable[..., Daemon], fake_runtime: FakeRuntime, tmp_path: Path, busybox_rootfs: Path
) -> None:
    client = Client(make_daemon(), tmp_path, busybox_rootfs, str(fake_runtime))
    try:
        fake_runtime.set("create,run", "hang")
        wanted = {"id": "new", "bundlePath": client.bundle("ls"), "runtime": str(fake_runtime)}
        call = client.start_call("CreateContainer", **wanted)
        file = client.daemon.state_dir / "default" / "new" / "init" / "shim.pid"
        os.kill(int(eventually(lambda: file.exists() and file.read_text())), 9)
        error = call.exception()
        expected = (Code.ABORTED, "containerd: shim exited before container process was started")
        assert (error.code(), error.details()) == expected
        check_nothing_left(client)
    finally:
        client.close()


@pytest.mark.parametrize("kind", ["missing", "directory", "socket"])
@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_path_that_no_stream_can_be(v0: Client, kind: str, name: str) -> None:
    path = v0.work / "stream"
    if kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))
    code, text = v0.fail(
        "CreateContainer", id="new", bundlePath=v0.bundle("ls"), runtime=v0.runtime, **{name: str(path)}
    )
    assert text.startswith("shim error: ")
    assert str(path) in text
    if kind == "missing":
        assert (code, text) == (Code.NOT_FOUND, f"shim error: stat {path}: no such file or directory")
    check_nothing_left(v0)


def test_exec_of_a_command_that_is_not_there(top: Client) -> None:
    code, text = top.fail("AddProcess", id="top", pid="e", args=["X"], cwd="/", env=["PATH=/bin"])
    assert code == Code.NOT_FOUND
    assert text.startswith("oci runtime error: ")
    assert 'exec: "X": executable file not found in $PATH' in text
    assert top.exec("top", "e", "true") > 0, "the id is free again"


def test_exec_in_a_paused_container(top: Client) -> None:
    top.call("UpdateContainer", id="top", status="paused")
    expected = (Code.FAILED_PRECONDITION, "oci runtime error: exec failed: cannot exec in a paused container")
    assert top.fail("AddProcess", id="top", pid="e", args=["ls"], cwd="/") == expected
    expected = (Code.FAILED_PRECONDITION, 'exit status 1: "container not running\\n"')
    assert top.fail("UpdateContainer", id="top", status="paused") == expected


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (253_402_300_800, 0, "timestamp: seconds:253402300800 after 10000-01-01"),
        (-62_135_596_801, 0, "timestamp: seconds:-62135596801 before 0001-01-01"),
        (5, -1, "timestamp: seconds:5 nanos:-1: nanos not in range [0, 1e9)"),
        (5, 10**9, "timestamp: seconds:5 nanos:1000000000: nanos not in range [0, 1e9)"),
        (ZERO.seconds, 0, STORED_ONLY),
    ],
)
def test_times_that_are_none(v0: Client, seconds: int, nanos: int, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        v0.stored(Timestamp(seconds=seconds, nanos=nanos))
    error: Any = caught.value
    assert (error.code(), error.details()) == (Code.INVALID_ARGUMENT, text)


def test_names_of_checkpoints_lead_nowhere(top: Client) -> None:
    for bad in ("../x", "a/b", ".."):
        assert top.fail("CreateCheckpoint", id="top", checkpoint=pb.Checkpoint(name=bad))[0] == Code.INVALID_ARGUMENT
        assert top.fail("DeleteCheckpoint", id="top", name=bad)[0] == Code.INVALID_ARGUMENT
        wanted = {"id": "new", "bundlePath": top.bundle("ls"), "checkpoint": bad}
        assert top.fail("CreateContainer", **wanted)[0] == Code.INVALID_ARGUMENT
    wanted = {"id": "new", "bundlePath": top.bundle("ls"), "checkpoint": "c1", "checkpointDir": "/tmp/../etc"}
    assert top.fail("CreateContainer", **wanted)[0] == Code.INVALID_ARGUMENT


def test_unknown_methods_and_services(v0: Client) -> None:
    for path in ("/types.API/Nope", "/types.Foo/State"):
        call = v0._channel.unary_unary(path, bytes, bytes)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
        error: Any = caught.value
        assert error.code() == Code.UNIMPLEMENTED


def test_a_message_that_is_none(v0: Client) -> None:
    call = v0._channel.unary_unary("/types.API/CreateContainer", bytes, bytes)
    for data in (b"\xff\xff\xff", json.dumps({"id": 1}).encode(), b"\x0a\x02\xff\xfe"):
        with pytest.raises(grpc.RpcError):
            call(data, timeout=10)
    assert v0.state() == []
