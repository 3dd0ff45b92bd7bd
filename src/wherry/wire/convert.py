"""Between model values and protobuf messages: by field name, since both are written with the same names."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message

from wherry import errors
from wherry.model import codec
from wherry.wire import wherry_v1_pb2 as pb

T = TypeVar("T")


@functools.cache
def message_of(cls: Any) -> type[Message]:
    """Return the message class of a model class: the one of its name."""
    found: type[Message] = getattr(pb, cls.__name__)
    return found


def to_message(value: Any) -> Any:
    """Return the message of a model value. Raises InvalidArgument for what no field can hold."""
    message = message_of(typing.cast("Any", type(value)))()
    _fill(message, value)
    return message


def _fill(message: Any, value: Any) -> None:
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if item is None:
            continue
        try:
            _fill_field(message, field.name, item)
        except (AttributeError, ValueError, TypeError, OverflowError) as error:
            if isinstance(error, ValueError | OverflowError):
                raise errors.InvalidArgument(
                    f"{field.name} of {type(value).__name__} does not fit the protocol: {error}"
                ) from error
            hint = codec.hints_of(typing.cast("Any", type(value)))[field.name]
            wanted = str(hint) if typing.get_origin(hint) else hint.__name__
            raise errors.InvalidArgument(
                f"{field.name} of {type(value).__name__} does not fit the protocol: {repr(item)[:100]}, not {wanted}"
            ) from error


def _fill_field(message: Any, name: str, item: Any) -> None:
    if dataclasses.is_dataclass(item):
        part = getattr(message, name)
        part.SetInParent()
        _fill(part, item)
    elif isinstance(item, Mapping):
        getattr(message, name).update(item)
    elif isinstance(item, tuple | list):
        _extend(getattr(message, name), item)
    else:
        setattr(message, name, item)


def _extend(target: Any, items: typing.Sequence[Any]) -> None:
    for item in items:
        if dataclasses.is_dataclass(item):
            _fill(target.add(), item)
        else:
            target.append(item)


def from_message(cls: type[T], message: Any) -> T:
    """Return the `cls` of a message. A field with presence that is not set takes the default of the model."""
    values: dict[str, Any] = {}
    for name, hint, has_presence in _plan(typing.cast("Any", cls)):
        if has_presence and not message.HasField(name):
            continue
        item = getattr(message, name)
        if dataclasses.is_dataclass(hint):
            values[name] = from_message(typing.cast("Any", hint), item)
        elif typing.get_origin(hint) is tuple:
            part = typing.get_args(hint)[0]
            values[name] = tuple(_read_item(part, one) for one in item)
        elif typing.get_origin(hint) is Mapping:
            values[name] = dict(item)
        else:
            values[name] = item
    if values.get("namespace") == "" and cls.__name__.endswith(("Request", "Ref")) and cls.__name__ != "ListRequest":
        del values["namespace"]  # proto3 has no other way to leave it to us
    return cls(**values)


def _read_item(hint: Any, item: Any) -> Any:
    return from_message(typing.cast("type[Any]", hint), item) if dataclasses.is_dataclass(hint) else item


@functools.cache
def _plan(cls: Any) -> tuple[tuple[str, Any, bool], ...]:
    descriptor = message_of(cls).DESCRIPTOR
    hints = codec.hints_of(cls)
    names = [field.name for field in dataclasses.fields(typing.cast("Any", cls))]
    return tuple((name, hints[name], descriptor.fields_by_name[name].has_presence) for name in names)
