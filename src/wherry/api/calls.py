"""The calls under way, counted: a daemon that was started on demand ends when it has none for a while."""

from __future__ import annotations

import time
from types import TracebackType


class Calls:
    """Counts calls: `with calls:` round each."""

    def __init__(self) -> None:
        #: Calls under way now.
        self.active = 0
        self._last_end = time.monotonic()

    def __enter__(self) -> None:
        self.active += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.active -= 1
        self._last_end = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last call ended, 0 while one is under way."""
        return 0.0 if self.active else time.monotonic() - self._last_end
