"""What a checkpoint from elsewhere may have of this host: nothing that whoever brings it does not grant by name."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wherry import errors
from wherry.model import codec, ids
from wherry.model.checkpoint import CheckpointInfo, ImportRequest
from wherry.model.request import CreateRequest, Mount
from wherry.oci import bundle, limits, text
from wherry.runtime.checkpoint import MAX_PRE_COPY, MOVING, Outside
from wherry.runtime.driver import KNOWN

#: The grant of everything, for what one has written oneself.
ALL = "all"
_PATH = "path="
_PLAIN = frozenset({ALL, "privileged", "network=host", "runtime-args", "no-pivot", "unix-sockets"})
_CAPABILITY = re.compile(r"cap=[A-Z_]{1,32}")
#: By which criu knows a file (runtime/checkpoint.py); it becomes a line of criu's configuration.
_STREAM = re.compile(r"|file\[[0-9a-f]{1,16}:[0-9a-f]{1,16}\]")
#: A runtime's name, which is looked up on PATH.
_RUNTIME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_RUNTIME_GRANT = re.compile(f"runtime={_RUNTIME.pattern}")
_MAX_TEXT = 1024


def check(grants: Iterable[str]) -> None:
    """Raise InvalidArgument for a grant that means nothing."""
    for grant in grants:
        if grant in _PLAIN or _CAPABILITY.fullmatch(grant) or _RUNTIME_GRANT.fullmatch(grant):
            continue
        old, _, new = grant.removeprefix(_PATH).partition(":")
        if not grant.startswith(_PATH) or not old.startswith("/") or (new and not new.startswith("/")):
            raise errors.InvalidArgument(
                f"grant {text.shorten(grant)} is not valid: {', '.join(sorted(_PLAIN))}, cap=NAME,"
                " runtime=NAME, path=/PATH and path=/THERE:/HERE are"
            )


def adopt(facts: Mapping[str, Any], wanted: ImportRequest) -> tuple[CheckpointInfo, Outside]:
    """Return what is to be known here of a checkpoint of which `facts` are told.

    Raises InvalidArgument for facts that are not what they should be, PermissionDenied naming each grant that is
    missing.
    """
    check(wanted.grants)
    try:
        info = codec.from_plain(CheckpointInfo, dict(facts))
        outside = codec.from_plain(Outside, facts.get("outside"), "outside.")
    except ValueError as error:
        raise errors.InvalidArgument(f"the archive is not taken: {error}") from error
    new_id, name = wanted.id or info.id, wanted.name or info.name
    ids.check("container id", new_id)
    ids.check("checkpoint name", name.removeprefix(MOVING) if wanted.name else name)
    _check_facts(info, outside)
    request = dataclasses.replace(info.request, id=new_id, namespace=wanted.namespace)
    bundle.validate(request)
    limits.check(info.limits)
    return (
        dataclasses.replace(
            info,
            id=new_id,
            namespace=wanted.namespace,
            name=name,
            generation=0,
            request=_grant(request, info, wanted.grants),
            runtime=_name_runtime(info.runtime),
        ),
        outside,
    )


def _check_facts(info: CheckpointInfo, outside: Outside) -> None:
    for field in dataclasses.fields(info):
        value = getattr(info, field.name)
        if isinstance(value, str):
            text.check_line(field.name, value, limit=_MAX_TEXT)
        elif isinstance(value, int) and not 0 <= value < 2**63:
            raise errors.InvalidArgument(f"{field.name} {value} is not valid: it is no 63-bit number")
    if info.pre_copy > MAX_PRE_COPY:
        raise errors.InvalidArgument(f"pre_copy {info.pre_copy} is not between 0 and {MAX_PRE_COPY} rounds")
    if not all(re.fullmatch(r"[a-z]{1,16}", name) for name in info.empty_ns):
        raise errors.InvalidArgument(f"empty_ns {info.empty_ns!r} is not valid")
    if len(outside.streams) > 3 or not all(_STREAM.fullmatch(key) for key in outside.streams):
        raise errors.InvalidArgument("streams of the checkpoint are not valid")


def _name_runtime(path: str) -> str:
    name = os.path.basename(path)
    if _RUNTIME.fullmatch(name) is None:
        raise errors.InvalidArgument(f"runtime {text.shorten(path)} is not valid: a name on PATH is expected")
    return name


def _is_known(runtime: str) -> bool:
    # Any other name is one of any program of this host.
    return not runtime or os.path.basename(runtime) in KNOWN


def _grant(request: CreateRequest, info: CheckpointInfo, grants: Sequence[str]) -> CreateRequest:
    """Return the request with this host's paths. Raises PermissionDenied when it asks for what is not granted."""
    needed = {
        "privileged": request.privileged,
        "network=host": request.network == "host",
        "runtime-args": bool(request.runtime_args),
        "no-pivot": request.no_pivot,
        "unix-sockets": info.unix_sockets,
        **{f"cap={name.upper().removeprefix('CAP_')}": True for name in request.cap_add},
        **{f"runtime={_name_runtime(path)}": True for path in (info.runtime, request.runtime) if not _is_known(path)},
    }
    paths = _find_paths(request)
    places = dict(grant.removeprefix(_PATH).partition(":")[::2] for grant in grants if grant.startswith(_PATH))
    missing = [grant for grant, is_needed in needed.items() if is_needed and grant not in grants]
    missing += [f"{_PATH}{path}" for path in paths if path not in places]
    if missing and ALL not in grants:
        raise errors.PermissionDenied(
            "the archive is not taken: it asks for what it is not granted; to grant that: "
            + " ".join(f"--grant {text.shorten(grant)}" for grant in missing)
        )
    if ALL not in grants and "/" in request.runtime:
        request = dataclasses.replace(request, runtime=_name_runtime(request.runtime))
    return _move(request, {old: new or old for old, new in places.items()})


def _find_paths(request: CreateRequest) -> list[str]:
    """Return every path of the host that a request names."""
    source, stdio = request.source, request.stdio
    named = [source.path, source.here, stdio.stdin, stdio.stdout, stdio.stderr]
    named += [mount.source for mount in request.mounts if mount.type == "bind"]
    return list(dict.fromkeys(path for path in named if path))


def _move(request: CreateRequest, places: Mapping[str, str]) -> CreateRequest:
    def place(path: str) -> str:
        return places.get(path, path)

    def move(mount: Mount) -> Mount:
        return dataclasses.replace(mount, source=place(mount.source)) if mount.type == "bind" else mount

    source, stdio = request.source, request.stdio
    if place(source.here) != source.here:
        raise errors.InvalidArgument(
            f"grant path={source.here} is not valid with another place: the container sees it at its own"
        )
    return dataclasses.replace(
        request,
        source=dataclasses.replace(source, path=place(source.path)),
        mounts=tuple(map(move, request.mounts)),
        stdio=dataclasses.replace(
            stdio, stdin=place(stdio.stdin), stdout=place(stdio.stdout), stderr=place(stdio.stderr)
        ),
    )
