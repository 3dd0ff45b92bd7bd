"""`wherry migrate`."""

from __future__ import annotations

import argparse

from wherry import errors
from wherry.cli import options
from wherry.cli.command import Command
from wherry.cli.commands.checkpoint import add_criu
from wherry.cli.commands.stats import format_bytes
from wherry.cli.parser import Parser
from wherry.cli.session import Settings, open_session
from wherry.model import migration as mg


def make_parser(prog: str) -> Parser:
    """Return the parser of `wherry migrate`."""
    parser = Parser(
        prog,
        usage="[OPTION ...] --to ADDRESS ID",
        description="Hand a running container over to another wherryd, where it goes on; here it ends. It stands\n"
        "still meanwhile. If anything fails it goes on here; it never runs in two places. The other daemon must\n"
        "have what the container was made from (rootfs, bind mounts) at the same paths.",
        example="wherry migrate job --to tcp://node-b:7070",
    )
    option = parser.option
    option("--to", metavar="ADDRESS", default="", help="the other daemon, tcp://HOST:PORT or unix://PATH")
    add_criu(parser, pre_copy="send memory N times before, while the container runs; it stands still for less")
    option(
        "--give-up",
        action="store_true",
        help="let it go on here although the other daemon does not say whether it runs there. Only if you\n"
        "know that it does not: it would run twice",
    )
    options.add_id(parser)
    return parser


async def migrate(args: argparse.Namespace, settings: Settings) -> int:
    """Hand a container over and say how that went."""
    if bool(args.to) == args.give_up:
        raise errors.InvalidArgument("cannot migrate: either --to ADDRESS or --give-up has to be given")
    request = mg.MigrateRequest(
        id=args.id,
        namespace=settings.namespace,
        to=args.to,
        pre_copy=args.pre_copy,
        tcp=args.tcp,
        unix_sockets=args.unix_sockets,
        shell=args.shell,
        give_up=args.give_up,
    )
    async with open_session(settings) as session:
        info = await session.service.migrate(request)
    if args.give_up:
        print(f"{info.id}: goes on here")
    else:
        sent = format_bytes(info.sent_bytes)
        print(f"{info.id}: runs at {info.to}; nobody ran it for {info.downtime_us / 1000:.0f} ms, {sent} sent")
    return 0


COMMANDS = {"migrate": Command(make_parser, migrate)}
