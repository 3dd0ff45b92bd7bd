"""wherryd on TCP: who does not get in, what that leaves behind (nothing), and connections that break."""

from __future__ import annotations

import dataclasses
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import grpc
import pytest

import wherry
from tests.support import leaks
from tests.support.certificates import Authority
from tests.support.daemon import make_environment
from tests.support.eventually import SLOW, eventually
from tests.support.tcp import Tcp
from wherry import errors
from wherry.client.tls import Tls

pytestmark = pytest.mark.requires("openssl")

HALF_OPEN = 200


@pytest.fixture
def make_tcp(no_leaks: None, tmp_path: Path) -> Iterator[Callable[..., Tcp]]:
    """Return a function that starts a daemon on TCP, of which a test may kill what it wants."""
    before = tuple(leaks.take(containers=False).children)
    with ExitStack() as stack:

        def make(**options: object) -> Tcp:
            made = Tcp(tmp_path / "tcp", **options)  # type: ignore[arg-type]
            stack.callback(made.daemon.destroy, before)
            made.daemon.start()
            return made

        yield make


def other_ca(tcp: Tcp, directory: Path) -> Tls:
    """Return a certificate with the right name, of an authority that nobody knows."""
    return dataclasses.replace(Authority(directory).issue("boss"), ca=tcp.authority.certificate)


def expired(tcp: Tcp, _directory: Path) -> Tls:
    """Return a certificate that was good until yesterday."""
    return tcp.authority.issue("boss", days=-1, file="expired")


def other_name(tcp: Tcp, _directory: Path) -> Tls:
    """Return what expects another daemon."""
    return dataclasses.replace(tcp.clients["boss"], server_name="elsewhere")


def unknown_server(tcp: Tcp, directory: Path) -> Tls:
    """Return what trusts another authority than the daemon's."""
    return dataclasses.replace(tcp.clients["boss"], ca=Authority(directory).certificate)


def unlisted(tcp: Tcp, _directory: Path) -> Tls:
    """Return a certificate of the right authority with a name that has no role."""
    return tcp.clients["stranger"]


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (other_ca, errors.Unavailable, "the daemon hung up, as it does on a certificate that it does not accept"),
        (expired, errors.Unavailable, "the daemon hung up"),
        (other_name, errors.PermissionDenied, "its certificate is not for elsewhere"),
        (unknown_server, errors.PermissionDenied, "its certificate is not one of .*ca.pem: "),
        (unlisted, errors.PermissionDenied, "tls-clients of this wherryd gives no role to 'stranger'"),
    ],
)
async def test_a_client_that_does_not_get_in_is_told_why(
    tcp: Tcp, tmp_path: Path, make: Callable[[Tcp, Path], Tls], kind: type[errors.WherryError], words: str
) -> None:
    tls = make(tcp, tmp_path / "other")
    for _ in range(2):
        with pytest.raises(kind, match=words):
            async with wherry.connect(tcp.address, tls=tls):
                pass
    async with wherry.connect(tcp.address, tls=tcp.clients["boss"]) as client:
        assert await client.containers() == ()
    tcp.check_unharmed()


@pytest.mark.parametrize("is_plain", [True, False])
def test_nobody_gets_in_without_a_certificate(tcp: Tcp, is_plain: bool) -> None:
    with tcp.channel(plain=is_plain) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary("/wherry.v1.System/Version", None, None)(b"", timeout=20)  # type: ignore[arg-type]
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    tcp.check_unharmed()


def test_the_server_name_may_be_another_than_the_address(tcp: Tcp) -> None:
    tls = dataclasses.replace(tcp.clients["boss"], server_name="localhost")
    with wherry.Sync(tcp.address, tls=tls) as client:
        assert client.containers() == ()


def test_nobody_at_the_address_is_a_named_error(tcp: Tcp) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(errors.Unavailable, match=f"^no daemon answers at {address}: Connection refused$"):
            wherry.Sync(address, tls=tcp.clients["boss"])
    with pytest.raises(errors.Unavailable, match="^no daemon answers at tcp://no.such.invalid:1: "):
        wherry.Sync("tcp://no.such.invalid:1", tls=tcp.clients["boss"])


