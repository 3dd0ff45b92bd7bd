"""How containers and execs come to be. Each step leaves on disk what recovery needs to finish or undo it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any

from wherry import errors
from wherry.linux import cgroup, failpoint, pidfd
from wherry.model import codec, frame, ids
from wherry.model import request as req
from wherry.model.lifecycle import Change, State
from wherry.oci import bundle
from wherry.runtime import driver as drivers
from wherry.runtime import log
from wherry.runtime.container import Directories
from wherry.runtime.process import Process
from wherry.supervisor import death, deletion, health, kill, oom, restoration, update
from wherry.supervisor.core import Core
from wherry.supervisor.live import EXTRA, LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)

LOG_MAX_BYTES = 16 * 1024 * 1024
LOG_MAX_FILES = 4
#: Seconds for a container to end at which a runtime has just failed.
END_GRACE = 0.5
#: Seconds for `start` of a runtime to come to an end when the container has.
START_GRACE = 2.0
#: Finished execs whose record and log are kept per container.
KEPT_EXECS = 64


async def create(core: Core, live: LiveContainer) -> None:
    """Make a registered container; on failure nothing is left of it, on disk or in memory."""
    try:
        async with live.lock, core.starts:
            await _create(core, live)
    except asyncio.CancelledError:
        raise  # the supervisor closes; the next one finishes this or undoes it
    except Exception as error:
        live.failure = name_error(f"create container {live.id}", error)
        await (deletion.undo if live.state is State.CREATING else deletion.undo_told)(core, live)
        raise live.failure from error
    finally:
        live.made.set()


def name_error(what: str, error: Exception) -> errors.WherryError:
    """Return `error` as one of ours: one that is not ours names what could not be done."""
    if isinstance(error, errors.WherryError):
        return error
    return errors.from_os(what, error) if isinstance(error, OSError) else errors.Internal(f"cannot {what}: {error!r}")


async def _create(core: Core, live: LiveContainer) -> None:
    request = live.saved.request
    runtime = live.saved.runtime or await core.runtimes.resolve(request.runtime)
    prepared = await core.thread(_prepare, live, core.directories)
    _check_cgroup(core, live, prepared.cgroups_path)
    live.save(
        runtime=runtime,
        bundle=prepared.bundle,
        rootfs=prepared.rootfs,
        cgroup=prepared.cgroups_path,
        layer=prepared.layer,
        private_pid=prepared.private_pid,
        root_uid=prepared.root_uid,
        root_gid=prepared.root_gid,
        mounts=tuple(frame.PART.join(str(part) for part in mount) for mount in prepared.mounts),
        is_plain=prepared.is_plain,
    )
    failpoint.hit("create.prepared")
    await restoration.fill(core, live)
    await make(core, live, prepared.process)


def _check_cgroup(core: Core, live: LiveContainer, path: str) -> None:
    """Refuse a bundle's cgroup in which somebody else is: all that is in it dies with the container."""
    what = f"cannot create container {live.id}: its cgroup {path}"
    if path and f"{cgroup.read_path(os.getpid())}/".startswith(f"{path.rstrip('/')}/"):
        raise errors.InvalidArgument(f"{what} is the one that this supervisor is in")
    for other in core.containers.values():
        theirs = other.saved.cgroup
        if path and theirs and (f"{theirs}/".startswith(f"{path}/") or f"{path}/".startswith(f"{theirs}/")):
            raise errors.FailedPrecondition(f"{what} and {theirs} of container {other.id} are not apart")


def _prepare(live: LiveContainer, directories: Directories) -> bundle.Prepared:
    """Make the directories, and the bundle in them. Until state.json is there they are nobody's, and swept."""
    live.disk.create()
    return bundle.prepare(
        live.saved.request,
        live.disk.storage,
        cgroups_path=f"/wherry~{live.id[:100]}~{live.saved.generation:x}",
        hidden=directories.find_own(),
    )


async def make(core: Core, live: LiveContainer, process: dict[str, Any]) -> None:
    """Make the container's own process from the OCI `process`, for the first time or again; let it run if it is to.

    In one call of the runtime, unless there is something to do in between. What goes on from a checkpoint runs at once.
    """
    # A cgroup that a stranger chooses must be looked up before the container may have ended.
    is_told = bool(live.saved.cgroup) or core.driver(live).is_known
    runs = live.saved.goal == State.RUNNING.value and is_told and not update.has_late(live)
    init = await _launch(core, live, process, runs=runs)
    if runs or live.saved.checkpoint:
        await begun(core, live, init)
        await restoration.begun(core, live)
    else:
        await update.reapply(core, live)
        await created(core, live, init)


