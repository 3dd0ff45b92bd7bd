"""Signals sent to an attached `wherry run` or `wherry exec`, on their way to the process."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from types import TracebackType
from typing import Self

from wherry.cli.parser import say
from wherry.cli.relay import Relay

#: What is passed on. SIGTSTP, SIGCONT, SIGTTIN and SIGTTOU stay with the shell's job control, SIGPIPE with our output.
FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGWINCH,
    signal.SIGURG,
)
#: What ends this command when there is no process yet, or no daemon, to pass it on to.
DEADLY = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM})
#: Seconds within which Ctrl-C counts as repeated.
REPEAT_SECONDS = 3.0


class Interrupted(Exception):
    """A signal ended this command itself."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Forwarder:
    """While it is open, signals go to the relay's process, or end this command when they cannot.

    The kernel drops a signal that the first process of a container has no handler for. So on a terminal the second
    Ctrl-C within REPEAT_SECONDS says how to kill it, and the third one kills it.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._ended_by = 0
        self._last = -REPEAT_SECONDS
        self._repeated = 0
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in FORWARDED:
            loop.add_signal_handler(number, self.receive, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in FORWARDED:
            loop.remove_signal_handler(number)
        if kind is asyncio.CancelledError and self._ended_by and self._task is not None:
            self._task.uncancel()
            raise Interrupted(self._ended_by) from None

    def receive(self, number: int) -> None:
        """Take a signal."""
        if number == signal.SIGWINCH and self._relay.terminal:
            self._relay.resized.set()
        elif self._relay.takes_signals:
            self._relay.signals.put_nowait(self._repeat(number))
        elif number in DEADLY and not self._ended_by and self._task is not None:
            self._ended_by = number
            self._task.cancel()

    def _repeat(self, number: int) -> int:
        if number != signal.SIGINT or not os.isatty(0):
            return number
        now = time.monotonic()
        self._repeated = self._repeated + 1 if now - self._last < REPEAT_SECONDS else 1
        self._last = now
        container = self._relay.target.id
        if self._repeated == 2:
            say(f"{container} has SIGINT and runs on; Ctrl-C once more, or `wherry kill -s KILL {container}`, kills it")
        if self._repeated < 3:
            return number
        say(f"killing {container}")
        return signal.SIGKILL
