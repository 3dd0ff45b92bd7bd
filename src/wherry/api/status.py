"""Errors out: the one place where they become gRPC statuses."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import grpc
from google.protobuf import message

from wherry import errors
from wherry.wire import methods

_logger = logging.getLogger(__name__)
_CODES = {code.value[0]: code for code in grpc.StatusCode}
#: Bytes of text in a status. It is one HTTP/2 header: above 8 KiB of all of them a client may refuse the answer.
MAX_TEXT = 4096


def read_message(kind: Any, data: bytes) -> Any:
    """Return a message of a protobuf class. Raises InvalidArgument for bytes that are none.

    Left to gRPC, such a request is a traceback in the log, and names of Python's classes for the client.
    """
    try:
        return kind.FromString(data)
    except message.DecodeError:
        name = kind.DESCRIPTOR.full_name
        raise errors.InvalidArgument(f"cannot read the request: these {len(data)} bytes are no {name}") from None


async def abort(context: Any, error: BaseException) -> NoReturn:
    """End a call with the status of `error`; one that is not ours is logged and becomes Internal."""
    if isinstance(error, OSError):
        error = errors.from_os("do that", error)
    if not isinstance(error, errors.WherryError):
        _logger.error("internal error", exc_info=error)
        error = errors.Internal(f"internal error: {type(error).__name__}: {error}")
    metadata = ((methods.ERROR_KEY, type(error).__name__),)
    await context.abort(_CODES[int(error.code)], fit(error.message), trailing_metadata=metadata)
    raise AssertionError("abort returned")


def fit(text: str) -> str:
    """Return as much of `text` as MAX_TEXT bytes hold once gRPC has percent-encoded it.

    A lone surrogate (a file name that is not UTF-8) becomes "?": gRPC cannot encode it, and the call would never end.
    """
    data = text.encode("utf-8", "replace")
    room = MAX_TEXT
    for index, byte in enumerate(data):
        room -= 1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3
        if room < 0:
            return data[:index].decode("utf-8", "ignore")
    return data.decode()
