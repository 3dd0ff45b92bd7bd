"""Signals by name or number."""

from __future__ import annotations

import signal

from wherry import errors


def parse(text: str) -> int:
    """Return the number of the signal `text`: `TERM`, `SIGTERM`, `15`, `RTMIN+3`. Raises InvalidArgument."""
    name = text.strip().upper()
    if len(name) > 16:
        raise errors.InvalidArgument(f"signal {text[:32]!r} is not valid: no signal has that name")
    if name.isascii() and name.isdecimal():
        number = int(name)
        if 1 <= number <= signal.SIGRTMAX:
            return number
        raise errors.InvalidArgument(f"signal {text!r} is not valid: 1 to {int(signal.SIGRTMAX)} are signals")
    base, plus, offset = name.removeprefix("SIG").partition("+")
    try:
        number = int(signal.Signals[f"SIG{base}"])
    except KeyError:
        raise errors.InvalidArgument(f"signal {text!r} is not valid: no signal has that name") from None
    if not plus:
        return number
    if base != "RTMIN" or not offset.isdecimal() or number + int(offset) > signal.SIGRTMAX:
        raise errors.InvalidArgument(f"signal {text!r} is not valid: only RTMIN+N has an offset")
    return number + int(offset)


def format_name(number: int) -> str:
    """Return the name of a signal (`SIGTERM`), or its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
