"""Who may use a state directory and a root directory: one supervisor at a time, and each pair only together."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from wherry import errors
from wherry.linux import failpoint, files
from wherry.supervisor.core import Settings


def take_directory(directory: Path, mode: int) -> None:
    """Make a directory, or take the one that is there, with just this mode. Raises PermissionDenied for a stranger's.

    Below a directory in which everybody may write, anybody could have put his own there, or a link to another's.
    """
    directory.mkdir(mode=mode, parents=True, exist_ok=True)
    for status in (directory.lstat(), directory.stat()):
        if status.st_uid not in (0, os.geteuid()):
            raise errors.PermissionDenied(
                f"cannot use {directory}: it, or where it leads, belongs to user {status.st_uid}, who could have put"
                " anything there; give it to root, or name another"
            )
    # Whoever made it: a directory that others may search leads to setuid files in layers (CVE-2021-41103).
    directory.chmod(mode)


def take_lock(path: Path, directory: Path) -> int:
    """Return a descriptor that holds the lock of a directory. Raises FailedPrecondition when somebody else has it."""
    failpoint.hit("lock.open")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
        os.close(fd)
        raise errors.FailedPrecondition(
            f"cannot use {directory}: another supervisor has it" + (f" (pid {holder})" if holder else "")
        ) from None
    with contextlib.suppress(OSError):  # a full disk: the lock holds without the number
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def check_pair(settings: Settings) -> None:
    """Keep a root directory to one state directory: what the latter does not know is removed from the former."""
    mark = settings.root_dir / "state-dir"
    state = str(settings.state_dir.resolve())
    try:
        owner = mark.read_text(errors="replace").strip()
    except FileNotFoundError:
        owner = ""
    if not owner:
        files.write_whole(mark, os.fsencode(state) + b"\n")
    elif owner != state:
        raise errors.FailedPrecondition(
            f"cannot use {settings.root_dir}: it belongs to the state directory {owner}, not to {state}; "
            f"give each state directory a root directory of its own"
        )
