"""Open and read files below a directory that nobody vouches for."""

from __future__ import annotations

import errno
import os
import stat
import struct

from wherry.linux import libc

# linux/openat2.h; the number of the call is the same on every architecture.
_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10
# openat2 gives EAGAIN when a rename or a mount anywhere on the system overtakes a ".." in the path (openat2(2)).
_ATTEMPTS = 32


def open_in_root(root: str, path: str, flags: int) -> int:
    """Open `path` as a process whose root directory is `root` would find it; the caller closes the descriptor.

    No symlink or ".." in `path` leads out of `root`, whoever changes the tree meanwhile. Before Linux 5.6, which has
    no openat2(2), a path with a symlink in it is refused (ELOOP). Raises OSError.
    """
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _openat2(top, path, flags | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise OSError(error.errno, error.strerror, os.path.join(root, path.lstrip("/"))) from None
        return _open_by_component(top, path, flags | os.O_CLOEXEC)
    finally:
        os.close(top)


def read_in_root(root: str, path: str, limit: int) -> bytes:
    """Return the content of the regular file `path` below `root`, at most `limit` bytes.

    Raises OSError: as `open_in_root`, EINVAL for anything but a regular file, EFBIG above the limit.
    """
    handle = open_in_root(root, path, os.O_PATH)
    try:
        return _read(handle, os.path.join(root, path.lstrip("/")), limit)
    finally:
        os.close(handle)


def read_regular(path: str, limit: int) -> bytes:
    """Return the content of the regular file `path`, symlinks followed, at most `limit` bytes.

    Raises OSError: EINVAL for anything but a regular file, EFBIG above the limit.
    """
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return _read(handle, path, limit)
    finally:
        os.close(handle)


def _read(handle: int, name: str, limit: int) -> bytes:
    # What is there is looked at through O_PATH before it is opened: opening a FIFO waits, and opening a device acts
    # (a watchdog starts to count).
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", name)
    descriptor = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", name)
    return data


def _openat2(top: int, path: str, flags: int) -> int:
    how = struct.pack("=QQQ", flags, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    for _ in range(_ATTEMPTS):
        try:
            return libc.syscall(_OPENAT2, top, os.fsencode(path), how, len(how))
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _open_by_component(top: int, path: str, flags: int) -> int:
    """Walk from `top` one name at a time; a symlink or ".." on the way is an error, never followed."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    if not names or ".." in names:
        raise OSError(errno.EINVAL, "not a path below the root", path)
    at = os.dup(top)
    try:
        for name in names[:-1]:
            step = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = step
        found = os.open(names[-1], flags | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)
    # With O_PATH, O_NOFOLLOW does not refuse the link but opens the link itself.
    if stat.S_ISLNK(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return found
