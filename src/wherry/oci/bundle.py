"""A request becomes a bundle on disk.

Nothing is mounted here, or anywhere in the host's mount namespace: `prepare` returns the mounts, and the shim makes
them in a namespace of its own, from which they vanish with the last process
(docs/decisions/0003-rootfs-in-shim-mount-namespace.md).
"""

from __future__ import annotations

import copy
import errno
import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wherry import errors
from wherry.model.request import CreateRequest, ExecRequest
from wherry.oci import capabilities, config, environment, host, layers, mounts, rules, spec, text, users

_DISK_ERRORS: dict[int, type[errors.WherryError]] = {
    errno.EACCES: errors.PermissionDenied,
    errno.EDQUOT: errors.ResourceExhausted,
    errno.EMFILE: errors.ResourceExhausted,
    errno.ENFILE: errors.ResourceExhausted,
    errno.ENOSPC: errors.ResourceExhausted,
    errno.EPERM: errors.PermissionDenied,
    errno.EROFS: errors.PermissionDenied,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A bundle that a runtime can be given.

    `bundle` is the directory with config.json. `mounts` are for mount(2) in this order, (source, target, fstype, flags,
    data), where fstype "mkdir" makes the directory `target` with mode `flags`. `layer` says where the writable layer
    is: `disk`, `tmpfs`, or "" for none of ours. `process` is the OCI process, the base of every exec. `root_uid` and
    `root_gid` are container root's ids on the host. `private_pid` tells that the container's processes end with its
    first. `cgroups_path` is an absolute `linux.cgroupsPath` or "". `rootfs` is where users are looked up. `is_plain`
    tells that nothing is to be done at its end that only a runtime can do (hooks, intelRdt).
    """

    bundle: str
    mounts: tuple[layers.Entry, ...]
    layer: str
    process: dict[str, Any]
    root_uid: int
    root_gid: int
    private_pid: bool
    cgroups_path: str
    rootfs: str
    is_plain: bool


def validate(request: CreateRequest) -> None:
    """Raise InvalidArgument for a request that can succeed nowhere; touches no file."""
    rules.validate(request)


def load_config(path: Path) -> dict[str, Any]:
    """Return the OCI configuration in the file `path`. Raises NotFound, and InvalidArgument naming file and cause."""
    return config.load_config(path)


def prepare(request: CreateRequest, directory: Path, *, cgroups_path: str, hidden: Sequence[Path]) -> Prepared:
    """Make the bundle for `request` in `directory`, which is there, empty and 0700; blocks on the disk.

    `hidden` are Wherry's own directories, which no container sees. For a bundle source nothing is written: it is taken
    where it lies. Raises InvalidArgument, NotFound, PermissionDenied, and
    when the disk fails ResourceExhausted or Internal.
    """
    rules.validate(request)
    if request.source.kind == "bundle":
        return _take(Path(text.check_path("bundle directory", request.source.path)), request)
    try:
        return _generate(request, directory, cgroups_path, [os.path.realpath(path) for path in hidden])
    except OSError as error:
        kind = _DISK_ERRORS.get(error.errno or 0, errors.Internal)
        raise kind(f"cannot prepare container {request.id}: {error.filename or directory}: {error.strerror}") from error


def hide(request: CreateRequest, directory: Path, hidden: Sequence[Path]) -> None:
    """Hide this host's secrets in the layer in `directory`, which was filled with one that comes from elsewhere."""
    if request.source.kind == "host":
        layers.hide(directory, "/", host.masks([os.path.realpath(path) for path in hidden]))


def reopen(directory: Path, *, is_layered: bool) -> dict[str, Any]:
    """Return the OCI process of a bundle that was prepared before and is to be run once more; blocks on the disk.

    `is_layered`: its writable layer is one of ours. Raises InvalidArgument and NotFound.
    """
    if is_layered:
        layers.revive(directory)
    process: dict[str, Any] = config.load_config(directory / config.FILE, config.MAX_OWN_BYTES)["process"]
    return process


def exec_process(base: dict[str, Any], request: ExecRequest, rootfs: str) -> dict[str, Any]:
    """Return the OCI process of an exec: the container's own, `base`, with what `request` asks for instead.

    The user is always there in numbers, so that the runtime has nothing to look up (CVE-2026-30892); names are looked
    up in `rootfs`. Raises InvalidArgument.
    """
    rules.validate_exec(request)
    if request.oci_process:
        return _given_process(request)
    process = copy.deepcopy(base)
    process.pop("consoleSize", None)
    process.update(terminal=request.stdio.terminal, args=list(request.args), **spec.console_size(request.stdio))
    if request.workdir:
        process["cwd"] = rules.check_workdir(request.workdir)
    user = process.get("user") or {}
    process["user"] = {"uid": 0, "gid": 0, **user}
    home: tuple[str, ...] = ()
    if request.user:
        account = users.resolve(rootfs, request.user)
        home = (f"HOME={account.home}",)
        if account.uid != process["user"]["uid"] and process.get("capabilities"):
            process["capabilities"] = capabilities.change_user(process["capabilities"], account.uid)
        process["user"] = {**{key: user[key] for key in ("umask",) if key in user}, **account.as_user()}
    term = ("TERM=xterm",) if request.stdio.terminal else ()
    process["env"] = environment.overlay(term, process.get("env") or (), home, request.env)
    return process


def _given_process(request: ExecRequest) -> dict[str, Any]:
    """Return the OCI process that an exec brings with it, checked like that of a bundle."""
    process = config.parse_process(request.oci_process)
    if bool(process.get("terminal")) != request.stdio.terminal:
        raise errors.InvalidArgument(f"cannot exec in container {request.id}: the process and stdio differ in terminal")
    process["cwd"] = rules.check_workdir(process["cwd"])
    process["user"] = {"uid": 0, "gid": 0, **(process.get("user") or {})}
    return process | spec.console_size(request.stdio)


def _take(directory: Path, request: CreateRequest) -> Prepared:
    """Return what there is to know of the bundle `directory`, of which only config.json is looked at."""
    found = config.load_config(directory / config.FILE)
    if bool(found["process"].get("terminal")) != request.stdio.terminal:
        wanted = "with" if request.stdio.terminal else "without"
        raise errors.InvalidArgument(
            f"cannot use bundle {directory} {wanted} a terminal: its process.terminal says otherwise,"
            " and config.json is taken as it is"
        )
    linux = found.get("linux") or {}
    wanted = linux.get("cgroupsPath") or ""
    # A relative one is below whatever the runtime likes.
    cgroups_path = posixpath.normpath(f"/{wanted.lstrip('/')}") if wanted.startswith("/") else ""
    root_uid, root_gid = config.root_ids(found)
    return Prepared(
        bundle=str(directory),
        mounts=(),
        layer="",
        process=found["process"],
        root_uid=root_uid,
        root_gid=root_gid,
        private_pid=config.is_private_pid(found),
        cgroups_path=cgroups_path,
        rootfs=str(directory / found["root"]["path"]),
        is_plain=not found.get("hooks") and not linux.get("intelRdt"),
    )


def _generate(request: CreateRequest, directory: Path, cgroups_path: str, private: list[str]) -> Prepared:
    lower = _find_lower(request, private)
    here = _find_here(request, private)
    views = []
    root = lower
    if not request.source.writable:
        root = str(directory / "rootfs")
        masks = host.masks(private) if lower == "/" else host.Masks()
        views.append(layers.View(lower=lower, target=root, masks=masks))
    bound = mounts.compose(request.mounts)
    if here:
        views.append(layers.View(lower=here, target=str(directory / "here"), prefix="here-"))
        bound.insert(0, mounts.compose_here(str(directory / "here"), here))
    findings = spec.Findings(
        root=root,
        workdir=rules.check_workdir(request.workdir) if request.workdir else here or "/",
        account=users.resolve(lower, request.user),
        held=capabilities.held(),
        mounts=tuple(bound),
        masked=host.thermal_paths(),
        cgroups_path=cgroups_path,
        cgroup_namespace=os.path.exists("/proc/self/ns/cgroup"),
    )
    composed = spec.compose(request, findings)
    layer, entries = layers.place(views, directory)
    config.write_config(directory, composed)
    return Prepared(
        bundle=str(directory),
        mounts=entries,
        layer=layer,
        process=composed["process"],
        root_uid=0,
        root_gid=0,
        private_pid=True,
        cgroups_path=cgroups_path,
        rootfs=lower,
        is_plain=True,
    )


def _find_lower(request: CreateRequest, private: list[str]) -> str:
    """Return the real path of the directory that becomes the container's root."""
    if request.source.kind == "host":
        return "/"
    real = _find_directory("rootfs", request.source.path)
    if real == "/":
        raise errors.InvalidArgument("cannot use / as rootfs: use source host, which hides the machine's secrets")
    for path in private:
        if text.is_below(path, real):
            raise errors.InvalidArgument(f"cannot use {real} as rootfs: Wherry's own {path} is in it")
    return real


def _find_here(request: CreateRequest, private: list[str]) -> str:
    """Return the real path of the directory to show at its own place, "" for none."""
    if not request.source.here:
        return ""
    real = _find_directory("here", request.source.here)
    host.check_here(real, private)
    return real


def _find_directory(what: str, path: str) -> str:
    # What a link leads to is checked like what was given: it becomes part of mount options and messages.
    real = text.check_path(f"{what} directory", os.path.realpath(text.check_path(f"{what} directory", path)))
    if not os.path.exists(real):
        raise errors.NotFound(f"cannot use {path} as {what}: no such directory")
    if not os.path.isdir(real):
        raise errors.InvalidArgument(f"cannot use {path} as {what}: not a directory")
    return real
