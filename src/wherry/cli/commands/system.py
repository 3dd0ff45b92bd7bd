"""`wherry info` and `wherry version`."""

from __future__ import annotations

import argparse
import platform

from wherry import __version__, errors
from wherry.cli import table
from wherry.cli.command import Command
from wherry.cli.parser import Parser, add_json
from wherry.cli.session import Settings, open_session
from wherry.model import request as req
from wherry.model import status as st


def make_info_parser(prog: str) -> Parser:
    """Return the parser of `wherry info`."""
    parser = Parser(prog, usage="[--json]", description="Show the daemon and its host.", example="wherry info --json")
    add_json(parser, "an object")
    return parser


async def info(args: argparse.Namespace, settings: Settings) -> int:
    """Show the daemon and its host."""
    async with open_session(settings) as session:
        found = await session.service.info(req.Empty())
    if args.json:
        table.print_json(found)
        return 0
    values = table.to_plain(found)
    del values["runtimes"]
    width = max(map(len, values))
    for name, value in values.items():
        shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        print(f"{name.replace('_', ' ').ljust(width)}  {table.clean(shown)}")
    print()
    table.print_table(("RUNTIME", "VERSION", "PATH", "WORKS"), [_runtime_row(runtime) for runtime in found.runtimes])
    for runtime in found.runtimes:
        if runtime.warning:
            print(f"warning: {table.clean(runtime.warning)}")
    return 0


def _runtime_row(runtime: st.RuntimeInfo) -> tuple[str, ...]:
    works = f"no: {runtime.problem}" if runtime.problem else "yes, used by default" if runtime.default else "yes"
    return (runtime.name, runtime.version or "-", runtime.path or "-", works)


def make_version_parser(prog: str) -> Parser:
    """Return the parser of `wherry version`."""
    parser = Parser(
        prog,
        usage="[--json]",
        description="Show the version of wherry and of the daemon that answers. No daemon is started.",
        example="wherry version --json",
    )
    add_json(parser, "an object")
    return parser


async def version(args: argparse.Namespace, settings: Settings) -> int:
    """Show both versions; a daemon that does not answer is not a failure."""
    daemon: st.Version | None = None
    problem = ""
    try:
        async with open_session(settings, start_daemon=False) as session:
            daemon = await session.service.version(req.Empty())
    except errors.Unavailable as error:
        problem = error.message if settings.tls else f"no daemon at {settings.address}"
    except errors.PermissionDenied as error:
        problem = error.message
    if args.json:
        client = {"version": __version__, "python": platform.python_version()}
        table.print_json({"client": client, "daemon": daemon, "problem": problem, "address": settings.address})
        return 0
    print(f"wherry {__version__} (Python {platform.python_version()})")
    print(f"wherryd {daemon.version} (api {daemon.api}, Python {daemon.python})" if daemon else problem)
    return 0


COMMANDS = {"info": Command(make_info_parser, info), "version": Command(make_version_parser, version)}
