"""What wherryd needs to listen on TCP: certificates that work, and clients that may do something."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from wherry import errors
from wherry.api import roles
from wherry.api.remote import Remote
from wherry.client.tls import Tls
from wherry.daemon.config import Config

_FILES = ("tls-cert", "tls-key", "tls-ca")


def load(settings: Config) -> Remote | None:
    """Return what the settings say of TCP, all of it read and checked; None when it is not wanted.

    Raises InvalidArgument, or NotFound for a file that cannot be read.
    """
    hosts = settings.hosts
    given = [name for name in (*_FILES, "tls-clients") if settings[name]]
    if not hosts:
        if given:
            raise errors.InvalidArgument(f"{', '.join(given)}: only with a tcp:// address in listen")
        return None
    if missing := [name for name in _FILES if not settings[name]]:
        raise errors.InvalidArgument(f"listen: a tcp:// address needs {', '.join(missing)} as well")
    clients = parse_clients(settings["tls-clients"])
    if not clients:
        raise errors.InvalidArgument("listen: a tcp:// address needs tls-clients: nobody could use it")
    certificate, key, ca = (_read(name, settings[name]) for name in _FILES)
    _check_certificates("tls-cert", settings["tls-cert"], certificate)
    _check_certificates("tls-ca", settings["tls-ca"], ca)
    _check_key(settings["tls-cert"], settings["tls-key"])
    return Remote(hosts=hosts, certificate=certificate, key=key, ca=ca, clients=clients)


def as_client(settings: Config) -> Tls | None:
    """Return what this wherryd shows to others that it hands containers over to; None without certificates."""
    if not settings["tls-cert"]:
        return None
    return Tls(cert=settings["tls-cert"], key=settings["tls-key"], ca=settings["tls-ca"])


def parse_clients(text: str) -> Mapping[str, str]:
    """Return the role of each name in `NAME=ROLE,NAME=ROLE`; a name has neither `,` nor `=`. Raises InvalidArgument."""
    found: dict[str, str] = {}
    for word in filter(None, map(str.strip, text.split(","))):
        name, _, role = (part.strip() for part in word.partition("="))
        if not name or role not in roles.ROLES:
            raise errors.InvalidArgument(f"tls-clients: {word!r} is not NAME=ROLE with a role of {_list_roles()}")
        if name in found:
            raise errors.InvalidArgument(f"tls-clients: {name!r} is there twice")
        found[name] = role
    return found


def _list_roles() -> str:
    return ", ".join(roles.ROLES)


def _read(name: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if name == "tls-key" and stat.S_IMODE(mode) & 0o077:
                raise errors.InvalidArgument(
                    f"{name}: {path} has mode {stat.S_IMODE(mode):04o}: it must be for its owner only (chmod 600)"
                )
            return file.read()
    except OSError as error:
        raise errors.NotFound(f"{name}: cannot read {path}: {error.strerror}") from None


def _check_certificates(name: str, path: str, data: bytes) -> None:
    # gRPC takes any bytes, and then fails every handshake without a word.
    import ssl

    try:
        # Comments between certificates may be in any language.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=data.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise errors.InvalidArgument(f"{name}: no certificate can be read from {path}: {_words(error)}") from None


def _check_key(certificate: str, key: str) -> None:
    """Raise InvalidArgument unless the key can be read without a passphrase, and is that of the certificate."""
    import ssl

    def refuse() -> str:
        raise errors.InvalidArgument(f"tls-key: {key} is encrypted, and nobody is there to give the passphrase")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise errors.InvalidArgument(f"tls-key: {key} is not the key of {certificate}") from None
        raise errors.InvalidArgument(f"tls-key: no key for {certificate} in {key}: {_words(error)}") from None
    except OSError as error:  # gone or changed since it was read
        raise errors.NotFound(f"tls-key: cannot read {key}: {error.strerror}") from None


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return reason.replace("_", " ").lower() if isinstance(reason, str) else str(error)
