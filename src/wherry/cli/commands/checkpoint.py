"""`wherry checkpoint create`, `list`, `inspect`, `rm`, `wherry restore` and `wherry clone`."""

from __future__ import annotations

import argparse
import time

from wherry import errors
from wherry.cli import options, table, values
from wherry.cli.command import Command
from wherry.cli.commands.lifecycle import for_each
from wherry.cli.commands.stats import format_bytes
from wherry.cli.parser import Parser, add_json, typed
from wherry.cli.session import Session, Settings, open_session
from wherry.client import archives
from wherry.model import checkpoint as cp
from wherry.model import ids

#: As many the daemon takes.
_MAX_ROUNDS = 16
COLUMNS = ("ID", "NAME", "CREATED", "STOOD STILL", "IMAGE", "LAYER", "SOURCE")


def parse_name(text: str) -> str:
    """Return the name of a checkpoint. Raises InvalidArgument."""
    return ids.check("checkpoint name", text)


def _parse_rounds(text: str) -> int:
    return values.parse_count(text, largest=_MAX_ROUNDS, smallest=0)


def _add_name(parser: Parser) -> None:
    parser.option("name", metavar="NAME", type=typed(parse_name), help="the checkpoint")


def add_criu(parser: Parser, *, pre_copy: str) -> None:
    """Add what criu is told of a container that it writes down; `pre_copy` is the help of that option."""
    option = parser.option
    option("--tcp", action="store_true", help="allow established TCP connections")
    option("--unix-sockets", action="store_true", help="allow unix sockets whose other end is outside")
    option("--shell", action="store_true", help="allow a session or a terminal that is led from outside")
    option("--pre-copy", metavar="N", type=typed(_parse_rounds), default=0, help=pre_copy)


def make_create_parser(prog: str) -> Parser:
    """Return the parser of `wherry checkpoint create`."""
    parser = Parser(
        prog,
        usage="[--leave-running | --exit] [OPTION ...] ID NAME",
        description="Write down a running container: its processes (by criu, through its runtime) and its\n"
        "writable layer. It stands still meanwhile, and goes on. `wherry restore` goes back there, `wherry clone`\n"
        "makes further containers that go on from there. Checkpoints stay when their container is deleted.",
        example="wherry checkpoint create job before-lunch\nwherry checkpoint create --exit job evening",
    )
    option = parser.option
    option("--leave-running", action="store_true", help="let the container go on (the default)")
    option("--exit", action="store_true", help="end the container once it is written down")
    add_criu(parser, pre_copy="copy memory N times before, while the container runs; it stands still for less")
    option(
        "--empty-ns",
        metavar="NAMESPACE",
        action="append",
        default=[],
        help="do not write down this namespace (network, ...) but make a new one at a restore",
    )
    options.add_id(parser)
    _add_name(parser)
    return parser


async def create(args: argparse.Namespace, settings: Settings) -> int:
    """Write a container down and say how that went."""
    if args.exit and args.leave_running:
        raise errors.InvalidArgument("cannot checkpoint: --exit and --leave-running exclude each other")
    request = cp.CheckpointRequest(
        id=args.id,
        namespace=settings.namespace,
        name=args.name,
        exit=args.exit,
        tcp=args.tcp,
        unix_sockets=args.unix_sockets,
        shell=args.shell,
        empty_ns=tuple(args.empty_ns),
        pre_copy=args.pre_copy,
    )
    async with open_session(settings) as session:
        info = await session.service.checkpoint(request)
    sizes = f"image {format_bytes(info.image_bytes)}, layer {format_bytes(info.layer_bytes)}"
    print(f"{info.id}@{info.name}: stood still for {format_still(info)}, {sizes}")
    return 0


def format_still(info: cp.CheckpointInfo) -> str:
    """Return for how long a container stood still, in milliseconds."""
    return f"{info.frozen_us / 1000:.0f} ms"


