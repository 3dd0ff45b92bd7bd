"""Model values as plain JSON data and back, by the fields of their classes."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

#: Fields of 32 bits on the wire, whatever class they are of; all other whole numbers have 64.
SMALL = frozenset(
    {"containers", "exit_status", "failures", "height", "log_max_files", "major", "max_retries", "minor", "parent"}
    | {"pid", "pre_copy", "restarts", "retries", "running", "signal", "status", "threads", "width", "zygote_pid"}
)


def to_plain(value: Any) -> Any:
    """Return a model value as dicts, lists and scalars that `json` writes; fields at their default are left out."""
    if isinstance(value, str | int | float | None):
        return value
    if dataclasses.is_dataclass(value):
        plain = {}
        for name, default in _defaults(typing.cast("Any", type(value))):
            item = getattr(value, name)
            if item is not default and item != default:
                plain[name] = to_plain(item)
        return plain
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    return value


def from_plain(cls: type[T], data: Any, where: str = "") -> T:
    """Return the `cls` that `to_plain` gave. Raises ValueError naming the field for anything of another shape.

    Unknown keys are passed over: a newer version may have written them.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{where or cls.__name__}: an object was expected")
    hints = hints_of(typing.cast("Any", cls))
    values = {}
    for field in dataclasses.fields(typing.cast("Any", cls)):
        if field.name in data:
            values[field.name] = _read(hints[field.name], data[field.name], f"{where}{field.name}")
        elif _default(field) is dataclasses.MISSING:
            raise ValueError(f"{where}{field.name}: missing")
    return cls(**values)


@functools.cache
def hints_of(cls: Any) -> dict[str, Any]:
    """Return the resolved types of the fields of `cls`, without `| None`."""
    return {name: strip_none(hint) for name, hint in typing.get_type_hints(cls).items()}


def strip_none(hint: Any) -> Any:
    """Return the type X of a hint `X | None`, and any other hint as it is."""
    if isinstance(hint, types.UnionType):
        return next(item for item in typing.get_args(hint) if item is not type(None))
    return hint


@functools.cache
def _defaults(cls: Any) -> tuple[tuple[str, Any], ...]:
    """Return name and default of each field of `cls`; asked for with every write of a record."""
    return tuple((field.name, _default(field)) for field in dataclasses.fields(cls))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _read(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast("Any", hint), value, f"{where}.")
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where}: a list was expected")
        item_hint = typing.get_args(hint)[0]
        return tuple(_read(item_hint, item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise ValueError(f"{where}: an object of strings was expected")
        _check(str, "".join((*value, *value.values())), where)
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{where}: a number was expected that a float holds") from None
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ValueError(f"{where}: {hint.__name__} was expected")
    _check(hint, value, where)
    return value


def _check(hint: Any, value: Any, where: str) -> None:
    """Raise ValueError for what could not be sent on: one such value would keep clients from a whole list."""
    if hint is int:
        bits = 32 if where.rpartition(".")[2] in SMALL else 64
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise ValueError(f"{where}: a number was expected that {bits} bits hold")
    elif hint is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{where}: it is not Unicode text") from None
