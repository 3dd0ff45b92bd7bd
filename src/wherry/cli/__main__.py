"""`python -m wherry.cli` is `wherry`."""

from __future__ import annotations

from wherry.cli import main

if __name__ == "__main__":
    main.enter()
