"""Small files that must be whole, or the old ones, whoever dies."""

from __future__ import annotations

import os
from pathlib import Path

from wherry.linux import failpoint


def write_whole(path: Path, data: bytes) -> None:
    """Write `path`, mode 0600, so that a reader finds the old or the new content, never a part. Raises OSError."""
    new = path.with_name(f".{path.name}.new")
    failpoint.hit("file.open")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        failpoint.hit("file.write")
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
    finally:
        os.close(fd)
    failpoint.hit("file.rename")
    new.rename(path)
