"""`python -m bench NAME`: run one measurement."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> int:
    """Run the measurement named on the command line; without a name list them."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        print(f"usage: python -m bench NAME, NAME one of: {', '.join(names)}", file=sys.stderr)
        return 2
    importlib.import_module(f"bench.{sys.argv[1]}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
