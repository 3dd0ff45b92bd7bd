"""`wherry events`."""

from __future__ import annotations

import argparse

from wherry import errors
from wherry.cli import table, values
from wherry.cli.command import Command
from wherry.cli.parser import Parser, add_json, typed
from wherry.cli.session import Settings, open_session
from wherry.model import request as req
from wherry.model import signals
from wherry.model import status as st

_KEYS = ("type", "namespace", "container", "process")


def make_events_parser(prog: str) -> Parser:
    """Return the parser of `wherry events`."""
    parser = Parser(
        prog,
        usage="[--after N] [-f] [--filter KEY=VALUE] [--json]",
        description="Print what happened: every event has a number that never repeats. Without -f what is kept is\n"
        "printed and that is all; with -f and without --after only what happens from now on. A follower that loses\n"
        "the daemon waits for one to come back and goes on behind the last number printed: nothing is missed,\n"
        "nothing comes twice. Events of every namespace are shown.",
        example="wherry events --after 0 --filter type=exit --json\nwherry events -f --filter container=web",
    )
    option = parser.option
    option(
        "--after",
        metavar="N",
        type=typed(lambda text: values.parse_count(text, smallest=0)),
        help="events behind number N (0: all that is kept)",
    )
    option("-f", "--follow", action="store_true", help="go on with what happens")
    option(
        "--filter",
        metavar="KEY=VALUE",
        type=typed(parse_filter),
        action="append",
        default=[],
        help="type, namespace, container, process or label.NAME; the same key twice means either",
    )
    add_json(parser, "one object a line")
    return parser


def parse_filter(text: str) -> str:
    """Return KEY=VALUE if KEY is one that events have. Raises InvalidArgument."""
    key, _ = values.parse_pair(text)
    if key not in _KEYS and not (key.startswith("label.") and key != "label."):
        raise errors.InvalidArgument(f"cannot filter events by {key!r}: {', '.join(_KEYS)} or label.NAME are known")
    return text


async def events(args: argparse.Namespace, settings: Settings) -> int:
    """Print events."""
    after = args.after
    if after is None:
        after = -1 if args.follow else 0
    async with open_session(settings) as session:
        if after == -1:
            # A number instead of "now", so that what happens while we reconnect is not missed.
            after = (await session.service.info(req.Empty())).last_seq
        while True:
            request = req.SubscribeRequest(after=after, follow=args.follow, filters=tuple(args.filter))
            try:
                async for event in session.service.subscribe(request):
                    after = event.seq
                    _print(event, as_json=args.json)
                return 0
            except errors.Unavailable as error:
                if not args.follow:
                    raise
                await session.reconnect(error.message)
            except errors.ResourceExhausted:
                # We were too slow for the daemon's queue: it says so and lets us resume.
                if not args.follow:
                    raise


def _print(event: st.Event, *, as_json: bool) -> None:
    if as_json:
        table.print_json_line(event)
    else:
        print(format_event(event), flush=True)


def format_event(event: st.Event) -> str:
    """Return an event on one line."""
    what = f"{event.namespace}/{event.container}"
    words = [f"{event.seq:>6}", table.format_time(event.time_ns), f"{event.type:<6}", what]
    if event.process:
        words.append(f"process={event.process}")
    if event.pid:
        words.append(f"pid={event.pid}")
    if event.type == "exit":
        words.append(f"status={event.status}")
    if event.signal:
        words.append(f"signal={signals.format_name(event.signal)}")
    if event.reason:
        words.append(f"reason={event.reason}")
    if event.count:
        words.append(f"count={event.count}")
    return table.clean(" ".join(words))


COMMANDS = {"events": Command(make_events_parser, events)}
