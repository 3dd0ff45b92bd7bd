"""`wherry logs`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import AsyncIterator

from wherry import errors
from wherry.cli import options, table, values
from wherry.cli.command import Command
from wherry.cli.parser import Parser, add_json, typed
from wherry.cli.session import Session, Settings, open_session
from wherry.model import request as req
from wherry.model import status as st


def make_logs_parser(prog: str) -> Parser:
    """Return the parser of `wherry logs`."""
    parser = Parser(
        prog,
        usage="[-f] [--since TIME] [--tail N] [--timestamps] [--stream NAME] [--process EXEC] [--json] ID",
        description="Print what a container has written: its stdout on stdout, its stderr on stderr.",
        example="wherry logs -f --tail 20 web\nwherry logs --since 10m --timestamps web",
    )
    option = parser.option
    option("-f", "--follow", action="store_true", help="go on with what is written, until the process ends")
    option(
        "--since",
        metavar="TIME",
        type=typed(lambda text: values.parse_since(text, time.time_ns())),
        default=0,
        help="from this time on: 10m (ago), Unix seconds, or 2026-01-31T12:00:00Z",
    )
    option("-n", "--tail", metavar="N", type=typed(parse_tail), default=-1, help="only the last N lines (all: all)")
    option("-t", "--timestamps", action="store_true", help="begin each line with its time (UTC)")
    option("--stream", choices=("stdout", "stderr"), help="only this stream")
    options.add_process_id(parser)
    add_json(parser, "one object a line")
    options.add_id(parser)
    return parser


def parse_tail(text: str) -> int:
    """Return a number of lines; `all` and -1 are all of them. Raises InvalidArgument."""
    return -1 if text in ("all", "-1") else values.parse_count(text, smallest=0)


async def logs(args: argparse.Namespace, settings: Settings) -> int:
    """Print a log."""
    request = req.LogsRequest(
        id=args.id,
        namespace=settings.namespace,
        process=args.process,
        follow=args.follow,
        since_ns=args.since,
        tail=args.tail,
    )
    printer = Printer(timestamps=args.timestamps, follow=args.follow)
    async with open_session(settings) as session:
        async for chunk in _follow(session, request):
            if args.stream not in (None, chunk.stream):
                continue
            if args.json:
                table.print_json_line(chunk)
            else:
                printer.print(chunk)
    return 0


async def _follow(session: Session, request: req.LogsRequest) -> AsyncIterator[st.LogChunk]:
    """Yield a log, and when it is followed go on behind the last piece after the daemon went away and came back."""
    last_ns = 0
    seen: dict[str, int] = {}  # bytes by stream of the pieces with that time
    while True:
        skip = dict(seen)
        try:
            async for chunk in session.service.logs(request):
                if chunk.time_ns != last_ns:
                    last_ns, seen, skip = chunk.time_ns, {}, {}
                known = min(skip.get(chunk.stream, 0), len(chunk.data))
                skip[chunk.stream] = skip.get(chunk.stream, 0) - known
                fresh = chunk.data[known:]
                seen[chunk.stream] = seen.get(chunk.stream, 0) + len(fresh)
                if fresh:
                    yield dataclasses.replace(chunk, data=fresh)
            return
        except errors.Unavailable as error:
            if not request.follow:
                raise
            await session.reconnect(error.message)
            if last_ns:
                request = dataclasses.replace(request, since_ns=last_ns, tail=-1)


class Printer:
    """Prints pieces of a log, each on its own stream."""

    def __init__(self, *, timestamps: bool, follow: bool) -> None:
        self._timestamps = timestamps
        self._follow = follow
        self._inside = {"stdout": False, "stderr": False}

    def print(self, chunk: st.LogChunk) -> None:
        """Print one piece; a time stands only where a line begins."""
        out = sys.stderr.buffer if chunk.stream == "stderr" else sys.stdout.buffer
        if self._timestamps:
            prefix = table.format_time(chunk.time_ns).encode() + b" "
            out.write(prefix_lines(chunk.data, prefix, inside=self._inside.get(chunk.stream, False)))
            self._inside[chunk.stream] = not chunk.data.endswith(b"\n")
        else:
            out.write(chunk.data)
        if self._follow or chunk.stream == "stderr":
            out.flush()


def prefix_lines(data: bytes, prefix: bytes, *, inside: bool) -> bytes:
    """Return `data` with `prefix` before every line in it; `inside` when its beginning is not that of a line."""
    lines = data.split(b"\n")
    ended = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    return b"".join(line if inside and index == 0 else prefix + line for index, line in enumerate(ended))


COMMANDS = {"logs": Command(make_logs_parser, logs)}
