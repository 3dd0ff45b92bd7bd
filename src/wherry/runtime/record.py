"""Small files that are read back: written beside and renamed, read with a bound."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from wherry import errors
from wherry.linux import files

#: Larger files in the state directory are not ours: a request has 4 MiB (wire/methods.py), of which a byte becomes six
#: in JSON at most, and labels are there twice.
MAX_BYTES = 64 * 1024 * 1024


def write_json(path: Path, value: Any) -> None:
    """Write `value` as one JSON object and a line end."""
    files.write_whole(path, (json.dumps(value, separators=(",", ":")) + "\n").encode())


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises FileNotFoundError, DataLoss for what cannot be ours, ResourceExhausted for what passes and is no fault of it.
    """
    # Non-blocking and no link: a FIFO or a link put in its place must not hold or mislead us.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        check_passing(error)
        raise errors.DataLoss(f"cannot read {path}: {error.strerror}") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        os.close(fd)  # open() refuses a directory, and does not close it then
        raise errors.DataLoss(f"cannot read {path}: not a regular file of at most {MAX_BYTES} bytes")
    with open(fd, "rb") as file:
        return file.read()


def check_passing(error: OSError) -> None:
    """Raise ResourceExhausted for a want of descriptors or memory, which is no fault of the file."""
    found = errors.from_os("read what was written down", error)
    if isinstance(found, errors.ResourceExhausted):
        raise found from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`. Raises FileNotFoundError, or DataLoss for a torn, empty or foreign file."""
    try:
        value = json.loads(read_bytes(path))
    except ValueError as error:
        raise errors.DataLoss(f"cannot read {path}: {error}") from error
    except RecursionError as error:
        raise errors.DataLoss(f"cannot read {path}: nested too deep") from error
    if not isinstance(value, dict):
        raise errors.DataLoss(f"cannot read {path}: a JSON object was expected")
    return value


def read_number(path: Path) -> int | None:
    """Return the decimal number in `path`; None when the file is missing, empty or something else."""
    try:
        return int(read_bytes(path).decode("ascii"))
    except (FileNotFoundError, ValueError, errors.DataLoss):
        return None
