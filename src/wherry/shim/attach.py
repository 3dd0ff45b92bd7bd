"""The attach socket of one process: any number of clients get its output and may write its stdin.

SEQPACKET, so a message is a packet. To the client: `H` and the end of the log when the client was accepted, or `F` when
there are MAX_CLIENTS already; `O` or `E` (stdout, stderr), where the bytes begin and end in the log, and the bytes.
Positions are 8 bytes, big-endian. From the client: `I` and bytes for stdin; `C` closes stdin.

Nothing is queued here. A client that does not keep up misses packets, sees it from the positions, and reads what it
missed from the log; so no client can make a shim grow or a container wait.
"""

from __future__ import annotations

import os
import select
import socket
import struct

#: Clients of one process at a time; further ones are told so and closed.
MAX_CLIENTS = 64
#: Largest packet from a client.
MAX_INPUT = 65536


def listen() -> int:
    """Return a listener in the current directory; clients wait there until somebody serves them."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    # Relative: the path of a long id is longer than the 108 bytes of sun_path (unix(7)).
    listener.bind("attach.sock")
    os.chmod("attach.sock", 0o600)
    listener.listen(128)
    return listener.detach()


class Attach:
    """Serves the clients of a listener from the shim's one loop."""

    __slots__ = ("_epoll", "_held", "_listener", "clients")

    def __init__(self, epoll: select.epoll, listener: int) -> None:
        self._epoll = epoll
        self._held = False
        self.clients: dict[int, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=listener)

    @property
    def fd(self) -> int:
        """The listener's descriptor."""
        return self._listener.fileno()

    def accept(self, end: int) -> bool:
        """Accept one client and tell it the end of the log; others than root and our own user are refused.

        Returns whether there was somebody at the door.
        """
        try:
            client, _ = self._listener.accept()
        except OSError:  # gone again, or no descriptor free: the client sees a closed connection and may retry
            return False
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, _ = struct.unpack("3i", credentials)
        if uid not in (0, os.geteuid()):
            client.close()
            return True
        if len(self.clients) >= MAX_CLIENTS:
            self._send(client, b"F")
            client.close()
            return True
        client.setblocking(False)
        self.clients[client.fileno()] = client
        if not self._held:
            self._epoll.register(client.fileno(), select.EPOLLIN)
        self._send(client, b"H" + end.to_bytes(8, "big"))
        return True

    def receive(self, fd: int) -> bytes:
        """Return one packet of the client `fd`; empty when there is none or the client is gone."""
        try:
            packet = self.clients[fd].recv(MAX_INPUT)
        except BlockingIOError:
            return b""
        except ConnectionResetError:
            # It has left without reading all of its output. Told once, before what it had sent, which is still here.
            return self.receive(fd)
        except OSError:
            packet = b""
        if not packet:
            self.drop(fd)
        return packet

    def receive_any(self) -> bytes:
        """Return one packet that any client has sent already, empty when there is none."""
        for fd in list(self.clients):
            packet = self.receive(fd)
            if packet:
                return packet
        return b""

    def send(self, kind: bytes, begin: int, end: int, data: bytes) -> None:
        """Send output to every client that has room for it."""
        packet = kind + begin.to_bytes(8, "big") + end.to_bytes(8, "big") + data
        for client in list(self.clients.values()):
            self._send(client, packet)

    def _send(self, client: socket.socket, packet: bytes) -> None:
        try:
            client.send(packet)
        except OSError:
            # No room: it will see the gap. Or gone: what it has sent before that is still to be read.
            pass

    def hold_input(self, held: bool) -> None:
        """Stop reading, or read again, what clients send: stdin is full."""
        if held == self._held:
            return
        self._held = held
        for fd in self.clients:
            # Not a mask of 0: the hang-up of one that has left would be told again and again.
            if held:
                self._epoll.unregister(fd)
            else:
                self._epoll.register(fd, select.EPOLLIN)

    def drop(self, fd: int) -> None:
        """Forget a client."""
        if not self._held:
            self._epoll.unregister(fd)
        self.clients.pop(fd).close()

    def close(self) -> None:
        """Close every client and the listener, and remove the socket."""
        for fd in list(self.clients):
            self.drop(fd)
        self._epoll.unregister(self._listener.fileno())
        self._listener.close()
        os.unlink("attach.sock")
