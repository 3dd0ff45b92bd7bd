"""What is made of /proc, and which process descends from which."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wherry.linux import proc
from wherry.supervisor.processes import find_owner

STAT = b"7 (%s) S 1 7 7 0 -1 4194560 9 0 0 0 %d %d 0 0 20 0 3 0 1000 4096 %d 184 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0"


@pytest.mark.parametrize("name", [b"sleep", b"a) R 2 (b", b") ", b"\xff\x1b["])
def test_a_name_may_hold_anything(name: bytes) -> None:
    found = proc.parse_process(7, STAT % (name, 100, 50, 25), b"Name:\tx\nUid:\t1\t2\t3\t4\n", b"", 4096)
    assert (found.state, found.parent, found.threads, found.uid) == ("S", 1, 3, 2)
    assert found.cpu_us == 150 * 1_000_000 // os.sysconf("SC_CLK_TCK")
    assert found.rss_bytes == 25 * os.sysconf("SC_PAGESIZE")
    assert found.command == (f"[{name.decode(errors='replace')}]",)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (b"sh\0-c\0true\0", ("sh", "-c", "true")),
        (b"title\0\0\0\0", ("title",)),
        (b"sh\0\0x\0", ("sh", "", "x")),
        (b"\xff\0", ("\N{REPLACEMENT CHARACTER}",)),
        (b"0123456789abcdef", ("0123456789…",)),
    ],
)
def test_arguments_are_split_and_bounded(command: bytes, expected: tuple[str, ...]) -> None:
    limit = 10 if len(command) > 14 else 4096
    assert proc.parse_process(7, STAT % (b"x", 0, 0, 0), b"", command, limit).command == expected


@given(some.binary(max_size=200))
def test_any_arguments_can_be_sent(command: bytes) -> None:
    found = proc.parse_process(7, STAT % (b"x", 0, 0, 0), b"", command, 100).command
    assert found
    assert all(arg.encode() is not None and "\0" not in arg for arg in found)


def test_a_process_of_another_cgroup_is_a_stranger() -> None:
    assert proc.read_process(os.getpid(), "/no/such/cgroup", 100) is None


def test_a_process_that_has_ended_is_none() -> None:
    assert proc.read_process(2**22 - 1, "", 100) is None


def test_descent_is_found_by_walking_the_parents() -> None:
    parents = {10: 1, 11: 10, 12: 11, 20: 2, 21: 20, 30: 3}
    known = {10: "init", 20: "e"}
    owners = {pid: find_owner(pid, parents, known) for pid in (10, 12, 21, 30, 99)}
    assert owners == {10: "init", 12: "init", 21: "e", 30: "", 99: ""}


def test_a_ring_of_parents_ends() -> None:
    assert find_owner(1, {1: 2, 2: 1}, {}) == ""
