"""The shim's side of the attach socket, over a real one."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.shim import attach


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[attach.Attach]:
    monkeypatch.chdir(tmp_path)
    with select.epoll() as epoll:
        server = attach.Attach(epoll, attach.listen())
        epoll.register(server.fd, select.EPOLLIN)
        yield server
        server.close()


def _connect(server: attach.Attach) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect("attach.sock")
    assert server.accept(0)
    return client


def test_the_last_words_of_a_client_that_did_not_read_its_output_are_not_lost(server: attach.Attach) -> None:
    client = _connect(server)
    server.send(b"O", 0, 4, b"one\n")
    client.send(b"Itwo\n")
    client.send(b"C")
    client.close()
    (fd,) = server.clients
    assert [server.receive(fd), server.receive(fd), server.receive(fd)] == [b"Itwo\n", b"C", b""]
    assert not server.clients


def test_a_client_that_has_sent_nothing_yet_is_kept(server: attach.Attach) -> None:
    with _connect(server):
        (fd,) = server.clients
        assert server.receive(fd) == b""
        assert fd in server.clients