async def _launch(core: Core, live: LiveContainer, process: dict[str, Any], *, runs: bool) -> LiveProcess:
    saved = live.saved
    live.is_released = False
    init = LiveProcess(ids.INIT, process_spec(live, process, saved.request.stdio, False), State.CREATING)
    live.processes[ids.INIT] = init
    init.disk = Process.create(live.disk.process_directory(ids.INIT), init.spec)
    failpoint.hit("create.directory")
    fields = _job(core, live, init)
    fields["mount"] = list(saved.mounts)
    driver, terminal = core.driver(live), bool(init.spec.get("terminal"))
    if saved.checkpoint:
        fields |= await restoration.find_fields(core, live, init)
    else:
        argv = driver.run_argv if runs else driver.create_argv
        fields["argv"] = argv(live.id, saved.bundle, init.disk.directory, terminal=terminal)
    if not saved.private_pid:
        fields["sweep"] = driver.kill_all_argv(live.id)
    driver.root.mkdir(mode=0o700, exist_ok=True)
    if saved.checkpoint:
        init.pid = await restoration.spawn(core, live, _spawn(core, live, init, fields, f"restore container {live.id}"))
    else:
        init.pid = await _spawn(core, live, init, fields, f"create container {live.id}")
    failpoint.hit("create.spawned")
    return init


