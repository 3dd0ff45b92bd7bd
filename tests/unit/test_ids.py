"""Ids never reach a path with anything in them that a path could trip over."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wherry import errors
from wherry.model import ids


@pytest.mark.parametrize(
    "bad",
    ["", ".", "..", "a/b", "/a", "../a", "a\n", "a\0b", "-a", "_a", " a", "a b", "ä", "x" * 129, "x" * 200, "a\u0661"],
)
def test_a_bad_id_is_refused_shortly_and_by_kind(bad: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="container id") as raised:
        ids.check("container id", bad)
    assert len(raised.value.message) < 400
    assert "\n" not in raised.value.message


def test_a_megabyte_as_an_id_makes_no_megabyte_of_words() -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        ids.check("container id", "/" * 2**20)
    assert len(raised.value.message) < 400


@pytest.mark.parametrize("good", ["a", "0", "A-b_c.d", "x" * 128, "quarantine"])
def test_a_good_id_is_returned(good: str) -> None:
    assert ids.check("container id", good) == good


@given(some.text(max_size=140))
def test_whatever_passes_is_one_plain_path_component(text: str) -> None:
    with contextlib.suppress(errors.InvalidArgument):
        ids.check("id", text)
        assert "/" not in text
        assert text not in ("", ".", "..")
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= 128


@pytest.mark.parametrize("name", sorted(ids.RESERVED_NAMESPACES))
def test_a_namespace_never_shadows_a_file_of_the_state_directory(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="reserved"):
        ids.check_namespace(name)


def test_made_ids_are_valid_and_differ() -> None:
    made = {ids.make() for _ in range(200)}
    assert len(made) == 200
    assert all(ids.check("id", item) == item for item in made)
