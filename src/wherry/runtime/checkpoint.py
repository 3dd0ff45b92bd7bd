"""Checkpoints on disk: <root>/checkpoints/<namespace>/<container id>/<name>/, there as a whole or not at all.

    checkpoint.json   what is known of it (model.checkpoint.CheckpointInfo) and of its streams
    image/            criu's image of the processes; pre-0/ pre-1/ ... the rounds before it
    layer/            the content of its writable layers: upper/, here-upper/
    work/             the words of criu and the runtime

One that is being written has a name with a dot in front, which no checkpoint has.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from wherry import errors
from wherry.linux import failpoint, libc
from wherry.model import codec, ids
from wherry.model.checkpoint import CheckpointInfo
from wherry.runtime import container as containers
from wherry.runtime import record, removal

_logger = logging.getLogger(__name__)

#: By which criu knows a network namespace that is the container's own.
NETWORK = "wherry-network"
FILE = "checkpoint.json"
IMAGE = "image"
LAYER = "layer"
WORK = "work"
#: What the original lays out instead: the images lie in the directory itself.
V0_FILE = "config.json"
V0_WORK = "criu.work"
_MAKING = ".making-"
_IMPORTING = ".importing-"
#: Begin the names of one that exists while clones are made from it, and of one that comes from another supervisor or
#: goes to it; no user can give them.
TEMPORARY = "clone~"
MOVING = "move~"
_VERSION = 1
#: Rounds of pre-copy.
MAX_PRE_COPY = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Outside:
    """What processes have that is not written down, and is to be there at a restore.

    `streams` are criu's keys of stdin, stdout and stderr, "" for what it knows itself; `network` tells that the
    container has a network namespace of its own, of which only the loopback interface is made anew.
    """

    streams: tuple[str, ...] = ()
    network: bool = False


class Checkpoints:
    """All checkpoints below a root directory."""

    def __init__(self, root: Path) -> None:
        self.root = root / "checkpoints"

    def path(self, namespace: str, container_id: str, name: str) -> Path:
        """Return the directory of a checkpoint. Raises InvalidArgument for a name that is none."""
        ids.check("checkpoint name", name.removeprefix(TEMPORARY).removeprefix(MOVING))
        return self.root / namespace / container_id / name

    def begin(self, namespace: str, container_id: str, name: str) -> Path:
        """Return a new directory for a checkpoint to be written into. Raises AlreadyExists."""
        path = self.path(namespace, container_id, name)
        if path.exists():
            raise errors.AlreadyExists(f"cannot write checkpoint {name} of container {container_id}: it exists")
        making = self.making(namespace, container_id, name)
        removal.remove_tree(making)
        self._make(making)
        return making

    def begin_import(self, namespace: str, container_id: str, name: str) -> Path:
        """Return a new directory for a checkpoint from elsewhere; several may be at it. Raises AlreadyExists."""
        path = self.path(namespace, container_id, name)
        if path.exists():
            raise errors.AlreadyExists(f"cannot import checkpoint {name} of container {container_id}: it exists")
        making = path.with_name(f"{_IMPORTING}{ids.make()}")
        self._make(making)
        return making

    def _make(self, making: Path) -> None:
        failpoint.hit("checkpoint.mkdir")
        self.root.mkdir(mode=0o700, exist_ok=True)
        # Not mkdir(parents=True): its modes are those of the umask.
        for directory in (making.parent.parent, making.parent, making, making / IMAGE, making / WORK):
            directory.mkdir(mode=0o700, exist_ok=True)

    def making(self, namespace: str, container_id: str, name: str) -> Path:
        """Return the directory of a checkpoint that is being written."""
        path = self.path(namespace, container_id, name)
        return path.with_name(f"{_MAKING}{name}")

    def find_free_name(self, namespace: str, container_id: str, name: str) -> str:
        """Return a name that begins like `name`, and that no checkpoint of the container has."""
        numbered = (f"{name[:100]}-{number}" for number in itertools.count(2))
        return next(other for other in numbered if not self.path(namespace, container_id, other).exists())

    def finish(self, making: Path, info: CheckpointInfo, outside: Outside) -> None:
        """Write down what is known of a checkpoint, and let it be one; from then on it outlasts a power cut."""
        save(making, info, outside)
        failpoint.hit("checkpoint.fsync")
        fd = os.open(making, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            libc.sync_filesystem(fd)
        finally:
            os.close(fd)
        try:
            failpoint.hit("checkpoint.rename")
            making.rename(making.with_name(info.name))
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            raise errors.AlreadyExists(f"container {info.id} has a checkpoint {info.name!r} by now") from error
        _sync_directory(making.parent)

    def load(self, namespace: str, container_id: str, name: str) -> CheckpointInfo:
        """Return what is known of a checkpoint. Raises NotFound, and DataLoss for one that cannot be understood."""
        return load(self.path(namespace, container_id, name))[0]

    def list(self, namespace: str = "", container_id: str = "") -> list[CheckpointInfo]:
        """Return the checkpoints, oldest first, of a namespace ("": all) and a container ("": all)."""
        found = []
        for path in self.root.glob(f"{namespace or '*'}/{container_id or '*'}/*/{FILE}"):
            if not path.parent.name.startswith((".", TEMPORARY, MOVING)):
                try:
                    found.append(load(path.parent)[0])
                except errors.WherryError as error:
                    _logger.warning("%s", error.message)
        return sorted(found, key=lambda info: info.created_at_ns)

    def remove(self, namespace: str, container_id: str, name: str) -> None:
        """Remove a checkpoint. Raises NotFound."""
        path = self.path(namespace, container_id, name)
        if not path.exists():
            raise errors.NotFound(f"container {container_id} has no checkpoint {name!r}")
        self.discard(path)

    def discard(self, path: Path) -> None:
        """Remove a checkpoint's directory, whole or half-made, and those above it that are empty then."""
        containers.discard(path)
        for parent in (path.parent, path.parent.parent):
            try:
                parent.rmdir()
            except OSError:
                return  # there are others

    def find_stale(self, kept: set[Path]) -> tuple[Path, ...]:
        """Return what a dead supervisor has left half-made or half-removed, but for `kept`."""
        found = (path for pattern in (".*", f"{TEMPORARY}*", f"{MOVING}*") for path in self.root.glob(f"*/*/{pattern}"))
        return tuple(path for path in found if path not in kept)

    def sweep(self, stale: tuple[Path, ...]) -> None:
        """Remove what `find_stale` has found."""
        for path in stale:
            _logger.info("%s is no whole checkpoint; removed", path)
            try:
                self.discard(path)
            except OSError as error:
                _logger.error("cannot remove %s: %s", path, error)