async def created(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    """Record that the container's process exists, and begin to watch it."""
    await _record_creation(core, live, init, state=live.check(Change.CREATED).value)
    init.state = State.CREATED
    oom.begin(core, live)
    death.watch(core, live, init)


async def begun(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    """Record that the container's process exists and runs, in one step, and begin to watch it."""
    live.check(Change.CREATED)
    await _record_creation(core, live, init, **_start_fields(live, init))
    await _tell_start(core, live, init)
    oom.begin(core, live)
    death.watch(core, live, init)
    await health.begin(core, live)


async def _record_creation(core: Core, live: LiveContainer, init: LiveProcess, **fields: Any) -> None:
    is_first = not live.saved.created_at_ns
    if not live.saved.cgroup:
        fields |= find_cgroup(core, live, init)
    live.save(created_at_ns=live.saved.created_at_ns or time.time_ns(), **fields)
    failpoint.hit("create.saved")
    if is_first:
        await core.emit(live, "create", process="")
        if live.saved.checkpoint:
            await restoration.tell(core, live)
    failpoint.hit("create.journaled")


def find_cgroup(core: Core, live: LiveContainer, init: LiveProcess) -> dict[str, Any]:
    """Return what to save of a cgroup that the runtime has chosen: none when it is one that we are in, too.

    Only a runtime that has put it below the same path everywhere leaves us all that is to be removed.
    """
    driver = core.driver(live)
    path, is_whole = driver.read_cgroup(live.id) if driver.is_known else ("", False)
    path, own = path or cgroup.read_path(init.pid), cgroup.read_path(os.getpid())
    if not path or f"{own}/".startswith(f"{path}/"):
        path = ""
    return {"cgroup": path, "is_plain": live.saved.is_plain and is_whole and bool(path)}


def process_spec(
    live: LiveContainer, process: dict[str, Any], stdio: req.Stdio, is_exec: bool, limit: float = 0
) -> dict[str, Any]:
    """Return process.json: the OCI process with the ancestor's keys (v0-system 1.2) and ours."""
    return process | {
        "exec": is_exec,
        "containerdStdin": stdio.stdin,
        "containerdStdout": stdio.stdout,
        "containerdStderr": stdio.stderr,
        "runtimeArgs": list(live.saved.request.runtime_args),
        "noPivotRoot": live.saved.request.no_pivot,
        "checkpoint": live.saved.checkpoint if not is_exec else "",
        "rootUID": live.saved.root_uid,
        "rootGID": live.saved.root_gid,
        EXTRA: {"stdio": codec.to_plain(stdio), "created_at_ns": time.time_ns(), "limit": limit},
    }


def _job(core: Core, live: LiveContainer, process: LiveProcess) -> dict[str, list[str]]:
    """Return what the zygote is asked for (docs/protocol.md), but for `argv` and `mount`."""
    stdio = process.stdio
    values = {
        "name": f"{live.disk.namespace}/{live.id}/{process.id}",
        "directory": str(process.opened().directory),
        "init": "1" if process.id == ids.INIT else "0",
        "stdio": "managed" if stdio.mode == "managed" else "fifo",
        "stdin": stdio.stdin,
        "stdout": stdio.stdout,
        "stderr": stdio.stderr,
        "stdin_open": "1" if stdio.stdin_open else "0",
        "terminal": "1" if process.spec.get("terminal") else "0",
        "width": str(stdio.width),
        "height": str(stdio.height),
        "log": str(live.disk.log_path(process.id)),
        "log_max_bytes": str(stdio.log_max_bytes or LOG_MAX_BYTES),
        "log_max_files": str(stdio.log_max_files or LOG_MAX_FILES),
        "root_uid": str(live.saved.root_uid),
        "root_gid": str(live.saved.root_gid),
        "timeout": str(core.settings.start_timeout),
        "limit": str(process.extra.get("limit", 0)),
    }
    return {key: [value] for key, value in values.items()}


async def _spawn(core: Core, live: LiveContainer, process: LiveProcess, fields: dict[str, list[str]], what: str) -> int:
    disk = process.opened()
    exit_fd = disk.open_exit_writer()
    path = live.disk.log_path(process.id)
    begin = path.stat().st_size if path.exists() else 0
    try:
        return await core.zygote.spawn_shim(fields, exit_fd, float(fields["timeout"][0]))
    except errors.RuntimeFailed as error:
        # Until its process runs, the log holds nothing else behind what it held.
        said = drivers.words(drivers.read_log(disk.directory / "log.json"), log.read_end(path, begin))
        raise _name_command(drivers.failure(what, int(error.message), said), process) from None
    except errors.WherryError as error:
        raise type(error)(f"cannot {what}: {error.message}") from error
    finally:
        os.close(exit_fd)


def _name_command(error: errors.WherryError, process: LiveProcess) -> errors.WherryError:
    """Add the command to an error about it: crun's do not name it."""
    command = str(process.spec["args"][0])
    if isinstance(error, errors.CommandNotFound | errors.CommandNotExecutable) and command not in error.message:
        return type(error)(f"{error.message}: {command}")
    return error


async def start(core: Core, live: LiveContainer) -> None:
    """Let a created container run. When the runtime fails, the container is ended and the error tells why."""
    async with live.lock:
        await start_locked(core, live)


async def start_locked(core: Core, live: LiveContainer) -> None:
    """Do what `start` does; the caller holds the lock."""
    live.check(Change.STARTED)
    init = live.process(ids.INIT)
    if live.saved.goal != State.RUNNING.value:
        live.save(goal=State.RUNNING.value)
    failpoint.hit("start.recorded")
    try:
        await _let_run(core, live, init)
    except errors.WherryError as error:
        had_ended = await _has_ended(core, init)
        await core.thread(kill.kill_now, live, init)
        raise _blame(error, live, had_ended) from error
    failpoint.hit("start.started")
    await started(core, live, init)


async def _let_run(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    # crun opens a FIFO for writing whose reader is `init`: one that is killed in between leaves it there for ever.
    try:
        async with init.outlived(START_GRACE):
            await core.driver(live).start(live.id, init.opened().directory)
    except TimeoutError:
        raise errors.FailedPrecondition(f"cannot start container {live.id}: it has ended meanwhile") from None


async def _has_ended(core: Core, process: LiveProcess) -> bool:
    """Tell whether a process has ended, or does just now: `init` takes its time, until all below it have ended."""
    starttime = process.opened().starttime
    return process.settled.is_set() or await core.thread(pidfd.wait_end, process.pid, starttime, END_GRACE)


def _blame(error: errors.WherryError, live: LiveContainer, had_ended: bool) -> errors.WherryError:
    """Return the error to tell: a runtime has many words for a container that dies under its hands."""
    if had_ended and isinstance(error, errors.RuntimeFailed):
        return errors.FailedPrecondition(f"container {live.id} has ended meanwhile: {error.message}")
    return error


async def started(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    """Record that a created container runs."""
    live.check(Change.STARTED)
    fields = _start_fields(live, init)
    # It runs. Who heard of a failure would start it again, and have it killed for running already.
    await core.insist(lambda: live.save(**fields))
    failpoint.hit("start.saved")
    await _tell_start(core, live, init)
    await health.begin(core, live)


def _start_fields(live: LiveContainer, init: LiveProcess) -> dict[str, Any]:
    """Return what is to be saved of a start, after what is to be done for it."""
    if live.saved.request.ttl:
        # In the shim, so that nobody else needs to be alive for it. A start finished after a restart counts from then.
        init.opened().set_limit(live.saved.request.ttl)
    running = State.RUNNING.value
    status = health.STARTING if live.saved.request.health.args else ""
    return {"state": running, "started_at_ns": time.time_ns(), "goal": running, "restart_at_ns": 0, "health": status}


async def _tell_start(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    init.state = State.RUNNING
    init.started_at_ns = live.saved.started_at_ns
    await core.emit(live, "start", process=ids.INIT, pid=init.pid, count=live.saved.restarts)
    failpoint.hit("start.journaled")


async def exec(core: Core, live: LiveContainer, process: LiveProcess, request: req.ExecRequest) -> None:
    """Start a registered exec; on failure nothing is left of it."""
    try:
        async with core.starts:
            await _exec(core, live, process, request)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        await undo_exec(core, live, process)
        raise name_error(f"exec in container {live.id}", error) from error


async def _exec(core: Core, live: LiveContainer, process: LiveProcess, request: req.ExecRequest) -> None:
    what = f"exec {process.id} in container {live.id}"
    if live.state is not State.RUNNING:
        raise errors.FailedPrecondition(f"cannot {what}: it is {live.state.value}")
    base = {key: value for key, value in live.process(ids.INIT).spec.items() if key != EXTRA}
    init = live.init
    spec = await core.thread(bundle.exec_process, base, request, live.saved.rootfs)
    if live.saved.state != State.RUNNING.value or live.init is not init:  # by now
        raise errors.FailedPrecondition(f"cannot {what}: container {live.id} has ended")
    process.spec = process_spec(live, spec, request.stdio, True, request.timeout)
    process.disk = Process.create(live.disk.process_directory(process.id), process.spec)
    failpoint.hit("exec.directory")
    fields = _job(core, live, process)
    terminal = bool(process.spec.get("terminal"))
    fields["argv"] = core.driver(live).exec_argv(live.id, process.disk.directory, terminal=terminal)
    try:
        process.pid = await _spawn(core, live, process, fields, what)
    except errors.RuntimeFailed as error:
        raise _blame(error, live, await _has_ended(core, live.process(ids.INIT))) from error
    failpoint.hit("exec.spawned")
    await exec_started(core, live, process)


async def exec_started(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    """Record that an exec runs, and begin to watch it."""
    process.change(Change.STARTED)
    process.started_at_ns = time.time_ns()
    if not process.is_check:
        await core.emit(live, "start", process=process.id, pid=process.pid)
        failpoint.hit("exec.journaled")
    death.watch(core, live, process)


async def undo_exec(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    """Take back an exec that failed, or that nobody finished."""
    try:
        if process.disk is not None:
            await core.thread(kill.end_shim, process.disk)
            await core.thread(kill.kill_now, live, process)
            await core.thread(kill.kill_unknown, live)
            await core.thread(live.disk.remove_process, process.id)
    except (errors.WherryError, OSError) as error:
        _logger.error("cannot undo process %s of container %s: %s", process.id, live.id, error)
    finally:
        # Whatever is left of it: the end of its container waits for this.
        process.let_go()
        live.processes.pop(process.id, None)
        process.settle(None)


def forget_exec(live: LiveContainer, process_id: str) -> None:
    """Free the id of an exec that has ended, and remove its few files; one that has not is left alone."""
    process = live.processes.get(process_id)
    if process is not None and process.id != ids.INIT and process.state is State.STOPPED:
        del live.processes[process_id]
        live.disk.remove_process(process_id)


async def prune_execs(core: Core, live: LiveContainer) -> None:
    """Forget the oldest finished execs beyond KEPT_EXECS: a container that lives long must not fill the disk."""
    finished = [process for process in live.execs if process.state is State.STOPPED]
    for process in finished[: max(0, len(finished) - KEPT_EXECS)]:
        live.processes.pop(process.id, None)
        await core.thread(live.disk.remove_process, process.id)
