"""Environments as the specification has them: lists of NAME=VALUE."""

from __future__ import annotations

from collections.abc import Iterable

from wherry import errors
from wherry.oci import text

#: Where commands are looked for unless the request says otherwise.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check(values: Iterable[str]) -> None:
    """Raise InvalidArgument for a variable that is not NAME=VALUE with a NAME."""
    for value in values:
        text.check("environment variable", value)
        name, equals, _ = value.partition("=")
        # A bare NAME means "as it is here" elsewhere; the environment of a daemon is nobody's business.
        if not equals or not name:
            raise errors.InvalidArgument(
                f"environment variable {text.shorten(value)} is not valid: it must be NAME=VALUE"
            )


def overlay(*layers: Iterable[str]) -> list[str]:
    """Return the variables of all `layers`, the last value of a name in the place of its first."""
    merged: dict[str, str] = {}
    for layer in layers:
        for value in layer:
            merged[value.partition("=")[0]] = value
    return list(merged.values())
