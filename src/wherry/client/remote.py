"""The channel to a daemon on TCP, and why there is none, in words: gRPC has one status for all of it."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from wherry import errors
from wherry.client import channel as channels
from wherry.client import tls as settings
from wherry.client.tls import Tls
from wherry.model import address as addresses
from wherry.wire import methods

#: Seconds for a daemon to answer the first call: to be found, connected to, verified.
CONNECT_TIMEOUT = 10.0
_OPTIONS = (
    # As the daemon does (api/server.py): whoever is silent for 30 s is asked, and gone 10 s later.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A daemon that was away for long is found again soon; two minutes are gRPC's own longest wait.
    ("grpc.max_reconnect_backoff_ms", 10_000),
    # Else whoever answers for the name in the DNS may configure how we call.
    ("grpc.service_config_disable_resolution", 1),
)
#: Words of gRPC 1.85 and BoringSSL, and what they mean. What is in braces is filled in.
_CAUSES = (
    (r"Hostname Verification Check failed", "its certificate is not for {name}; $WHERRY_TLS_SERVER_NAME overrides it"),
    (r"CERTIFICATE_VERIFY_FAILED: certificate has expired", "its certificate, or one above it, has expired"),
    (r"CERTIFICATE_VERIFY_FAILED: (.*?)(?:: OK)?$", "its certificate is not one of {ca}: {why}"),
    (r"WRONG_VERSION_NUMBER", "what answers there does not speak TLS"),
    (r"NO_COMMON_SIGNATURE_ALGORITHMS", "the key of {cert} is of a kind that gRPC does not use; take RSA or ECDSA"),
    (r"Failed to create security handshaker", "{cert}, {key} and {ca} cannot be used: no PEM, or the wrong key"),
)
#: With TLS 1.3 the daemon refuses a certificate after our side of the handshake: all that is seen is its hanging up.
_HUNG_UP = re.compile(r"Socket closed|Connection reset|Broken pipe")


@asynccontextmanager
async def open_channel(address: str, tls: Tls, options: tuple[tuple[str, Any], ...]) -> AsyncIterator[grpc.aio.Channel]:
    """Connect and ask for the version, which every client that is known may.

    Raises InvalidArgument or NotFound for what was given, Unavailable when nobody answers, PermissionDenied when the
    daemon's certificate is not accepted here, or ours has no role there.
    """
    host, port = addresses.parse_tcp(address)
    certificate, key, ca = settings.read(tls)
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    named = (("grpc.ssl_target_name_override", tls.server_name),) if tls.server_name else ()
    async with grpc.aio.secure_channel(
        f"dns:///{host}:{port}", credentials, options=[*options, *_OPTIONS, *named]
    ) as channel:
        try:
            await _greet(channel)
        except grpc.aio.AioRpcError as error:
            raise _to_error(address, tls, error) from None
        yield channel


async def _greet(channel: grpc.aio.Channel) -> None:
    call: Any = channel.unary_unary(methods.find("version").path)
    await call(b"", timeout=CONNECT_TIMEOUT)


def _to_error(address: str, tls: Tls, error: grpc.aio.AioRpcError) -> errors.WherryError:
    details = error.details() or ""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.Unavailable(f"no daemon answers at {address} within {CONNECT_TIMEOUT:.0f} seconds")
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        return channels.to_error(error)
    return explain(address, tls, details)


def explain(address: str, tls: Tls, details: str) -> errors.WherryError:
    """Return the error for gRPC's account of a connection that did not come about."""
    cert, key, ca = (os.fspath(path) for path in (tls.cert, tls.key, tls.ca))
    host, _ = addresses.parse_tcp(address)
    for pattern, cause in _CAUSES:
        if found := re.search(pattern, details):
            why = found[1] if found.re.groups else ""
            words = cause.format(cert=cert, key=key, ca=ca, name=tls.server_name or host.strip("[]"), why=why)
            return errors.PermissionDenied(f"cannot connect to {address}: {words}")
    if _HUNG_UP.search(details):
        return errors.Unavailable(
            f"cannot connect to {address}: the daemon hung up, as it does on a certificate that it does not accept:"
            f" {cert} must be of its tls-ca and in date; `openssl verify -CAfile {ca} {cert}` checks that"
            " (or it has all the connections that it takes)"
        )
    words = re.sub(r".*(last error|Failed to connect to remote host): ", "", details)
    return errors.Unavailable(f"no daemon answers at {address}: {words}")
