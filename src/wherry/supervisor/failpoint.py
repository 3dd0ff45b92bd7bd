"""Named places where a test can make the daemon die: WHERRY_FAILPOINTS="create.spawned,exit.journaled"."""

from __future__ import annotations

import os
import signal

_ARMED = frozenset(filter(None, os.environ.get("WHERRY_FAILPOINTS", "").split(",")))


def hit(name: str) -> None:
    """Die by SIGKILL if `name` is armed; nothing otherwise."""
    if name in _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
