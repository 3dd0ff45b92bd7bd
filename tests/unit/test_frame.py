"""Requests to the zygote: what goes in comes out, and garbage is a ValueError and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wherry.model import frame

# Keys are ours: plain words. Values are anything a path or an argument may be, undecodable bytes included.
_keys = some.from_regex(r"[a-z_]{1,12}", fullmatch=True)
_values = some.binary(max_size=60).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))


@given(some.dictionaries(_keys, some.lists(_values, min_size=1, max_size=4), max_size=6))
def test_a_request_survives_the_socket(fields: dict[str, list[str]]) -> None:
    assert frame.parse_frame(frame.format_frame(fields)) == fields


@given(some.binary(max_size=300))
def test_garbage_is_a_value_error_only(packet: bytes) -> None:
    for candidate in (packet, bytes([frame.VERSION]) + packet, bytes([frame.VERSION]) + packet + b"\0"):
        with contextlib.suppress(ValueError):
            fields = frame.parse_frame(candidate)
            assert all(isinstance(value, str) for values in fields.values() for value in values)


@given(some.dictionaries(_keys, some.lists(_values, min_size=1, max_size=3), min_size=1, max_size=3), some.data())
def test_a_cut_request_is_refused_or_loses_whole_fields_only(
    fields: dict[str, list[str]], data: some.DataObject
) -> None:
    packet = frame.format_frame(fields)
    cut = packet[: data.draw(some.integers(0, len(packet) - 1))]
    try:
        found = frame.parse_frame(cut)
    except ValueError:
        return
    assert all(values == fields[key][: len(values)] for key, values in found.items())


def test_a_nul_never_reaches_the_wire() -> None:
    with pytest.raises(ValueError, match="a NUL in argv"):
        frame.format_frame({"argv": ["sh\0-c"]})


def test_a_request_above_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    room = frame.MAX_BYTES - len(frame.format_frame({"a": [""]}))
    assert len(frame.format_frame({"a": ["x" * room]})) == frame.MAX_BYTES
    with pytest.raises(ValueError, match=f"at most {frame.MAX_BYTES}"):
        frame.format_frame({"a": ["x" * (room + 1)]})


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (b"", "version missing"),
        (b"\x02a=b\0", "version 02, 1 expected"),
        (b"\x01a=b", "cut off"),
        (b"\x01ab\0", "'ab' has no value"),
        (b"\x01\0", "'' has no value"),
    ],
)
def test_a_malformed_request_is_named(packet: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        frame.parse_frame(packet)
