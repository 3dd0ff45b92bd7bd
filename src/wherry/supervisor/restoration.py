"""Containers that go on where a checkpoint was written: the one that was written down, or clones of it.

A container that is to go on has the checkpoint in its record from before its process is made until it is started anew,
so that the next supervisor does the same. It is made, and told, like any other; only the runtime's command differs.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Awaitable
from pathlib import Path

from wherry import errors
from wherry.linux import failpoint, files, pidfd
from wherry.model import frame, ids
from wherry.model.checkpoint import CheckpointInfo
from wherry.model.lifecycle import Change, State
from wherry.oci import bundle
from wherry.runtime import checkpoint as disk
from wherry.runtime import criu as criu_module
from wherry.runtime import record, removal
from wherry.supervisor import birth, checkpoint, deletion, patience, restart, storage, update
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)

#: Seconds in which criu must have made all processes: it reads gigabytes, and nobody else waits for it.
TIMEOUT = 600.0
#: criu's options in the process directory, and its log in a directory of the checkpoint's `work`.
_CONFIG = "criu.conf"
_LOG = "restore.log"


def refer(info: CheckpointInfo) -> str:
    """Return how a container's record names a checkpoint."""
    return f"{info.id}/{info.name}"


def _locate(core: Core, live: LiveContainer) -> Path:
    if live.saved.checkpoint.startswith("/"):  # of types.API
        return Path(live.saved.checkpoint)
    container_id, _, name = live.saved.checkpoint.partition("/")
    return core.checkpoints.path(live.disk.namespace, container_id, name)


def _work(core: Core, live: LiveContainer) -> Path:
    return disk.find_work(_locate(core, live)) / f"restore-{live.id}"


async def fill(core: Core, live: LiveContainer) -> None:
    """Give a container that goes on from a checkpoint the content of the layer that was written down."""
    await core.thread(storage.put_back, live.disk.storage)  # what an earlier try could not
    if not live.saved.checkpoint or not live.saved.layer:
        return
    layer = _locate(core, live) / disk.LAYER
    if live.saved.layer == "tmpfs" and layer.is_dir():
        raise errors.FailedPrecondition(
            f"cannot restore container {live.id}: its writable layer would be in memory, since {core.settings.root_dir}"
            " is on a filesystem that cannot hold one"
        )
    await storage.copy_in(core, layer, live.disk.storage)
    # The machine where it was written may have hidden other things, and the archive it came in anything.
    await core.thread(bundle.hide, live.saved.request, live.disk.storage, core.directories.find_own())


def find_timeout(core: Core) -> float:
    """Return the seconds that the shim has for making a container's processes from a checkpoint."""
    return max(TIMEOUT, core.settings.start_timeout)


async def find_fields(core: Core, live: LiveContainer, init: LiveProcess) -> dict[str, list[str]]:
    """Return what the zygote is asked for instead of a process that begins: argv, environment, time."""
    what = f"cannot restore container {live.id}"
    criu = await core.find_working_criu(what)
    path = _locate(core, live)
    info, outside = disk.load(path)
    directory = init.opened().directory
    # The first descriptor of those that were the same file: criu finds it by the file.
    first = {key: fd for fd, key in reversed(list(enumerate(outside.streams))) if key}
    if outside.network:
        first[disk.NETWORK] = frame.NETWORK_FD
    lines = [f"inherit-fd fd[{fd}]:{key}\n" for key, fd in first.items()]
    files.write_whole(directory / _CONFIG, "".join(lines).encode())
    disk.check_image(path)
    work = _work(core, live)
    removal.remove_tree(work)
    try:
        work.parent.mkdir(mode=0o700, exist_ok=True)
        work.mkdir(mode=0o700)
    except FileNotFoundError as error:
        raise errors.NotFound(f"{what}: its checkpoint was deleted meanwhile") from error
    options = ["--image-path", str(disk.find_image(path)), "--work-path", str(work), *checkpoint.flags(info)]
    terminal = bool(init.spec.get("terminal"))
    place = _write_bundle(live, directory)
    argv = core.driver(live).restore_argv(live.id, place, directory, options, terminal=terminal)
    env = [f"{name}={value}" for name, value in criu.environment(directory / _CONFIG).items()]
    network = ["1" if outside.network else "0"]
    return {"argv": argv, "env": env, "network": network, "timeout": [str(find_timeout(core))]}


def _write_bundle(live: LiveContainer, directory: Path) -> str:
    """Return a bundle without a limit of processes: criu and its helpers are in the container while they make it."""
    config = bundle.load_config(Path(live.saved.bundle) / "config.json")
    resources = (config.get("linux") or {}).get("resources") or {}
    if not resources.get("pids"):
        return live.saved.bundle
    del resources["pids"]
    root = config["root"]
    root["path"] = os.path.join(live.saved.bundle, root["path"])
    made = directory / "bundle"
    made.mkdir(mode=0o700)
    record.write_json(made / "config.json", config)
    return str(made)


