"""Removal of directory trees that containers have made: of any depth, without following anything.

shutil.rmtree recurses and holds a descriptor per level, so that a directory a thousand levels deep, which any container
can make, ends it. Here each directory below is moved up to the top before it is emptied: two descriptors, no recursion.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: Path) -> None:
    """Remove `path` and everything below it. Raises OSError; what is not there is fine."""
    try:
        top = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    names = (f".{number}" for number in itertools.count())
    try:
        while found := os.listdir(top):
            for name in found:
                if not _unlink(name, top):
                    _empty(name, top, names)
    finally:
        os.close(top)
    path.rmdir()


def _unlink(name: str, directory: int) -> bool:
    """Remove a file; return False for a directory."""
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        return False
    except FileNotFoundError:
        pass
    return True


def _empty(name: str, top: int, names: Iterator[str]) -> None:
    directory = os.open(name, _DIRECTORY, dir_fd=top)
    try:
        while found := os.listdir(directory):
            for child in found:
                if not _unlink(child, directory):
                    _move_up(child, directory, top, names)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=top)


def _move_up(child: str, directory: int, top: int, names: Iterator[str]) -> None:
    for name in names:
        try:
            os.rename(child, name, src_dir_fd=directory, dst_dir_fd=top)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            # Taken by something the container has made; an empty directory of that name is replaced.
