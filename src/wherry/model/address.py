"""Addresses of a daemon on TCP, as text; both ends read them here."""

from __future__ import annotations

import re

from wherry import errors

TCP = "tcp://"
#: A host name (RFC 1123) or an IPv4 address.
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?", re.ASCII)
#: An IPv6 address, with its zone; whether it is one shows when it is used.
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9_.-]{1,15})?\]", re.ASCII)


def parse_tcp(address: str, *, lowest: int = 1) -> tuple[str, int]:
    """Return host (IPv6 in its brackets) and port of `tcp://HOST:PORT`. Raises InvalidArgument."""
    host, _, port = address.removeprefix(TCP).rpartition(":")
    is_host = _NAME.fullmatch(host) or _IPV6.fullmatch(host)
    is_port = port.isascii() and port.isdecimal() and len(port) < 6 and lowest <= int(port) < 65536
    if not (address.startswith(TCP) and is_host and is_port):
        raise errors.InvalidArgument(
            f"address {address[:300]!r} is not valid: tcp://HOST:PORT is expected, IPv6 as [ADDRESS]"
        )
    return host, int(port)


def format_tcp(host: str, port: int) -> str:
    """Return the address of a host (IPv6 in its brackets) and a port."""
    return f"{TCP}{host}:{port}"
