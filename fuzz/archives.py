"""Archives of checkpoints, from anybody: their bytes, their members, what they say of themselves."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fuzz.pieces import Pieces, as_text, shape
from fuzz.target import empty, make_directory, target
from wherry import errors
from wherry.model import checkpoint as cp
from wherry.model import codec
from wherry.model import request as req
from wherry.runtime import archive
from wherry.runtime import checkpoint as disk
from wherry.supervisor import grants
from wherry.wire import convert

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_INFO = cp.CheckpointInfo(
    id="job",
    namespace="elsewhere",
    name="noon",
    generation=7,
    created_at_ns=5,
    request=req.CreateRequest(id="job", args=("true",), labels={"a": "b"}),
    runtime="/odd/place/runc",
)
_TELL: dict[str, Any] = {"format": 1, "version": 1, "outside": {}, **codec.to_plain(_INFO)}
#: More than this is written nowhere, whatever an archive says.
_MAX_BYTES = 1 << 20


def _pack(*members: tuple[tarfile.TarInfo, bytes], level: int = 1) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, bufsize=512) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return zstd.compress(file.getvalue(), level)


def _member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.size = kind, size
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def _first() -> tuple[tarfile.TarInfo, bytes]:
    data = json.dumps(_TELL).encode()
    return _member(archive.FACTS, size=len(data)), data


def _archives() -> Mapping[str, bytes]:
    image = (_member("image/pages-1.img", size=3), b"abc")
    upper = (_member("layer/upper", tarfile.DIRTYPE), b"")
    link = (_member("layer/upper/l", tarfile.SYMTYPE, linkname="/etc"), b"")
    end = (_member(archive.END), b"")
    whole = _pack(_first(), image, upper, link, end)
    headers = _pack(_first(), *[(_member("x", tarfile.XHDTYPE, size=11), b"11 path=ab\n")] * 1000)
    return {
        "whole": whole,
        "torn": whole[:-9],
        "headers": headers,
        "digits": _pack(_first(), (_member("x", tarfile.XHDTYPE, size=4096), b"1" * 4096), image, end),
        "records": _pack(_first(), (_member("x", tarfile.XHDTYPE, size=4096), b"2 " * 2047 + b"2="), image, end),
        "endless": _pack(_first(), image),
        "plain": b"\x28\xb5\x2f\xfd",
    }


def _read(data: bytes) -> None:
    directory = empty(_unpacked)
    try:
        archive.read(io.BytesIO(data), lambda _: directory, max_bytes=_MAX_BYTES)
    except (errors.DataLoss, errors.InvalidArgument, errors.ResourceExhausted):
        pass
    except OSError:
        pass  # of the file system, which has limits of its own; the caller makes one of ours of it
    for parent, _, names in os.walk(directory):
        assert Path(parent).is_relative_to(directory)
        for name in names:
            path = Path(parent, name)
            assert path.is_symlink() or not path.is_block_device(), "no device"
    assert disk.count_bytes(directory) <= 2 * _MAX_BYTES


_unpacked = make_directory()


@target("archive", _archives)
def run_archive(data: bytes) -> None:
    """Read an archive of these bytes, packed or as they are in the frame: nothing but a few errors may come of it."""
    _read(zstd.compress(data[1:], 1) if data[:1] == b"\x00" else data)


_NAMES = ("image/a", "pre-0/a", "layer", "layer/upper", "layer/upper/d", "layer/upper/d/f", "layer/here-upper", "end")
_TYPES = (
    *(tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE),
    *(tarfile.BLKTYPE, tarfile.CONTTYPE, b"S", b"L", b"K", b"x", b"g", b"X", b"\0", b"7", b"?"),
)
_KEYS = (
    *(
        "path",
        "linkpath",
        "size",
        "uid",
        "mtime",
        "hdrcharset",
        "GNU.sparse.map",
        "GNU.sparse.size",
        "GNU.sparse.major",
    ),
    *("GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize", "WHERRY.kind", "SCHILY.xattr.user.a"),
    *("SCHILY.xattr.trusted.overlay.opaque", "SCHILY.xattr.security.capability", "comment"),
)
_VALUES = (
    "0",
    "1",
    "-1",
    "y",
    "socket",
    "nan",
    "inf",
    "1e400",
    "layer/upper/x",
    "../x",
    "0,1,2",
    "BINARY",
    "9" * 40,
    "\xff",
)


def _take_member(pieces: Pieces) -> bytes:
    name = pieces.pick(_NAMES) if pieces.below(4) else pieces.text().replace("\ud800", "")
    made = _member(name[:2000], pieces.pick(_TYPES) if pieces.below(2) else pieces.pick(_TYPES[:3]))
    data = pieces.take(pieces.below(16))
    made.size = len(data) if pieces.below(4) else pieces.below(1 << 31)
    made.linkname = pieces.pick(_NAMES)
    made.mode, made.uid = pieces.below(1 << 16), pieces.pick((0, 1, 2**21, 2**32 - 1))
    made.mtime = pieces.pick((0, 1, 2**33 - 1, 1.5))
    made.devmajor, made.devminor = pieces.below(2), pieces.below(2)
    made.pax_headers = {pieces.pick(_KEYS): pieces.pick(_VALUES) for _ in range(pieces.below(3))}
    header = made.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    padded = data + bytes(-len(data) % 512)
    # The same many times over: what calls itself for each of them would not come back.
    return (header + padded) * (pieces.pick((2, 400)) if pieces.below(16) == 15 else 1)


def _layouts() -> Mapping[str, bytes]:
    # A run of bytes makes a member; what they mean is in `_take_member`.
    return {"zeros": bytes(120), "count": bytes(range(250)), "headers": bytes([1, 3] * 60), "links": bytes([1, 2] * 60)}


@target("archive-members", _layouts)
def run_archive_members(data: bytes) -> None:
    """Read an archive whose facts are good and whose members are made from these bytes."""
    pieces, file = Pieces(data), io.BytesIO()
    facts, content = _first()
    file.write(facts.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % 512))
    while not pieces.is_empty and file.tell() < _MAX_BYTES:
        file.write(_take_member(pieces))
    if data[:1] != b"\x02":
        file.write(_member(archive.END).tobuf() + bytes(1024))
    _read(zstd.compress(file.getvalue(), 1))


def _told() -> Mapping[str, bytes]:
    moved = {**_TELL, "outside": {"streams": ["file[1:2]"], "network": True}}
    return {"plain": json.dumps(_TELL).encode(), "streams": json.dumps(moved).encode(), "shaped": bytes(range(256))}


@target("facts", _told)
def run_facts(data: bytes) -> None:
    """Adopt a checkpoint of these facts: what is taken can be written down, read back and shown."""
    told = shape(data, cp.CheckpointInfo, {**_TELL, "outside": {}})
    try:
        facts = json.loads(told)
    except (ValueError, RecursionError):
        return
    for wanted in (cp.ImportRequest(), cp.ImportRequest(id="n", name="m", grants=("all", "path=/a:/b"))):
        try:
            info, outside = grants.adopt(facts if isinstance(facts, dict) else {}, wanted)
        except (errors.InvalidArgument, errors.PermissionDenied):
            continue
        convert.to_message(info)
        disk.save(empty(_saved), info, outside)
        again, same = disk.load(_saved)
        assert as_text(again) == as_text(info)
        assert same == outside


_saved = make_directory()
