"""Strings from a request, checked before they reach a file, a path or a command line."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from wherry import errors

#: MAX_ARG_STRLEN of the kernel (linux/binfmts.h): one argument or variable, its NUL included.
MAX_STRING = 128 * 1024
#: All arguments and variables together: a quarter of the usual 8 MiB stack is what execve(2) takes.
MAX_STRINGS = 2 * 1024 * 1024
#: PATH_MAX of the kernel (linux/limits.h), its NUL included.
MAX_PATH = 4096
#: NAME_MAX of the kernel (linux/limits.h): one part of a path.
MAX_NAME = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def check(what: str, value: str, *, limit: int = MAX_STRING) -> str:
    """Return `value` if it is text without NUL of less than `limit` bytes; raise InvalidArgument naming `what`."""
    if "\0" in value:
        raise errors.InvalidArgument(f"{what} {shorten(value)} is not valid: it contains a NUL character")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise errors.InvalidArgument(f"{what} {shorten(value)} is not valid: it is not Unicode text") from None
    if size >= limit:
        raise errors.InvalidArgument(f"{what} {shorten(value)} is not valid: {size} bytes, the limit is {limit - 1}")
    return value


def check_line(what: str, value: str, *, limit: int = MAX_STRING) -> str:
    """Return `value` if `check` takes it and it has no control character or line end; raise InvalidArgument."""
    check(what, value, limit=limit)
    if _CONTROL.search(value):
        raise errors.InvalidArgument(f"{what} {shorten(value)} is not valid: it contains a control character")
    return value


def check_total(what: str, values: Iterable[str]) -> None:
    """Raise InvalidArgument when `values` together are more than execve(2) takes."""
    # A pointer of 8 bytes goes with each string.
    if sum(len(value.encode()) + 9 for value in values) > MAX_STRINGS:
        raise errors.InvalidArgument(f"{what} are not valid: together more than {MAX_STRINGS} bytes")


def check_path(what: str, value: str) -> str:
    """Return the absolute path `value` without double slashes and dots; raise InvalidArgument for any other."""
    check_line(what, value, limit=MAX_PATH)
    if not value.startswith("/"):
        raise errors.InvalidArgument(f"{what} {shorten(value)} is not valid: it is not an absolute path")
    if ".." in value.split("/"):
        raise errors.InvalidArgument(f"{what} {shorten(value)} is not valid: it contains '..'")
    if any(len(part.encode()) > MAX_NAME for part in value.split("/")):
        raise errors.InvalidArgument(f"{what} {shorten(value)} is not valid: a name of more than {MAX_NAME} bytes")
    return "/" + posixpath.normpath(value).lstrip("/")


def is_below(path: str, top: str) -> bool:
    """Return whether the clean absolute `path` is `top` or lies below it."""
    return top in (path, "/") or path.startswith(top + "/")


def shorten(value: str) -> str:
    """Return `value` quoted for a message, cut at 100 characters."""
    return repr(value if len(value) <= 100 else value[:97] + "...")
