"""Bytes taken apart into numbers, words and values of nearly the right shape: a structure for the fuzzer to find."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from wherry.model import codec

T = TypeVar("T")

NUMBERS = (0, 1, -1, 2, 64, 65535, 65536, 2**22, 2**31 - 1, 2**31, -(2**31) - 1, 2**53, 2**62, 2**63, -(2**63), 10**400)
FLOATS = (0.0, -0.0, 1.5, 1e-9, -1.0, 1e9, 1e308, float("inf"), float("-inf"), float("nan"))
WORDS = (
    *(
        "",
        "a",
        "init",
        "default",
        "host",
        "none",
        "running",
        "bind",
        "/",
        "/tmp/x",
        "../..",
        ".",
        "..",
        "a/b",
        "-x",
        "~",
    ),
    *(
        "a=b",
        "=",
        "\0",
        "\n",
        "\x1f",
        "\x7f",
        "\u2028",
        "\ud800",
        "\udcff",
        "ä",
        "x" * 300,
        "9" * 5000,
        "1e999",
        "[" * 2000,
    ),
)
_DEPTH = 4


class Pieces:
    """Takes from the front of some bytes; when they are used up it takes zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def is_empty(self) -> bool:
        """Whether all bytes are taken."""
        return self._position >= len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes, or fewer at the end."""
        found = self._data[self._position : self._position + count]
        self._position += count
        return found

    def rest(self) -> bytes:
        """Return everything that is left."""
        return self.take(len(self._data))

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1."""
        return int.from_bytes(self.take(1 if limit <= 256 else 4)) % limit

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of `choices`."""
        return choices[self.below(len(choices))]

    def number(self) -> int:
        """Return a number, now and then one at an edge."""
        return self.pick(NUMBERS) if self.below(2) else int.from_bytes(self.take(4), signed=True)

    def text(self) -> str:
        """Return some text: a word that has been trouble, or bytes as they come."""
        if self.below(2):
            return self.pick(WORDS)
        return self.take(self.below(24)).decode("utf-8", "replace")

    def any(self, depth: int = _DEPTH) -> Any:
        """Return some value that JSON can hold."""
        kind = self.below(8)
        if kind == 0:
            return self.number()
        if kind == 1:
            return self.text()
        if kind == 2:
            return self.pick(FLOATS)
        if kind in (3, 4) and depth > 0:
            return [self.any(depth - 1) for _ in range(self.below(4))]
        if kind in (5, 6) and depth > 0:
            return {self.text(): self.any(depth - 1) for _ in range(self.below(4))}
        return self.pick((None, True, False))

    def shaped(self, hint: Any, depth: int = 2 * _DEPTH) -> Any:
        """Return plain data of the type `hint`, mostly: any field may be left out, or be something else."""
        if self.below(32) == 31:
            return self.any(1)
        if dataclasses.is_dataclass(hint):
            return self._object(typing.cast("Any", hint), depth)
        origin = typing.get_origin(hint)
        if origin is tuple:
            count = self.below(4) if depth > 0 else 0
            return [self.shaped(typing.get_args(hint)[0], depth - 1) for _ in range(count)]
        if origin is Mapping:
            return {self.text(): self.text() for _ in range(self.below(4))}
        if hint is bool:
            return bool(self.below(2))
        if hint is int:
            return self.number()
        if hint is float:
            return self.pick(FLOATS) if self.below(2) else float(self.number() % 10**6) / 1000
        return self.text()

    def _object(self, cls: Any, depth: int) -> dict[str, Any]:
        found = {}
        for name, hint in codec.hints_of(cls).items():
            is_needed = all(f.name != name or f.default is dataclasses.MISSING for f in dataclasses.fields(cls))
            if depth > 0 and (self.below(8) < 3 or (is_needed and self.below(32) != 31)):
                found[name] = self.shaped(hint, depth - 1)
        return found


def shape(data: bytes, cls: Any, base: Mapping[str, Any] | None = None) -> bytes:
    """Return `data` if it looks like JSON, else the JSON of a value of nearly the shape of `cls` made from it.

    `base` has fields that are there unless the value has them.
    """
    if data[:1] in (b"{", b"["):
        return data
    found = Pieces(data).shaped(cls)
    if isinstance(found, dict):
        found = {**(base or {}), **found}
    return write(found)


def write(value: Any) -> bytes:
    """Return plain data as JSON, whatever is in it."""
    return json.dumps(value).encode()


def as_text(value: Any) -> str:
    """Return a model value as text to compare it by: no NaN is equal to itself, and a message's map has no order."""
    return json.dumps(codec.to_plain(value), sort_keys=True, default=repr)
