#!/usr/bin/env python3
"""Run a command that is not trusted: limits, no network, a view of this machine that it cannot change, a timeout.

Example: sandbox.py --timeout 5 --memory 64 -- python3 -c 'print(6 * 7)'
"""

from __future__ import annotations

import argparse
import sys

import wherry
from wherry import errors


def parse_arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", help="of the daemon (default: $WHERRY_ADDRESS, else the usual one)")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--memory", type=int, default=256, metavar="MIB")
    parser.add_argument("--pids", type=int, default=64)
    parser.add_argument("--cpus", type=float, default=1.0)
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def describe(record: wherry.ExitRecord, timed_out: bool, timeout: float) -> str:
    """Return in words why it ended."""
    if timed_out:
        return f"killed: it did not end within {timeout:g} s"
    if record.oom:
        return "killed: it wanted more memory than it may have"
    if record.signal:
        return f"ended by signal {record.signal}"
    return f"ended with status {record.status}"


def main() -> int:
    """Run the command; return its status, 124 when it took too long."""
    arguments = parse_arguments()
    limits = wherry.Limits(memory_bytes=arguments.memory << 20, cpus=arguments.cpus, pids=arguments.pids)
    with wherry.Sync(arguments.address) as client:
        container = client.run(
            "host", *arguments.command, limits=limits, network="none", cap_drop=["ALL"], user="nobody", workdir="/tmp"
        )
        try:
            timed_out = False
            try:
                record = container.wait(timeout=arguments.timeout)
            except errors.DeadlineExceeded:
                timed_out = True
                record = container.stop(timeout=0)
            sys.stdout.buffer.write(container.output())
            sys.stdout.flush()
            print(f"sandbox: {describe(record, timed_out, arguments.timeout)}", file=sys.stderr)
            return 124 if timed_out else record.status
        finally:
            container.delete(force=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except errors.WherryError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        sys.exit(125)
