"""The gRPC server on its unix socket."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path

import grpc.aio

from wherry import errors
from wherry.api import native, v0
from wherry.api.calls import Calls
from wherry.api.health import Health
from wherry.supervisor.supervisor import Supervisor
from wherry.wire import methods

#: Members of this group may use the socket, if the group exists. The socket is as good as root.
GROUP = "wherry"
#: Seconds for calls under way when the server stops.
GRACE = 2.0


class Server:
    """Serves a supervisor. `start` binds, `stop` lets calls end."""

    def __init__(self, supervisor: Supervisor, path: Path) -> None:
        self._path = path
        self.health = Health()
        self.calls = Calls()
        options = [
            ("grpc.max_receive_message_length", methods.MAX_REQUEST),
            ("grpc.max_send_message_length", methods.MAX_ANSWER),
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.aio.server(options=options)
        self._v0 = v0.Api(supervisor)
        self._server.add_generic_rpc_handlers(
            (*native.handlers(supervisor, self.calls), v0.handler(self._v0, self.calls), self.health.handler())
        )

    async def start(self) -> None:
        """Listen. The caller holds the lock of the state directory, so a socket that is there is a dead one."""
        _remove_socket(self._path)
        # Nobody may connect between bind and chmod.
        before = os.umask(0o177)
        try:
            bound = self._server.add_insecure_port(f"unix://{self._path}")
        except RuntimeError as error:
            raise errors.Unavailable(f"cannot listen at {self._path}: {error}") from error
        finally:
            os.umask(before)
        if not bound:
            raise errors.Unavailable(f"cannot listen at {self._path}")
        await self._server.start()
        try:
            os.chown(self._path, -1, grp.getgrnam(GROUP).gr_gid)
            self._path.chmod(0o660)
        except KeyError:
            self._path.chmod(0o600)

    async def stop(self) -> None:
        """Stop listening and let calls under way end, bounded."""
        self.health.set_serving(False)
        self._v0.is_stopping = True
        await self._server.stop(GRACE)
        _remove_socket(self._path)


def _remove_socket(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise errors.FailedPrecondition(f"cannot listen at {path}: something that is no socket is there")
    path.unlink()
