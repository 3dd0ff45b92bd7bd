"""The client's side of a FIFO."""

from __future__ import annotations

import os

from tests.support.eventually import eventually


def open_reader(path: str) -> int:
    """Open the read end, which waits for nobody."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def has_ended(fd: int) -> bool:
    """Tell whether there is nothing to read and nobody left to write."""
    try:
        return os.read(fd, 1) == b""
    except BlockingIOError:
        return False


def read_until(fd: int, size: int) -> bytes:
    """Read until there are `size` bytes."""
    found = b""

    def more() -> bool:
        nonlocal found
        try:
            found += os.read(fd, 1 << 20)
        except BlockingIOError:
            pass
        return len(found) >= size

    eventually(more, what=f"{size} bytes")
    return found
