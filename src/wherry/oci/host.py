"""What a container on a view of this machine's own root does not get to see.

An overlay over / shows one filesystem: other mounts are invisible by themselves. Of the rest this hides

- directories of people and of running programs (`EMPTY`) and Wherry's own: they are there, and empty;
- below `SECRET_TREES` each file that "other" may not read, everything in directories that "other" may not enter, and
  what is a private key by its name: it is there, with its owner and mode, and empty.

The rule is the file's mode, not a list of programs, because the mode is where every program on the machine has said
already who may know; root in the container would pass over it. The names catch keys left readable by mistake. The
view is live, as the overlay's lower layer is: a secret that is made on the host after the walk is visible, so the walk
may as well be remembered for a few seconds (it takes 3 ms for 1200 entries, on a 2-core virtual machine, Linux 6.18).
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import re
import stat
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wherry import errors
from wherry.oci import text

#: Shown empty. /var/tmp as well: it is /tmp for things that take longer.
EMPTY = ("/root", "/home", "/run", "/tmp", "/var/tmp")
#: Walked for secrets. /var/backups has Debian's copies of the shadow files.
SECRET_TREES = ("/etc", "/usr/local/etc", "/var/backups")
_SHARED = ("/tmp", "/var/tmp")
_SHADOWS = ("shadow", "gshadow")
_KEYS = re.compile(
    "|".join(
        fnmatch.translate(pattern)
        for pattern in (
            "ssh_host_*_key",
            "*.key",
            "*.keytab",
            "*.p12",
            "*.pfx",
            "id_rsa",
            "id_dsa",
            "id_ecdsa",
            "id_ed25519",
            "id_*_sk",
            *_SHADOWS,
            *(f"{name}-" for name in _SHADOWS),
            *(f"{name}.bak" for name in _SHADOWS),
        )
    )
)
_REMEMBER_SECONDS = 5.0
# Nobody has this many; a tree that does is not walked for ever.
_MAX_ENTRIES = 200_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Masks:
    """Absolute paths to show empty: `directories` and `files`, no path below another."""

    directories: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


_lock = threading.Lock()
_remembered: tuple[float, Masks] | None = None


def masks(private: Sequence[str]) -> Masks:
    """Return what to hide of this machine's root, Wherry's own directories `private` (real paths) included."""
    secrets = _secrets()
    device = os.stat("/").st_dev
    wanted = [*map(os.path.realpath, EMPTY), *(path for path in private if _is_on(device, os.path.dirname(path)))]
    directories = _outermost((*wanted, *secrets.directories))
    files = tuple(path for path in secrets.files if not any(text.is_below(path, top) for top in directories))
    return Masks(directories=tuple(path for path in directories if os.path.isdir(path)), files=files)


def _secrets() -> Masks:
    global _remembered
    with _lock:
        now = time.monotonic()
        if _remembered is None or now - _remembered[0] > _REMEMBER_SECONDS:
            _remembered = (now, find_secrets(SECRET_TREES))
        return _remembered[1]


def find_secrets(trees: Iterable[str]) -> Masks:
    """Return the secrets below `trees`; what is a symlink is left out, for its target is judged for itself."""
    directories: list[str] = []
    files: list[str] = []
    todo = [tree for tree in trees if os.path.isdir(tree)]
    left = _MAX_ENTRIES
    while todo:
        # The host goes on meanwhile: what is removed under our eyes is no secret any more.
        with contextlib.suppress(FileNotFoundError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    raise errors.ResourceExhausted(f"cannot hide the host's secrets: more than {_MAX_ENTRIES} files")
                mode = _mode(entry)
                if stat.S_ISDIR(mode):
                    (todo if mode & stat.S_IXOTH else directories).append(entry.path)
                elif stat.S_ISREG(mode) and (not mode & stat.S_IROTH or _KEYS.match(entry.name)):
                    files.append(entry.path)
    return Masks(directories=tuple(sorted(directories)), files=tuple(sorted(files)))


def _mode(entry: os.DirEntry[str]) -> int:
    """Return the mode of `entry`, 0 for a symlink and for what is no longer there."""
    try:
        return 0 if entry.is_symlink() else entry.stat(follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0


def mode_of(path: str, status: os.stat_result) -> int:
    """Return the permission bits with which the directory `path` is shown."""
    # A /tmp that is only a mount point may have any mode below the mount.
    return 0o1777 if path in _SHARED else stat.S_IMODE(status.st_mode)


def check_here(here: str, private: Iterable[str]) -> None:
    """Raise InvalidArgument unless the clean path `here` can be shown without showing what must stay hidden.

    That is what `masks` hides for others' sake: the secrets' trees and Wherry's own directories `private`. A home
    directory may be shown: it is what was asked for.
    """
    if here == "/":
        raise errors.InvalidArgument(
            "cannot show / in the container: it is the whole machine; source host is a view of it"
        )
    for system in ("/proc", "/sys", "/dev", "/run"):
        if here == system or (system != "/run" and text.is_below(here, system)):
            raise errors.InvalidArgument(f"cannot show {here} in the container: {system} is the system's own")
    for tree in SECRET_TREES:
        if text.is_below(here, tree) or text.is_below(tree, here):
            raise errors.InvalidArgument(
                f"cannot show {here} in the container: the secrets below {tree} would be seen; work in a copy"
            )
    for path in private:
        if text.is_below(here, path) or text.is_below(path, here):
            raise errors.InvalidArgument(f"cannot show {here} in the container: Wherry's own {path} would be seen")


def thermal_paths() -> tuple[str, ...]:
    """Return the directories that tell each processor's heat, from which one can tell what others compute."""
    return tuple(sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")))


def _is_on(device: int, path: str) -> bool:
    try:
        return os.stat(path).st_dev == device
    except OSError:
        return False


def _outermost(paths: Iterable[str]) -> list[str]:
    found: list[str] = []
    for path in sorted(set(paths)):
        if not any(text.is_below(path, top) for top in found):
            found.append(path)
    return found
