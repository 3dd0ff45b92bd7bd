"""`wherry`: find the command, run it, turn what goes wrong into one line and an exit code.

Exit codes: the container's own (128 + signal), 125 Wherry failed, 126 the command cannot be executed, 127 it was not
found, 2 misuse (125 for `run` and `exec`), 130 interrupted, 141 the reader of the output went away.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Coroutine, Sequence
from types import ModuleType
from typing import NoReturn, cast

from wherry import __version__, errors
from wherry.cli import command, exits
from wherry.cli.parser import Parser, add_connection, say

#: Objects made between two collections of garbage. Imports make many and leave none: with the interpreter's own number,
#: a tenth of a short command is spent on looking for it.
_GC_THRESHOLD = 50_000
#: Commands whose exit code is a container's: their own misuse must not look like one.
_CARRIES_STATUS = frozenset({"run", "exec", "attach"})


def enter() -> NoReturn:
    """Be the program `wherry`: run this process's command line, then end without taking the interpreter apart.

    Nothing of ours waits for that (no atexit, no thread that must end), and gRPC takes 10 ms to be unloaded.
    """
    gc.set_threshold(_GC_THRESHOLD)
    status = main()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: this process's) and return the exit code."""
    hold_descriptors()
    # asyncio takes what it can get, and that is a twentieth of a short command; gRPC brings its own TLS.
    sys.modules.setdefault("ssl", cast("ModuleType", None))
    try:
        status = _read_and_run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        silence_stdout()
        return exits.PIPE_CLOSED
    except errors.WherryError as error:
        say(error.message)
        return exits.find(error)
    except OSError as error:
        silence_stdout()
        say(f"cannot finish: {error}")
        return exits.WHERRY_FAILED
    except Exception as error:  # noqa: BLE001 - the outermost edge: a user gets one line, never a traceback
        return _report_stray(error)
    return status


def hold_descriptors() -> None:
    """Open /dev/null for each of stdin, stdout and stderr that is closed, so that no socket gets its number."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Python has None for those that were closed.
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for as long as we run
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def silence_stdout() -> None:
    """Point stdout at /dev/null, so that the interpreter's last flush does not complain about the closed pipe."""
    sink = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(sink, 1)
    os.close(sink)


def _report_stray(error: Exception) -> int:
    if os.environ.get("WHERRY_DEBUG"):
        import traceback

        traceback.print_exception(error)
    say(f"internal error: {type(error).__name__}: {error} (WHERRY_DEBUG=1 shows where)")
    return exits.WHERRY_FAILED


def _read_and_run(words: Sequence[str]) -> int:
    try:
        return _dispatch(words)
    except SystemExit as end:
        # How argparse ends: after --help and after a misuse.
        return end.code if isinstance(end.code, int) else 0


def _make_top_parser() -> Parser:
    width = max(map(len, command.INDEX))
    listing = "\n".join(f"  {name.ljust(width)}  {summary}" for name, (_, summary) in command.INDEX.items())
    parser = Parser(
        "wherry",
        usage="[--address ADDRESS] [--namespace NAME] COMMAND ...",
        description=f"Run OCI containers and keep hold of them, whatever dies.\n\ncommands:\n{listing}",
        example="wherry run --rm host -- sh -c 'echo hello from $(hostname)'\nwherry run --help",
    )
    parser.option("--version", action="version", version=f"wherry {__version__}", help="print the version and exit")
    add_connection(parser)
    parser.option("command", metavar="COMMAND", nargs="?", help=argparse.SUPPRESS)
    return parser


def _dispatch(words: Sequence[str]) -> int:
    top = _make_top_parser()
    general, rest = top.parse_leading(words)
    name = general.command
    if name is None:
        top.print_help(sys.stderr)
        return exits.MISUSED
    if name not in command.INDEX:
        name, rest = _find_second(top, name, rest)
    chosen = _load(name)
    parser = chosen.make_parser(f"wherry {name}")
    if name in _CARRIES_STATUS:
        parser.misused = exits.WHERRY_FAILED
    add_connection(parser)
    if chosen.trailing:
        args, trailing = parser.parse_leading(rest)
        args.trailing = trailing
    else:
        args = parser.parse_args(rest)
    return _run(chosen, parser, args, general)


def _find_second(top: Parser, name: str, rest: list[str]) -> tuple[str, list[str]]:
    """Return the command of two words that `name` and what follows make, and the words behind it."""
    group = {
        key.partition(" ")[2]: summary for key, (_, summary) in command.INDEX.items() if key.startswith(f"{name} ")
    }
    if not group:
        top.error(f"{name!r} is not a command")
    if rest[:1] in (["-h"], ["--help"]):
        width = max(map(len, group))
        print(f"usage: wherry {name} COMMAND ...\n\ncommands:")
        print("\n".join(f"  {key.ljust(width)}  {summary}" for key, summary in group.items()))
        raise SystemExit(0)
    if not rest or rest[0] not in group:
        given = f"{rest[0]!r} is not one of" if rest else "one of these is missing:"
        top.error(f"wherry {name}: {given} {', '.join(group)}")
    return f"{name} {rest[0]}", rest[1:]


def _load(name: str) -> command.Command:
    import importlib

    module = importlib.import_module(f"wherry.cli.commands.{command.INDEX[name][0]}")
    found: command.Command = module.COMMANDS[name]
    return found


def _run(chosen: command.Command, parser: Parser, args: argparse.Namespace, general: argparse.Namespace) -> int:
    import asyncio

    from wherry.cli import session

    try:
        # What stands behind the command wins.
        settings = session.make_settings({**vars(general), **vars(args)}, os.environ)
    except errors.InvalidArgument as error:
        parser.error(error.message)
    handled = chosen.handle(args, settings)
    assert isinstance(handled, Coroutine)
    status: int = asyncio.run(handled)
    return status
