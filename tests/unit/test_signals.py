"""Signals by name and number."""

from __future__ import annotations

import contextlib
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wherry import errors
from wherry.model import signals


@pytest.mark.parametrize("number", sorted(signal.Signals))
def test_every_signal_is_known_by_number_name_and_short_name(number: signal.Signals) -> None:
    assert signals.parse(str(int(number))) == number
    assert signals.parse(number.name) == number
    assert signals.parse(number.name.removeprefix("SIG").lower()) == number
    assert signals.parse(signals.format_name(number)) == number


def test_realtime_signals_have_offsets_and_an_end() -> None:
    assert signals.parse("RTMIN+3") == signal.SIGRTMIN + 3
    assert signals.parse(f"rtmin+{signal.SIGRTMAX - signal.SIGRTMIN}") == signal.SIGRTMAX
    assert signals.format_name(signal.SIGRTMIN + 3) == str(signal.SIGRTMIN + 3)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "0",
        "65",
        "-1",
        "9999999999999999999999",
        "FOO",
        "SIG",
        "TERM+1",
        "RTMIN+99",
        "RTMIN+",
        "RTMIN+-1",
        "1.5",
        "\u0661\u0665",
        "RTMIN+\u00b2",
    ],
)
def test_what_is_no_signal_is_refused(bad: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="is not valid"):
        signals.parse(bad)


@pytest.mark.parametrize("bad", ["1" * 5000, "RTMIN+" + "1" * 5000], ids=["number", "offset"])
def test_a_number_of_absurd_length_is_refused(bad: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="is not valid"):
        signals.parse(bad)


@given(some.text(max_size=20) | some.from_regex(r"(SIG)?(RTMIN|TERM)\+\d{0,30}"))
def test_garbage_is_invalid_argument_only(text: str) -> None:
    with contextlib.suppress(errors.InvalidArgument):
        assert 1 <= signals.parse(text) <= signal.SIGRTMAX
