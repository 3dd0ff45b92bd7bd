"""Model values through JSON and back; anything else is a ValueError that names the field."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.support import values
from wherry.model import codec
from wherry.model import request as req
from wherry.model import status as st
from wherry.wire import wherry_v1_pb2 as pb

_JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
#: Those that lie on disk as JSON: `bytes` exist on the wire only.
_ON_DISK = [cls for cls in values.CLASSES if cls not in (st.LogChunk, st.Output)]


@pytest.mark.parametrize("cls", _ON_DISK, ids=lambda cls: cls.__name__)
def test_every_value_survives_the_disk(cls: Any) -> None:
    @settings(max_examples=50)
    @given(values.of(cls))
    def check(value: Any) -> None:
        assert codec.from_plain(cls, json.loads(json.dumps(codec.to_plain(value)))) == value

    check()


@pytest.mark.parametrize("cls", values.CLASSES, ids=lambda cls: cls.__name__)
def test_garbage_is_a_value_error_that_names_a_field(cls: Any) -> None:
    names = [field.name for field in dataclasses.fields(cls)]

    @settings(max_examples=50)
    @given(_JSON | some.dictionaries(some.sampled_from([*names, "other"]), _JSON, max_size=4))
    def check(data: Any) -> None:
        said = cls.__name__
        try:
            codec.from_plain(cls, data)
        except ValueError as error:
            said = str(error)
        assert re.split(r"[:.\[]", said)[0] in [cls.__name__, *names]

    check()


@pytest.mark.parametrize(
    ("cls", "data", "where"),
    [
        (req.CreateRequest, {"source": {"kind": 3}}, "source.kind: str"),
        (req.CreateRequest, {"mounts": [{"target": "/a"}, {}]}, r"mounts\[1\].target: missing"),
        (req.CreateRequest, {"mounts": {"target": "/a"}}, "mounts: a list"),
        (req.CreateRequest, {"labels": {"a": 1}}, "labels: an object of strings"),
        (req.CreateRequest, {"limits": {"memory_bytes": True}}, "limits.memory_bytes: int"),
        (req.CreateRequest, {"limits": {"cpus": "1"}}, "limits.cpus: float"),
        (req.ContainerRef, {}, "id: missing"),
        (st.ExitRecord, [], "ExitRecord: an object"),
        (st.ContainerInfo, {"id": "a", "namespace": "b", "generation": 1, "state": None}, "state: str"),
    ],
)
def test_the_field_at_fault_is_named(cls: Any, data: Any, where: str) -> None:
    with pytest.raises(ValueError, match=where):
        codec.from_plain(cls, data)


def test_a_newer_version_may_have_written_more() -> None:
    assert codec.from_plain(req.ContainerRef, {"id": "a", "colour": "red"}) == req.ContainerRef(id="a")


def test_defaults_take_no_room_on_disk() -> None:
    assert codec.to_plain(req.CreateRequest(id="a")) == {"id": "a"}
    assert codec.to_plain(st.ExitRecord(status=0)) == {"status": 0}


def test_an_integer_that_no_float_holds_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="timeout"):
        codec.from_plain(req.StopRequest, {"id": "a", "timeout": 10**400})


def test_what_no_message_can_hold_is_no_value() -> None:
    numbers = {True: set(), False: set()}  # type: dict[bool, set[str]]
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64):
                numbers[field.cpp_type == field.CPPTYPE_INT32].add(field.name)
    assert numbers[True] == codec.SMALL
    assert not codec.SMALL & numbers[False]
    wrong: list[dict[str, Any]] = [
        {"status": 2**31},
        {"status": 0, "exited_at_ns": 2**63},
        {"status": 0, "reason": "\ud800"},
    ]
    for data in wrong:
        with pytest.raises(ValueError, match="expected that|no Unicode|not Unicode"):
            codec.from_plain(st.ExitRecord, data)
    with pytest.raises(ValueError, match="labels: it is not Unicode text"):
        codec.from_plain(req.CreateRequest, {"labels": {"\udcff": ""}})
