"""`wherry exec` and `wherry attach`."""

from __future__ import annotations

import argparse
import asyncio
import os

from wherry import errors
from wherry.cli import exits, interrupts, options, streams, terminal, values
from wherry.cli.command import Command
from wherry.cli.commands.run import report_end
from wherry.cli.parser import Parser, say, typed
from wherry.cli.relay import Relay
from wherry.cli.session import Settings, open_session
from wherry.model import ids
from wherry.model import request as req


def make_exec_parser(prog: str) -> Parser:
    """Return the parser of `wherry exec`."""
    parser = Parser(
        prog,
        usage="[-d] [-i] [-t] [OPTION ...] ID [--] COMMAND ...",
        description="Run a further process in a running container. Attached (the default) its output comes out here,\n"
        "signals sent to this command reach it, and the exit code is its own.",
        example="wherry exec web -- ps aux\necho hello | wherry exec -i web -- cat",
    )
    parser.option("-d", "--detach", action="store_true", help="print the id of the exec and leave it running")
    parser.option(
        "--timeout",
        metavar="TIME",
        type=typed(values.parse_duration),
        default=0.0,
        help="kill it when it has run so long, as in 30s (default: 0, never)",
    )
    options.add_process_options(parser)
    options.add_id(parser)
    return parser


async def exec_(args: argparse.Namespace, settings: Settings) -> int:
    """Run a further process, attached or not."""
    request = options.make_exec_request(args, settings.namespace, os.environ)
    if args.tty and not args.detach and args.interactive:
        terminal.check()
    async with open_session(settings) as session:
        if args.detach:
            print((await session.service.exec(request)).id)
            return 0
        target = req.ProcessRef(id=request.id, namespace=request.namespace, process=request.process)
        relay = Relay(session, target, with_stdin=args.interactive, terminal=args.tty, detach_keys=args.detach_keys)
        again = f"`wherry attach {request.id} --process {request.process}` joins it again"
        try:
            with interrupts.Forwarder(relay), terminal.lend(request.stdio):
                await session.service.exec(request)
                relay.begun = True
                record = await relay.carry()
        except terminal.Detached:
            say(f"left the process, which goes on; {again}")
            return 0
        except interrupts.Interrupted as signal:
            if relay.begun:
                say(f"the process goes on; {again}")
            return 128 + signal.number
        except streams.ReaderGone:
            return exits.PIPE_CLOSED
        except errors.Unavailable as error:
            raise errors.Unavailable(f"{error.message}; {again}" if relay.begun else error.message) from error
    return report_end(f"exec {request.process} in {request.id}", record, relay.lost_bytes)


def make_attach_parser(prog: str) -> Parser:
    """Return the parser of `wherry attach`."""
    parser = Parser(
        prog,
        usage="[--no-stdin] [--from-start] [--detach-keys KEYS] [--process EXEC] ID",
        description="Join the output of a running process, and its input when that is open (`run -i`). Signals are\n"
        "not passed on: Ctrl-C leaves (with a terminal, the detach keys do), and the process goes on. The exit code\n"
        "is that of the process. The end of this command's stdin ends the process's stdin too; --no-stdin\n"
        "keeps them apart.",
        example="wherry attach web\nwherry attach --no-stdin --from-start web | tee web.log",
    )
    parser.option("--no-stdin", action="store_true", help="do not carry stdin")
    parser.option("--from-start", action="store_true", help="begin with the first output kept, not with the next")
    options.add_detach_keys(parser)
    options.add_process_id(parser)
    options.add_id(parser)
    return parser


async def attach(args: argparse.Namespace, settings: Settings) -> int:
    """Join a running process."""
    async with open_session(settings) as session:
        info = await session.service.get(req.ContainerRef(id=args.id, namespace=settings.namespace))
        if args.process != ids.INIT and all(process.id != args.process for process in info.processes):
            raise errors.NotFound(f"cannot attach to {args.id}: it has no process {args.process}")
        # Whether an exec's stdin is open is not told; the process refuses the bytes when it is not.
        open_stdin = info.request.stdio.stdin_open or args.process != ids.INIT
        has_terminal = any(process.terminal for process in info.processes if process.id == args.process)
        relay = Relay(
            session,
            req.ProcessRef(id=args.id, namespace=settings.namespace, process=args.process),
            with_stdin=open_stdin and not args.no_stdin,
            offset=0 if args.from_start else -1,
            generation=info.generation,
            terminal=has_terminal,
            detach_keys=args.detach_keys,
            redraws=True,
        )
        relay.begun = True
        if info.state == "stopped" and args.process == ids.INIT:
            say(f"{args.id} has ended; `wherry start {args.id}` starts it once more")
        lent = req.Stdio(terminal=has_terminal, stdin_open=open_stdin and not args.no_stdin)
        try:
            with terminal.watch_size(relay.resized), terminal.lend(lent):
                record = await relay.carry()
        except terminal.Detached:
            again = f"wherry attach {args.id}" + (f" --process {args.process}" if args.process != ids.INIT else "")
            say(f"left {args.id}, which goes on; `{again}` joins it again")
            return 0
        except streams.ReaderGone:
            return exits.PIPE_CLOSED
        except asyncio.CancelledError:
            say(f"left {args.id}; it goes on")
            raise
    name = args.id if args.process == ids.INIT else f"exec {args.process} in {args.id}"
    return report_end(name, record, relay.lost_bytes)


COMMANDS = {
    "exec": Command(make_exec_parser, exec_, trailing=True),
    "attach": Command(make_attach_parser, attach),
}
