"""A checkpoint as one file: a zstd frame with a checksum, around a POSIX tar with extended headers (pax(1)).

    wherry-checkpoint.json        first: what is known of it, at most MAX_FACTS bytes
    pre-0/NAME ... image/NAME     criu's image of the processes, and the rounds before it
    layer/upper/... layer/here-upper/...   the content of its writable layers
    end                           last, empty: without it something is missing

Whoever reads one trusts nothing in it. Members come in this order and no others come; each is new, and its directory
is one that was made before it; sizes are bounded before a byte is written. Below `layer/` there may be what a program
in a container can leave there: links (written, never followed), FIFOs, sockets, and the overlay's own mark for what
is removed, a character device 0:0; no other device.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from wherry import errors
from wherry.runtime import checkpoint as disk
from wherry.runtime.tar import KIND, XATTR, Reader, refused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMAT = 1
FACTS = "wherry-checkpoint.json"
END = "end"
#: Bytes of the facts; members in all, and bytes of their names, which are all in memory; bytes of a path and of a name
#: (PATH_MAX and NAME_MAX, linux/limits.h); bytes that a member takes at least, with its inode; bytes behind the end.
MAX_FACTS = 1 << 20
MAX_MEMBERS = 1_000_000
MAX_NAMES = 64 << 20
MAX_PATH = 4096
MAX_NAME = 255
_LEAST = 4096
_MAX_REST = 1 << 20
#: Share of the free space that an archive may fill.
SHARE = 0.9
_PIECE = 1 << 20
_LAYERS = frozenset({"upper", "here-upper"})
#: criu's and runc's files (criu's images, runc's descriptors.json); pages, core and the like carry numbers.
_IMAGE_NAME = re.compile(r"(?!parent$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,126}")
_IMAGE_DIRECTORY = re.compile(r"image|pre-(?:[0-9]|1[0-5])")
_SOCKET = "socket"
#: What overlayfs makes anew by itself (Documentation/filesystems/overlayfs.rst): what refers to one disk.
_DROPPED = frozenset(f"trusted.overlay.{name}" for name in ("origin", "impure", "nlink", "upper", "uuid"))
_OPAQUE = "trusted.overlay.opaque"
_CARRIED = ("user.", "system.posix_acl_")
_CAPABILITY = "security.capability"
#: Memory for one archive, as a power of two of bytes; what is written here needs 2 MiB.
_LIMITS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 24}
#: What is raised for bytes that are not what they should be.
_DAMAGE = (tarfile.TarError, zstd.ZstdError, EOFError, ValueError, OverflowError, LookupError)


def _damaged(why: object) -> errors.DataLoss:
    return errors.DataLoss(f"the archive is damaged: {why}")


# -- writing ----------------------------------------------------------------------------------------------------------


def write(directory: Path, file: BinaryIO, *, layers: Path | None = None, stages: Iterable[str] | None = None) -> None:
    """Write the checkpoint in `directory` to `file`; blocks. Raises FailedPrecondition for what no archive can hold.

    `layers` is where its layers are, else in itself. `stages` are the names of its parts, of which each is there once
    its name comes; without it all are.
    """
    facts = (directory / disk.FILE).read_bytes()
    options: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
    with (
        zstd.ZstdFile(file, "w", options=options) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_PIECE) as tar,
    ):
        _write_bytes(tar, FACTS, json.dumps({"format": FORMAT, **json.loads(facts)}).encode())
        for stage in stages or (*sorted(path.name for path in directory.glob("pre-*")), disk.IMAGE, disk.LAYER):
            members = _walk(layers or directory / disk.LAYER) if stage == disk.LAYER else _list(directory / stage)
            for path, name in members:
                _write_member(tar, path, name)
        _write_bytes(tar, END, b"")


def _list(image: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of an image; `parent`, a link, is made anew by its name."""
    for entry in sorted(os.scandir(image), key=lambda entry: entry.name):
        if entry.is_file(follow_symlinks=False):
            yield Path(entry.path), f"{image.name}/{entry.name}"


def _write_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _walk(layers: Path) -> Iterator[tuple[Path, str]]:
    """Yield the layers and everything in them with its name in the archive, each directory before what is in it."""
    todo = [(layers / name, f"{disk.LAYER}/{name}") for name in sorted(_LAYERS) if (layers / name).is_dir()]
    yield from todo
    while todo:
        directory, prefix = todo.pop()
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            found = (Path(entry.path), f"{prefix}/{entry.name}")
            yield found
            if entry.is_dir(follow_symlinks=False):
                todo.append(found)


