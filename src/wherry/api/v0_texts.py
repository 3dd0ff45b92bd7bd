"""What goes wrong, in the words of containerd v0.2: its clients tell one error from another by the text."""

from __future__ import annotations

import json
import re
from typing import TypeVar

from wherry import errors

E = TypeVar("E", bound=errors.WherryError)

NO_CONTAINER = "containerd: container not found"
NO_PROCESS = "containerd: process not found for container"
NOT_STARTED = "containerd: container not started"
TIMED_OUT = "containerd: container did not start before the specified timeout"
SHIM_ENDED = "containerd: shim exited before container process was started"
NO_PID_FILE = "shim error: open pid: no such file or directory"

#: What the supervisor puts before the cause, one after the other.
_LAYER = re.compile(r"(cannot [^:]*|container \S+ has ended meanwhile): ")
_STATUS = re.compile(r"the runtime ended with (?:status|signal) (\d+)(: |, )")
_SHIM = re.compile(r"shim: (?P<said>.*)", re.DOTALL)
_MISSING = ": No such file or directory"


def again(error: E, text: str) -> E:
    """Return an error of the same class with another text."""
    return type(error)(text)


def cause(error: errors.WherryError) -> str:
    """Return what an error says behind "cannot <verb> <object>: "."""
    text = error.message
    while found := _LAYER.match(text):
        text = text[found.end() :]
    return text


def of_start(error: errors.WherryError, command: str) -> errors.WherryError:
    """Return the error for a container, or an exec of `command`, that could not be started (v0-system 2.6)."""
    said = cause(error)
    if isinstance(error, errors.DeadlineExceeded):
        return again(error, TIMED_OUT)
    if isinstance(error, errors.Aborted):
        return again(error, SHIM_ENDED)
    if shim := _SHIM.match(said):
        path = shim["said"].removesuffix(_MISSING)
        is_missing = path != shim["said"]
        return again(error, f"shim error: stat {path}{_MISSING.lower()}" if is_missing else f"shim error: {path}")
    status = _STATUS.match(said)
    if status is not None:
        said = said[status.end() :]
        if status[2] == ", ":
            return again(error, NO_PID_FILE)
        if said == "it gave no reason":
            return again(error, NOT_STARTED)
    elif not isinstance(error, errors.CommandNotFound | errors.CommandNotExecutable | errors.FailedPrecondition):
        return error
    return again(error, f"oci runtime error: {said}{_as_runc(error, said, command)}")


def _as_runc(error: errors.WherryError, said: str, command: str) -> str:
    """Return what runc says of a command that cannot be executed, when another runtime has said it its own way."""
    why = {
        errors.CommandNotFound: "executable file not found in $PATH",
        errors.CommandNotExecutable: "permission denied",
    }.get(type(error))
    return f": exec: {json.dumps(command)}: {why}" if why and 'exec: "' not in said else ""


def of_runtime(error: errors.WherryError) -> errors.WherryError:
    """Return the error for a further call of the runtime that failed: its status, and in Go's quotes what it said."""
    said = cause(error)
    status = _STATUS.match(said)
    number, said = (int(status[1]), said[status.end() :]) if status else (1, said)
    return again(error, f"exit status {number}: {json.dumps(said + chr(10))}")


def of_bundle(error: errors.WherryError, path: str) -> errors.WherryError:
    """Return the error for a configuration `path` that is not there or cannot be understood."""
    if isinstance(error, errors.NotFound):
        return errors.NotFound(f"open {path}: no such file or directory")
    source = error.__cause__
    if isinstance(source, json.JSONDecodeError):
        return errors.InvalidArgument(_of_json(source))
    if isinstance(source, errors.InvalidArgument):
        return errors.InvalidArgument(f"json: cannot unmarshal {path}: {source.message}")
    return error


#: What Python's parser misses, and how Go's names what is there instead.
_JSON = {
    "Expecting property name": "looking for beginning of object key string",
    "Expecting ':'": "after object key",
    "Expecting ','": "after object key:value pair",
    "Extra data": "after top-level value",
}


def _of_json(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()):
        return "unexpected end of JSON input"
    found = error.doc[error.pos]
    where = next(
        (text for begin, text in _JSON.items() if error.msg.startswith(begin)), "looking for beginning of value"
    )
    return f"invalid character '{found if found.isprintable() else '?'}' {where}"
