"""`wherry processes`: what runs in a container."""

from __future__ import annotations

import argparse

from wherry.cli import options, table
from wherry.cli.command import Command
from wherry.cli.commands.stats import format_bytes
from wherry.cli.parser import Parser, add_json
from wherry.cli.session import Settings, open_session
from wherry.model import request as req
from wherry.model import status as st

COLUMNS = ("PID", "PPID", "PROCESS", "UID", "STATE", "THREADS", "CPU", "RSS", "COMMAND")


def make_processes_parser(prog: str) -> Parser:
    """Return the parser of `wherry processes`."""
    parser = Parser(
        prog,
        usage="[--json] ID",
        description="List every process in a container, with the host's numbers. PROCESS says which one of the\n"
        "container's own it descends from: init, or an exec; - when its parents have ended.",
        example="wherry processes web",
    )
    add_json(parser)
    options.add_id(parser)
    return parser


async def processes(args: argparse.Namespace, settings: Settings) -> int:
    """List the processes of a container."""
    async with open_session(settings) as session:
        found = await session.service.processes(req.ContainerRef(id=args.id, namespace=settings.namespace))
    if args.json:
        table.print_json(found.processes)
    else:
        table.print_table(COLUMNS, [make_row(process) for process in found.processes])
    return 0


def make_row(process: st.HostProcess) -> tuple[str, ...]:
    """Return one line of `wherry processes`."""
    return (
        str(process.pid),
        str(process.parent),
        process.process or "-",
        str(process.uid),
        process.state,
        str(process.threads),
        f"{process.cpu_us / 1e6:.2f}s",
        format_bytes(process.rss_bytes),
        " ".join(process.command),
    )


COMMANDS = {"processes": Command(make_processes_parser, processes)}
