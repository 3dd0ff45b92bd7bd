"""`wherry update`: other limits for containers that are there."""

from __future__ import annotations

import argparse

from wherry import errors
from wherry.cli import limits, options
from wherry.cli.command import Command
from wherry.cli.commands.lifecycle import for_each
from wherry.cli.parser import Parser
from wherry.cli.session import Session, Settings
from wherry.model import request as req


def make_update_parser(prog: str) -> Parser:
    """Return the parser of `wherry update`."""
    parser = Parser(
        prog,
        usage="[OPTION ...] ID ...",
        description="Change the limits of containers that are created, running or paused; what is not named stays as\n"
        "it is. All of it takes effect, or none and an error says why. A container that is started again keeps\n"
        "what was changed. `wherry inspect` shows the limits in force.",
        example="wherry update --memory 256M --cpus 1.5 web\nwherry update --pids none web",
    )
    limits.add_options(parser)
    options.add_ids(parser)
    return parser


async def update(args: argparse.Namespace, settings: Settings) -> int:
    """Change limits."""
    asked = limits.make(args)
    if asked == req.Limits():
        raise errors.InvalidArgument("cannot update containers: no limit is given (see wherry update --help)")

    async def call(session: Session, id: str) -> object:
        return await session.service.update(req.UpdateRequest(id=id, namespace=settings.namespace, limits=asked))

    return (await for_each(settings, args.ids, call))[1]


COMMANDS = {"update": Command(make_update_parser, update)}
