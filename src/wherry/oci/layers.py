"""Copy-on-write views: overlays for the shim to mount in its own mount namespace.

The writable layer lies on disk, in the container's directory, where the kernel takes that. It does not where the
directory is itself on an overlay (a container in a container) or on a filesystem without the attributes an overlay
needs; then it is a tmpfs, which goes with the namespace. docs/decisions/0003-rootfs-in-shim-mount-namespace.md.

Hiding has a form for each. On disk it is written into the upper layer before the mount: an opaque directory, an empty
file. A lower layer of its own would be simpler, but the kernel refuses layers of one overlay that lie inside each
other (ELOOP). On a tmpfs, which only the shim sees, empty filesystems and /dev/null are mounted on top. That is less:
what is mounted on cannot be replaced from inside (`useradd` fails), and the layer's own top belongs to root.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wherry import errors
from wherry.linux import libc, mount
from wherry.oci import host, text

_log = logging.getLogger(__name__)

#: (source, target, fstype, flags, data) as for mount(2); fstype "mkdir" makes the directory `target`, mode `flags`.
Entry = tuple[str, str, str, int, str]

# Without `volatile` (Linux 5.10) the end of each container waits until the whole disk is written back (100 ms after
# 300 MB, against 0.2 ms). A layer outlives its mount only to be deleted, so there is nothing to keep.
_VOLATILE = "volatile"
# mount(2) takes one page of options and cuts the rest off.
_MAX_DATA = 4095
_OPAQUE = "trusted.overlay.opaque"
_NOTHING = host.Masks()


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A directory `lower` to be shown at `target`; its layers in the container's directory begin with `prefix`."""

    lower: str
    target: str
    prefix: str = ""
    masks: host.Masks = _NOTHING


def place(views: Sequence[View], directory: Path) -> tuple[str, tuple[Entry, ...]]:
    """Return where the writable layers of `views` lie (`disk`, `tmpfs`, "" without any) and the mounts for them.

    Makes mount points and layers in `directory`. Raises InvalidArgument for a path longer than mount(2) takes.
    """
    if not views:
        return "", ()
    for view in views:
        os.mkdir(view.target, 0o700)
    options = [found for view in views if (found := _options(view.lower, directory)) is not None]
    if len(options) == len(views):
        pairs = zip(views, options, strict=True)
        return "disk", tuple(_place_on_disk(view, directory, found) for view, found in pairs)
    return "tmpfs", _place_on_tmpfs(views, directory)


def revive(directory: Path) -> None:
    """Let the layers in `directory` be mounted once more.

    The kernel marks a volatile layer, since after a crash of the machine it may not be whole; but /run, and with it the
    container, does not outlive such a crash (Documentation/filesystems/overlayfs.rst, Volatile mount).
    """
    for mark in directory.glob("*work/work/incompat/volatile"):
        shutil.rmtree(mark)


def hide(directory: Path, lower: str, masks: host.Masks) -> None:
    """Hide `masks` of `lower` in a layer in `directory` that was not made here, and may show what it should not.

    What is opaque in it, or no directory, hides what lies below (Documentation/filesystems/overlayfs.rst).
    """
    upper = str(directory / "upper")
    for path in masks.directories:
        if not _hides(upper, os.path.relpath(path, lower), itself=True):
            _mask_directory(upper, lower, path)
    for path in masks.files:
        if not _hides(upper, os.path.relpath(path, lower), itself=False):
            _mask_file(upper, lower, path)


def _hides(upper: str, relative: str, *, itself: bool) -> bool:
    """Tell whether nothing below can be seen at `relative`; `itself`: a directory there has to be opaque."""
    path, names = upper, relative.split("/")
    for number, name in enumerate(names):
        path = f"{path}/{name}"
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return False
        is_last = number == len(names) - 1
        if not stat.S_ISDIR(mode) or _is_opaque(path) or (is_last and not itself):
            return True
    return False


def _is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _place_on_disk(view: View, directory: Path, options: str) -> Entry:
    upper, work = directory / f"{view.prefix}upper", directory / f"{view.prefix}work"
    work.mkdir(0o700)
    _make_like(str(upper), view.lower)
    for path in view.masks.directories:
        _mask_directory(str(upper), view.lower, path)
    for path in view.masks.files:
        _mask_file(str(upper), view.lower, path)
    return _overlay(view, str(upper), str(work), options)


