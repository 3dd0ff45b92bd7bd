"""Checkpoints: the processes of a container, written down with all that is needed to let them go on.

Field names are those of `wire/wherry_v1.proto`. A checkpoint belongs to a container's id, not to one container: it
stays when that is deleted.
"""

from __future__ import annotations

from wherry.model import ids
from wherry.model.request import CreateRequest, Limits
from wherry.model.value import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRequest:
    """Write down a running container as `name`; it goes on, or with `exit` ends once that is done.

    `tcp` allows established TCP connections, `unix_sockets` sockets whose other end is outside, `shell` processes of a
    session that is led from outside, `empty_ns` are namespaces that are made anew at a restore instead of being written
    down (criu(8): --tcp-established, --ext-unix-sk, --shell-job, --empty-ns). `pre_copy` times (0 to 16) memory is
    copied while the container runs, so that it stands still for less.
    """

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    name: str = ""
    exit: bool = False
    tcp: bool = False
    unix_sockets: bool = False
    shell: bool = False
    empty_ns: tuple[str, ...] = ()
    pre_copy: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRef:
    """Names a checkpoint of a container."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListCheckpointsRequest:
    """List checkpoints: of the container `id`, "" of all; `namespace` "" means every namespace."""

    id: str = ""
    namespace: str = ids.DEFAULT_NAMESPACE


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportRequest:
    """Take a checkpoint from an archive, as `name` of the container `id` ("": what the archive says).

    What it asks for of this host it has only by one of `grants`: `privileged`, `network=host`, `cap=NAME`, `path=PATH`
    or `path=THERE:HERE` for each path of the host that it names, `runtime=NAME` for one but crun and runc,
    `runtime-args`, `no-pivot`, `unix-sockets`, or `all`.
    """

    id: str = ""
    namespace: str = ids.DEFAULT_NAMESPACE
    name: str = ""
    grants: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointPiece:
    """The next bytes of an archive."""

    data: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class CloneRequest:
    """Make a container of each of `new_ids` from the checkpoint `name` of `id`; "": from it as it runs now."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    name: str = ""
    new_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointInfo:
    """What is known of a checkpoint.

    `generation` tells of which container of that id it is. `request` is what made the container, `limits` what updates
    had changed, `started_at_ns` when it had started. `frozen_us` is for how many microseconds it stood still,
    `image_bytes` the size of the processes' image, `layer_bytes` that of its writable layer. `runtime` is the path of
    the runtime that wrote it; what criu, the runtime and the kernel were tells whether a restore elsewhere can
    succeed.
    """

    id: str
    namespace: str
    name: str
    generation: int
    created_at_ns: int
    exit: bool = False
    tcp: bool = False
    unix_sockets: bool = False
    shell: bool = False
    empty_ns: tuple[str, ...] = ()
    pre_copy: int = 0
    request: CreateRequest = CreateRequest()
    limits: Limits = Limits()
    started_at_ns: int = 0
    frozen_us: int = 0
    image_bytes: int = 0
    layer_bytes: int = 0
    runtime: str = ""
    runtime_version: str = ""
    criu_version: str = ""
    kernel: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointList:
    """The checkpoints asked for, oldest first."""

    checkpoints: tuple[CheckpointInfo, ...] = ()
