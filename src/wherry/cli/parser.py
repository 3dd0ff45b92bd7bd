"""How `wherry` reads its command line.

Options end at the first word that is not one: what follows `run SOURCE` or `exec ID` belongs to the container.
argparse's own REMAINDER is not up to this (it looks for abbreviations in the remainder and eats different `--` in
different versions of Python), so the line is cut before argparse sees it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from wherry import errors
from wherry.cli import exits

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """An argument parser that knows where its options end, and says what is wrong in one line."""

    misused: int = exits.MISUSED

    def __init__(self, prog: str, *, usage: str, description: str, example: str = "") -> None:
        self._takes_value: dict[str, bool] = {}
        super().__init__(
            prog=prog,
            usage=f"{prog} {usage}",
            description=description,
            epilog=f"example:\n{_indent(example)}" if example else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._takes_value |= {"-h": False, "--help": False}

    def option(self, *names: str, **settings: Any) -> None:
        """Add an option or a positional argument, as `add_argument` does."""
        action = self.add_argument(*names, **settings)
        for name in action.option_strings:
            self._takes_value[name] = action.nargs != 0

    def error(self, message: str) -> NoReturn:
        """Print what is wrong with the command line and exit."""
        cause = errors.printable(message)
        self.exit(self.misused, f"{self.prog}: cannot read the command line: {cause} (see {self.prog} --help)\n")

    def parse_leading(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parse options and the first other word; return the words behind it untouched, less one leading `--`."""
        end = self.find_operand(words)
        head, rest = list(words[:end]), list(words[end + 1 :])
        operand = list(words[end : end + 1])
        if operand:
            # Behind `--` argparse takes the word as it is, whatever it looks like.
            head = [*(head[:-1] if head[-1:] == ["--"] else head), "--", *operand]
        return self.parse_args(head), rest[1:] if rest[:1] == ["--"] else rest

    def find_operand(self, words: Sequence[str]) -> int:
        """Return the index of the first word that is neither an option nor an option's value."""
        index = 0
        while index < len(words):
            word = words[index]
            if word == "--":
                return index + 1
            if not word.startswith("-") or word == "-":
                return index
            index += 1 + self._wants_next(word)
        return index

    def _wants_next(self, word: str) -> bool:
        if word.startswith("--"):
            return "=" not in word and self._takes_value.get(word, False)
        for position, letter in enumerate(word[1:], start=1):
            if self._takes_value.get(f"-{letter}", False):
                return position == len(word) - 1
        return False


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())


def typed(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return `parse` for argparse's `type=`: its InvalidArgument becomes a message about the command line."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except errors.InvalidArgument as error:
            raise argparse.ArgumentTypeError(error.message) from None

    return convert


def add_json(parser: Parser, what: str = "an array") -> None:
    """Add --json; `what` says how it is laid out."""
    parser.option("--json", action="store_true", help=f"print JSON: {what}")


#: What a connection over TCP needs.
TLS_FILES = {"cert": "our certificate", "key": "its key", "ca": "certificates that verify the daemon's"}


def add_connection(parser: Parser) -> None:
    """Add the options that say which daemon and which namespace; they may stand before or behind the command."""
    parser.option(
        "--address",
        metavar="ADDRESS",
        default=argparse.SUPPRESS,
        help="address of the daemon, unix://PATH or tcp://HOST:PORT (default: $WHERRY_ADDRESS, or"
        " unix:///run/wherry/wherry.sock)",
    )
    for name, what in TLS_FILES.items():
        parser.option(
            f"--tls-{name}",
            metavar="FILE",
            default=argparse.SUPPRESS,
            help=f"for tcp://: {what}, PEM (default: $WHERRY_TLS_{name.upper()})",
        )
    parser.option(
        "--namespace",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="namespace of the containers (default: $WHERRY_NAMESPACE, or default)",
    )


#: How lines on stderr end; a raw terminal needs the carriage returned (`cli/terminal.py`).
line_end = "\n"


def say(message: str) -> None:
    """Print a message of Wherry's own on stderr, in one piece; a closed stderr is not an error."""
    text = errors.printable(message, kept="\n")
    try:
        sys.stderr.write(f"wherry: {text}{line_end}")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
