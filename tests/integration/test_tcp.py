"""wherryd on TCP: what each role may do, for the library, the command line and bare gRPC."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import wherry
from tests.support import leaks
from tests.support.daemon import make_environment, run_cli
from tests.support.eventually import eventually, eventually_async
from tests.support.tcp import Tcp
from wherry import errors
from wherry.api import roles
from wherry.wire import health_v1_pb2, methods, v0_pb2, wherry_v1_pb2

pytestmark = pytest.mark.requires("openssl")

CALLS = [
    f"/{service.full_name}/{method.name}"
    for module in (wherry_v1_pb2, v0_pb2, health_v1_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
UNKNOWN = ["/wherry.v1.Containers/Nothing", "/nothing/Nothing", "/", "/grpc.health.v1.Health/List"]


def call(channel: grpc.Channel, path: str, data: bytes = b"") -> list[bytes]:
    """Make a call as bytes, with one request and any number of answers."""
    make: Any = channel.unary_stream(path, None, None)
    return list(make(data, timeout=20))


def test_role_all_runs_a_container_from_beginning_to_end(tcp: Tcp) -> None:
    with tcp.connect("boss") as client:
        script = "read line; echo got $line; exec sleep 60"
        container = client.create("host", "sh", "-c", script, stdio=wherry.Stdio(stdin_open=True))
        container.start()
        with container.attach() as attachment:
            attachment.write(b"it\n")
            assert next(iter(attachment)).data == b"got it\n"
        process = container.exec("echo", "hi")
        assert process.wait(10).status == 0
        assert process.output() == b"hi\n"
        assert b"".join(chunk.data for chunk in container.logs()) == b"got it\n"
        container.stop(timeout=0.5)
        container.delete()
        told = client.events(after=0, follow=False, filters=[f"container={container.id}"])
        types = [event.type for event in told]
        assert types == ["create", "start", "start", "exit", "exit", "delete"]
    tcp.check_unharmed()


def test_role_all_has_the_other_services_too(tcp: Tcp) -> None:
    with tcp.channel("boss") as channel:
        [version] = call(channel, "/types.API/GetServerVersion")
        assert v0_pb2.GetServerVersionResponse.FromString(version).minor == 2
        [health] = call(channel, "/grpc.health.v1.Health/Check")
        assert health_v1_pb2.HealthCheckResponse.FromString(health).status == 1
        for path in UNKNOWN:
            with pytest.raises(grpc.RpcError) as raised:
                call(channel, path)
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        for path in ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"):
            with pytest.raises(grpc.RpcError) as raised:
                call(channel, path, b"\xff")
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    tcp.check_unharmed()


async def test_role_read_sees_everything(tcp: Tcp) -> None:
    with wherry.Sync(tcp.daemon.address) as owner:
        owned = owner.run("host", "sh", "-c", "echo hi; exec sleep 60", id="seen")
        async with wherry.connect(tcp.address, tls=tcp.clients["reader"]) as client:
            container = client.container("seen")
            assert (await container.info()).state == "running"
            assert [info.id for info in await client.containers()] == ["seen"]
            assert (await anext(container.logs(follow=True))).data == b"hi\n"
            assert (await container.stats()).memory.usage_bytes > 0
            assert (await anext(container.watch_stats())).pids.current > 0
            assert [process.process for process in await container.processes()] == ["init"]
            assert await client.checkpoints() == ()
            assert (await anext(client.events(after=0, filters=["container=seen"]))).type == "create"
            assert (await client.version()).version == wherry.__version__
            assert not (await client.info()).recovering
        owned.delete(force=True)


@pytest.mark.parametrize(("name", "role"), [("reader", "read"), ("mover", "migrate"), ("stranger", "")])
def test_every_other_call_is_refused_by_name_whatever_its_kind(tcp: Tcp, name: str, role: str) -> None:
    refused = [path for path in CALLS + UNKNOWN if not roles.may_call(role, path)]
    assert methods.ATTACH in refused
    with tcp.channel(name) as channel:
        for path in refused:
            with pytest.raises(grpc.RpcError) as raised:
                call(channel, path, b"\xff garbage that nobody reads")
            error: Any = raised.value
            assert (path, error.code()) == (path, grpc.StatusCode.PERMISSION_DENIED)
            assert path in error.details()
            assert repr(name) in error.details()
            metadata = [(item.key, item.value) for item in error.trailing_metadata()]
            assert (methods.ERROR_KEY, "PermissionDenied") in metadata
    tcp.check_unharmed()


def test_role_read_cannot_change_anything_nor_get_in(tcp: Tcp) -> None:
    with wherry.Sync(tcp.daemon.address) as owner, tcp.connect("reader") as client:
        owned = owner.run("host", "cat", id="kept", stdio=wherry.Stdio(stdin_open=True))
        container = client.container("kept")
        for refused in (
            lambda: client.run("host", "true"),
            lambda: client.create("host", "true"),
            lambda: container.exec("true"),
            lambda: container.attach().__enter__(),
            container.stop,
            lambda: container.delete(force=True),
            lambda: container.update(wherry.Limits(pids=5)),
        ):
            with pytest.raises(errors.PermissionDenied, match="'reader' has the role read, which does not allow it"):
                refused()
        assert owned.info().state == "running"
        owned.delete(force=True)
    tcp.check_unharmed()


def test_role_migrate_sees_nothing_that_is_here(tcp: Tcp) -> None:
    with wherry.Sync(tcp.daemon.address) as owner, tcp.connect("mover") as client:
        owned = owner.run("host", "sleep", "60", id="secret", env=["TOKEN=1"])
        assert client.info().version
        for name, look in (
            ("Containers/List", client.containers),
            ("Containers/Get", client.container("secret").info),
            ("Containers/Get", client.container("nobody").info),
            ("Containers/Stats", client.container("secret").stats),
        ):
            with pytest.raises(errors.PermissionDenied, match=f"cannot call /wherry.v1.{name}: 'mover' has the"):
                look()
        owned.delete(force=True)


@pytest.mark.parametrize("path", ["Containers/Create", "Events/Subscribe"])
def test_a_request_that_is_none_has_its_own_status_behind_the_gate(tcp: Tcp, path: str) -> None:
    def ask(*requests: bytes) -> grpc.StatusCode:
        make: Any = channel.stream_stream(f"/wherry.v1.{path}", None, None)
        with pytest.raises(grpc.RpcError) as raised:
            list(make(iter(requests), timeout=20))
        code: grpc.StatusCode = raised.value.code()
        return code

    with tcp.channel("boss") as channel:
        assert ask() is grpc.StatusCode.INVALID_ARGUMENT
        assert ask(b"\xff") is grpc.StatusCode.INVALID_ARGUMENT
        assert ask(bytes(methods.MAX_REQUEST + 1)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    tcp.check_unharmed()


def test_a_wait_that_is_left_leaves_no_task_behind_the_gate(tcp: Tcp) -> None:
    with tcp.connect("boss") as client:
        container = client.run("host", "sleep", "60")
        before = tcp.daemon.count_tasks()
        for _ in range(5):
            with pytest.raises(errors.DeadlineExceeded):
                container.wait(0.2)
        eventually(lambda: tcp.daemon.count_tasks() <= before)
        container.delete(force=True)
    tcp.check_unharmed()


async def test_streams_that_are_left_leave_no_task_behind_the_gate(tcp: Tcp) -> None:
    with wherry.Sync(tcp.daemon.address) as owner:
        owned = owner.run("host", "sh", "-c", "echo hi; exec sleep 60", id="followed")
        before = tcp.daemon.count_tasks()
        async with wherry.connect(tcp.address, tls=tcp.clients["boss"]) as client:
            container = client.container("followed")
            streams: list[AsyncIterator[object]] = []
            for _ in range(5):
                streams += (container.logs(follow=True), container.watch_stats(), client.events(after=0))
                async with container.attach() as attachment:
                    await anext(aiter(attachment))
            for stream in streams:
                await anext(stream)
            assert tcp.daemon.count_tasks() > before
        assert await eventually_async(lambda: tcp.daemon.count_tasks() <= before)
        owned.delete(force=True)
    tcp.check_unharmed()


def test_a_dns_name_counts_and_no_name_of_another_kind(tcp: Tcp) -> None:
    by_dns = tcp.authority.issue("", "DNS:other.example", "DNS:reader.example", file="dns")
    with wherry.Sync(tcp.address, tls=by_dns) as client:
        assert client.containers() == ()
        with pytest.raises(errors.PermissionDenied, match="'reader.example' has the role read"):
            client.run("host", "true")
    for number, name in enumerate(("URI:boss", "email:boss", "otherName:1.2.3.4;UTF8:boss", "DNS:xboss", "DNS:*")):
        tls = tcp.authority.issue("somebody", name, file=f"kind-{number}")
        with pytest.raises(errors.PermissionDenied, match="gives no role to 'somebody'"):
            wherry.Sync(tcp.address, tls=tls)
    with pytest.raises(errors.PermissionDenied, match="gives no role to a certificate without a name"):
        wherry.Sync(tcp.address, tls=tcp.authority.issue("", file="none"))


def test_the_command_line_does_the_same(tcp: Tcp) -> None:
    done = tcp.cli("boss", "run", "--name", "c1", "host", "--", "sh", "-c", "echo hi; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("hi\n", "", 7)
    assert tcp.cli("reader", "logs", "c1").stdout == "hi\n"
    assert tcp.cli("boss", "rm", "c1").returncode == 0
    tls = tcp.clients["boss"]
    files = ("--tls-cert", str(tls.cert), "--tls-key", str(tls.key), "--tls-ca", str(tls.ca))
    assert run_cli("--address", tcp.address, *files, "ps", "-aq").stdout == ""
    assert run_cli("ps", "-aq", "--address", tcp.address, *files).returncode == 0
    by_name = run_cli("--address", tcp.address.replace("127.0.0.1", "localhost"), *files, "version")
    assert f"wherryd {wherry.__version__}" in by_name.stdout


def test_the_command_line_says_what_is_wrong(tcp: Tcp) -> None:
    environment = tcp.environment("reader")
    environment["WHERRY_TLS_KEY"] = ""
    done = run_cli("ps", env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "needs TLS: --tls-key ($WHERRY_TLS_KEY) missing" in done.stderr
    done = run_cli("--address", "/nowhere.sock", "--tls-ca", "x", "ps")
    assert done.returncode == 2
    assert "--tls-ca: only for an address tcp://HOST:PORT, not unix:///nowhere.sock" in done.stderr
    done = tcp.cli("reader", "run", "--rm", "host", "--", "true")
    assert (done.returncode, done.stderr) == (
        125,
        "wherry: cannot call /wherry.v1.Containers/Create: 'reader' has the role read, which does not allow it\n",
    )
    done = tcp.cli("stranger", "version")
    assert "tls-clients of this wherryd gives no role to 'stranger'" in done.stdout
    done = run_cli("--tls-cert", str(tcp.clients["boss"].cert), "ps", env=environment | tcp.environment("reader"))
    assert done.returncode == 125
    assert done.stderr.count("\n") == 1, "nothing of gRPC's own"
    assert "cannot be used: no PEM, or the wrong key" in done.stderr
    tcp.check_unharmed()


def test_a_daemon_that_cannot_serve_ends_with_1_and_says_why(tcp: Tcp, tmp_path: Path) -> None:
    directories = ("--state-dir", str(tmp_path / "state"), "--root-dir", str(tmp_path / "root"))
    server = tcp.authority.issue("second", file="second")
    files = ("--tls-cert", str(server.cert), "--tls-key", str(server.key), "--tls-ca", str(server.ca))

    def start(address: str, *words: str) -> str:
        argv = [sys.executable, "-m", "wherry.daemon.main", *directories, "--listen", address, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=make_environment())
        assert done.returncode == 1
        return done.stderr.splitlines()[-1]

    assert start("tcp://127.0.0.1:0") == ("wherryd: listen: a tcp:// address needs tls-cert, tls-key, tls-ca as well")
    assert "needs tls-clients: nobody could use it" in start("tcp://127.0.0.1:0", *files)
    Path(server.key).chmod(0o644)
    assert f"tls-key: {server.key} has mode 0644" in start(tcp.address, *files, "--tls-clients", "a=all")
    assert not (tmp_path / "root").exists(), "nothing was begun"
    Path(server.key).chmod(0o600)
    assert start(tcp.address, *files, "--tls-clients", "a=all").startswith(f"wherryd: cannot listen at {tcp.address}: ")
    assert not (tmp_path / "state" / "wherry.sock").exists()
    leaks.reap([tcp.daemon.pid])
    eventually(lambda: not list((tmp_path / "state").glob(".*")))
