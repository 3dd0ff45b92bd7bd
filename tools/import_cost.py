#!/usr/bin/env python3
"""What each run-time dependency costs at import: milliseconds of time and megabytes of private memory.

Each is imported in a fresh interpreter, several times; the median is printed, less that of an empty program. The
figures of docs/decisions/0001-dependencies.md are its.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

#: Names as they are imported here: the modules of a dependency that Wherry uses.
DEPENDENCIES = {
    "grpcio (grpc.aio)": "grpc.aio",
    "protobuf (the messages of wherry.v1)": "wherry.wire.wherry_v1_pb2",
    "both": "grpc.aio, wherry.wire.wherry_v1_pb2",
    "rich (tables)": "rich.table, rich.console",
    "prometheus_client": "prometheus_client",
    "backports.zstd with tarfile": "backports.zstd, tarfile",
    "for scale: asyncio": "asyncio",
    "for scale: argparse": "argparse",
}
ROUNDS = 9

_PROGRAM = """
import time
begin = time.perf_counter()
{statement}
end = time.perf_counter()
for line in open("/proc/self/smaps_rollup"):
    if line.startswith(("Private_Clean", "Private_Dirty")):
        print(line.split()[1])
print((end - begin) * 1000)
"""


def measure(statement: str) -> tuple[float, float]:
    """Return the median time in ms and private memory in MB of a program that runs `statement`."""
    times, sizes = [], []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM.format(statement=statement)], capture_output=True, text=True, check=True
        )
        clean, dirty, spent = done.stdout.split()
        times.append(float(spent))
        sizes.append((int(clean) + int(dirty)) / 1024)
    return statistics.median(times), statistics.median(sizes)


def main() -> None:
    """Print a table."""
    _, nothing = measure("pass")
    print(f"{'import':40} {'ms':>6} {'MB':>6}")
    for name, modules in DEPENDENCIES.items():
        spent, size = measure(f"import {modules}")
        print(f"{name:40} {spent:6.0f} {size - nothing:6.1f}")


if __name__ == "__main__":
    main()
