"""Errors out: the one place where they become gRPC statuses."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import grpc

from wherry import errors
from wherry.wire import methods

_logger = logging.getLogger(__name__)
_CODES = {code.value[0]: code for code in grpc.StatusCode}
#: gRPC carries the text in one HTTP/2 header; a runtime's megabyte of words does not belong there.
MAX_TEXT = 4096


async def abort(context: Any, error: BaseException) -> NoReturn:
    """End a call with the status of `error`; one that is not ours is logged and becomes Internal."""
    if not isinstance(error, errors.WherryError):
        _logger.error("internal error", exc_info=error)
        error = errors.Internal(f"internal error: {type(error).__name__}: {error}")
    metadata = ((methods.ERROR_KEY, type(error).__name__),)
    await context.abort(_CODES[int(error.code)], error.message[:MAX_TEXT], trailing_metadata=metadata)
    raise AssertionError("abort returned")
