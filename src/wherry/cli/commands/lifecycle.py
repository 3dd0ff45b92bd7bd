"""`wherry start`, `stop`, `restart`, `pause`, `resume`, `kill`, `wait`, `rm`: each for several containers."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable

from wherry import errors
from wherry.cli import exits, options, values
from wherry.cli.command import Command
from wherry.cli.parser import Parser, say, typed
from wherry.cli.session import Session, Settings, open_session
from wherry.model import request as req
from wherry.model import signals
from wherry.model import status as st

#: Seconds between the stop signal and SIGKILL.
STOP_SECONDS = 10.0


async def for_each(
    settings: Settings, ids: list[str], call: Callable[[Session, str], Awaitable[object]]
) -> tuple[list[object], int]:
    """Make one call per container, all at once; return the answers in order and the exit code.

    Every failure is printed; the first one decides the exit code.
    """
    unique = list(dict.fromkeys(ids))
    async with open_session(settings) as session:
        results = await asyncio.gather(*(call(session, id) for id in unique), return_exceptions=True)
    answers: list[object] = []
    status = 0
    for result in results:
        if isinstance(result, errors.WherryError):
            say(result.message)
            status = status or exits.find(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            answers.append(result)
    return answers, status


def make_start_parser(prog: str) -> Parser:
    """Return the parser of `wherry start`."""
    parser = Parser(
        prog,
        usage="ID ...",
        description="Start created containers, or once more those that have ended or wait for their restart: the same\n"
        "command on the same writable layer, its output behind what the log has.",
        example="wherry start job",
    )
    options.add_ids(parser)
    return parser


async def start(args: argparse.Namespace, settings: Settings) -> int:
    """Start created or ended containers."""

    async def call(session: Session, id: str) -> object:
        return await session.service.start(req.ContainerRef(id=id, namespace=settings.namespace))

    return (await for_each(settings, args.ids, call))[1]


def make_stop_parser(prog: str) -> Parser:
    """Return the parser of `wherry stop`."""
    parser = Parser(
        prog,
        usage="[-t SECONDS] ID ...",
        description="Send the stop signal (SIGTERM unless the container says otherwise), then SIGKILL.",
        example="wherry stop -t 30 web",
    )
    _add_time(parser)
    options.add_ids(parser)
    return parser


def _add_time(parser: Parser) -> None:
    parser.option(
        "-t",
        "--time",
        metavar="SECONDS",
        type=typed(values.parse_duration),
        default=STOP_SECONDS,
        help=f"wait so long before SIGKILL (default: {STOP_SECONDS:.0f})",
    )


async def stop(args: argparse.Namespace, settings: Settings) -> int:
    """Stop containers."""

    async def call(session: Session, id: str) -> object:
        request = req.StopRequest(id=id, namespace=settings.namespace, timeout=args.time)
        return await session.again(lambda service: service.stop(request))

    return (await for_each(settings, args.ids, call))[1]


def make_restart_parser(prog: str) -> Parser:
    """Return the parser of `wherry restart`."""
    parser = Parser(
        prog,
        usage="[-t SECONDS] ID ...",
        description="Stop containers as `wherry stop` does, and start them once more; start those that do not run.",
        example="wherry restart web",
    )
    _add_time(parser)
    options.add_ids(parser)
    return parser


async def restart(args: argparse.Namespace, settings: Settings) -> int:
    """Stop containers and start them once more."""

    async def call(session: Session, id: str) -> object:
        request = req.StopRequest(id=id, namespace=settings.namespace, timeout=args.time)
        try:
            return await session.service.restart(request)
        except errors.Unavailable as error:
            raise errors.Unavailable(f"{error.message}; the next daemon finishes the restart of {id}") from error

    return (await for_each(settings, args.ids, call))[1]


def make_pause_parser(prog: str) -> Parser:
    """Return the parser of `wherry pause`."""
    parser = Parser(
        prog,
        usage="ID ...",
        description="Freeze every process of running containers. They stay so over a restart of the daemon,\n"
        "and can be stopped, killed and deleted as they are.",
        example="wherry pause web",
    )
    options.add_ids(parser)
    return parser


async def pause(args: argparse.Namespace, settings: Settings) -> int:
    """Freeze containers."""

    async def call(session: Session, id: str) -> object:
        return await session.service.pause(req.ContainerRef(id=id, namespace=settings.namespace))

    return (await for_each(settings, args.ids, call))[1]


def make_resume_parser(prog: str) -> Parser:
    """Return the parser of `wherry resume`."""
    parser = Parser(prog, usage="ID ...", description="Let paused containers go on.", example="wherry resume web")
    options.add_ids(parser)
    return parser


async def resume(args: argparse.Namespace, settings: Settings) -> int:
    """Let paused containers go on."""

    async def call(session: Session, id: str) -> object:
        return await session.service.resume(req.ContainerRef(id=id, namespace=settings.namespace))

    return (await for_each(settings, args.ids, call))[1]


def make_kill_parser(prog: str) -> Parser:
    """Return the parser of `wherry kill`."""
    parser = Parser(
        prog,
        usage="[-s SIGNAL] [--all | --process EXEC] ID ...",
        description="Send a signal to the process of each container. A container's first process does not get a\n"
        "signal that it has no handler for, except KILL and STOP: that is the kernel's rule for pid 1.",
        example="wherry kill -s HUP web\nwherry kill --all -s KILL web",
    )
    parser.option("-a", "--all", action="store_true", help="send it to every process of the container")
    parser.option(
        "-s",
        "--signal",
        metavar="SIGNAL",
        type=typed(signals.parse),
        default=signals.parse("TERM"),
        help="name or number (default: TERM)",
    )
    options.add_process_id(parser)
    options.add_ids(parser)
    return parser


async def kill(args: argparse.Namespace, settings: Settings) -> int:
    """Send a signal."""

    async def call(session: Session, id: str) -> object:
        return await session.service.kill(
            req.KillRequest(id=id, namespace=settings.namespace, process=args.process, signal=args.signal, all=args.all)
        )

    return (await for_each(settings, args.ids, call))[1]


def make_wait_parser(prog: str) -> Parser:
    """Return the parser of `wherry wait`."""
    parser = Parser(
        prog,
        usage="[--process EXEC] ID ...",
        description="Wait until the containers have ended and print their exit status, one a line, in the order\n"
        "given. The exit code is 0 whatever they printed.",
        example="wherry wait job",
    )
    options.add_process_id(parser)
    options.add_ids(parser)
    return parser


async def wait(args: argparse.Namespace, settings: Settings) -> int:
    """Wait for containers and print their status."""

    async def call(session: Session, id: str) -> object:
        target = req.ProcessRef(id=id, namespace=settings.namespace, process=args.process)
        return await session.again(lambda service: service.wait(target))

    records, status = await for_each(settings, args.ids, call)
    for record in records:
        assert isinstance(record, st.ExitRecord)
        print(record.status)
    return status


def make_rm_parser(prog: str) -> Parser:
    """Return the parser of `wherry rm`."""
    parser = Parser(
        prog,
        usage="[-f] ID ...",
        description="Delete containers that have ended: their record, their log and what they wrote to their layer.",
        example="wherry rm job\nwherry rm -f web",
    )
    parser.option("-f", "--force", action="store_true", help="kill what still runs; also delete what is unknown")
    options.add_ids(parser)
    return parser


async def rm(args: argparse.Namespace, settings: Settings) -> int:
    """Delete containers."""

    async def call(session: Session, id: str) -> object:
        return await session.service.delete(req.DeleteRequest(id=id, namespace=settings.namespace, force=args.force))

    return (await for_each(settings, args.ids, call))[1]


COMMANDS = {
    "start": Command(make_start_parser, start),
    "stop": Command(make_stop_parser, stop),
    "restart": Command(make_restart_parser, restart),
    "pause": Command(make_pause_parser, pause),
    "resume": Command(make_resume_parser, resume),
    "kill": Command(make_kill_parser, kill),
    "wait": Command(make_wait_parser, wait),
    "rm": Command(make_rm_parser, rm),
}
