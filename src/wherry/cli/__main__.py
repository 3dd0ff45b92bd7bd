"""`python -m wherry.cli` is `wherry`."""

from __future__ import annotations

import sys

from wherry.cli import main

if __name__ == "__main__":
    sys.exit(main.main())
