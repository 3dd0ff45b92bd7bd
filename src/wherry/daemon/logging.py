"""The daemon's log on standard error, as text or as one JSON object a line."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from wherry import errors


def _format_time(created: float) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = errors.printable(record.getMessage())
        text = f"{_format_time(record.created)} {record.levelname.lower():7} {record.name}: {message}"
        if not record.exc_info:
            return text
        trace = errors.printable(self.formatException(record.exc_info), kept="\n")
        return f"{text}\n{trace}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _format_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _is_told(record: logging.LogRecord) -> bool:
    """Tell whether a record of gRPC is to be logged: a client that leaves amid a message to it is no error of ours."""
    return not record.getMessage().startswith("ExecuteBatchError raised in core by servicer method")


def set_up(level: str, form: str) -> None:
    """Log from `level` on, in the form `text` or `json`."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_told)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
