"""The options for limits that `run`, `create` and `update` share."""

from __future__ import annotations

import argparse

from wherry.cli import values
from wherry.cli.parser import Parser, typed
from wherry.model import request as req

#: Options and the fields of Limits that they set.
_FIELDS = {
    "memory": "memory_bytes",
    "memory_reservation": "memory_reservation_bytes",
    "memory_swap": "memory_swap_bytes",
    "cpus": "cpus",
    "cpu_shares": "cpu_shares",
    "cpu_quota": "cpu_quota_us",
    "cpu_period": "cpu_period_us",
    "cpuset_cpus": "cpuset_cpus",
    "cpuset_mems": "cpuset_mems",
    "pids": "pids",
    "blkio_weight": "blkio_weight",
}


def add_options(parser: Parser) -> None:
    """Add one option for each limit; without it that limit is not set, or stays as it is."""
    option = parser.option
    size = typed(values.or_none(values.parse_size))
    option("-m", "--memory", metavar="SIZE", type=size, help="memory limit, as in 64M; none lifts it")
    option("--memory-reservation", metavar="SIZE", type=size, help="what to keep when memory is short, or none")
    option("--memory-swap", metavar="SIZE", type=size, help="limit on memory and swap together, or none")
    cpus = typed(values.or_none(values.parse_cpus))
    option("--cpus", metavar="N", type=cpus, help="number of processors, as in 0.5, or none for all")
    option("--cpu-shares", metavar="N", type=typed(values.parse_shares), help="weight, 2 to 262144 (everybody's: 1024)")
    quota = typed(values.or_none(values.parse_quota))
    option("--cpu-quota", metavar="US", type=quota, help="microseconds of processor time in each period, or none")
    option("--cpu-period", metavar="US", type=typed(values.parse_period), help="length of a period, 1000 to 1000000")
    numbers = typed(values.parse_cpuset)
    option("--cpuset-cpus", metavar="LIST", type=numbers, help="run on these processors only, as in 0-2,7")
    option("--cpuset-mems", metavar="LIST", type=numbers, help="take memory of these NUMA nodes only")
    pids = typed(values.or_none(values.parse_pids))
    option("--pids", metavar="N", type=pids, help="limit on processes and threads, or none")
    option("--blkio-weight", metavar="N", type=typed(values.parse_weight), help="weight for block I/O, 10 to 1000")


def make(args: argparse.Namespace) -> req.Limits:
    """Return the limits that the options ask for; -1 is none."""
    given = {field: getattr(args, name) for name, field in _FIELDS.items()}
    return req.Limits(**{field: value for field, value in given.items() if value is not None})