def _write_member(tar: tarfile.TarFile, path: Path, name: str) -> None:
    status = path.lstat()
    if stat.S_ISSOCK(status.st_mode):
        member = tarfile.TarInfo(name)
        member.mode, member.uid, member.gid, member.mtime = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime,
        )
        headers = {KIND: _SOCKET}
    else:
        member = tar.gettarinfo(str(path), name)
        headers = {}
    member.uname = member.gname = ""
    if member.type == tarfile.BLKTYPE or (member.type == tarfile.CHRTYPE and status.st_rdev != 0):
        raise errors.FailedPrecondition(f"cannot export: {name} is a device; remove it in the container first")
    member.pax_headers = headers | _read_xattrs(path, name)
    if member.isreg() and not stat.S_ISSOCK(status.st_mode):
        with path.open("rb") as data:
            tar.addfile(member, data)
    else:
        tar.addfile(member)


def _read_xattrs(path: Path, name: str) -> dict[str, str]:
    found = {}
    for key in os.listxattr(path, follow_symlinks=False):
        if key in _DROPPED:
            continue
        value = os.getxattr(path, key, follow_symlinks=False)
        if not _is_carried(key, value):
            if key.startswith("trusted.overlay."):
                raise errors.FailedPrecondition(f"cannot export: {name} has {key}, which means nothing elsewhere")
            continue
        found[XATTR + key] = value.decode("utf-8", "surrogateescape")
    return found


def _is_carried(key: str, value: bytes) -> bool:
    return key.startswith(_CARRIED) or key == _CAPABILITY or (key == _OPAQUE and value == b"y")


# -- reading ----------------------------------------------------------------------------------------------------------


def read(
    file: BinaryIO, begin: Callable[[dict[str, Any]], Path], *, max_bytes: int | None = None
) -> tuple[Path, dict[str, Any]]:
    """Read an archive into the directory that `begin` returns for its facts, which are of no known shape; blocks.

    At most `max_bytes` are written, and at most nine tenths of what is free there. Returns the directory and the
    facts. Raises DataLoss for a damaged archive, InvalidArgument for one that is not taken, ResourceExhausted for one
    that does not fit; what was written until then is left to the caller.
    """
    try:
        with zstd.ZstdFile(file, options=_LIMITS) as packed:
            directory, facts = _Unpacking(Reader(packed), begin, max_bytes).run()
            if packed.read(_MAX_REST).strip(b"\0"):  # to the end of the frame, where its checksum is
                raise refused("there is something behind its end")
            if packed.read(1):
                raise refused("it does not end")
            return directory, facts
    except _DAMAGE as error:
        raise _damaged(error) from error


def _is_name(part: str) -> bool:
    return part not in ("", ".", "..") and "\0" not in part and len(os.fsencode(part)) <= MAX_NAME


