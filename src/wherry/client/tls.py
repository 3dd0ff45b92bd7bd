"""What a client needs for a daemon on TCP: files, and the name that it expects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from wherry import errors
from wherry.model import address as addresses

#: Settings by their name here, and the variables that stand in for them.
_FILES = {"cert": "WHERRY_TLS_CERT", "key": "WHERRY_TLS_KEY", "ca": "WHERRY_TLS_CA"}
SERVER_NAME = "WHERRY_TLS_SERVER_NAME"


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: our certificate with its chain, its key, and the certificates that verify the daemon's.

    `server_name` is looked for in the daemon's certificate in place of the host in its address.
    """

    cert: str | os.PathLike[str]
    key: str | os.PathLike[str]
    ca: str | os.PathLike[str]
    server_name: str = ""


def choose(address: str, given: Mapping[str, str], environment: Mapping[str, str]) -> Tls | None:
    """Return what to use at an address: `given` (cert, key, ca), else the environment; None for a unix socket.

    Raises InvalidArgument that names what is missing, or what was given for nothing.
    """
    if not address.startswith(addresses.TCP):
        if given:
            raise errors.InvalidArgument(
                f"{', '.join(f'--tls-{name}' for name in given)}: only for an address tcp://HOST:PORT, not {address}"
            )
        return None
    files = {name: given.get(name) or environment.get(variable) for name, variable in _FILES.items()}
    if missing := [f"--tls-{name} (${_FILES[name]})" for name, path in files.items() if not path]:
        raise errors.InvalidArgument(f"{address} needs TLS: {', '.join(missing)} missing")
    return Tls(**{name: path for name, path in files.items() if path}, server_name=environment.get(SERVER_NAME, ""))


def read(tls: Tls) -> tuple[bytes, bytes, bytes]:
    """Return certificate, key and certificates of authorities. Raises NotFound, PermissionDenied, InvalidArgument."""
    certificate = _read(tls.cert, b"CERTIFICATE-----")
    return certificate, _read(tls.key, b"PRIVATE KEY-----"), _read(tls.ca, b"CERTIFICATE-----")


def _read(path: str | os.PathLike[str], mark: bytes) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except PermissionError as error:
        raise errors.PermissionDenied(f"cannot read {os.fspath(path)}: {error.strerror}") from None
    except OSError as error:
        raise errors.NotFound(f"cannot read {os.fspath(path)}: {error.strerror}") from None
    if b"-----BEGIN " not in data or mark not in data:
        kind = mark.decode().rstrip("-").lower()
        raise errors.InvalidArgument(f"cannot use {os.fspath(path)}: there is no {kind} in PEM form in it")
    return data
