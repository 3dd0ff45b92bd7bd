"""Between model values and protobuf messages: by field name, since both are written with the same names."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
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
    for name, unsaid in _writing(typing.cast("Any", type(value))):
        item = getattr(value, name)
        if item is unsaid or item is None:
            continue
        try:
            _fill_field(message, name, item)
        except (AttributeError, ValueError, TypeError, OverflowError) as error:
            if isinstance(error, ValueError | OverflowError):
                raise errors.InvalidArgument(
                    f"{name} of {type(value).__name__} does not fit the protocol: {error}"
                ) from error
            hint = codec.hints_of(typing.cast("Any", type(value)))[name]
            wanted = str(hint) if typing.get_origin(hint) else hint.__name__
            raise errors.InvalidArgument(
                f"{name} of {type(value).__name__} does not fit the protocol: {repr(item)[:100]}, not {wanted}"
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
    zeros, maps, parts, readers = _reading(typing.cast("Any", cls))
    values = dict(zeros)
    for name in maps:
        values[name] = {}  # nobody else's
    for field, item in message.ListFields():  # a fraction of all: most of what could be said is not
        name = field.name
        if name in readers:
            values[name] = readers[name](item)
    for name in parts:
        if name not in values:  # an unset message is an empty one
            values[name] = readers[name](getattr(message, name))
    is_list = cls.__name__.startswith("List")  # for which "" is every namespace
    if values.get("namespace") == "" and cls.__name__.endswith(("Request", "Ref")) and not is_list:
        del values["namespace"]  # proto3 has no other way to leave it to us
    return cls(**values)


@functools.cache
def _writing(cls: Any) -> tuple[tuple[str, Any], ...]:
    """Return each field of `cls`, and the value that need not be said: the default, if a reader takes that anyway."""
    fields: Mapping[str, Any] = message_of(cls).DESCRIPTOR.fields_by_name
    found = []
    for field in dataclasses.fields(cls):
        default = field.default
        is_known = fields[field.name].has_presence or not default
        found.append((field.name, default if is_known else dataclasses.MISSING))
    return tuple(found)


@functools.cache
def _reading(cls: Any) -> tuple[dict[str, Any], list[str], list[str], dict[str, Callable[[Any], Any]]]:
    """Return what the fields of `cls` are that a message cannot leave unset, its maps, and how to read what is set.

    Behind the maps come the messages that the model cannot do without.
    """
    fields: Mapping[str, Any] = message_of(cls).DESCRIPTOR.fields_by_name
    hints = codec.hints_of(cls)
    zeros: dict[str, Any] = {}
    maps = []
    parts = []
    readers: dict[str, Callable[[Any], Any]] = {}
    for field in dataclasses.fields(cls):
        name, hint = field.name, typing.cast("Any", hints[field.name])
        origin = typing.get_origin(hint)
        if origin is tuple:
            part: Any = typing.get_args(hint)[0]
            zeros[name] = ()
            readers[name] = functools.partial(_read_items, part) if dataclasses.is_dataclass(part) else tuple
        elif origin is Mapping:
            maps.append(name)
            readers[name] = dict
        elif dataclasses.is_dataclass(hint):
            readers[name] = functools.partial(from_message, typing.cast("Any", hint))
            if field.default is dataclasses.MISSING:
                parts.append(name)
        else:
            readers[name] = _same
            if not fields[name].has_presence:
                zeros[name] = fields[name].default_value
    return zeros, maps, parts, readers


def _read_items(part: Any, items: typing.Iterable[Any]) -> tuple[Any, ...]:
    return tuple([from_message(part, item) for item in items])


def _same(item: Any) -> Any:
    return item
