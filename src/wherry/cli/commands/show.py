"""`wherry ps` and `wherry inspect`."""

from __future__ import annotations

import argparse
import shlex
import time

from wherry import errors
from wherry.cli import options, table, values
from wherry.cli.command import Command
from wherry.cli.commands.lifecycle import for_each
from wherry.cli.parser import Parser, add_json, typed
from wherry.cli.session import Session, Settings, open_session
from wherry.model import lifecycle
from wherry.model import request as req
from wherry.model import status as st

COLUMNS = ("ID", "STATE", "PID", "CREATED", "RUNTIME", "SOURCE", "COMMAND")
_ENDED = frozenset({lifecycle.State.STOPPED.value, lifecycle.State.DELETING.value})


def make_ps_parser(prog: str) -> Parser:
    """Return the parser of `wherry ps`."""
    parser = Parser(
        prog,
        usage="[-a] [-q] [--filter label=NAME=VALUE] [--json]",
        description="List the containers that have not ended, oldest first.",
        example="wherry ps -a\nwherry rm $(wherry ps -aq --filter label=job=nightly)",
    )
    parser.option("-a", "--all", action="store_true", help="those that have ended, too")
    parser.option("-q", "--quiet", action="store_true", help="print ids only")
    parser.option(
        "--filter",
        metavar="label=NAME=VALUE",
        type=typed(parse_filter),
        action="append",
        default=[],
        help="only those with this label; several must all match",
    )
    add_json(parser)
    return parser


def parse_filter(text: str) -> tuple[str, str]:
    """Return the label that `label=NAME=VALUE` or `label.NAME=VALUE` asks for. Raises InvalidArgument."""
    bare = text.removeprefix("label=").removeprefix("label.")
    if bare == text:
        raise errors.InvalidArgument(f"cannot read {text!r}: label=NAME=VALUE is expected")
    return values.parse_pair(bare)


async def ps(args: argparse.Namespace, settings: Settings) -> int:
    """List containers."""
    async with open_session(settings) as session:
        request = req.ListRequest(namespace=settings.namespace, labels=dict(args.filter))
        found = (await session.service.list(request)).containers
    chosen = [info for info in found if args.all or info.state not in _ENDED]
    if args.json:
        table.print_json([info.id for info in chosen] if args.quiet else chosen)
    elif args.quiet:
        for info in chosen:
            print(info.id)
    else:
        now_ns = time.time_ns()
        table.print_table(COLUMNS, [make_row(info, now_ns) for info in chosen])
    return 0


def make_row(info: st.ContainerInfo, now_ns: int) -> tuple[str, ...]:
    """Return one line of `wherry ps`."""
    source = info.request.source
    return (
        info.id,
        format_state(info),
        str(info.pid) if info.pid else "-",
        table.format_age(info.created_at_ns, now_ns),
        info.runtime.rpartition("/")[2] or "-",
        f"{source.kind}:{source.path}" if source.path else source.kind,
        info.problem or shlex.join(info.request.args) or "-",
    )


def format_state(info: st.ContainerInfo) -> str:
    """Return the state with how the container ended, how well it is and how often it was restarted, if there is any."""
    notes = [str(info.exit.status)] if info.exit is not None else []
    if info.health.status:
        notes.append(info.health.status)
    if info.restarts:
        notes.append(f"restarted {info.restarts}x")
    return f"{info.state} ({', '.join(notes)})" if notes else info.state


def make_inspect_parser(prog: str) -> Parser:
    """Return the parser of `wherry inspect`."""
    parser = Parser(
        prog,
        usage="[--json] ID ...",
        description="Show all that is known of containers, as a JSON array (with or without --json). `limits` are\n"
        "those in force, read from the cgroup; null is no limit.",
        example="wherry inspect web | jq '.[0].exit'\nwherry inspect web | jq '.[0].limits.memory_bytes'",
    )
    add_json(parser, "an array, as without it")
    options.add_ids(parser)
    return parser


async def inspect(args: argparse.Namespace, settings: Settings) -> int:
    """Show containers."""

    async def call(session: Session, id: str) -> object:
        return await session.service.get(req.ContainerRef(id=id, namespace=settings.namespace))

    found, status = await for_each(settings, args.ids, call)
    table.print_json(found)
    return status


COMMANDS = {"ps": Command(make_ps_parser, ps), "inspect": Command(make_inspect_parser, inspect)}
