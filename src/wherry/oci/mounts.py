"""The mounts that a request asks for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from wherry import errors
from wherry.model.request import Mount
from wherry.oci import text

_FLAG_NAMES = "ro rw nosuid suid nodev dev noexec exec noatime atime nodiratime relatime strictatime nosymfollow"
_FLAGS = frozenset(_FLAG_NAMES.split())
_PROPAGATION = frozenset({"private", "rprivate", "slave", "rslave"})
_BIND = _FLAGS | _PROPAGATION | {"bind", "rbind", "rro"}
# tmpfs(5): the options that take a value.
_TMPFS = re.compile(
    r"size=[1-9][0-9]{0,18}[kKmMgG%]?|nr_inodes=[0-9]{1,19}[kKmMgG]?|mode=[0-7]{1,4}|[ug]id=[0-9]{1,10}"
)
_TYPES = ("bind", "tmpfs")


def check(mounts: Iterable[Mount]) -> None:
    """Raise InvalidArgument for a mount that can never be made as it is written."""
    seen: set[str] = set()
    for mount in mounts:
        target = check_target(mount.target)
        if target in seen:
            raise errors.InvalidArgument(f"mount target {text.shorten(target)} is not valid: it is given twice")
        seen.add(target)
        if mount.type not in _TYPES:
            raise errors.InvalidArgument(f"mount type {text.shorten(mount.type)} is not valid: bind and tmpfs are")
        if mount.type == "bind":
            text.check_path("mount source", mount.source)
        elif mount.source not in ("", "tmpfs"):
            raise errors.InvalidArgument(f"mount source {text.shorten(mount.source)} is not valid: a tmpfs has none")
        for option in mount.options:
            _check_option(mount.type, option)


def check_target(target: str) -> str:
    """Return the clean path `target` if something may be mounted there; raise InvalidArgument if not."""
    path = text.check_path("mount target", target)
    if path == "/":
        raise errors.InvalidArgument("mount target '/' is not valid: the root filesystem is the source's")
    # Runtimes refuse it too, after CVE-2019-16884 and CVE-2019-19921.
    if text.is_below(path, "/proc"):
        raise errors.InvalidArgument(f"mount target {text.shorten(path)} is not valid: /proc belongs to the runtime")
    return path


def _check_option(kind: str, option: str) -> None:
    good = option in _BIND if kind == "bind" else option in _FLAGS or _TMPFS.fullmatch(option) is not None
    if not good:
        raise errors.InvalidArgument(f"mount option {text.shorten(option)} is not valid for a {kind} mount")


def compose(mounts: Iterable[Mount]) -> list[dict[str, Any]]:
    """Return the OCI `mounts` for `mounts`. Raises NotFound for a source that is not there."""
    return [_compose_bind(mount) if mount.type == "bind" else _compose_tmpfs(mount) for mount in mounts]


def _compose_bind(mount: Mount) -> dict[str, Any]:
    source = text.check_path("mount source", mount.source)
    if not os.path.exists(source):
        raise errors.NotFound(f"cannot mount {source}: no such file or directory on the host")
    options = [option for option in mount.options if option not in ("bind", "rbind")]
    options.insert(0, "bind" if "bind" in mount.options else "rbind")
    if not _PROPAGATION & set(options):
        options.append("rprivate")
    if mount.read_only or "ro" in options:
        # `ro` holds for the mount alone; `rro` for those below it too, which rbind brings along.
        options = [option for option in options if option not in ("ro", "rw", "rro")] + ["ro", "rro"]
    return {"destination": check_target(mount.target), "type": "bind", "source": source, "options": options}


def _compose_tmpfs(mount: Mount) -> dict[str, Any]:
    options = ["nosuid", "nodev", *mount.options]
    if not any(option.startswith("mode=") for option in options):
        options.append("mode=1777")
    if mount.read_only:
        options.append("ro")
    return {"destination": check_target(mount.target), "type": "tmpfs", "source": "tmpfs", "options": options}


def compose_here(source: str, target: str) -> dict[str, Any]:
    """Return the OCI mount that shows the directory `source`, already a copy-on-write view, at `target`."""
    return {"destination": target, "type": "bind", "source": source, "options": ["rbind", "rprivate"]}


def compose_system(*, privileged: bool) -> list[dict[str, Any]]:
    """Return the mounts that every container has."""
    closed = ["nosuid", "noexec", "nodev"]
    access = [] if privileged else ["ro"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": list(closed)},
        _system("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _system("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _system("/dev/shm", "tmpfs", [*closed, "mode=1777", "size=65536k"]),
        _system("/dev/mqueue", "mqueue", list(closed)),
        _system("/sys", "sysfs", [*closed, *access]),
        _system("/sys/fs/cgroup", "cgroup", [*closed, "relatime", *access]),
    ]


def _system(target: str, kind: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": kind, "options": options}
