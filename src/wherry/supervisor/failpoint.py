"""Named places where a test can make the daemon die: WHERRY_FAILPOINTS="create.spawned,exit.journaled:2".

The number says at which time the place is reached; without one at the first.
"""

from __future__ import annotations

import os
import signal


def _parse(text: str) -> dict[str, int]:
    pairs = (item.partition(":") for item in text.split(",") if item)
    return {name: int(number or 1) for name, _, number in pairs}


_left = _parse(os.environ.get("WHERRY_FAILPOINTS", ""))


def hit(name: str) -> None:
    """Die by SIGKILL if `name` is armed and this is the time; nothing otherwise."""
    if name in _left:
        _left[name] -= 1
        if not _left[name]:
            os.kill(os.getpid(), signal.SIGKILL)