def make_list_parser(prog: str) -> Parser:
    """Return the parser of `wherry checkpoint list`."""
    parser = Parser(
        prog,
        usage="[-q] [--json] [ID]",
        description="List the checkpoints of a container, or of all, oldest first.",
        example="wherry checkpoint list job",
    )
    parser.option("-q", "--quiet", action="store_true", help="print ID@NAME only")
    add_json(parser)
    parser.option("id", metavar="ID", nargs="?", default="", help="the container")
    return parser


async def list_all(args: argparse.Namespace, settings: Settings) -> int:
    """List checkpoints."""
    request = cp.ListCheckpointsRequest(id=args.id, namespace=settings.namespace)
    async with open_session(settings) as session:
        found = (await session.service.list_checkpoints(request)).checkpoints
    if args.json:
        table.print_json([f"{info.id}@{info.name}" for info in found] if args.quiet else found)
    elif args.quiet:
        for info in found:
            print(f"{info.id}@{info.name}")
    else:
        now_ns = time.time_ns()
        table.print_table(COLUMNS, [_make_row(info, now_ns) for info in found])
    return 0


def _make_row(info: cp.CheckpointInfo, now_ns: int) -> tuple[str, ...]:
    source = info.request.source
    return (
        info.id,
        info.name,
        table.format_age(info.created_at_ns, now_ns),
        format_still(info),
        format_bytes(info.image_bytes),
        format_bytes(info.layer_bytes),
        f"{source.kind}:{source.path}" if source.path else source.kind,
    )


def make_inspect_parser(prog: str) -> Parser:
    """Return the parser of `wherry checkpoint inspect`."""
    parser = Parser(
        prog,
        usage="ID NAME",
        description="Show all that is known of a checkpoint, as JSON.",
        example="wherry checkpoint inspect job evening",
    )
    options.add_id(parser)
    _add_name(parser)
    return parser


def _ref(args: argparse.Namespace, settings: Settings) -> cp.CheckpointRef:
    return cp.CheckpointRef(id=args.id, namespace=settings.namespace, name=args.name)


async def inspect(args: argparse.Namespace, settings: Settings) -> int:
    """Print a checkpoint."""
    async with open_session(settings) as session:
        table.print_json(await session.service.get_checkpoint(_ref(args, settings)))
    return 0


def make_export_parser(prog: str) -> Parser:
    """Return the parser of `wherry checkpoint export`."""
    parser = Parser(
        prog,
        usage="ID NAME FILE",
        description="Write a checkpoint to a file, for another machine or another day: one archive, zstd, that only\n"
        "its owner can read. It holds the memory of the processes, and what secrets are in it.",
        example="wherry checkpoint export job evening job.wherry",
    )
    options.add_id(parser)
    _add_name(parser)
    parser.option("file", metavar="FILE", help="where to; - is standard output")
    return parser


async def export(args: argparse.Namespace, settings: Settings) -> int:
    """Write a checkpoint to a file."""
    async with open_session(settings) as session:
        size = await archives.save(session.service, _ref(args, settings), args.file)
    if args.file != archives.STANDARD:
        print(f"{args.id}@{args.name}: {format_bytes(size)} in {args.file}")
    return 0


def make_import_parser(prog: str) -> Parser:
    """Return the parser of `wherry checkpoint import`."""
    parser = Parser(
        prog,
        usage="[--as ID[@NAME]] [--grant GRANT ...] FILE",
        description="Take a checkpoint from a file. Nothing in it is trusted: what it asks for of this host, paths\n"
        "above all, it gets only if that is granted; the error names what is missing. What its processes\n"
        "are, only their maker knows: restore what you would run as root.",
        example="wherry checkpoint import job.wherry\n"
        "wherry checkpoint import --as job2@noon --grant path=/srv/data:/mnt/data job.wherry",
    )
    parser.option(
        "--as", dest="target", metavar="ID[@NAME]", type=typed(parse_source), help="whose checkpoint it is here"
    )
    parser.option(
        "--grant",
        metavar="GRANT",
        action="append",
        default=[],
        help="let it have this: path=THERE[:HERE], privileged, network=host, cap=NAME, runtime=NAME,\n"
        "runtime-args, no-pivot, unix-sockets, all",
    )
    parser.option("file", metavar="FILE", help="the archive; - is standard input")
    return parser


