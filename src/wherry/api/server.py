"""The gRPC server on its unix socket; another one beside it on TCP, when that is wanted."""

from __future__ import annotations

import asyncio
import grp
import os
import stat
from pathlib import Path

import grpc
import grpc.aio

from wherry import errors
from wherry.api import native, v0
from wherry.api.calls import Calls
from wherry.api.gate import Gate
from wherry.api.health import Health
from wherry.api.remote import Remote
from wherry.model import address
from wherry.supervisor.supervisor import Supervisor
from wherry.wire import methods

#: Members of this group may use the socket, if the group exists. The socket is as good as root.
GROUP = "wherry"
#: Seconds for calls under way when the server stops.
GRACE = 2.0


_OPTIONS = (
    ("grpc.max_receive_message_length", methods.MAX_REQUEST),
    ("grpc.max_send_message_length", methods.MAX_ANSWER),
    ("grpc.so_reuseport", 0),
    # Of one connection: what is more waits at its client, and nobody else does.
    ("grpc.max_concurrent_streams", 1000),
    # Two minutes unless told otherwise, in which a connection that says nothing holds a descriptor.
    ("grpc.server_handshake_timeout_ms", 10_000),
)
#: A network loses peers without a word, and brings strangers.
_TCP_OPTIONS = (
    *_OPTIONS,
    # A peer that does not answer within 10 s, asked after 30 s of silence, is gone: its calls end, as if it had closed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Clients ask as often (client/remote.py). gRPC's own limit is five minutes, and then it closes the connection.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_allowed_incoming_connections", 1000),
)


class Server:
    """Serves a supervisor. `start` binds, `stop` lets calls end."""

    def __init__(self, supervisor: Supervisor, path: Path, remote: Remote | None = None) -> None:
        self._path = path
        self._remote = remote
        self.health = Health()
        self.calls = Calls()
        #: Where it listens; the ports are known once it does.
        self.addresses = [str(path)]
        self._v0 = v0.Api(supervisor)
        handlers = (*native.handlers(supervisor, self.calls), v0.handler(self._v0, self.calls), self.health.handler())
        self._unix = grpc.aio.server(options=_OPTIONS)
        self._servers = [self._unix]
        if remote is not None:
            # A server of its own, so that a call on the unix socket passes no gate.
            self._tcp = grpc.aio.server(options=_TCP_OPTIONS, interceptors=[Gate(remote.clients)])
            self._servers.append(self._tcp)
        for server in self._servers:
            server.add_generic_rpc_handlers(handlers)

    async def start(self) -> None:
        """Listen. The caller holds the lock of the state directory, so a socket that is there is a dead one."""
        if self._remote is not None:
            self._bind_tcp(self._remote)
        self._bind_unix()
        for server in self._servers:
            await server.start()
        try:
            os.chown(self._path, -1, grp.getgrnam(GROUP).gr_gid)
            self._path.chmod(0o660)
        except KeyError:
            self._path.chmod(0o600)

    def _bind_unix(self) -> None:
        _remove_socket(self._path)
        # Nobody may connect between bind and chmod.
        before = os.umask(0o177)
        try:
            bound = self._unix.add_insecure_port(f"unix://{self._path}")
        except RuntimeError as error:
            raise errors.Unavailable(f"cannot listen at {self._path}: {error}") from error
        finally:
            os.umask(before)
        if not bound:
            raise errors.Unavailable(f"cannot listen at {self._path}")

    def _bind_tcp(self, remote: Remote) -> None:
        credentials = grpc.ssl_server_credentials(
            [(remote.key, remote.certificate)], root_certificates=remote.ca, require_client_auth=True
        )
        for host, port in remote.hosts:
            try:
                bound = self._tcp.add_secure_port(f"{host}:{port}", credentials)
            except RuntimeError:
                # gRPC keeps the cause for itself.
                raise errors.Unavailable(
                    f"cannot listen at {address.format_tcp(host, port)}: it is taken, or not an address of this host"
                ) from None
            self.addresses.append(address.format_tcp(host, bound))

    async def stop(self) -> None:
        """Stop listening and let calls under way end, bounded."""
        self.health.set_serving(False)
        self._v0.is_stopping = True
        async with asyncio.TaskGroup() as group:
            for server in self._servers:
                group.create_task(server.stop(GRACE))
        _remove_socket(self._path)


def _remove_socket(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise errors.FailedPrecondition(f"cannot listen at {path}: something that is no socket is there")
    path.unlink()
