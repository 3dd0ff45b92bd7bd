"""wherryd on TCP: who does not get in, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

import wherry
from tests.support.certificates import Authority
from tests.support.eventually import SLOW, eventually
from tests.support.tcp import Tcp
from wherry import errors
from wherry.client.tls import Tls
from wherry.wire import methods

pytestmark = pytest.mark.requires("openssl")

HALF_OPEN = 200


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
            with open_socket(tcp) as garbage, contextlib.suppress(OSError):  # the daemon may have closed it by now
                garbage.sendall(data)
                garbage.shutdown(socket.SHUT_WR)
                while garbage.recv(4096):
                    pass
            with open_socket(tcp) as reset:
                reset.sendall(data)
                reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert owner.run("host", "true", auto_remove=True).wait(10).status == 0
        with tcp.connect("boss") as client:
            assert client.version().api == "wherry.v1"
    eventually(lambda: len(list(descriptors.iterdir())) <= before)
    eventually(lambda: not tcp.daemon.read("ps"))
    tcp.check_unharmed()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame (RFC 9113, 4.1)."""
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def format_headers(path: str) -> bytes:
    """Return the headers of a call, each as a literal without Huffman coding (RFC 7541, 6.2.2)."""
    fields = {":method": "POST", ":scheme": "https", ":path": path, ":authority": "localhost", "te": "trailers"}
    fields["content-type"] = "application/grpc"
    return b"".join(
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in fields.items()
    )


def read_frames(data: bytes) -> list[tuple[int, int, int]]:
    """Return kind, flags and stream of every whole frame."""
    found = []
    while len(data) >= 9 and len(data) >= 9 + (size := int.from_bytes(data[:3], "big")):
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big")))
        data = data[9 + size :]
    return found


@pytest.mark.parametrize("path", ["Containers/Create", "Events/Subscribe", "Containers/Attach", "Containers/Nothing"])
def test_who_may_nothing_is_told_so_before_a_request_of_his_is_received(tcp: Tcp, path: str) -> None:
    tls = tcp.clients["stranger"]
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.load_cert_chain(tls.cert, tls.key)
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(open_socket(tcp), server_hostname="localhost") as connection:
        # Of 4 MB that are announced a few bytes come: if they are waited for, who waits holds what has come.
        begun = struct.pack(">BI", 0, 4_000_000) + bytes(1000)
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        connection.sendall(frame(1, 4, 1, format_headers(f"/wherry.v1.{path}")) + frame(0, 0, 1, begun))
        connection.settimeout(20 * SLOW)
        data = b""
        while not any(kind == 1 and flags & 1 and stream == 1 for kind, flags, stream in read_frames(data)):
            piece = connection.recv(4096)
            assert piece, "an answer, and the end of the stream"
            data += piece
    assert f"cannot call /wherry.v1.{path}: tls-clients of this wherryd" in tcp.daemon.log_text
    tcp.check_unharmed()


def test_a_request_of_any_size_is_refused_as_that_of_a_stranger(tcp: Tcp) -> None:
    with tcp.channel("stranger") as channel:
        for size in (0, methods.MAX_REQUEST, 2 * methods.MAX_REQUEST):
            for make in (channel.unary_unary, channel.unary_stream):
                call: Any = make("/wherry.v1.Containers/Create", None, None)
                with pytest.raises(grpc.RpcError) as raised:
                    list(call(bytes(size), timeout=20))
                assert (size, raised.value.code()) == (size, grpc.StatusCode.PERMISSION_DENIED)
    tcp.check_unharmed()
