"""Checkpoints of `types.API`: in directories of the client's choice, laid out as by the original (v0-system 7).

    <directory>/<name>/config.json      what was asked for
                       *.img ...        criu's image of the processes
                       criu.work/       the words of criu and the runtime
                       checkpoint.json  ours: what a restore needs to know besides

One is first written as any other of ours and then copied there, so that a directory is there as a whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wherry import errors
from wherry.api import v0_requests
from wherry.model import checkpoint as cp
from wherry.model import ids
from wherry.runtime import checkpoint as disk
from wherry.supervisor.live import LiveContainer
from wherry.supervisor.supervisor import Supervisor
from wherry.wire import v0_pb2 as pb

#: Where they are when no directory is given, below the bundle.
DEFAULT = "checkpoints"
_MAKING = ".making-"


def find_directory(bundle: str, given: str) -> Path:
    """Return the directory of all checkpoints. Raises FailedPrecondition for a bundle's that is a link elsewhere."""
    if given:
        return Path(given)
    found = Path(bundle) / DEFAULT
    if found.is_symlink():
        raise errors.FailedPrecondition(f"{found} is a link: give the directory that is meant as checkpointDir")
    return found


async def create(supervisor: Supervisor, live: LiveContainer, request: pb.CreateCheckpointRequest) -> None:
    """Write a container down. Raises AlreadyExists, FailedPrecondition, ResourceExhausted."""
    wanted = request.checkpoint
    target = find_directory(live.saved.bundle, request.checkpointDir) / wanted.name
    if os.path.lexists(target):
        raise errors.AlreadyExists(f"mkdir {target}: file exists")
    name = f"v0.{wanted.name[:96]}.{ids.make()}"
    namespace = live.disk.namespace
    info = await supervisor.checkpoint(
        cp.CheckpointRequest(
            id=live.id,
            namespace=namespace,
            name=name,
            exit=wanted.exit,
            tcp=wanted.tcp,
            unix_sockets=wanted.unixSockets,
            shell=wanted.shell,
            empty_ns=tuple(wanted.emptyNS),
        )
    )
    try:
        await supervisor.core.thread(_copy, supervisor.core.checkpoints.path(namespace, live.id, name), target, wanted)
    except OSError as error:
        kept = ""
        if info.exit:  # the container is gone: this is all that there is of it
            kept = f"; it is kept as checkpoint {name} of container {live.id}"
        else:
            await supervisor.delete_checkpoint(cp.CheckpointRef(id=live.id, namespace=namespace, name=name))
        found = errors.from_os(f"write checkpoint {target}", error)
        raise type(found)(f"{found.message}{kept}") from error
    await supervisor.delete_checkpoint(cp.CheckpointRef(id=live.id, namespace=namespace, name=name))


def _copy(source: Path, target: Path, wanted: pb.Checkpoint) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    making = target.with_name(f"{_MAKING}{target.name}")
    shutil.rmtree(making, ignore_errors=True)
    try:
        shutil.copytree(source / disk.IMAGE, making)
        making.chmod(0o700)
        shutil.copytree(source / disk.WORK, making / disk.V0_WORK)
        shutil.copy(source / disk.FILE, making / disk.FILE)
        (making / disk.V0_FILE).write_text(json.dumps(_to_config(wanted)))
        making.rename(target)
    except OSError:
        shutil.rmtree(making, ignore_errors=True)
        raise


def _to_config(wanted: pb.Checkpoint) -> dict[str, Any]:
    config = {
        "created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "name": wanted.name,
        "tcp": wanted.tcp,
        "unixSockets": wanted.unixSockets,
        "shell": wanted.shell,
        "exit": wanted.exit,
    }
    return config | ({"emptyNS": list(wanted.emptyNS)} if wanted.emptyNS else {})


def delete(live: LiveContainer, request: pb.DeleteCheckpointRequest) -> None:
    """Remove a checkpoint; one that is not there is fine. Blocks. Raises FailedPrecondition for what is none."""
    path = find_directory(live.saved.bundle, request.checkpointDir) / request.name
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not (path / disk.V0_FILE).is_file():
        raise errors.FailedPrecondition(f"cannot delete {path}: it is no checkpoint, there is no config.json in it")
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise errors.from_os(f"delete checkpoint {path}", error) from error


def list_all(live: LiveContainer, request: pb.ListCheckpointRequest) -> list[pb.Checkpoint]:
    """Return the checkpoints in a directory, as much as the original tells of each. Blocks. Raises NotFound."""
    directory = find_directory(live.saved.bundle, request.checkpointDir)
    try:
        names = sorted(path.name for path in directory.iterdir() if (path / disk.V0_FILE).is_file())
    except OSError as error:
        raise errors.NotFound(f"open {directory}: {(error.strerror or str(error)).lower()}") from error
    found = []
    for name in names:
        if ids.PATTERN.fullmatch(name):
            info = disk.load(directory / name)[0]
            found.append(pb.Checkpoint(name=name, tcp=info.tcp, shell=info.shell, unixSockets=info.unix_sockets))
    return found


def find(bundle: str, name: str, given: str) -> Path:
    """Return the checkpoint that a container is to be made from. Raises InvalidArgument and NotFound."""
    v0_requests.check_checkpoint(name, given)
    path = find_directory(bundle, given) / name
    if not (path / disk.V0_FILE).is_file():
        raise errors.NotFound(f"shim error: open {path / disk.V0_FILE}: no such file or directory")
    return path
