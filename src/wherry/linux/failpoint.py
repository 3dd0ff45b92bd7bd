"""Named places where a test can make something go wrong: $WHERRY_FAILPOINTS, nothing unless it is set.

    WHERRY_FAILPOINTS="exit.journaled; file.write=3*off->1*error(ENOSPC)->off"

Each place has a sequence of terms, `[COUNT*]ACTION[(ARGUMENT)]` joined by `->`. A term with a count holds for so many
times, one without for ever; once all are used up nothing happens any more. A name alone means `=kill`. The actions:

    off             nothing happens
    kill            this process dies by SIGKILL
    exit(STATUS)    this process ends at once, with 1 if not said
    error(ERRNO)    OSError of that name is raised, EIO if not said
    panic(TEXT)     what no code expects is raised
    delay(SECONDS)  this thread stands still
    print           a line to standard error

Places whose names begin with `shim.` are in shims, where each counts for itself; all others are in the daemon. The
language is that of containerd's failpoints, and so of FreeBSD's fail(9), as far as those have the same.
"""

from __future__ import annotations

import errno
import os
import signal
import time

TYPE_CHECKING = False  # `typing` has no place in a shim
if TYPE_CHECKING:
    Term = tuple[int, str, str]

VARIABLE = "WHERRY_FAILPOINTS"
#: What was asked for when this process, or the zygote it was forked from, began.
asked = os.environ.get(VARIABLE, "")
_EVER = -1
#: What an action's argument is when none is given; those without one take none.
_DEFAULTS = {"exit": "1", "error": "EIO", "panic": "failpoint", "delay": "0"}
#: The greatest argument of those that take a number; a delay of a day is a mistake.
_RANGES = {"exit": 255, "delay": 86400}
_PLAIN = ("off", "kill", "print")

_armed: dict[str, list[Term]] = {}


class Panic(Exception):
    """What no code expects."""


def arm(text: str, *, in_shim: bool = False) -> None:
    """Arm what `text` says of this kind of process, and nothing else. Raises ValueError for what is not understood."""
    _armed.clear()
    for item in text.split(";"):
        name, _, terms = (part.strip() for part in item.partition("="))
        if terms and not name:
            raise ValueError(f"{VARIABLE}: {item.strip()!r} has no name")
        parsed = [_parse(term.strip()) for term in (terms or "kill").split("->")]
        if name and name.startswith("shim.") == in_shim:
            _armed[name] = parsed


def _parse(term: str) -> Term:
    count, _, action = term.partition("*") if term[:1].isdigit() else ("", "", term)
    word, has_argument, argument = action.partition("(")
    is_known = word in _DEFAULTS or (word in _PLAIN and not has_argument)
    is_closed = argument.endswith(")") if has_argument else True
    if not is_known or not is_closed or (count and not (count.isascii() and count.isdigit())):
        raise ValueError(
            f"{VARIABLE}: {term!r} is not [COUNT*]ACTION[(ARGUMENT)] with one of {', '.join((*_PLAIN, *_DEFAULTS))}"
        )
    argument = argument[:-1] or _DEFAULTS.get(word, "")
    try:
        _check(word, argument)
    except (ValueError, AttributeError, TypeError):
        raise ValueError(f"{VARIABLE}: {term!r} has an argument that {word} cannot take") from None
    return int(count) if count else _EVER, word, argument


def _check(word: str, argument: str) -> None:
    if word == "error":
        int(getattr(errno, argument))  # there is more in that module than numbers
    elif word in _RANGES and not 0 <= float(argument) <= _RANGES[word]:
        raise ValueError


def hit(name: str) -> None:
    """Be at the place `name`: what it is armed with happens, or nothing."""
    if _armed and name in _armed:
        _strike(name, _armed[name])


def _strike(name: str, terms: list[Term]) -> None:
    while terms and terms[0][0] == 0:
        del terms[0]
    if not terms:
        return
    count, action, argument = terms[0]
    if count != _EVER:
        terms[0] = (count - 1, action, argument)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "exit":
        os._exit(int(float(argument)))
    elif action == "error":
        number = getattr(errno, argument)
        raise OSError(number, os.strerror(number), f"failpoint {name}")
    elif action == "panic":
        raise Panic(f"{argument} at {name}")
    elif action == "delay":
        time.sleep(float(argument))
    elif action == "print":
        os.write(2, f"failpoint {name}\n".encode())
