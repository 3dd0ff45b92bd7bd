"""This command's own terminal, lent to a process: raw while it is attached, as it was on every way out."""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wherry import errors
from wherry.cli import parser
from wherry.model import request as req

if TYPE_CHECKING:
    import asyncio

#: The field's sequence for leaving a process that goes on.
DETACH_KEYS = "ctrl-p,ctrl-q"


class Detached(Exception):
    """The detach keys were typed."""


def parse_keys(text: str) -> bytes:
    """Return the bytes of `ctrl-X` or single characters, separated by commas; "" is none. Raises InvalidArgument."""
    keys = b""
    for key in filter(None, text.split(",")):
        letter = key.removeprefix("ctrl-")
        if len(letter) != 1 or not letter.isascii():
            raise errors.InvalidArgument(f"detach keys {text!r} are not valid: ctrl-X or X, separated by commas")
        code = ord(letter.upper()) ^ 0x40 if letter != key else ord(letter)
        if letter != key and not 0 <= code < 32:
            raise errors.InvalidArgument(f"detach keys {text!r} are not valid: there is no {key}")
        keys += bytes([code])
    return keys


class Keys:
    """Finds the detach keys in what is typed, however it is cut into pieces."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._seen = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return what of `data` is for the process now, and whether the keys are complete.

        A part of the keys is held back until it is known not to become all of them.
        """
        out = bytearray()
        for byte in data:
            if self._keys and byte == self._keys[self._seen]:
                self._seen += 1
                if self._seen == len(self._keys):
                    return bytes(out), True
                continue
            out += self._keys[: self._seen]
            self._seen = 1 if self._keys and byte == self._keys[0] else 0
            if not self._seen:
                out.append(byte)
        return bytes(out), False


def read_size() -> tuple[int, int]:
    """Return columns and rows of the terminal on stdin or stdout, zeros without one."""
    for fd in (0, 1, 2):
        try:
            size = os.get_terminal_size(fd)
            return size.columns, size.lines
        except OSError:
            continue
    return 0, 0


def check() -> None:
    """Raise InvalidArgument unless stdin is a terminal."""
    if not os.isatty(0):
        raise errors.InvalidArgument("cannot use -t: stdin is not a terminal; leave -t out to carry a pipe or a file")


@contextmanager
def lend(stdio: req.Stdio) -> Iterator[None]:
    """Hold the terminal on stdin in raw mode (cfmakeraw in termios(3)) while a process takes what is typed.

    When nobody takes what is typed (no -i), ctrl-c is to be a signal as ever, and is passed on as one.
    """
    if not (stdio.terminal and stdio.stdin_open) or not os.isatty(0):
        yield
        return
    saved = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSADRAIN)
    parser.line_end = "\r\n"  # raw: nobody returns the carriage for us
    try:
        yield
    finally:
        parser.line_end = "\n"
        # What was typed for the process, and has not reached it, is not for the shell.
        termios.tcsetattr(0, termios.TCSAFLUSH, saved)


@contextmanager
def watch_size(resized: asyncio.Event) -> Iterator[None]:
    """Set `resized` whenever this terminal changes its size."""
    import asyncio

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, resized.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
