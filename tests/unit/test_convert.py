"""Model values through real protobuf messages: exact, with the model's defaults, and nothing squeezed to fit."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest
from hypothesis import given, settings

from tests.support import values
from wherry import errors
from wherry.model import ids
from wherry.model import request as req
from wherry.model import status as st
from wherry.wire import convert, methods
from wherry.wire import wherry_v1_pb2 as pb

_REQUESTS = [cls for cls in values.CLASSES if cls.__module__ == req.__name__]
_NAMED = [cls for cls in values.CLASSES if "namespace" in convert.message_of(cls).DESCRIPTOR.fields_by_name]
_WITH_NAMESPACE = [cls for cls in _NAMED if cls in _REQUESTS and cls is not req.ListRequest]


@pytest.mark.parametrize("cls", values.CLASSES, ids=lambda cls: cls.__name__)
def test_every_value_survives_the_wire(cls: Any) -> None:
    @settings(max_examples=50)
    @given(values.of(cls))
    def check(value: Any) -> None:
        data = convert.to_message(value).SerializeToString()
        found = convert.from_message(cls, convert.message_of(cls).FromString(data))
        assert found == with_default_namespace(value)

    check()


def with_default_namespace(value: Any) -> Any:
    """Return `value` as it is understood at the other end: requests without a namespace are for the default one."""
    if isinstance(value, st.ContainerList):
        return st.ContainerList(containers=tuple(with_default_namespace(item) for item in value.containers))
    if isinstance(value, st.ContainerInfo):
        return dataclasses.replace(value, request=with_default_namespace(value.request))
    if type(value) in _WITH_NAMESPACE and not value.namespace:
        return dataclasses.replace(value, namespace=ids.DEFAULT_NAMESPACE)
    return value


@pytest.mark.parametrize("method", methods.METHODS.values(), ids=lambda method: method.name)
def test_every_call_has_messages_with_the_fields_of_its_classes(method: methods.Method) -> None:
    for cls in (method.request, method.response):
        fields = {field.name for field in dataclasses.fields(cls)}
        assert fields == set(convert.message_of(cls).DESCRIPTOR.fields_by_name)
    assert methods.find(method.name) is method


@pytest.mark.parametrize("cls", _REQUESTS)
def test_an_empty_message_is_the_request_with_its_defaults(cls: Any) -> None:
    found = convert.from_message(cls, convert.message_of(cls)())
    for field in dataclasses.fields(cls):
        descriptor = convert.message_of(cls).DESCRIPTOR.fields_by_name[field.name]
        if descriptor.has_presence and field.default is not dataclasses.MISSING:
            assert getattr(found, field.name) == field.default


def test_positions_that_are_not_given_are_the_models_own() -> None:
    assert convert.from_message(req.SubscribeRequest, pb.SubscribeRequest()) == req.SubscribeRequest()
    assert convert.from_message(req.SubscribeRequest, pb.SubscribeRequest(after=0, follow=False)).after == 0
    assert convert.from_message(req.LogsRequest, pb.LogsRequest(id="a")).tail == -1
    assert convert.from_message(req.LogsRequest, pb.LogsRequest(id="a", tail=0)).tail == 0
    assert convert.from_message(req.AttachRequest, pb.AttachRequest(id="a")).offset == -1
    assert convert.from_message(req.Limits, pb.Limits(memory_bytes=0)) == req.Limits(memory_bytes=0)


@pytest.mark.parametrize("cls", _NAMED)
def test_an_empty_namespace_is_the_default_one_except_for_list(cls: Any) -> None:
    found = convert.from_message(cls, convert.message_of(cls)())
    assert found.namespace == (ids.DEFAULT_NAMESPACE if cls in _WITH_NAMESPACE else "")


@pytest.mark.parametrize(
    "value",
    [
        req.KillRequest(id="a", signal=2**31),
        req.KillRequest(id="a", signal=-(2**31) - 1),
        req.Limits(memory_bytes=10**30),
        req.Limits(pids=2**63),
        req.CreateRequest(limits=req.Limits(memory_bytes=2**63)),
        req.CreateRequest(ulimits=(req.Ulimit(name="nofile", soft=0, hard=2**64),)),
        req.SubscribeRequest(after=2**63),
        req.ContainerRef(id="\udcff"),
        req.CreateRequest(labels={"\udcff": ""}),
        req.CreateRequest(args=("a", "\udcff")),
        st.ExitRecord(status=2**32),
    ],
    ids=repr,
)
def test_what_no_field_holds_is_refused_not_cut(value: Any) -> None:
    with pytest.raises(errors.InvalidArgument, match="does not fit the protocol"):
        convert.to_message(value)


_WRONG: Any = {
    "id of ContainerRef": req.ContainerRef(id=typing.cast("Any", 3)),
    "args of CreateRequest": req.CreateRequest(args=typing.cast("Any", (1,))),
    "limits of CreateRequest": req.CreateRequest(limits=typing.cast("Any", {"pids": 5})),
    "restart of CreateRequest": req.CreateRequest(restart=typing.cast("Any", "always")),
    "args of HealthCheck": req.CreateRequest(health=req.HealthCheck(args=typing.cast("Any", "true"))),
    "labels of CreateRequest": req.CreateRequest(labels=typing.cast("Any", {"a": 1})),
    "memory_bytes of Limits": req.Limits(memory_bytes=typing.cast("Any", "64M")),
}


@pytest.mark.parametrize("field", _WRONG)
def test_a_wrong_type_from_a_caller_of_the_library_is_refused_by_name(field: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"{field} does not fit the protocol"):
        convert.to_message(_WRONG[field])
