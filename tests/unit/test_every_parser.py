"""Every parser in the code takes anything, or refuses it with the one error it names.

What there is comes from the code: a new `parse` is tried as the text of an option is, unless it has a line here; a new
`format` without one fails. What is written and read again is read by the tests named here.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

import wherry
from wherry import errors
from wherry.cli import table, values
from wherry.client.container import format_env

SOURCE = Path(wherry.__file__).parent
#: Text that looks like a value, and text that does not.
TEXT = (
    some.text() | some.text(alphabet="0123456789.:=,-+/KMGmhsdTZ \0\udcff") | some.from_regex(r"\A[a-z]{2,6}=.{0,20}\Z")
)
BYTES = some.binary(max_size=400) | some.lists(TEXT, max_size=5).map(
    lambda parts: "\n".join(parts).encode(errors="replace")
)
LOG = (
    some.lists(
        some.tuples(
            some.sampled_from(["2026-11-25T10:00:00.123456789Z", "2026-11-25T10:00:00Z", "9999-99-99T99:99:99.9Z", ""]),
            some.sampled_from(["stdout", "stderr", "out", ""]),
            some.sampled_from(["F", "P", "x", ""]),
            some.text(max_size=20),
        ).map(" ".join),
        max_size=6,
    ).map(lambda lines: "\n".join(lines).encode())
    | BYTES
)


def _records(pairs: list[tuple[str, str]]) -> bytes:
    """Return an extended header of a tar member, of which a length is right when it has two digits."""
    texts = [f"{key}={value}\n".encode(errors="replace") for key, value in pairs]
    return b"".join(b"%d %s" % (len(text) + 3, text) for text in texts)


#: By parser: what it is given, and what it may raise. The texts of options are the rule, and not named.
OTHERS: dict[str, tuple[some.SearchStrategy[tuple[Any, ...]], tuple[type[Exception], ...]]] = {
    "cli.values.parse_since": (some.tuples(TEXT, some.integers(0, 2**62)), (errors.InvalidArgument,)),
    "cli.values.parse_env": (
        some.tuples(TEXT, some.dictionaries(TEXT, TEXT, max_size=3)),
        (errors.InvalidArgument,),
    ),
    "cli.values.parse_mount": (some.tuples(TEXT, some.just("/here")), (errors.InvalidArgument,)),
    "cli.values.parse_volume": (some.tuples(TEXT, some.just("/here")), (errors.InvalidArgument,)),
    "cli.values.parse_source": (some.tuples(TEXT, some.just("/here")), (errors.InvalidArgument,)),
    "linux.proc.parse_process": (
        some.tuples(some.just(7), BYTES, BYTES, BYTES, some.integers(1, 64)),
        (ValueError, IndexError),
    ),
    "model.frame.parse_frame": (some.tuples(BYTES), (ValueError,)),
    "oci.capabilities.parse_status": (some.tuples(TEXT), (ValueError,)),
    "oci.limits.parse_cpuset": (some.tuples(some.just("cpus"), TEXT), (errors.InvalidArgument,)),
    "oci.users.parse_passwd": (some.tuples(BYTES), ()),
    "oci.users.parse_group": (some.tuples(BYTES), ()),
    "runtime.log.parse_entry": (some.tuples(LOG), (ValueError,)),
    "runtime.log.parse_time": (some.tuples(LOG), (ValueError,)),
    "runtime.log.parse_block": (some.tuples(LOG, BYTES), ()),
    "runtime.log.parse_spans": (some.tuples(LOG, BYTES), ()),
    "runtime.tar.parse_records": (
        some.tuples(
            some.lists(some.tuples(some.sampled_from(["path", "size", "x", ""]), TEXT), max_size=4).map(_records)
            | BYTES
        ),
        (ValueError, errors.InvalidArgument),
    ),
    "supervisor.filters.parse": (some.tuples(some.lists(TEXT, max_size=3)), (errors.InvalidArgument,)),
}

#: Of what is written and read again: what reads it, and the file whose tests read what was written.
PAIRS = {
    "cli.table.format_time": ("parse_since", "test_every_parser.py"),
    "client.container.format_env": ("item.split", "test_every_parser.py"),
    "model.address.format_tcp": ("parse_tcp", "test_address.py"),
    "model.frame.format_frame": ("parse_frame", "test_frame.py"),
    "model.signals.format_name": ("signals.parse", "test_signals.py"),
    "runtime.log.format_time": ("parse_time", "test_log_writer.py"),
    "shim.log.format_entries": ("parse_block", "test_log_writer.py"),
    "model.codec.to_plain": ("from_plain", "test_codec.py"),
    "wire.convert.to_message": ("from_message", "test_convert.py"),
    "api.v0_requests.to_labels": ("from_labels", "test_v0.py"),
}
#: What only people read.
FOR_PEOPLE = {
    "cli.board.format_limit",
    "cli.board.format_rate",
    "cli.commands.checkpoint.format_still",
    "cli.commands.events.format_event",
    "cli.commands.show.format_state",
    "cli.commands.stats.format_bytes",
    "cli.doctor.report.format_finding",
    "cli.meter.format_bar",
    "cli.meter.format_spark",
    "cli.table.format_age",
    "cli.table.format_plain",
    "model.lifecycle.format_markdown",
}


def _find(name: str) -> list[str]:
    """Return every public function of the package that is called so, or begins so."""
    found: list[str] = []
    for path in sorted(SOURCE.rglob("*.py")):
        if not path.name.endswith("_pb2.py"):
            module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
            functions = (node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))
            found += [f"{module}.{each}" for each in functions if f"{each}_".startswith(f"{name}_")]
    return found


def _load(name: str) -> Callable[..., Any]:
    module, _, function = name.rpartition(".")
    loaded: Callable[..., Any] = getattr(importlib.import_module(f"wherry.{module}"), function)
    return loaded


PARSERS = _find("parse")


@pytest.mark.parametrize("name", PARSERS)
def test_anything_is_taken_or_refused_with_the_one_error(name: str) -> None:
    strategy, refusals = OTHERS.get(name, (some.tuples(TEXT), (errors.InvalidArgument,)))
    parse = _load(name)

    @given(strategy)
    def check(arguments: tuple[Any, ...]) -> None:
        try:
            found = parse(*arguments)
            if hasattr(found, "__next__"):
                list(found)
        except refusals as error:
            message = error.message if isinstance(error, errors.WherryError) else str(error)
            assert message
            assert len(message) < 2000
            assert "\n" not in message

    check()


def test_there_is_no_strategy_for_what_is_gone() -> None:
    assert not set(OTHERS) - set(PARSERS)


def test_what_is_written_is_for_people_or_is_read_again_by_a_test() -> None:
    assert set(_find("format")) <= set(PAIRS) | FOR_PEOPLE
    for name, (reader, file) in PAIRS.items():
        _load(name)
        text = (Path(__file__).parent / file).read_text()
        assert "@given" in text, file
        # Called, not only named: as it is in the table above.
        assert f"{name.rpartition('.')[2]}(" in text, name
        assert f"{reader}(" in text, reader


@given(some.integers(1, 2**63 - 1))
def test_a_time_that_is_shown_can_be_asked_for(time_ns: int) -> None:
    assert values.parse_since(table.format_time(time_ns), 2**63) == time_ns


@given(some.dictionaries(some.text(min_size=1).filter(lambda name: "=" not in name), some.text(), max_size=4))
def test_an_environment_comes_back(environment: dict[str, str]) -> None:
    assert dict(item.split("=", 1) for item in format_env(environment)) == environment
