"""Filters of event streams."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.support import values
from wherry import errors
from wherry.model import status as st
from wherry.supervisor import filters

_EVENT = st.Event(
    seq=1,
    time_ns=1,
    type="exit",
    namespace="n",
    container="c",
    generation=1,
    process="init",
    labels={"a": "1", "b=": ""},
)


@given(some.lists(some.text(max_size=12) | some.from_regex(r"(type|label\..?|container)=?.{0,3}"), max_size=4))
def test_garbage_is_invalid_argument_only(texts: list[str]) -> None:
    with contextlib.suppress(errors.InvalidArgument):
        assert filters.parse(texts)(_EVENT) in (True, False)


@pytest.mark.parametrize(
    "bad", ["", "=", "type", "=exit", "colour=red", "label.=1", "label=1", "Type=exit", "label.a", "seq=1"]
)
def test_what_is_no_filter_is_refused_with_what_would_be(bad: str) -> None:
    with pytest.raises(
        errors.InvalidArgument, match=r"is not valid: KEY=VALUE .* type, namespace, container, process, label"
    ):
        filters.parse([bad])


@pytest.mark.parametrize(
    ("texts", "holds"),
    [
        ([], True),
        (["type=exit"], True),
        (["type=start"], False),
        (["type=start", "type=exit"], True),
        (["type=exit", "container=other"], False),
        (["type=exit", "container=c", "process=init", "namespace=n"], True),
        (["label.a=1"], True),
        (["label.a=2"], False),
        (["label.a="], False),
        (["label.missing="], False),
        (["label.a=1", "type=start"], False),
    ],
)
def test_values_of_a_key_are_alternatives_and_keys_must_all_hold(texts: list[str], holds: bool) -> None:
    assert filters.parse(texts)(_EVENT) is holds


@given(values.of(st.Event).map(lambda event: dataclasses.replace(event, type="exit")))
def test_an_event_passes_the_filters_made_of_itself_and_no_other(event: st.Event) -> None:
    own = [f"type={event.type}", f"namespace={event.namespace}", f"container={event.container}"]
    assert filters.parse(own)(event)
    assert not filters.parse([*own, f"process={event.process}x"])(event)


def test_every_type_that_is_emitted_can_be_asked_for() -> None:
    source = Path(st.__file__).parents[1] / "supervisor"
    emitted = re.compile(r'emit\(\s*live,\s*"(\w+)"')
    told = {word for path in source.glob("*.py") for word in emitted.findall(path.read_text())}
    assert "migrate" in told
    assert told <= set(st.EVENT_TYPES)
