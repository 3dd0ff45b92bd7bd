"""Removal of trees that containers have made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wherry.runtime.removal import remove_tree

#: Deeper than Python recurses, and than a process has descriptors by default.
DEPTH = 3000


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    try:
        for _ in range(DEPTH):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("file", os.O_CREAT, dir_fd=here))
    finally:
        os.close(here)
    remove_tree(top)
    assert os.listdir(tmp_path) == []


def test_nothing_outside_is_followed_or_touched(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "link").symlink_to(outside)
    (top / "a" / "link").symlink_to(outside)
    os.mkfifo(top / "a" / "fifo")
    remove_tree(top)
    assert sorted(os.listdir(tmp_path)) == ["outside"]
    assert os.listdir(outside) == ["kept"]


def test_names_that_the_removal_itself_would_use_are_no_obstacle(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / ".1" / "x").mkdir(parents=True)
    (top / ".0").touch()
    for number in range(5):
        (top / f"d{number}" / "e" / "f").mkdir(parents=True)
    remove_tree(top)
    assert not top.exists()


def test_what_is_not_there_is_fine_and_a_link_is_not(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="link"):
        remove_tree(tmp_path / "link")
