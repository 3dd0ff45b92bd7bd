"""Hypothesis strategies for every model value that is written to disk or sent."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as some

from wherry.model import codec
from wherry.model import request as req
from wherry.model import status as st

CLASSES: list[Any] = [
    cls
    for module in (req, st)
    for name, cls in sorted(vars(module).items())
    if dataclasses.is_dataclass(cls) and isinstance(cls, type) and cls.__module__ == module.__name__
]
#: Fields that are 64 bits wide on the wire; the other integers have 32.
_WIDE = (
    "_bytes", "_ns", "_us", "soft", "hard", "pids", "generation", "seq", "offset", "tail", "after", "count", "uid",
    "cpu_shares", "blkio_weight",
)  # fmt: skip
# Surrogates have no UTF-8; protobuf refuses them and a test of its own says so.
_text = some.text(some.characters(exclude_categories=["Cs"]), max_size=12)


def _integer(name: str) -> some.SearchStrategy[int]:
    bits = 63 if name.endswith(_WIDE) else 31
    return some.integers(-(2**bits), 2**bits - 1)


def _of_hint(name: str, hint: Any) -> some.SearchStrategy[Any]:
    if dataclasses.is_dataclass(hint):
        return of(typing.cast("type[Any]", hint))
    if typing.get_origin(hint) is tuple:
        return some.lists(_of_hint(name, typing.get_args(hint)[0]), max_size=2).map(tuple)
    if typing.get_origin(hint) is Mapping:
        return some.dictionaries(_text, _text, max_size=2)
    plain: dict[Any, some.SearchStrategy[Any]] = {
        str: _text,
        int: _integer(name),
        bool: some.booleans(),
        float: some.floats(allow_nan=False),
        bytes: some.binary(max_size=30),
    }
    return plain[hint]


def of(cls: Any) -> some.SearchStrategy[Any]:
    """Return a strategy for values of `cls`."""
    resolved = typing.get_type_hints(cls)
    fields = {}
    for name, hint in codec.hints_of(cls).items():
        fields[name] = _of_hint(name, hint)
        if resolved[name] != hint:
            fields[name] = some.none() | fields[name]
    return some.builds(cls, **fields)
