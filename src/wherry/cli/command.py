"""What a command is, and the list of all of them. None of them is imported before it is the one that was typed."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from wherry.cli.parser import Parser

if TYPE_CHECKING:
    from wherry.cli.session import Settings


class Command(NamedTuple):
    """One command: how its line is read and what it does.

    `make_parser` gets the name to show in messages. With `trailing` the first word that is no option ends the
    options, and the words behind it are `args.trailing`.
    """

    make_parser: Callable[[str], Parser]
    handle: Callable[[argparse.Namespace, Settings], Awaitable[int]]
    trailing: bool = False


#: Name (one or two words), module in `wherry.cli.commands` (its `COMMANDS` holds the Command), and what `wherry --help`
#: says.
INDEX: dict[str, tuple[str, str]] = {
    "run": ("run", "create and start a container, and carry its output"),
    "create": ("run", "create a container without starting it"),
    "start": ("lifecycle", "start created containers, or ended ones once more"),
    "ps": ("show", "list containers"),
    "inspect": ("show", "show all that is known of containers"),
    "logs": ("logs", "print what a container has written"),
    "exec": ("exec", "run a further process in a container"),
    "attach": ("exec", "join the output and input of a running process"),
    "stop": ("lifecycle", "stop containers, by force when they take too long"),
    "restart": ("lifecycle", "stop containers and start them once more"),
    "pause": ("lifecycle", "freeze containers"),
    "resume": ("lifecycle", "let paused containers go on"),
    "update": ("update", "change the limits of containers"),
    "kill": ("lifecycle", "send a signal"),
    "wait": ("lifecycle", "wait for containers to end and print their status"),
    "rm": ("lifecycle", "delete containers that have ended"),
    "checkpoint create": ("checkpoint", "write down a running container"),
    "checkpoint list": ("checkpoint", "list checkpoints"),
    "checkpoint inspect": ("checkpoint", "show all that is known of a checkpoint"),
    "checkpoint export": ("checkpoint", "write a checkpoint to a file"),
    "checkpoint import": ("checkpoint", "take a checkpoint from a file"),
    "checkpoint rm": ("checkpoint", "delete checkpoints"),
    "restore": ("checkpoint", "let a container go on where a checkpoint was written"),
    "migrate": ("migrate", "hand a running container over to another daemon"),
    "clone": ("checkpoint", "make containers that go on from a checkpoint, or a running one"),
    "stats": ("stats", "show what containers use"),
    "top": ("top", "watch what containers use"),
    "processes": ("processes", "list the processes in a container"),
    "events": ("events", "print what happened, and follow what happens"),
    "info": ("system", "show the daemon and its host"),
    "version": ("system", "show the version of wherry and of the daemon"),
    "doctor": ("doctor", "examine this host and say what to do about each finding"),
}
