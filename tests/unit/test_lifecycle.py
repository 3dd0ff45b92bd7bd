"""The lifecycle table: what it says, what it refuses, and that the document is the table."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wherry import errors
from wherry.model import lifecycle
from wherry.model.lifecycle import CONTAINER, EXEC, Change, State

_TABLES = {"container": CONTAINER, "exec": EXEC}
_DOCUMENT = Path(__file__).parents[2] / "docs" / "states.md"


@pytest.mark.parametrize("name", _TABLES)
def test_every_pair_is_either_listed_or_refused_by_name(name: str) -> None:
    table = _TABLES[name]
    for state, change in itertools.product(State, Change):
        if (state, change) in table:
            assert lifecycle.advance("container a", state, change, table) is table[state, change]
            continue
        with pytest.raises(errors.FailedPrecondition) as raised:
            lifecycle.advance("container a", state, change, table)
        assert raised.value.message.startswith("cannot ")
        assert raised.value.message.endswith(f" container a: it is {state.value}")


def test_the_refusal_uses_the_words_of_the_request() -> None:
    with pytest.raises(errors.FailedPrecondition, match="^cannot start container a: it is running$"):
        lifecycle.advance("container a", State.RUNNING, Change.STARTED)
    with pytest.raises(errors.FailedPrecondition, match="^cannot delete container a: it is unknown$"):
        lifecycle.advance("container a", State.UNKNOWN, Change.DELETE)


@pytest.mark.parametrize("name", _TABLES)
def test_every_state_is_reached_from_the_first_and_reaches_the_last(name: str) -> None:
    table = _TABLES[name]
    states = {state for state, _ in table} | set(table.values())
    for state in states:
        assert state in reachable(table, State.CREATING)
        assert State.DELETING in reachable(table, state)
    assert State.UNKNOWN not in states


def reachable(table: dict[tuple[State, Change], State], start: State) -> set[State]:
    found = {start}
    while more := {following for (state, _), following in table.items() if state in found} - found:
        found |= more
    return found


@pytest.mark.parametrize("name", _TABLES)
def test_an_exit_is_heard_in_every_living_state_and_in_no_other(name: str) -> None:
    table = _TABLES[name]
    listed = {state for state, change in table if change is Change.EXITED}
    assert listed == {state for state, _ in table if state in lifecycle.ALIVE}
    assert {table[state, Change.EXITED] for state in listed} == {State.STOPPED}


def test_nothing_leads_back_from_the_end() -> None:
    for table in _TABLES.values():
        assert reachable(table, State.DELETING) == {State.DELETING}
        again = {pair: state for pair, state in table.items() if pair[1] is not Change.RESTART}
        assert reachable(again, State.STOPPED) == {State.STOPPED, State.DELETING}


def test_what_is_alive_has_to_end_before_it_is_started_again() -> None:
    assert {state for state, change in CONTAINER if change is Change.RESTART} == {
        State.STOPPING,  # while its end is being told
        State.STOPPED,
        State.RESTARTING,
    }
    assert State.RESTARTING not in lifecycle.ALIVE | lifecycle.AT_REST
    assert set(State) - lifecycle.ALIVE - lifecycle.AT_REST == {State.CREATING, State.RESTARTING}


def test_an_exec_does_nothing_a_container_could_not() -> None:
    assert set(EXEC.values()) <= set(CONTAINER.values())
    assert not {change for _, change in EXEC} & {Change.PAUSE, Change.STOP, Change.PAUSED, Change.RESUMED}


def test_the_document_is_the_table() -> None:
    assert _DOCUMENT.read_text() == lifecycle.format_markdown()


def test_the_command_that_the_document_names_prints_it() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "wherry.model.lifecycle"], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout == lifecycle.format_markdown()


class Life(RuleBasedStateMachine):
    """A container to which anything may happen in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State.CREATING
        self.exits = 0
        self.was_paused = False

    @rule(change=some.sampled_from(Change))
    def change(self, change: Change) -> None:
        before = self.state
        try:
            self.state = lifecycle.advance("it", before, change)
        except errors.FailedPrecondition:
            assert self.state is before
            return
        self.exits += change is Change.EXITED
        if change is Change.RESTART:
            self.exits = 0
            self.was_paused = False
        self.was_paused |= change is Change.PAUSE

    @precondition(lambda self: self.state in lifecycle.ALIVE)
    @rule()
    def end(self) -> None:
        self.change(Change.EXITED)
        assert self.state is State.STOPPED

    @invariant()
    def it_exits_once_and_then_is_never_alive(self) -> None:
        assert self.exits <= 1
        assert not (self.exits and self.state in lifecycle.ALIVE)

    @invariant()
    def it_is_paused_only_after_it_was_asked_to(self) -> None:
        assert self.was_paused or self.state not in (State.PAUSING, State.PAUSED)


TestLife = Life.TestCase
