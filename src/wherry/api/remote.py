"""Where and for whom the API is served on TCP: a value, made before anything of gRPC is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """`hosts` are HOST and PORT to listen at; `certificate`, `key` and `ca` PEM; `clients` role by name."""

    hosts: tuple[tuple[str, int], ...]
    certificate: bytes
    key: bytes
    ca: bytes
    clients: Mapping[str, str]