def _place_on_tmpfs(views: Sequence[View], directory: Path) -> tuple[Entry, ...]:
    layer = str(directory / "layer")
    os.mkdir(layer, 0o700)
    entries: list[Entry] = [("tmpfs", layer, "tmpfs", 0, "mode=0700")]
    for view in views:
        upper, work = f"{layer}/{view.prefix}upper", f"{layer}/{view.prefix}work"
        entries.append(("", upper, "mkdir", stat.S_IMODE(os.stat(view.lower).st_mode), ""))
        entries.append(("", work, "mkdir", 0o700, ""))
        entries.append(_overlay(view, upper, work, _VOLATILE))
        entries += [_cover_directory(view, path) for path in view.masks.directories]
        entries += [("/dev/null", _shown(view, path), "", libc.MS_BIND, "") for path in view.masks.files]
    return tuple(entries)


def _cover_directory(view: View, path: str) -> Entry:
    status = os.stat(path)
    data = f"mode={host.mode_of(path, status):o},uid={status.st_uid},gid={status.st_gid}"
    return "tmpfs", _shown(view, path), "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, data


def _shown(view: View, path: str) -> str:
    # A name in the host's /etc may be anything; better no container than one that sees what it cannot name.
    return view.target + "/" + text.check_line("path to hide", os.path.relpath(path, view.lower))


def _overlay(view: View, upper: str, work: str, options: str) -> Entry:
    parts = [f"{key}={mount.escape_option(value)}" for key, value in _layers(view.lower, upper, work).items()]
    data = ",".join([*parts, options] if options else parts)
    if len(os.fsencode(data)) > _MAX_DATA:
        raise errors.InvalidArgument(f"cannot show {text.shorten(view.lower)} in the container: the path is too long")
    return "overlay", view.target, "overlay", 0, data


def _layers(lower: str, upper: str, work: str) -> dict[str, str]:
    return {"lowerdir": lower, "upperdir": upper, "workdir": work}


def _mask_directory(upper: str, lower: str, path: str) -> None:
    _make_opaque(_make_way(upper, lower, os.path.relpath(path, lower)))


def _make_opaque(path: str) -> None:
    # The overlay takes an opaque directory for all there is of that name (Documentation/filesystems/overlayfs.rst).
    os.setxattr(path, _OPAQUE, b"y")


def _mask_file(upper: str, lower: str, path: str) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    relative = os.path.relpath(path, lower)
    name = os.path.join(_make_way(upper, lower, os.path.dirname(relative)), os.path.basename(relative))
    descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    finally:
        os.close(descriptor)


def _make_way(upper: str, lower: str, relative: str) -> str:
    """Make the directories `relative` in `upper` as they are in `lower`: what the upper layer says of one, holds."""
    made, real = upper, lower
    for name in relative.split("/") if relative not in ("", ".") else ():
        made, real = f"{made}/{name}", os.path.join(real, name)
        with contextlib.suppress(FileExistsError):
            _make_like(made, real)
    return made


def _make_like(made: str, real: str) -> None:
    os.mkdir(made, 0o700)
    status = os.stat(real)
    os.chown(made, status.st_uid, status.st_gid)
    os.chmod(made, host.mode_of(real, status))


_accepted: dict[tuple[int, int, bool], str | None] = {}


def _options(lower: str, directory: Path) -> str | None:
    """Return the options with which `lower` can have its writable layer in `directory`, None if it cannot.

    The answer is a property of the two filesystems, and of one being inside the other, and is asked for once.
    """
    key = (os.stat(lower).st_dev, os.stat(directory).st_dev, text.is_below(str(directory), lower))
    if key not in _accepted:
        _accepted[key] = next((found for found in (_VOLATILE, "") if _is_accepted(lower, directory, found)), None)
    return _accepted[key]


def _is_accepted(lower: str, directory: Path, options: str) -> bool:
    with tempfile.TemporaryDirectory(dir=directory, prefix="probe-") as place:
        upper, work = f"{place}/upper", f"{place}/work"
        os.mkdir(upper, 0o700)
        os.mkdir(work, 0o700)
        try:
            _make_opaque(upper)
            os.removexattr(upper, _OPAQUE)
            flags = {options: ""} if options else {}
            escaped = {key: mount.escape_option(value) for key, value in _layers(lower, upper, work).items()}
            mount.try_filesystem("overlay", **escaped, **flags)
        except OSError as error:
            _log.info("no %s overlay over %s with its layer in %s: %s", options or "plain", lower, directory, error)
            return False
    return True
