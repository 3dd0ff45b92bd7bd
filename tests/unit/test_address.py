"""Addresses on TCP, as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wherry import errors
from wherry.model import address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp://127.0.0.1:1", ("127.0.0.1", 1)),
        ("tcp://[::1]:65535", ("[::1]", 65535)),
        ("tcp://[fe80::1%eth0]:7443", ("[fe80::1%eth0]", 7443)),
        ("tcp://build-1.example.org:7443", ("build-1.example.org", 7443)),
    ],
)
def test_an_address_is_read_and_written(text: str, expected: tuple[str, int]) -> None:
    assert address.parse_tcp(text) == expected
    assert address.format_tcp(*expected) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "tcp://",
            "tcp://:1",
            "tcp://h",
            "tcp://h:",
            "tcp://h:0",
            "tcp://h:65536",
            "tcp://h:1x",
            "tcp://h:\u0661",
        ),
        *("tcp://::1:1", "tcp://[::1]", "tcp://h/x:1", "tcp://h:1/", "tcp://a b:1", "tcp://-h:1", "h:1", "unix://h:1"),
        *("tcp://" + "h" * 300 + ":1", "tcp://h:1,tcp://i:1", "tcp://u@h:1", "tcp://h:000001"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="tcp://HOST:PORT is expected"):
        address.parse_tcp(text)


@given(some.text(max_size=30))
def test_garbage_is_a_named_error_or_comes_back_as_it_was(text: str) -> None:
    try:
        host, port = address.parse_tcp(f"tcp://{text}")
    except errors.InvalidArgument:
        return
    assert address.parse_tcp(address.format_tcp(host, port)) == (host, port)