class _Unpacking:
    """One archive that is being unpacked."""

    def __init__(self, tar: Reader, begin: Callable[[dict[str, Any]], Path], max_bytes: int | None) -> None:
        self._tar = tar
        self._begin = begin
        self._left = max_bytes if max_bytes is not None else sys.maxsize
        self._directory = Path()
        #: Names of directories that are there, and of files, which hard links may name.
        self._directories: set[str] = set()
        self._files: set[str] = set()
        self._names_left = MAX_NAMES
        #: Directories and the times that they are given in the end: what is made in them changes it.
        self._late: list[tuple[str, float]] = []

    def run(self) -> tuple[Path, dict[str, Any]]:
        facts = self._read_facts()
        self._directory = self._begin(facts)
        self._left = min(self._left, int(shutil.disk_usage(self._directory).free * SHARE))
        for count, member in enumerate(self._members()):
            if member.name == END:
                break
            if count >= MAX_MEMBERS:
                raise refused(f"it has more than {MAX_MEMBERS} members")
            self._take(member)
        else:
            raise _damaged("its end is missing")
        if next(self._members(), None) is not None:
            raise refused("there is something behind its end")
        for name, mtime in reversed(self._late):
            os.utime(self._directory / name, (mtime, mtime))
        self._link_parents()
        return self._directory, facts

    def _members(self) -> Iterator[tarfile.TarInfo]:
        while (member := self._tar.next()) is not None:
            self._check_fit(member.name, member.size)
            yield member

    def _check_fit(self, name: str, size: int) -> None:
        if size > self._left:
            what = f"{name[:100]!r} of {size} bytes, {self._left} are free for it"
            raise errors.ResourceExhausted(f"the archive does not fit: {what}")

    def _read_facts(self) -> dict[str, Any]:
        member = next(self._members(), None)
        if member is None or member.name != FACTS or not member.isreg():
            raise refused(f"it does not begin with {FACTS}: it is no checkpoint")
        if member.size > MAX_FACTS:
            raise refused(f"{FACTS} has {member.size} bytes")
        data = self._tar.read(member.size)
        try:
            facts = json.loads(data)
        except RecursionError as error:
            raise ValueError(f"{FACTS} is nested too deeply") from error
        if not isinstance(facts, dict):
            raise refused(f"{FACTS} is no object")
        if facts.get("format") != FORMAT:
            raise refused(f"it is of format {facts.get('format')!r}, this version reads {FORMAT}")
        return facts

    def _take(self, member: tarfile.TarInfo) -> None:
        name = member.name
        parts = name.split("/")
        if len(os.fsencode(name)) > MAX_PATH or not all(map(_is_name, parts)):
            raise refused(f"{name[:100]!r} is no name for a member")
        if name in self._directories or name in self._files:
            raise refused(f"{name[:100]!r} comes twice")
        self._left -= _LEAST
        self._names_left -= len(name)
        if self._names_left < 0:
            raise refused(f"the names of its members are longer than {MAX_NAMES} bytes in all")
        if parts[0] == disk.LAYER and len(parts) >= 2:
            self._take_layer(name, parts, member)
        elif len(parts) == 2 and _IMAGE_DIRECTORY.fullmatch(parts[0]) and _IMAGE_NAME.fullmatch(parts[1]):
            if not member.isreg():
                raise refused(f"{name!r} is no regular file")
            (self._directory / parts[0]).mkdir(mode=0o700, exist_ok=True)
            self._write(name, member)
        else:
            raise refused(f"{name[:100]!r} is no member of a checkpoint")

    def _take_layer(self, name: str, parts: list[str], member: tarfile.TarInfo) -> None:
        parent = "/".join(parts[:-1])
        if len(parts) == 2:
            if parts[1] not in _LAYERS or not member.isdir():
                raise refused(f"{name[:100]!r} is no layer")
            (self._directory / disk.LAYER).mkdir(mode=0o700, exist_ok=True)
        elif parent not in self._directories:
            raise refused(f"{name[:100]!r} comes before its directory")
        self._make(name, member)

    def _make(self, name: str, member: tarfile.TarInfo) -> None:
        path = self._directory / name
        if member.islnk():
            layer = "/".join(name.split("/")[:2])
            if member.linkname not in self._files or not member.linkname.startswith(f"{layer}/"):
                raise refused(f"{name[:100]!r} is a link to {member.linkname[:100]!r}, which is no file before it")
            os.link(self._directory / member.linkname, path, follow_symlinks=False)
            self._files.add(name)
            return
        if member.isdir():
            path.mkdir(mode=0o700)
            self._directories.add(name)
            self._late.append((name, member.mtime))
            self._dress(name, member)
            return
        if member.issym():
            if not member.linkname or len(os.fsencode(member.linkname)) >= MAX_PATH:
                raise refused(f"{name[:100]!r} is a link to nothing")
            path.symlink_to(member.linkname)
        elif member.isfifo():
            os.mkfifo(path, 0o600)
        elif member.ischr():
            if (member.devmajor, member.devminor) != (0, 0):
                raise refused(f"{name[:100]!r} is a device")
            os.mknod(path, stat.S_IFCHR, 0)
        elif member.pax_headers.get(KIND) == _SOCKET:
            os.mknod(path, stat.S_IFSOCK | 0o600)
        else:
            self._write(name, member)
        self._files.add(name)
        self._dress(name, member)

    def _write(self, name: str, member: tarfile.TarInfo) -> None:
        self._files.add(name)
        self._left -= member.size
        left = member.size
        fd = os.open(self._directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb", buffering=0) as target:
            while left:
                data = self._tar.read(_PIECE)
                left -= len(data)
                if data.count(0) == len(data):
                    target.seek(len(data), os.SEEK_CUR)  # a hole stays one
                else:
                    _write_all(target, data)
            target.truncate(member.size)

    def _dress(self, name: str, member: tarfile.TarInfo) -> None:
        """Give what was made the owner, mode, attributes and time that it had."""
        path = self._directory / name
        for what, number in (("owner", member.uid), ("group", member.gid)):
            if not 0 <= number < 2**32 - 1:
                raise refused(f"{name[:100]!r} has {what} {number}")
        os.chown(path, member.uid, member.gid, follow_symlinks=False)
        if not member.issym():
            os.chmod(path, stat.S_IMODE(member.mode))
        for key, text in member.pax_headers.items():
            if key.startswith(XATTR):
                xattr, value = key.removeprefix(XATTR), text.encode("utf-8", "surrogateescape")
                if not _is_carried(xattr, value):
                    raise refused(f"{name[:100]!r} has the attribute {xattr[:100]!r}")
                self._check_fit(name, len(value))
                self._left -= len(value)
                os.setxattr(path, xattr, value, follow_symlinks=False)
        os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)

    def _link_parents(self) -> None:
        """Let each round of pre-copy, and the image, find the round before it (criu(8), --prev-images-dir)."""
        rounds = sorted(self._directory.glob("pre-*"), key=lambda path: int(path.name.removeprefix("pre-")))
        for number, path in enumerate(rounds):
            if path.name != f"pre-{number}":
                raise refused(f"round {number} of pre-copy is missing")
        for before, path in zip(rounds, [*rounds[1:], self._directory / disk.IMAGE], strict=False):
            (path / "parent").symlink_to(f"../{before.name}")


def _write_all(target: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[target.write(view) :]