def test_tls_older_than_1_2_is_not_spoken(tcp: Tcp) -> None:
    tls = tcp.clients["boss"]
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{tcp.port}"]
    argv += ["-cert", str(tls.cert), "-key", str(tls.key), "-CAfile", str(tls.ca)]

    def greet(*options: str) -> str:
        # Its exit status says how the connection ended, which the daemon does without a word.
        done = subprocess.run([*argv, *options], input="", capture_output=True, text=True, timeout=20 * SLOW)
        return done.stdout + done.stderr

    assert "New, TLSv1.2" in greet("-tls1_2")
    assert "New, TLSv1.3" in greet("-tls1_3")
    # With ciphers that TLS 1.1 has: it is the daemon that refuses.
    words = greet("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    assert "New, (NONE)" in words
    assert "no protocols available" not in words


GARBAGE = (
    b"",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000,  # a record that promises more than there may be
    b"\x16\x03\x01\x00\x05\x01\x00\xff\xff\xff",  # a ClientHello that promises more than comes
    os.urandom(5000),
)


def open_socket(tcp: Tcp) -> socket.socket:
    """Return a bare connection."""
    return socket.create_connection(("127.0.0.1", tcp.port), 5)


def test_garbage_and_half_open_connections_harm_nobody(tcp: Tcp) -> None:
    descriptors = Path(f"/proc/{tcp.daemon.pid}/fd")
    with ExitStack() as stack, wherry.Sync(tcp.daemon.address) as owner:
        before = len(list(descriptors.iterdir()))
        for number in range(HALF_OPEN):
            half_open = stack.enter_context(open_socket(tcp))
            half_open.sendall(b"\x16\x03\x01"[: number % 4])
        eventually(lambda: len(list(descriptors.iterdir())) >= before + HALF_OPEN)
        for data in GARBAGE:
            with open_socket(tcp) as garbage:
                try:
                    garbage.sendall(data)
                    garbage.shutdown(socket.SHUT_WR)
                    while garbage.recv(4096):
                        pass
                except (ConnectionResetError, BrokenPipeError):
                    pass  # so it was told
            with open_socket(tcp) as reset:
                reset.sendall(data)
                reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert owner.run("host", "true", auto_remove=True).wait(10).status == 0
        with tcp.connect("boss") as client:
            assert client.version().api == "wherry.v1"
    eventually(lambda: len(list(descriptors.iterdir())) <= before)
    eventually(lambda: not tcp.daemon.read("ps"))
    tcp.check_unharmed()


def test_clients_come_back_to_a_daemon_that_was_killed(make_tcp: Callable[..., Tcp]) -> None:
    tcp = make_tcp()
    # The next life is to have the same port.
    port = tcp.port
    tcp.daemon.arguments[1] = f"tcp://127.0.0.1:{port}"
    script = "echo one; read line; echo two; exit 3"
    argv = [sys.executable, "-m", "wherry.cli", "logs", "-f", "c1"]
    environment = make_environment(tcp.environment("reader"))
    with tcp.connect("boss") as client:
        container = client.run("host", "sh", "-c", script, id="c1", stdio=wherry.Stdio(stdin_open=True))
        with subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "one\n"
            tcp.daemon.kill()
            with pytest.raises(errors.Unavailable):
                container.info()
            with pytest.raises(errors.Unavailable, match="no daemon answers at .*: Connection refused"):
                tcp.connect("boss")
            tcp.daemon.start()
            assert tcp.port == port

            def is_back() -> bool:
                try:
                    return container.info().state == "running"
                except errors.Unavailable:
                    return False

            assert eventually(is_back, 20)
            with container.attach(offset=-1) as attachment:
                attachment.write(b"\n")
                assert b"".join(output.data for output in attachment) == b"two\n"
            output, words = reader.communicate(timeout=30 * SLOW)
            assert (output, reader.returncode) == ("two\n", 0), words
            assert f"the daemon at {tcp.address} is back" in words
        assert container.wait(10).status == 3
        container.delete()


@pytest.mark.requires("netns", "veth")
def test_a_daemon_in_another_network_is_reached_and_another_address_of_it_is_not(
    make_tcp: Callable[..., Tcp],
) -> None:
    with ExitStack() as stack:
        here, there = (stack.enter_context(Network()) for _ in range(2))
        here.run("ip", "link", "add", "wt0", "type", "veth", "peer", "name", "wt1", "netns", str(there.pid))
        here.run("sh", "-ec", "ip addr add 10.77.0.1/24 dev wt0; ip link set wt0 up; ip link set lo up")
        there.run("sh", "-ec", "ip addr add 10.77.0.2/24 dev wt1; ip addr add 10.77.0.3/24 dev wt1; ip link set wt1 up")
        tcp = make_tcp(host="10.77.0.2", port=7443, prefix=there.prefix)
        command = (sys.executable, "-m", "wherry.cli")
        boss = tcp.environment("boss")
        assert here.run(*command, "run", "--rm", "host", "--", "echo", "over there", env=boss) == "over there\n"
        # It listens at that address only; and what listens nowhere is said at once.
        assert "no daemon answers at tcp://10.77.0.3:7443: Connection refused" in here.run(
            *command, "version", env=boss | {"WHERRY_ADDRESS": "tcp://10.77.0.3:7443"}
        )
        # From the network of the tests there is no way, and the unix socket is where it was.
        assert tcp.daemon.cli("ps", "-q").stdout == ""


class Network:
    """A network namespace, held by a process."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "300"])
        self.pid = self._holder.pid
        self.prefix = ("nsenter", f"--net=/proc/{self.pid}/ns/net")
        ours = os.readlink("/proc/self/ns/net")
        eventually(lambda: os.readlink(f"/proc/{self.pid}/ns/net") != ours)

    def run(self, *argv: str, env: dict[str, str] | None = None) -> str:
        """Return what a program in there prints."""
        done = subprocess.run(
            [*self.prefix, *argv], capture_output=True, text=True, timeout=40 * SLOW, env=make_environment(env)
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.wait()
