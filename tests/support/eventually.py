"""Waiting for something that must come true; no test sleeps instead."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

T = TypeVar("T")

#: Every deadline is multiplied by this, for slow machines: $WHERRY_TEST_SLOW.
SLOW = float(os.environ.get("WHERRY_TEST_SLOW") or 1)
DEADLINE = 10.0
_POLL = 0.01


def eventually(condition: Callable[[], T], deadline: float = DEADLINE, what: str = "") -> T:
    """Call `condition` until it returns something true, and return that; fail the test after `deadline` seconds."""
    end = time.monotonic() + deadline * SLOW
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            pytest.fail(_message(condition, deadline, what, found))
        time.sleep(_POLL)


async def eventually_async(condition: Callable[[], T | Awaitable[T]], deadline: float = DEADLINE, what: str = "") -> T:
    """Do as `eventually` does, in the event loop; `condition` may be a coroutine function."""
    end = time.monotonic() + deadline * SLOW
    while True:
        result = condition()
        found: T = await result if isinstance(result, Awaitable) else result
        if found:
            return found
        if time.monotonic() > end:
            pytest.fail(_message(condition, deadline, what, found))
        await asyncio.sleep(_POLL)


def _message(condition: Callable[[], object], deadline: float, what: str, last: object) -> str:
    name = what or getattr(condition, "__name__", repr(condition))
    return f"not within {deadline * SLOW:g} s: {name} (last answer: {last!r})"
