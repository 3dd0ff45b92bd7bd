"""`wherry top`: what containers use, as it changes."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wherry import errors
from wherry.cli import board, session, table, tasks, values
from wherry.cli.command import Command
from wherry.cli.commands.stats import ALIVE, find_alive, take
from wherry.cli.meter import Meter
from wherry.cli.parser import Parser, typed
from wherry.cli.session import Session, Settings, open_session
from wherry.model import request as req

if TYPE_CHECKING:
    from rich.console import Console

    from wherry.cli.screen import Screen

#: Seconds between two pictures at least, however many containers there are.
_PICTURE_SPACING = 0.1
_POLL_SECONDS = 0.2
#: What the daemon takes (`wherry stats -f` has the same bounds).
_SHORTEST, _LONGEST = 0.05, 3600.0


def make_top_parser(prog: str) -> Parser:
    """Return the parser of `wherry top`."""
    parser = Parser(
        prog,
        usage="[--interval TIME] [--once] [ID ...]",
        description="Watch what containers use, the busiest first: all that are alive, new ones included, or those\n"
        "named. CPU % is of one processor. q or Ctrl-C leaves. Where stdout is no terminal a plain table is printed\n"
        "every interval, until the containers named have ended; with --once one table, after one interval.",
        example="wherry top\nwherry top --interval 500ms web db\nwherry top --once | sort -k2 -rn",
    )
    parser.option(
        "--interval",
        metavar="TIME",
        type=typed(parse_interval),
        default=1.0,
        help="time between two samples (default: 1s)",
    )
    parser.option("--once", action="store_true", help="print one plain table and end")
    parser.add_argument("ids", metavar="ID", nargs="*", help=argparse.SUPPRESS)
    return parser


def parse_interval(text: str) -> float:
    """Return the seconds of a duration. Raises InvalidArgument for one that the daemon would refuse."""
    seconds = values.parse_duration(text)
    if not _SHORTEST <= seconds <= _LONGEST:
        raise errors.InvalidArgument(f"cannot use interval {text!r}: it is not between 50ms and 1h")
    return seconds


async def top(args: argparse.Namespace, settings: Settings) -> int:
    """Watch what containers use."""
    async with open_session(settings) as opened:
        for id in args.ids:
            info = await opened.service.get(req.ContainerRef(id=id, namespace=settings.namespace))
            if info.state not in ALIVE and info.state != "restarting":
                raise errors.FailedPrecondition(f"cannot show what container {id} uses: it is {info.state}")
        if not args.once and os.isatty(1):
            from rich.console import Console

            console = Console()
            if not console.is_dumb_terminal:
                return await _show(opened, settings, console, args.ids, args.interval)
        return await _print(opened, settings, args.ids, args.interval, once=args.once)


async def _print(opened: Session, settings: Settings, ids: Sequence[str], interval: float, *, once: bool) -> int:
    """Print a plain table every interval, until nothing is left of what was named."""
    meters: dict[str, Meter] = {}
    while True:
        alive = await find_alive(opened, settings)
        chosen = [id for id in alive if not ids or id in ids]
        samples, _ = await take(opened, settings, chosen, told=False)
        before, meters = meters, {}
        for sample in samples:
            meters[sample.id] = before.get(sample.id) or Meter()
            meters[sample.id].add(sample)
        rows = [board.make_plain_row(*row) for row in board.sort_meters(meters) if row[1].rates is not None]
        is_last = (once and bool(before)) or (bool(ids) and not meters) or (once and not meters)
        if rows or is_last:
            print(
                "\n".join(
                    table.format_plain(board.PLAIN_COLUMNS, [[table.clean(cell) for cell in row] for row in rows])
                )
            )
            sys.stdout.flush()
        if is_last:
            return 0
        await asyncio.sleep(interval)


class _Watch:
    """Follows the containers: a stream of samples each, begun and ended with their processes."""

    def __init__(self, opened: Session, settings: Settings, ids: Sequence[str], interval: float) -> None:
        self._session = opened
        self._namespace = settings.namespace
        self._address = settings.address
        self._ids = frozenset(ids)
        self._interval = interval
        self._followed: set[str] = set()
        #: Those that were started while they were followed: perhaps the end of the run before is yet to come.
        self._again: set[str] = set()
        self.meters: dict[str, Meter] = {}
        self.notice = ""
        self.changed = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled; a daemon that goes away is waited for. Raises Unavailable when none comes back."""
        while True:
            why = "it has ended"
            try:
                await self._follow_all()
            except errors.Unavailable as error:
                why = error.message
            except errors.ResourceExhausted:
                continue  # too slow for the events: everything is looked at anew
            self.meters.clear()
            await self._reconnect(why)

    async def _follow_all(self) -> None:
        service = self._session.service
        self._followed.clear()
        # A number instead of "now": what begins while we look is not missed.
        position = (await service.info(req.Empty())).last_seq
        listed = await find_alive(self._session, Settings(namespace=self._namespace))
        async with tasks.open_group() as group:
            for id in listed:
                self._begin(group, id)
            self.changed.set()
            filters = ("type=create", "type=start", f"namespace={self._namespace}", "process=", "process=init")
            async for event in service.subscribe(req.SubscribeRequest(after=position, follow=True, filters=filters)):
                self._begin(group, event.container)

    def _begin(self, group: asyncio.TaskGroup, id: str) -> None:
        if self._ids and id not in self._ids:
            return
        if id in self._followed:
            self._again.add(id)
        else:
            self._followed.add(id)
            group.create_task(self._follow(id))

    async def _follow(self, id: str) -> None:
        request = req.StatsRequest(id=id, namespace=self._namespace, interval=self._interval)
        is_wanted = True
        while is_wanted:
            self._again.discard(id)
            try:
                async for sample in self._session.service.watch_stats(request):
                    self.meters.setdefault(id, Meter()).add(sample)
                    self.changed.set()
            except (errors.NotFound, errors.FailedPrecondition):
                pass  # it has just ended
            self.meters.pop(id, None)
            self.changed.set()
            is_wanted = id in self._again
        self._followed.discard(id)

    async def _reconnect(self, why: str) -> None:
        """Wait for a daemon to answer again. Raises Unavailable when none does in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + session.RECONNECT_SECONDS
        while True:
            left = max(0.0, deadline - loop.time())
            self.notice = f"lost the daemon at {self._address} ({why}): waiting {left:.0f} s for one"
            self.changed.set()
            try:
                await self._session.connect()
                await self._session.client.version()
            except errors.Unavailable as error:
                if not left:
                    raise errors.Unavailable(
                        f"cannot reach a daemon at {self._address}: none came back within"
                        f" {session.RECONNECT_SECONDS:.0f} seconds: {error.message}"
                    ) from error
                await asyncio.sleep(_POLL_SECONDS)
            else:
                self.notice = ""
                self.changed.set()
                return


async def _show(opened: Session, settings: Settings, console: Console, ids: Sequence[str], interval: float) -> int:
    """Fill the terminal until the user leaves."""
    from wherry.cli.screen import Screen

    watch = _Watch(opened, settings, ids, interval)
    fancy = console.encoding.lower().startswith("utf")
    with Screen(console, watch.changed.set) as screen:
        async with tasks.open_group() as group:
            work = [group.create_task(watch.run()), group.create_task(_paint(watch, screen, settings, interval, fancy))]
            await screen.left.wait()
            for task in work:
                task.cancel()
    return 128 + screen.ended_by if screen.ended_by else 0


async def _paint(watch: _Watch, screen: Screen, settings: Settings, interval: float, fancy: bool) -> None:
    """Draw what is known whenever it changes, and not too often."""
    while True:
        await watch.changed.wait()
        watch.changed.clear()
        count = len(watch.meters)
        title = f"wherry top   {settings.namespace}   {count} container{'' if count == 1 else 's'}"
        title += f"   every {interval:g} s   q leaves"
        screen.draw(board.draw(title, watch.notice, watch.meters, screen.console.size, fancy=fancy))
        await asyncio.sleep(_PICTURE_SPACING)


COMMANDS = {"top": Command(make_top_parser, top)}
