"""Signals of a single-threaded program as bytes in a pipe, so that one poll waits for everything."""

from __future__ import annotations

import os
import signal

#: What must not end a zygote or a shim: all that is usually sent to a whole session or service.
DEAF_TO = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def nothing(_number: int, _frame: object) -> None:
    """Handle a signal by doing nothing."""


def handle_signals() -> None:
    """Install the handlers, in the zygote, once and for all forks: `signal.signal` writes to many pages."""
    # Handlers and not SIG_IGN: an ignored signal stays ignored across exec, in the runtime and in the container.
    for number in (signal.SIGCHLD, *DEAF_TO):
        signal.signal(number, nothing)


class Wakeup:
    """Makes `fd` readable whenever a child has ended (SIGCHLD)."""

    __slots__ = ("_before", "fd", "write_fd")

    def __init__(self) -> None:
        self.fd, self.write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = signal.set_wakeup_fd(self.write_fd, warn_on_full_buffer=False)

    def listen(self) -> None:
        """Take the wakeups back from another one that was never closed."""
        signal.set_wakeup_fd(self.write_fd, warn_on_full_buffer=False)

    def drain(self) -> None:
        """Empty the pipe; to be called before looking for children, so that no later one is missed."""
        try:
            while len(os.read(self.fd, 512)) == 512:
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Stop, leave it to whatever was there before, and close both ends."""
        signal.set_wakeup_fd(self._before, warn_on_full_buffer=False)
        os.close(self.fd)
        os.close(self.write_fd)
