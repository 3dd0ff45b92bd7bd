"""The named errors of Wherry, each with its gRPC status code.

A class exists where somebody recovers from it; everything else is `Internal`. Messages read
"cannot <verb> <object>: <cause>". Codes are those of the gRPC core specification (doc/statuscodes.md).
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """gRPC status codes as plain integers, so that nothing below the API edge needs gRPC."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15


class WherryError(Exception):
    """Base of every error that Wherry raises on purpose."""

    code: ClassVar[Code] = Code.UNKNOWN

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgument(WherryError):
    """The request can never succeed as it is written."""

    code = Code.INVALID_ARGUMENT


class NotFound(WherryError):
    """No such container, process, runtime or file."""

    code = Code.NOT_FOUND


class AlreadyExists(WherryError):
    """The id is taken by something different."""

    code = Code.ALREADY_EXISTS


class FailedPrecondition(WherryError):
    """The state of the container, or of the host, does not allow this now."""

    code = Code.FAILED_PRECONDITION


class PermissionDenied(WherryError):
    """The caller or the daemon lacks a right that this needs."""

    code = Code.PERMISSION_DENIED


class ResourceExhausted(WherryError):
    """A disk, a queue, or a limit is full."""

    code = Code.RESOURCE_EXHAUSTED


class DeadlineExceeded(WherryError):
    """It took longer than was allowed."""

    code = Code.DEADLINE_EXCEEDED


class Cancelled(WherryError):
    """The caller went away."""

    code = Code.CANCELLED


class Unavailable(WherryError):
    """Nobody answers at the address, or the daemon is stopping; trying again may help."""

    code = Code.UNAVAILABLE


class Aborted(WherryError):
    """Overtaken by another request for the same container; trying again may help."""

    code = Code.ABORTED


class OutOfRange(WherryError):
    """The event or log position asked for is no longer, or not yet, there."""

    code = Code.OUT_OF_RANGE


class Unimplemented(WherryError):
    """Known, but not built."""

    code = Code.UNIMPLEMENTED


class Internal(WherryError):
    """A failure nobody recovers from in code; the message carries the cause."""

    code = Code.INTERNAL


class DataLoss(WherryError):
    """A file of the state or root directory is torn, foreign or empty."""

    code = Code.DATA_LOSS


class RuntimeFailed(Internal):
    """The OCI runtime refused or failed; the message carries its own words."""


class CommandNotFound(NotFound):
    """The command does not exist in the container's root filesystem (exit code 127)."""


class CommandNotExecutable(PermissionDenied):
    """The command exists in the root filesystem and cannot be executed (exit code 126)."""


_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def is_passing(error: OSError) -> bool:
    """Tell whether an error of the operating system is a want of room, descriptors or memory."""
    return error.errno in _FULL


def from_os(what: str, error: OSError) -> WherryError:
    """Return the named error for one of the operating system: "cannot <what>: <file>: <cause>"."""
    file = f"{error.filename}: " if error.filename else ""
    text = printable(f"cannot {what}: {file}{error.strerror or error}")
    if is_passing(error):
        return ResourceExhausted(text)
    return PermissionDenied(text) if error.errno in _REFUSED else Internal(text)


def printable(text: str, kept: str = "") -> str:
    """Return `text` harmless to a terminal: what does not print, unless it is `kept`, is written as an escape.

    Names of files and arguments are anybody's who makes an archive, a bundle or a container.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in kept else letter.encode("unicode_escape").decode()
        for letter in text
    )


def named() -> dict[str, type[WherryError]]:
    """Return every error class by its name, for the translation at the API edge."""
    found: dict[str, type[WherryError]] = {}
    todo: list[type[WherryError]] = [WherryError]
    while todo:
        cls = todo.pop()
        found[cls.__name__] = cls
        todo.extend(cls.__subclasses__())
    return found
