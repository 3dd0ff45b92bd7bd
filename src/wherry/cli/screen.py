"""The whole terminal for a live view: taken, drawn on, and given back as it was on every way out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: What ends the view. By default each of these but SIGINT would end the process with the terminal as it is.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_LEAVE_KEYS = frozenset(b"qQ\x03")


class Screen:
    """While it is open, the terminal is ours. `left` is set when the user, or a signal, wants to leave."""

    def __init__(self, console: Console, on_resize: Callable[[], None]) -> None:
        self.console = console
        self.left = asyncio.Event()
        #: The signal that ended the view, 0 for a key or Ctrl-C.
        self.ended_by = 0
        self._on_resize = on_resize
        self._saved: list[Any] | None = None

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGWINCH, self._on_resize)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        try:
            self._take()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        loop = asyncio.get_running_loop()
        for number in (*_ENDING, signal.SIGWINCH, signal.SIGTSTP):
            loop.remove_signal_handler(number)

    def _take(self) -> None:
        if os.isatty(0):
            self._saved = termios.tcgetattr(0)
            # Keys one by one and unseen; Ctrl-C and Ctrl-Z stay signals.
            tty.setcbreak(0, termios.TCSADRAIN)
            asyncio.get_running_loop().add_reader(0, self._read_keys)
        self.console.set_alt_screen(True)
        self.console.show_cursor(False)

    def _give_back(self) -> None:
        # Each step for itself: the terminal may have gone away.
        with contextlib.suppress(OSError):
            self.console.show_cursor(True)
        with contextlib.suppress(OSError):
            self.console.set_alt_screen(False)
        if self._saved is not None:
            asyncio.get_running_loop().remove_reader(0)
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
            self._saved = None

    def _read_keys(self) -> None:
        try:
            keys = os.read(0, 1024)
        except OSError:
            keys = b""
        if not keys or _LEAVE_KEYS & set(keys):
            self._end(0)

    def _end(self, number: int) -> None:
        self.ended_by = self.ended_by or (0 if number == signal.SIGINT else number)
        self.left.set()

    def _suspend(self) -> None:
        """Do as Ctrl-Z wants, with the terminal given back meanwhile."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()
        self._on_resize()

    def draw(self, picture: RenderableType) -> None:
        """Show `picture` in place of what is there, cut to the size that the terminal has now."""
        from rich.control import Control
        from rich.screen import Screen as Page

        self.console.control(Control.home())
        self.console.print(Page(picture), end="")
