"""Users and groups of an untrusted root filesystem."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry import errors
from wherry.oci import users

PASSWD = """root:x:0:0:root:/root:/bin/sh
alice:x:1000:1000::/home/alice:/bin/sh
1001:x:0:0:a trap:/root:/bin/sh
newline:x:1002:1002::/home/a\x07b:/bin/sh
minus:x:-1:0::/:/bin/sh
huge:x:4294967296:0::/:/bin/sh
short:x:7:7
"""
GROUP = """root:x:0:
wheel:x:10:root,alice
alice:x:1000:
video:x:44:alice,bob
broken:x:xx:alice
huge:x:4294967296:alice
"""


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("user", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, (0, 10), "/root"),
        ("root", 0, 0, (0, 10), "/root"),
        ("alice", 1000, 1000, (1000, 10, 44), "/home/alice"),
        ("1000", 1000, 1000, (1000, 10, 44), "/home/alice"),
        ("alice:video", 1000, 44, (44, 10), "/home/alice"),
        ("alice:7", 1000, 7, (7, 10, 44), "/home/alice"),
        ("5:6", 5, 6, (6,), "/"),
        ("5", 5, 0, (0,), "/"),
        ("4294967294:4294967294", 4294967294, 4294967294, (4294967294,), "/"),
        ("newline", 1002, 1002, (1002,), "/"),
    ],
)
def test_resolve(root: str, user: str, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
    assert users.resolve(root, user) == users.Account(uid=uid, gid=gid, groups=groups, home=home)


def test_a_name_of_digits_does_not_say_who_that_number_is(root: str) -> None:
    assert users.resolve(root, "1001").uid == 1001


@pytest.mark.parametrize(
    "user",
    ["-1", "4294967295", "4294967296", "0:4294967295", "0:-1", ":", ":0", "root:", "a:b:c", "a\nb", "a\0b", "9" * 900],
)
def test_a_user_out_of_range_or_shape_is_refused(user: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="user"):
        users.check(user)


@pytest.mark.parametrize(("user", "named"), [("nobody", "'nobody'"), ("minus", "'minus'"), ("root:staff", "'staff'")])
def test_an_unknown_name_is_named(root: str, user: str, named: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=named):
        users.resolve(root, user)


def test_a_root_without_files_has_numbers_only(tmp_path: Path) -> None:
    assert users.resolve(str(tmp_path), "7:8") == users.Account(uid=7, gid=8, groups=(8,), home="/")
    with pytest.raises(errors.InvalidArgument, match="'root'"):
        users.resolve(str(tmp_path), "root")


def test_a_fifo_for_passwd_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/passwd")
    with pytest.raises(errors.InvalidArgument, match="cannot read /etc/passwd of the container: not a regular file"):
        users.resolve(str(tmp_path), "root")


def test_an_endless_passwd_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with open(tmp_path / "etc/passwd", "wb") as file:
        file.truncate(11 * 1024 * 1024)
    with pytest.raises(errors.InvalidArgument, match="larger than"):
        users.resolve(str(tmp_path), "root")


def test_a_link_to_the_hosts_passwd_is_not_followed_out(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mallory:x:66:66::/:/bin/sh\n")
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").symlink_to("../../outside")
    with pytest.raises(errors.InvalidArgument, match="'mallory'"):
        users.resolve(str(tmp_path / "root"), "mallory")


def test_the_primary_group_is_among_the_additional_ones() -> None:
    account = users.Account(uid=1, gid=2, groups=(2, 3), home="/")
    assert account.as_user() == {"uid": 1, "gid": 2, "additionalGids": [2, 3]}


_LINES = st.lists(st.lists(st.one_of(st.text(max_size=8), st.integers().map(str)), max_size=8).map(":".join)).map(
    lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
)


@settings(deadline=None)
@given(st.one_of(st.binary(), _LINES))
def test_any_file_parses_to_ids_in_range(content: bytes) -> None:
    for user in users.parse_passwd(content):
        assert 0 <= user.uid <= users.MAX_ID
        assert 0 <= user.gid <= users.MAX_ID
        assert user.home.startswith("/")
        assert user.home.isprintable() or not any(ord(letter) < 32 for letter in user.home)
    for group in users.parse_group(content):
        assert 0 <= group.gid <= users.MAX_ID
        assert "" not in group.members


@settings(deadline=None)
@given(st.from_regex(r"[a-z_][a-z0-9_-]{0,30}", fullmatch=True), st.integers(0, users.MAX_ID))
def test_a_well_formed_line_is_found(name: str, number: int) -> None:
    assert users.parse_passwd(f"{name}:x:{number}:{number}::/x:/bin/sh".encode()) == [
        users.User(name=name, uid=number, gid=number, home="/x")
    ]
    assert users.parse_group(f"{name}:x:{number}:a,b".encode()) == [
        users.Group(name=name, gid=number, members=("a", "b"))
    ]


@settings(deadline=None)
@given(st.text())
def test_any_user_is_taken_or_refused(user: str) -> None:
    try:
        users.check(user)
    except errors.InvalidArgument:
        return
    assert "\0" not in user
