"""How a client finds its daemon."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wherry import errors
from wherry.client.client import Client
from wherry.model import ids

if TYPE_CHECKING:
    from wherry.client.tls import Tls

DEFAULT_ADDRESS = "unix:///run/wherry/wherry.sock"


def parse_address(address: str) -> str:
    """Return the path of the socket that `address` (`unix://PATH` or a PATH) names. Raises InvalidArgument."""
    path = address.removeprefix("unix://")
    if not path.startswith("/") or len(os.fsencode(path)) > 107:
        raise errors.InvalidArgument(
            f"address {address!r} is not valid: unix:///PATH of at most 107 bytes, or tcp://HOST:PORT, is expected"
        )
    return path


def check_socket(path: str) -> None:
    """Connect once and leave. Raises Unavailable or PermissionDenied, which gRPC does not tell apart."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(5.0)
        try:
            sock.connect(path)
        except PermissionError as error:
            raise errors.PermissionDenied(
                f"cannot open {path}: {error.strerror}; be root, or in the group that owns it"
            ) from None
        except OSError as error:
            raise errors.Unavailable(f"no daemon answers at {path}: {error.strerror or error}; {_hint(path)}") from None


def _hint(path: str) -> str:
    if f"unix://{path}" == DEFAULT_ADDRESS:
        return "`wherryd` starts one"
    return "start wherryd with the --state-dir, --root-dir and --listen that it had, or are to be used there"


@asynccontextmanager
async def connect(
    address: str | None = None, *, namespace: str = ids.DEFAULT_NAMESPACE, tls: Tls | None = None
) -> AsyncIterator[Client]:
    """Connect to a daemon: `async with wherry.connect() as client`.

    `address` is `unix://PATH` or `tcp://HOST:PORT`; without it $WHERRY_ADDRESS, else the default one. `tls` is for
    TCP; without it $WHERRY_TLS_CERT, $WHERRY_TLS_KEY and $WHERRY_TLS_CA. Raises Unavailable when nobody answers
    there, PermissionDenied when the socket may not be opened, or either side's certificate is refused.
    """
    address = address or os.environ.get("WHERRY_ADDRESS") or DEFAULT_ADDRESS
    ids.check_namespace(namespace)
    is_remote = address.startswith("tcp://")
    if tls is not None and not is_remote:
        raise errors.InvalidArgument(f"tls is for an address tcp://HOST:PORT, not for {address!r}")
    path = "" if is_remote else parse_address(address)
    if path:
        check_socket(path)
    import grpc.aio

    from wherry.client.channel import Remote
    from wherry.wire import methods

    options = (
        ("grpc.max_receive_message_length", methods.MAX_ANSWER),
        ("grpc.max_send_message_length", methods.MAX_ANSWER),
        ("grpc.enable_http_proxy", 0),
        # Channels to one address share their connections, and the back-off after a failed one: a client made after the
        # daemon's restart would be refused because of one made before it.
        ("grpc.use_local_subchannel_pool", 1),
    )
    if path:
        async with grpc.aio.insecure_channel(f"unix://{path}", options=options) as channel:
            yield Client(Remote(channel), namespace=namespace)
        return
    from wherry.client import remote
    from wherry.client import tls as settings

    chosen = tls or settings.choose(address, {}, os.environ)
    assert chosen is not None, "choose returns None for unix sockets only"
    async with remote.open_channel(address, chosen, options) as channel:
        yield Client(Remote(channel), namespace=namespace)