async def spawn(core: Core, live: LiveContainer, work: Awaitable[int]) -> int:
    """Return what `work` does, the process that criu has made. Raises what criu says; ends one that gets nowhere."""
    watching = core.tasks.start(patience.watch(core, live, _work(core, live)), f"watch criu of {live.id}")
    try:
        return await work
    except errors.WherryError as error:
        log = _work(core, live) / _LOG
        problem = criu_module.read_problem(log)
        if not problem:
            raise
        said = f"{problem}; criu's log is {log}"
        raise errors.FailedPrecondition(f"cannot restore container {live.id}: {said}") from error
    finally:
        watching.cancel()


async def tell(core: Core, live: LiveContainer) -> None:
    """Tell that a container is to go on from a checkpoint; its start is told once it does."""
    await core.emit(live, "restore", process=ids.INIT, reason=live.saved.checkpoint.rpartition("/")[2])


async def begun(core: Core, live: LiveContainer) -> None:
    """Do what is left once a container goes on: set what updates had changed, remove criu's log, which nobody needs."""
    if not live.saved.checkpoint:
        return
    await _limit(core, live)
    await core.thread(storage.let_go, live.disk.storage)
    await core.thread(shutil.rmtree, _work(core, live), ignore_errors=True)


async def _limit(core: Core, live: LiveContainer) -> None:
    """Set what updates had changed, and the limit of processes; raises why it cannot be, unless it has ended by now.

    Without them it must not run: somebody relies on them, and what was written down is still there.
    """
    init = live.process(ids.INIT)
    try:
        await update.reapply(core, live, pids=True)
    except errors.WherryError as error:
        if not await core.thread(pidfd.wait_end, init.pid, init.opened().starttime, birth.END_GRACE):
            raise
        _logger.info("container %s has ended at once: %s", live.id, error)


async def recover(core: Core, live: LiveContainer) -> None:
    """Do what is left of a restore in which the supervisor died, or end what cannot go on."""
    if not live.saved.checkpoint or live.state is not State.RUNNING or not _work(core, live).exists():
        return
    try:
        await begun(core, live)
    except (errors.WherryError, OSError) as error:
        _logger.error("container %s: %s", live.id, error)
        live.problem = str(error)
        await deletion.end_told(core, live)


async def interrupt(core: Core, live: LiveContainer) -> None:
    """End the making of a container from a checkpoint: it is to be deleted."""
    if live.saved.checkpoint and live.state in (State.CREATING, State.RESTARTING):
        await core.thread(criu_module.end_workers, _work(core, live))


async def go_back(core: Core, live: LiveContainer, info: CheckpointInfo) -> None:
    """Let a container that has ended go on where the checkpoint was written; on failure it is as it was, ended."""
    async with live.lock:
        if live.state not in (State.STOPPED, State.RESTARTING):
            raise errors.FailedPrecondition(f"cannot restore container {live.id}: it is {live.state.value}")
        if live.saved.request != info.request:
            raise errors.FailedPrecondition(
                f"cannot restore container {live.id}: the one that is there was made from a different request; delete"
                " it first"
            )
        if live.saved.request.auto_remove:
            raise errors.FailedPrecondition(f"cannot restore container {live.id}: it is being deleted; try again")
        restart.cancel(live)
        before = live.saved
        live.change(
            Change.RESTART,
            checkpoint=refer(info),
            goal=State.RUNNING.value,
            restart_at_ns=time.time_ns(),
            attempts=0,
            by_hand=False,
            wants_restart=False,
            end_reason="",
            limits=info.limits,
        )
        failpoint.hit("restore.recorded")
        await tell(core, live)
        failpoint.hit("restore.journaled")
        try:
            await restart.make_and_start(core, live)
        except errors.WherryError:
            if live.state is State.RESTARTING:
                live.put_back(before)
                restart.schedule(core, live)
            raise


def check_clonable(info: CheckpointInfo) -> None:
    """Raise FailedPrecondition for a container that cannot be there several times."""
    source = info.request.source
    what = f"cannot clone container {info.id}"
    if source.kind == "bundle" or source.writable:
        raise errors.FailedPrecondition(
            f"{what}: its clones would all write to {source.path}; one of host, or of rootfs:DIR without --rootfs-rw,"
            " has a layer of its own"
        )
    if info.request.stdio.mode == "fifo":
        raise errors.FailedPrecondition(f"{what}: its streams are FIFOs of a client, which its clones would share")


def find_runtime(info: CheckpointInfo) -> str:
    """Return where the runtime is that has written a checkpoint: no other reads it. Raises FailedPrecondition."""
    is_here = info.runtime.startswith("/") and os.access(info.runtime, os.X_OK)
    path = info.runtime if is_here else shutil.which(os.path.basename(info.runtime))
    if not path:
        name = os.path.basename(info.runtime)
        raise errors.FailedPrecondition(
            f"cannot restore container {info.id}: {name}, which wrote {info.name}, is not on PATH"
        )
    return path


def check_new_ids(core: Core, namespace: str, new_ids: tuple[str, ...]) -> None:
    """Raise InvalidArgument or AlreadyExists unless a container can be made of each."""
    if not new_ids:
        raise errors.InvalidArgument("cannot clone: no id for a clone is given")
    for new in new_ids:
        ids.check("container id", new)
        if new_ids.count(new) > 1:
            raise errors.InvalidArgument(f"cannot clone: id {new!r} is given twice")
        if (namespace, new) in core.containers:
            raise errors.AlreadyExists(f"cannot clone to container {new}: it exists")