async def import_(args: argparse.Namespace, settings: Settings) -> int:
    """Take a checkpoint from a file and print what it is called."""
    id, name = args.target or ("", "")
    request = cp.ImportRequest(id=id, namespace=settings.namespace, name=name, grants=tuple(args.grant))
    async with open_session(settings) as session:
        info = await archives.load(session.service, request, args.file)
    print(f"{info.id}@{info.name}")
    return 0


def make_rm_parser(prog: str) -> Parser:
    """Return the parser of `wherry checkpoint rm`."""
    parser = Parser(
        prog,
        usage="ID NAME ...",
        description="Delete checkpoints of a container.",
        example="wherry checkpoint rm job before-lunch evening",
    )
    options.add_id(parser)
    parser.option("names", metavar="NAME", nargs="+", type=typed(parse_name), help="a checkpoint")
    return parser


async def rm(args: argparse.Namespace, settings: Settings) -> int:
    """Delete checkpoints."""

    async def call(session: Session, name: str) -> object:
        ref = cp.CheckpointRef(id=args.id, namespace=settings.namespace, name=name)
        return await session.service.delete_checkpoint(ref)

    return (await for_each(settings, args.names, call))[1]


def make_restore_parser(prog: str) -> Parser:
    """Return the parser of `wherry restore`."""
    parser = Parser(
        prog,
        usage="ID NAME",
        description="Let a container go on where a checkpoint was written: one that has ended, with the log that it\n"
        "has, or one that is deleted. Its writable layer is what it was then.",
        example="wherry checkpoint create --exit job evening\nwherry restore job evening",
    )
    options.add_id(parser)
    _add_name(parser)
    return parser


async def restore(args: argparse.Namespace, settings: Settings) -> int:
    """Restore a container and print its id."""
    async with open_session(settings) as session:
        print((await session.service.restore(_ref(args, settings))).id)
    return 0


def make_clone_parser(prog: str) -> Parser:
    """Return the parser of `wherry clone`."""
    parser = Parser(
        prog,
        usage="ID[@NAME] NEW ...",
        description="Make containers that go on from a checkpoint, or from a running container as it is now, each\n"
        "with its own id, cgroup, writable layer and log. All of them are made, or none.",
        example="wherry clone warm@loaded w1 w2 w3\nwherry clone warm w4",
    )
    parser.option("source", metavar="ID[@NAME]", type=typed(parse_source), help="a container, and its checkpoint")
    parser.option("new", metavar="NEW", nargs="+", type=typed(options.parse_id), help="id of a clone")
    return parser


def parse_source(text: str) -> tuple[str, str]:
    """Return the id and the checkpoint's name in ID[@NAME]. Raises InvalidArgument."""
    container_id, at, name = text.partition("@")
    return options.parse_id(container_id), parse_name(name) if at else ""


async def clone(args: argparse.Namespace, settings: Settings) -> int:
    """Make clones and print their ids."""
    id, name = args.source
    request = cp.CloneRequest(id=id, namespace=settings.namespace, name=name, new_ids=tuple(args.new))
    async with open_session(settings) as session:
        for info in (await session.service.clone(request)).containers:
            print(info.id)
    return 0


COMMANDS = {
    "checkpoint create": Command(make_create_parser, create),
    "checkpoint list": Command(make_list_parser, list_all),
    "checkpoint inspect": Command(make_inspect_parser, inspect),
    "checkpoint export": Command(make_export_parser, export),
    "checkpoint import": Command(make_import_parser, import_),
    "checkpoint rm": Command(make_rm_parser, rm),
    "restore": Command(make_restore_parser, restore),
    "clone": Command(make_clone_parser, clone),
}
