"""A tar stream from anybody, read member by member: the form is POSIX's (pax(1)), the limits are ours.

`tarfile` makes the header blocks of it out here, but does not read the stream: for what extended headers say it takes
time and memory by the square of their size (CVE-2024-6232 and its like), before whoever asked has seen any of it.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from typing import Protocol

from wherry import errors

#: Bytes of a block, and of one extended header.
BLOCK = 512
MAX_HEADER = 1 << 20
#: Digits of the length of an extended header's record, its own and the space included: that of MAX_HEADER has seven.
_LENGTH = re.compile(rb"([1-9][0-9]{0,6}) ")
_NUMBER = re.compile(r"[0-9]{1,20}")
#: What kind of thing a member may be, in the letters of ustar; ours must come with no other.
_TYPES = frozenset(
    {tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE}
)
#: GNU tar's name for extended attributes in extended headers; ours for what tar has no type for.
XATTR = "SCHILY.xattr."
KIND = "WHERRY.kind"
#: What `tarfile` writes when a name is not UTF-8; here every name may be so.
_BINARY = b"21 hdrcharset=BINARY\n"


def refused(why: str) -> errors.InvalidArgument:
    """Return what an archive that is not taken raises."""
    return errors.InvalidArgument(f"the archive is not taken: {why}")


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Reader:
    """The members of a stream, one after the other. Nothing is kept of those before."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        #: Bytes of the current member that are still to be read, and of what fills its last block.
        self._left = 0
        self._fill = 0

    def next(self) -> tarfile.TarInfo | None:
        """Return the next member, None behind the last one.

        Raises InvalidArgument for one that no archive may hold, ValueError or tarfile.TarError for what is none.
        """
        self._skip()
        block = self._read(BLOCK)
        if not block.strip(b"\0"):
            return None
        member = _parse_block(block)
        if member.type == tarfile.XHDTYPE:
            if not 0 <= member.size <= MAX_HEADER:
                raise refused(f"an extended header of {member.size} bytes")
            records = parse_records(self._read(_fill_up(member.size))[: member.size])
            member = _parse_block(self._read(BLOCK))
            _apply(member, records)
        if member.type not in _TYPES:
            raise refused(f"{member.name[:100]!r} is of type {member.type!r}")
        if member.size < 0 or (member.size and not member.isreg()):
            raise refused(f"{member.name[:100]!r} of {member.size} bytes")
        self._left, self._fill = member.size, _fill_up(member.size) - member.size
        return member

    def read(self, size: int) -> bytes:
        """Return the next bytes of the current member, at most `size`; none behind its last."""
        data = self._read(min(size, self._left))
        self._left -= len(data)
        return data

    def _skip(self) -> None:
        while self._left:
            self.read(1 << 20)
        if self._read(self._fill).strip(b"\0"):
            raise ValueError("what fills a block is not empty")
        self._fill = 0

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise EOFError("it ended before its end")
        return data


def _fill_up(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _parse_block(block: bytes) -> tarfile.TarInfo:
    return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")


def parse_records(data: bytes) -> dict[str, str]:
    """Return the records of an extended header (pax(1), "LENGTH KEY=VALUE\\n"), each in time by its own length.

    Raises ValueError for what is none, InvalidArgument for one that means nothing here.
    """
    records: dict[str, str] = {}
    at = 0
    while at < len(data):
        length = _LENGTH.match(data, at)
        end = at + int(length[1]) if length else 0
        if not length or not length.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise ValueError("an extended header of no records")
        name, equals, value = data[length.end() : end - 1].partition(b"=")
        key = name.decode("utf-8", "surrogateescape")
        if not equals or key in records:
            raise ValueError(f"the extended header {key[:100]!r} twice, or without a value")
        if key not in _FIELDS and not key.startswith(XATTR) and key != KIND and data[at:end] != _BINARY:
            raise refused(f"an extended header {key[:100]!r}")
        records[key] = value.decode("utf-8", "surrogateescape")
        at = end
    return records


def _parse_number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is no number")
    return int(text)


#: The field of a member that a record says in place of the block behind it, which has no room for all of them.
_FIELDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "path": ("name", str),
    "linkpath": ("linkname", str),
    "size": ("size", _parse_number),
    "uid": ("uid", _parse_number),
    "gid": ("gid", _parse_number),
    "mtime": ("mtime", float),
}


def _apply(member: tarfile.TarInfo, records: dict[str, str]) -> None:
    for key, value in records.items():
        if key in _FIELDS:
            field, parse = _FIELDS[key]
            setattr(member, field, parse(value))
    if member.isdir():
        member.name = member.name.rstrip("/")  # as `frombuf` does with that of a block
    member.pax_headers = records
