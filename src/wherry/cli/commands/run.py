"""`wherry run` and `wherry create`."""

from __future__ import annotations

import argparse
import os

from wherry import errors
from wherry.cli import exits, interrupts, options, streams, terminal
from wherry.cli.command import Command
from wherry.cli.parser import Parser, say
from wherry.cli.relay import Relay
from wherry.cli.session import Session, Settings, open_session
from wherry.model import request as req
from wherry.model import status as st

_RUN = """Create and start a container. Attached (the default) its output comes out here, signals sent to this command
reach it, and the exit code is its own; when the daemon goes away meanwhile, the container does not notice and this
command waits for a daemon to come back. A container never waits for its reader: when this command's output is read
so slowly that the log (--log-max-size, --log-max-files) is rotated away meanwhile, output is lost; how much is said,
and the exit code is 125 instead of 0. When nobody reads the output any more (| head), this command ends with 141;
the container goes on, unless --rm is given: then it is killed and deleted. SIGKILL of this command leaves the
container running.

SOURCE is host (a copy-on-write view of this machine), rootfs:DIR or bundle:DIR. Options stand before SOURCE; what
follows it is the command."""


def make_run_parser(prog: str) -> Parser:
    """Return the parser of `wherry run`."""
    parser = Parser(
        prog,
        usage="[-d] [-i] [-t] [--rm] [--name ID] [OPTION ...] SOURCE [--] COMMAND ...",
        description=_RUN,
        example="wherry run --rm host -- sh -c 'exit 7'\n"
        "wherry run --rm -it host -- bash\n"
        "wherry run --rm --here host -- make test\n"
        "wherry run -d --name web --memory 64M -v /srv/www:/www:ro rootfs:/srv/alpine -- httpd -f",
    )
    parser.option("-d", "--detach", action="store_true", help="print the id and leave the container running")
    parser.option("--rm", action="store_true", help="delete the container when it has ended")
    options.add_container_options(parser)
    return parser


def make_create_parser(prog: str) -> Parser:
    """Return the parser of `wherry create`."""
    parser = Parser(
        prog,
        usage="[--name ID] [OPTION ...] SOURCE [--] COMMAND ...",
        description="Create a container without starting it, and print its id. The options are those of `wherry run`.",
        example="wherry create --name job host -- sleep 60\nwherry start job",
    )
    options.add_container_options(parser)
    return parser


def _make_request(args: argparse.Namespace, settings: Settings) -> req.CreateRequest:
    return options.make_create_request(args, settings.namespace, os.environ, options.current_directory())


async def create(args: argparse.Namespace, settings: Settings) -> int:
    """Create a container and print its id."""
    request = _make_request(args, settings)
    async with open_session(settings) as session:
        print((await session.service.create(request)).id)
    return 0


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run a container, attached or not."""
    request = _make_request(args, settings)
    if args.tty and not args.detach and args.interactive:
        terminal.check()
    async with open_session(settings) as session:
        if args.name:
            await _refuse_existing(session, request)
        if args.detach:
            print((await session.service.run(request)).id)
            return 0
        return await _run_attached(session, request, args.detach_keys)


async def _refuse_existing(session: Session, request: req.CreateRequest) -> None:
    """Raise AlreadyExists for a taken name: Create alone would return an equal container, which is not ours to undo."""
    try:
        found = await session.service.get(req.ContainerRef(id=request.id, namespace=request.namespace))
    except errors.NotFound:
        return
    raise errors.AlreadyExists(f"cannot run container {request.id}: it exists already, and is {found.state}")


async def _run_attached(session: Session, request: req.CreateRequest, detach_keys: bytes) -> int:
    target = req.ProcessRef(id=request.id, namespace=request.namespace)
    relay = Relay(
        session,
        target,
        with_stdin=request.stdio.stdin_open,
        terminal=request.stdio.terminal,
        detach_keys=detach_keys,
    )
    try:
        with interrupts.Forwarder(relay), terminal.lend(request.stdio):
            record = await _create_and_carry(session, request, relay)
    except terminal.Detached:
        say(f"left {request.id}, which goes on; `wherry attach {request.id}` joins it again")
        return 0
    except interrupts.Interrupted as signal:
        if relay.begun:
            say(f"the container goes on; `wherry attach {request.id}` joins it again")
        return 128 + signal.number
    except streams.ReaderGone:
        if request.auto_remove:
            await _undo(session, request)
        return exits.PIPE_CLOSED
    except errors.Unavailable as error:
        if relay.begun:
            raise errors.Unavailable(f"{error.message}; `wherry attach {request.id}` joins it again") from error
        raise
    if request.auto_remove:
        await _undo(session, request)  # the daemon does it as well; after this it is done
    return report_end(request.id, record, relay.lost_bytes)


async def _create_and_carry(session: Session, request: req.CreateRequest, relay: Relay) -> st.ExitRecord:
    """Create, attach, start, carry. What was made is deleted when it could not be started."""
    ref = req.ContainerRef(id=request.id, namespace=request.namespace)
    try:
        if request.auto_remove:
            relay.seq = (await session.service.info(req.Empty())).last_seq
        relay.generation = (await session.service.create(request)).generation
        return await relay.carry(lambda: session.service.start(ref))
    except errors.AlreadyExists:
        # Somebody took the name since we looked: theirs.
        raise
    except BaseException:
        if not relay.begun:
            await _undo(session, request)
        raise


async def _undo(session: Session, request: req.CreateRequest) -> None:
    """Delete by force what this command made; the failure that led here is the one to report."""
    delete = req.DeleteRequest(id=request.id, namespace=request.namespace, force=True)
    try:
        try:
            await session.service.delete(delete)
        except errors.Unavailable as error:
            await session.reconnect(error.message)
            await session.service.delete(delete)
    except (errors.NotFound, errors.PermissionDenied):
        pass  # who may not delete has not created either (api/roles.py)
    except errors.WherryError as error:
        say(f"{error.message}; `wherry rm -f {request.id}` deletes what is left")


def report_end(name: str, record: st.ExitRecord, lost_bytes: int) -> int:
    """Return the exit status, and say what is unusual about it.

    Output that did not come out here makes success a failure of ours: somebody may go on with half of it.
    """
    if record.reason:
        say(f"{name} ended with status {record.status}: {record.reason}")
    if record.dropped_bytes:
        say(f"{record.dropped_bytes} bytes of output of {name} could not be logged")
    return exits.WHERRY_FAILED if lost_bytes and not record.status else record.status


COMMANDS = {
    "run": Command(make_run_parser, run, trailing=True),
    "create": Command(make_create_parser, create, trailing=True),
}
