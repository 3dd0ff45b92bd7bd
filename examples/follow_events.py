#!/usr/bin/env python3
"""Print each event once, whatever dies: the last number seen is kept in a file, and the daemon may be restarted.

Example: follow_events.py /var/tmp/last-event
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import wherry
from wherry import errors

#: Seconds between tries while no daemon answers.
RETRY = 0.5


def read_position(path: Path) -> int:
    """Return the number of the last event seen, 0 at first."""
    return int(path.read_text()) if path.exists() else 0


def write_position(path: Path, seq: int) -> None:
    """Keep the number; whoever reads it finds the old one or the new one, never a part."""
    new = path.with_name(path.name + ".new")
    new.write_text(f"{seq}\n")
    os.replace(new, path)


async def follow(path: Path, address: str | None, follow: bool) -> None:
    """Print what comes after the number in `path`; without `follow` end where the daemon is now."""
    async with wherry.connect(address) as client:
        async for event in client.events(after=read_position(path), follow=follow):
            name = f"{event.namespace}/{event.container}" + (f"/{event.process}" if event.process else "")
            status = f" status={event.status}" if event.type == "exit" else ""
            print(f"{event.seq} {event.type} {name}{status}", flush=True)
            # After the work, so that a crash repeats an event rather than losing it.
            write_position(path, event.seq)


async def main() -> None:
    """Follow for ever, or with --once up to now."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", help="of the daemon (default: $WHERRY_ADDRESS, else the usual one)")
    parser.add_argument("--once", action="store_true", help="end after the last event there is")
    parser.add_argument("position", type=Path, help="file that keeps the number of the last event seen")
    arguments = parser.parse_args()
    while True:
        try:
            await follow(arguments.position, arguments.address, not arguments.once)
        except errors.Unavailable as error:
            print(f"{error}; trying again", file=sys.stderr, flush=True)
        else:
            if arguments.once:
                return
        await asyncio.sleep(RETRY)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except errors.WherryError as error:
        sys.exit(f"follow_events: {error}")
