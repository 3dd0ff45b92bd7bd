"""What the zygote runs once before it freezes.

The interpreter specialises code, fills its caches and its allocators while it runs. Each of those writes, done here,
lies in pages that all shims share; done after the fork, it would be a private copy in each of them.
"""

from __future__ import annotations

import os
import tempfile


def run() -> None:
    """Rehearse; whatever goes wrong here only costs memory later."""


__all__ = ["os", "run", "tempfile"]
