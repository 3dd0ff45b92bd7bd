"""Ids of containers, processes and namespaces, checked before they touch a path."""

from __future__ import annotations

import os
import re

from wherry import errors

#: Shape of every id (design: on disk). No slash, no leading dot, nothing a path or a log line could trip over.
PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
INIT = "init"
DEFAULT_NAMESPACE = "default"
#: Names that the state directory uses for itself, next to the namespaces.
RESERVED_NAMESPACES = frozenset({"quarantine", "wherry.sock", "wherryd.lock", "wherryd.log"})


def check(kind: str, value: str) -> str:
    """Return `value` if it is a well-formed id; raise InvalidArgument naming `kind` if not."""
    if PATTERN.fullmatch(value) is None:
        raise errors.InvalidArgument(
            f"{kind} {value[:200]!r} is not valid: 1 to 128 of A-Z a-z 0-9 _ . - are allowed, first a letter or digit"
        )
    return value


def check_namespace(value: str) -> str:
    """Return `value` if it may name a namespace; raise InvalidArgument if not."""
    check("namespace", value)
    if value in RESERVED_NAMESPACES:
        raise errors.InvalidArgument(f"namespace {value!r} is reserved")
    return value


def make() -> str:
    """Return a new random id of 12 hexadecimal digits."""
    return os.urandom(6).hex()
