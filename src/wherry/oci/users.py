"""Users and groups, looked up in the container's own root filesystem.

Its passwd and group files are not trusted: a link does not lead out of the root, a FIFO or a device is not opened,
more than 10 MiB is not read (CVE-2026-47262), and a line that makes no sense is as good as absent.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wherry import errors
from wherry.linux import paths
from wherry.oci import text

#: The largest id: 2**32-1 is -1, "no change" to chown(2) and setresuid(2), and wraps to root where one does not look
#: (CVE-2024-40635).
MAX_ID = 2**32 - 2
_MAX_FILE_BYTES = 10 * 1024 * 1024
# NGROUPS_MAX (linux/limits.h).
_MAX_GROUPS = 65536


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """A line of passwd(5)."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A line of group(5)."""

    name: str
    gid: int
    members: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Whom a process runs as; `groups` are all its groups, the primary one first."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    def as_user(self) -> dict[str, Any]:
        """Return the OCI `process.user`: every part a number, the primary group among the others (CVE-2023-25173)."""
        return {"uid": self.uid, "gid": self.gid, "additionalGids": list(self.groups)}


def check(user: str) -> None:
    """Raise InvalidArgument unless `user` is "" or has the shape `NAME|UID[:NAME|GID]` with ids in range."""
    if user:
        _split(user)


def resolve(root: str, user: str) -> Account:
    """Return the account `user` (`NAME|UID[:NAME|GID]`, "" is 0) by the passwd and group files below `root`.

    Digits are always an id: a root filesystem in which somebody is called 1000 must not say who user 1000 is. An id
    needs no line in passwd; it then has group 0 and the home directory /. Raises InvalidArgument for a name that is not
    there and for files that cannot be read.
    """
    name, group_name = _split(user or "0")
    users = parse_passwd(_read(root, "etc/passwd"))
    groups = parse_group(_read(root, "etc/group"))
    uid = _number(name)
    line = next((item for item in users if (item.name == name if uid is None else item.uid == uid)), None)
    if line is None and uid is None:
        raise errors.InvalidArgument(
            f"cannot find user {text.shorten(name)}: it is not in /etc/passwd of the container"
        )
    found = line or User(name="", uid=uid or 0, gid=0, home="/")
    gid = found.gid if group_name is None else _find_group(groups, group_name)
    member_of = [item.gid for item in groups if found.name and found.name in item.members]
    ordered = tuple(dict.fromkeys([gid, *member_of]))[:_MAX_GROUPS]
    return Account(uid=found.uid, gid=gid, groups=ordered, home=found.home)


def parse_passwd(content: bytes) -> list[User]:
    """Return the well-formed lines of a passwd(5) file."""
    found = []
    for fields in _lines(content, 7):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is None or gid is None or not fields[0] or max(uid, gid) > MAX_ID:
            continue
        found.append(User(name=fields[0], uid=uid, gid=gid, home=_home(fields[5])))
    return found


def parse_group(content: bytes) -> list[Group]:
    """Return the well-formed lines of a group(5) file."""
    found = []
    for fields in _lines(content, 4):
        gid = _number(fields[2])
        if gid is None or not fields[0] or gid > MAX_ID:
            continue
        found.append(Group(name=fields[0], gid=gid, members=tuple(filter(None, fields[3].split(",")))))
    return found


def _lines(content: bytes, width: int) -> Iterator[list[str]]:
    # Split at line feeds alone: other line ends that Unicode knows are part of a name.
    for line in content.decode("utf-8", "replace").split("\n"):
        fields = line.split(":")
        if len(fields) == width:
            yield fields


def _home(home: str) -> str:
    """Return `home`, which becomes an environment variable, or / if it could be anything but a path."""
    try:
        return text.check_path("home directory", home)
    except errors.InvalidArgument:
        return "/"


def _number(value: str) -> int | None:
    # 20 digits are enough to be out of range; int() of a million of them takes a second.
    return int(value[:20]) if value.isascii() and value.isdecimal() else None


def _split(user: str) -> tuple[str, str | None]:
    text.check_line("user", user, limit=1024)
    name, colon, group = user.partition(":")
    for part in (name, group) if colon else (name,):
        number = _number(part)
        if not part or ":" in part or part.startswith("-"):
            raise errors.InvalidArgument(f"user {text.shorten(user)} is not valid: it must be NAME|UID[:NAME|GID]")
        if number is not None and number > MAX_ID:
            raise errors.InvalidArgument(f"user {text.shorten(user)} is not valid: ids are 0 to {MAX_ID}")
    return name, group if colon else None


def _find_group(groups: list[Group], name: str) -> int:
    number = _number(name)
    if number is not None:
        return number
    for group in groups:
        if group.name == name:
            return group.gid
    raise errors.InvalidArgument(f"cannot find group {text.shorten(name)}: it is not in /etc/group of the container")


def _read(root: str, path: str) -> bytes:
    try:
        return paths.read_in_root(root, path, _MAX_FILE_BYTES)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return b""
        raise errors.InvalidArgument(f"cannot read /{path} of the container: {error.strerror}") from error
