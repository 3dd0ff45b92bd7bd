#!/usr/bin/env python3
"""Say which OCI runtimes work here; exit code 0 when one does. The reasons why others do not come on stderr."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from wherry.runtime import probe


def main() -> int:
    """Run a container with each runtime on PATH."""
    with tempfile.TemporaryDirectory(prefix="wherry-probe-") as scratch:
        found = asyncio.run(probe.find("", Path(scratch)))
    for item in found:
        if item.problem:
            print(f"{item.name} does not work here: {item.problem}", file=sys.stderr)
        else:
            print(item.name)
    return 0 if any(not item.problem for item in found) else 1


if __name__ == "__main__":
    sys.exit(main())