def save(directory: Path, info: CheckpointInfo, outside: Outside) -> None:
    """Write checkpoint.json, with the sizes of the images as they are now."""
    plain = {
        "version": _VERSION,
        "outside": codec.to_plain(outside),
        "files": _measure(directory),
        **codec.to_plain(info),
    }
    record.write_json(directory / FILE, plain)


def load(directory: Path) -> tuple[CheckpointInfo, Outside]:
    """Return what checkpoint.json holds: as `save` was given. Raises NotFound, DataLoss."""
    where = f"checkpoint {directory.name} of container {directory.parent.name}"
    try:
        plain = record.read_json(directory / FILE)
        if plain.get("version") != _VERSION:
            raise errors.DataLoss(f"cannot read {where}: it is of version {plain.get('version')!r}, not {_VERSION}")
        outside = codec.from_plain(Outside, plain.get("outside"), "outside.")
        return codec.from_plain(CheckpointInfo, plain), outside
    except FileNotFoundError as error:
        if (directory / V0_FILE).is_file():
            return _load_v0(directory, where), Outside()
        raise errors.NotFound(f"container {directory.parent.name} has no checkpoint {directory.name!r}") from error
    except ValueError as error:
        raise errors.DataLoss(f"cannot read {where}: {error}") from error


def _load_v0(directory: Path, where: str) -> CheckpointInfo:
    """Return what the original's config.json tells. Raises DataLoss."""
    plain = record.read_json(directory / V0_FILE)
    fields = {name: plain.get(key, False) for name, key in (("tcp", "tcp"), ("unix_sockets", "unixSockets"))}
    fields["shell"] = plain.get("shell", False)
    names = plain.get("emptyNS") or []
    if not all(isinstance(value, bool) for value in fields.values()) or not isinstance(names, list):
        raise errors.DataLoss(f"cannot read {where}: {V0_FILE} is not as it should be")
    empty = tuple(str(name) for name in names)
    return CheckpointInfo(
        id=directory.parent.name,
        namespace="",
        name=directory.name,
        generation=0,
        created_at_ns=0,
        empty_ns=empty,
        **fields,
    )


def check_image(directory: Path) -> None:
    """Raise DataLoss for a checkpoint whose image is not as long as it was written: criu would read on for ever."""
    try:
        files = record.read_json(directory / FILE).get("files")
    except FileNotFoundError:
        return  # of the original's layout
    for name, size in files.items() if isinstance(files, dict) else ():
        image, _, file = str(name).rpartition("/")
        try:
            found = ((find_image(directory) if image == IMAGE else directory / image) / file).stat().st_size
        except OSError:
            found = -1
        if found != size:
            raise errors.DataLoss(
                f"checkpoint {directory.name} of container {directory.parent.name} is damaged: {name} "
                + (f"has {found} bytes, not {size}" if found >= 0 else "is missing")
            )


def _measure(directory: Path) -> dict[str, int]:
    """Return the sizes of the files of all images, by their names in the checkpoint."""
    images = (directory / IMAGE, *directory.glob("pre-*"))
    return {f"{image.name}/{path.name}": path.stat().st_size for image in images for path in image.glob("*.img")}


def find_image(directory: Path) -> Path:
    """Return where criu's image is in a checkpoint of either layout."""
    image = directory / IMAGE
    return image if image.is_dir() else directory


def find_work(directory: Path) -> Path:
    """Return where words of criu go in a checkpoint of either layout."""
    return directory / (WORK if (directory / IMAGE).is_dir() else V0_WORK)


def count_bytes(directory: Path) -> int:
    """Return the size of all regular files below a directory, in bytes as they are stored."""
    total, todo = 0, [os.fspath(directory)]
    while todo:  # not os.walk, which calls itself for each level (Python 3.11)
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except (FileNotFoundError, NotADirectoryError):
            continue
    return total


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
