#!/usr/bin/env python3
"""Run the steps of a file, one command a line, each in a fresh copy of this machine and of the current directory.

Example: ci_runner.py --jobs 4 steps.txt     where steps.txt has lines such as `lint: make lint`
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import wherry
from wherry import errors


@dataclass(frozen=True)
class Outcome:
    """How a step went; `status` 125 says that it could not be run."""

    name: str
    status: int
    seconds: float
    output: bytes


def parse_steps(text: str) -> list[tuple[str, str]]:
    """Return the names and commands in lines `NAME: COMMAND`; empty ones and `#` are passed over."""
    lines = [line.strip() for line in text.splitlines()]
    steps = [line.partition(":") for line in lines if line and not line.startswith("#")]
    return [(name.strip(), command.strip()) for name, _, command in steps]


async def run_step(client: wherry.Client, slots: asyncio.Semaphore, name: str, command: str) -> Outcome:
    """Run one step when there is a slot; it can change nothing outside its container."""
    async with slots:
        started = time.monotonic()
        source = wherry.Source(kind="host", here=str(Path.cwd()))
        try:
            container = await client.run(source, "sh", "-ec", command, labels={"ci": name})
        except errors.WherryError as error:
            return Outcome(name, 125, 0.0, f"{error}\n".encode())
        try:
            record = await container.wait()
            return Outcome(name, record.status, time.monotonic() - started, await container.output())
        finally:
            await container.delete(force=True)


async def main() -> int:
    """Run every step; return 0 when all have succeeded, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", help="of the daemon (default: $WHERRY_ADDRESS, else the usual one)")
    parser.add_argument("--jobs", type=int, default=2, help="steps at a time (default: 2)")
    parser.add_argument("steps", type=Path)
    arguments = parser.parse_args()
    slots = asyncio.Semaphore(arguments.jobs)
    async with wherry.connect(arguments.address) as client:
        steps = parse_steps(arguments.steps.read_text())
        outcomes = await asyncio.gather(*(run_step(client, slots, name, command) for name, command in steps))
    for outcome in outcomes:
        print(f"--- {outcome.name}", flush=True)
        sys.stdout.buffer.write(outcome.output)
    for outcome in outcomes:
        print(f"{'ok' if outcome.status == 0 else 'FAILED':8}{outcome.seconds:7.1f} s  {outcome.name}")
    return 0 if all(outcome.status == 0 for outcome in outcomes) else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except errors.WherryError as error:
        sys.exit(f"ci_runner: {error}")
