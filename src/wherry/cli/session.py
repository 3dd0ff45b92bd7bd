"""The connection of one command to the daemon."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from wherry import errors
from wherry.cli import autostart, values
from wherry.cli.parser import TLS_FILES, say
from wherry.client.client import Client
from wherry.client.service import Service
from wherry.model import ids

if TYPE_CHECKING:
    from wherry.client.tls import Tls

T = TypeVar("T")

DEFAULT_ADDRESS = "unix:///run/wherry/wherry.sock"
#: Seconds that an attached command waits for a daemon to come back.
RECONNECT_SECONDS = 15.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Which daemon and which namespace; `chosen` when the address was given rather than assumed."""

    address: str = DEFAULT_ADDRESS
    namespace: str = ids.DEFAULT_NAMESPACE
    chosen: bool = False
    tls: Tls | None = None

    @property
    def path(self) -> str:
        """The path of the daemon's socket; the default one's for a daemon on TCP."""
        return (DEFAULT_ADDRESS if self.tls else self.address).removeprefix("unix://")


def make_settings(given: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Return the settings from options, then environment, then defaults. Raises InvalidArgument."""
    address = given.get("address")
    address = address if address is not None else environment.get("WHERRY_ADDRESS") or None
    namespace = given.get("namespace")
    namespace = namespace if namespace is not None else environment.get("WHERRY_NAMESPACE") or ids.DEFAULT_NAMESPACE
    parsed = values.parse_address(address) if address is not None else DEFAULT_ADDRESS
    files = {name: given[f"tls_{name}"] for name in TLS_FILES if f"tls_{name}" in given}
    tls = None
    if files or parsed.startswith("tcp://"):
        from wherry.client import tls as settings

        tls = settings.choose(parsed, files, environment)
    return Settings(address=parsed, namespace=ids.check_namespace(namespace), chosen=address is not None, tls=tls)


class Session:
    """A connection that can be made anew when the daemon went away."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stack = AsyncExitStack()
        self._client: Client | None = None
        self._reconnecting = asyncio.Lock()

    @property
    def client(self) -> Client:
        """The client of the present connection."""
        assert self._client is not None, "the session is not open"
        return self._client

    @property
    def service(self) -> Service:
        """Every call of the native API."""
        return self.client.service

    async def connect(self) -> None:
        """Connect, or connect again. Raises Unavailable when nobody answers, PermissionDenied when not allowed."""
        if self.settings.tls:
            # gRPC writes about handshakes to stderr; what it says is in our error, too.
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        # Imported here: gRPC is most of the time that a short command takes.
        from wherry.client import connection

        await self.close()
        wanted = self.settings
        connecting = connection.connect(wanted.address, namespace=wanted.namespace, tls=wanted.tls)
        self._client = await self._stack.enter_async_context(connecting)

    async def close(self) -> None:
        """End the connection."""
        self._client = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def again(self, call: Callable[[Service], Awaitable[T]]) -> T:
        """Return what `call` returns, made again when the daemon went away meanwhile and has come back."""
        while True:
            client = self.client
            try:
                return await call(client.service)
            except errors.Unavailable as error:
                async with self._reconnecting:
                    if self._client is client:  # else somebody else has reconnected
                        await self.reconnect(error.message)

    async def reconnect(self, why: str) -> None:
        """Wait until a daemon answers at the address again. Raises Unavailable after RECONNECT_SECONDS."""
        say(
            f"lost the daemon at {self.settings.address} ({why}): waiting up to {RECONNECT_SECONDS:.0f} seconds for one"
        )
        deadline = asyncio.get_running_loop().time() + RECONNECT_SECONDS
        while True:
            try:
                await self.connect()
                await self.client.version()
            except errors.Unavailable as error:
                if asyncio.get_running_loop().time() >= deadline:
                    raise errors.Unavailable(
                        f"cannot reach a daemon at {self.settings.address}: none came back within"
                        f" {RECONNECT_SECONDS:.0f} seconds: {error.message}"
                    ) from error
                await asyncio.sleep(_POLL_SECONDS)
            else:
                say(f"the daemon at {self.settings.address} is back")
                return


@asynccontextmanager
async def open_session(settings: Settings, *, start_daemon: bool = True) -> AsyncIterator[Session]:
    """Connect to the daemon; at the default address one is started when none answers and we are root."""
    session = Session(settings)
    try:
        try:
            await session.connect()
        except errors.Unavailable as error:
            if settings.chosen or not start_daemon:
                raise
            if os.geteuid() != 0:
                raise errors.Unavailable(f"{error.message}; only root can start one") from error
            await autostart.start_daemon(settings.path, session.connect)
        try:
            yield session
        except errors.Unavailable as error:
            if error.message.startswith(("cannot ", "no ")):
                raise
            # The transport's own words say what broke, not for whom.
            raise errors.Unavailable(f"lost the daemon at {settings.address}: {error.message}") from error
    finally:
        await session.close()
