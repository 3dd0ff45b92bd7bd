"""`wherry stats`: what containers use."""

from __future__ import annotations

import argparse
import asyncio

from wherry import errors
from wherry.cli import exits, table, values
from wherry.cli.command import Command
from wherry.cli.parser import Parser, add_json, say, typed
from wherry.cli.session import Session, Settings, open_session
from wherry.model import request as req
from wherry.model.stats import Stats

COLUMNS = ("ID", "CPU TIME", "MEMORY", "LIMIT", "PIDS", "READ", "WRITTEN", "RECEIVED", "SENT")
#: States of containers that have processes.
ALIVE = frozenset({"created", "running", "pausing", "paused", "stopping"})
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def make_stats_parser(prog: str) -> Parser:
    """Return the parser of `wherry stats`."""
    parser = Parser(
        prog,
        usage="[-f [--interval TIME]] [--json] [ID ...]",
        description="Show what containers use, as their cgroups tell: all that are alive, or those named. With -f one\n"
        "line is printed per container and interval until all have ended. --json has every number there is.",
        example="wherry stats\nwherry stats -f --interval 500ms --json web",
    )
    parser.option("-f", "--follow", action="store_true", help="go on until the containers have ended")
    parser.option(
        "--interval",
        metavar="TIME",
        type=typed(values.parse_duration),
        default=1.0,
        help="time between two samples with -f (default: 1s)",
    )
    add_json(parser, "an array; with -f one object a line")
    parser.add_argument("ids", metavar="ID", nargs="*", help=argparse.SUPPRESS)
    return parser


async def stats(args: argparse.Namespace, settings: Settings) -> int:
    """Show what containers use."""
    async with open_session(settings) as session:
        ids = args.ids or await find_alive(session, settings)
        if args.follow:
            return await _follow(session, settings, ids, args.interval, as_json=args.json)
        found, status = await take(session, settings, ids, told=bool(args.ids))
    if args.json:
        table.print_json(found)
    else:
        table.print_table(COLUMNS, [make_row(sample) for sample in found])
    return status


async def find_alive(session: Session, settings: Settings) -> list[str]:
    """Return the ids of the containers that have processes."""
    listed = await session.service.list(req.ListRequest(namespace=settings.namespace))
    return [info.id for info in listed.containers if info.state in ALIVE]


async def take(session: Session, settings: Settings, ids: list[str], *, told: bool) -> tuple[list[Stats], int]:
    """Return one sample of each; of those not asked for by name, one that has just ended is no failure."""
    requests = [req.StatsRequest(id=id, namespace=settings.namespace) for id in ids]
    results = await asyncio.gather(*map(session.service.stats, requests), return_exceptions=True)
    status = 0
    for result in results:
        if isinstance(result, errors.WherryError):
            if told:
                say(result.message)
                status = status or exits.find(result)
        elif isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, Stats)], status


async def _follow(session: Session, settings: Settings, ids: list[str], interval: float, *, as_json: bool) -> int:
    if not as_json:
        print("\t".join(COLUMNS))
    status = 0

    async def one(id: str) -> None:
        nonlocal status
        request = req.StatsRequest(id=id, namespace=settings.namespace, interval=interval)
        try:
            async for sample in session.service.watch_stats(request):
                if as_json:
                    table.print_json_line(sample)
                else:
                    print("\t".join(make_row(sample)), flush=True)
        except errors.WherryError as error:
            say(error.message)
            status = status or exits.find(error)

    await asyncio.gather(*map(one, ids))
    return status


def make_row(sample: Stats) -> tuple[str, ...]:
    """Return one line of `wherry stats`."""
    return (
        sample.id,
        f"{sample.cpu.total_ns / 1e9:.2f}s",
        format_bytes(sample.memory.usage_bytes),
        format_bytes(sample.memory.limit_bytes) if sample.memory.limit_bytes else "-",
        str(sample.pids.current),
        format_bytes(sum(device.read_bytes for device in sample.block)),
        format_bytes(sum(device.write_bytes for device in sample.block)),
        format_bytes(sum(net.rx_bytes for net in sample.networks if net.name != "lo")),
        format_bytes(sum(net.tx_bytes for net in sample.networks if net.name != "lo")),
    )


def format_bytes(count: int) -> str:
    """Return a number of bytes in decimal units, with three digits: `1.23MB`."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < 999.5:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}{_UNITS[-1]}"


COMMANDS = {"stats": Command(make_stats_parser, stats)}
