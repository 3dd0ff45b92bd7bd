"""Running containers written down: frozen, their layer copied, their processes dumped by criu, and let go on, or not.

The container's lock is held meanwhile. Its state on disk is `checkpointing`, with the name, from before the first step
until after the event: what a dead supervisor was in the middle of is finished, if criu was done, or undone. criu itself
is never interrupted: it has code of its own in the processes, and who kills it kills them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import platform
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wherry import errors
from wherry.linux import cgroup, failpoint, files
from wherry.model import ids
from wherry.model.checkpoint import CheckpointInfo, CheckpointRequest
from wherry.model.lifecycle import Change, State
from wherry.model.request import Stdio
from wherry.oci import bundle
from wherry.runtime import checkpoint as disk
from wherry.runtime import criu as criu_module
from wherry.runtime import driver as drivers
from wherry.runtime import spawn
from wherry.runtime.criu import Criu
from wherry.supervisor import completion, health, patience, pause, storage
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)

#: Namespaces that --empty-ns knows (runc-checkpoint(8)).
_NAMESPACES = frozenset({"network", "ipc", "uts", "mount", "pid", "user", "cgroup"})
#: How often freezing is tried, and the longest time between, seconds: by chance, so as not to keep step with anybody.
_FREEZE_TRIES = 50
_FREEZE_PAUSE = 0.01
_VERSION_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Work:
    """A checkpoint that is being written to `path`."""

    path: Path
    info: CheckpointInfo
    outside: disk.Outside
    criu: Criu


async def create(core: Core, live: LiveContainer, request: CheckpointRequest) -> CheckpointInfo:
    """Write a running container down; on failure nothing is left and the container goes on."""
    _check(request)
    live.check(Change.CHECKPOINT)  # at once: who is at it already holds the lock for long
    async with live.lock:
        live.check(Change.CHECKPOINT)
        try:
            work = await prepare(core, live, request, "checkpoint")
        except OSError as error:
            raise _as_ours(live, error) from error
        try:
            check_execs(live, f"cannot checkpoint container {live.id}")
            fields = {"end_reason": completion.REASON} if request.exit else {}
            live.change(Change.CHECKPOINT, checkpointing=request.name, **fields)
            failpoint.hit("checkpoint.recorded")
            info = await _write(core, live, work)
        except asyncio.CancelledError:
            raise  # the supervisor closes; the next one finishes this or undoes it
        except Exception as error:
            raise await undo(core, live, work, error) from error
        await _conclude(core, live, info)
    if request.exit:
        await live.process(ids.INIT).settled.wait()
    return info


def _check(request: CheckpointRequest) -> None:
    for name in request.empty_ns:
        if name not in _NAMESPACES:
            raise errors.InvalidArgument(f"namespace {name!r} is not one of {', '.join(sorted(_NAMESPACES))}")
    if not 0 <= request.pre_copy <= disk.MAX_PRE_COPY:
        raise errors.InvalidArgument(f"pre_copy {request.pre_copy} is not between 0 and {disk.MAX_PRE_COPY} rounds")


async def prepare(core: Core, live: LiveContainer, request: CheckpointRequest, verb: str) -> Work:
    """Find out whether it can be done, and make the directory for it. Raises OSError, FailedPrecondition."""
    what = f"cannot {verb} container {live.id}"
    criu = await core.find_working_criu(what)
    if request.pre_copy and not criu.tracks_memory:
        raise errors.FailedPrecondition(
            f"{what} with pre_copy: this kernel does not tell which memory was written to (CONFIG_MEM_SOFT_DIRTY)"
        )
    if live.saved.layer == "tmpfs":
        raise errors.FailedPrecondition(
            f"{what}: its writable layer is in memory, since {core.settings.root_dir} is on a filesystem that cannot"
            " hold one"
        )
    check_execs(live, what)
    init = live.process(ids.INIT)
    version = await _find_version(live.saved.runtime, what)
    info = dataclasses.replace(describe(live, request), runtime_version=version, criu_version=criu.version)
    outside = await core.thread(_find_outside, live, init)
    path = await core.thread(core.checkpoints.begin, info.namespace, info.id, info.name)
    try:
        disk.save(path, info, outside)
        lines = [*criu.dump_options(), *(f"external {key}" for key in sorted(set(outside.streams)) if key)]
        if outside.network:
            lines.append(f"external net[{os.stat(f'/proc/{init.pid}/ns/net').st_ino}]:{disk.NETWORK}")
        files.write_whole(path / disk.WORK / "criu.conf", "".join(f"{line}\n" for line in lines).encode())
    except OSError:
        core.checkpoints.discard(path)
        raise
    return Work(path, info, outside, criu)


def check_execs(live: LiveContainer, what: str) -> None:
    """Raise FailedPrecondition while an exec runs; once the state is another, no further one begins."""
    running = [process.id for process in live.execs if not process.settled.is_set() and not process.is_check]
    if running:
        raise errors.FailedPrecondition(
            f"{what}: exec {running[0]} runs in it, and only what descends from its own process is written down"
        )


def describe(live: LiveContainer, request: CheckpointRequest) -> CheckpointInfo:
    """Return what there is to know of a checkpoint before it is written."""
    return CheckpointInfo(
        id=live.id,
        namespace=live.disk.namespace,
        name=request.name,
        generation=live.saved.generation,
        created_at_ns=time.time_ns(),
        exit=request.exit,
        tcp=request.tcp,
        unix_sockets=request.unix_sockets,
        shell=request.shell,
        empty_ns=request.empty_ns,
        pre_copy=request.pre_copy,
        request=live.saved.request,
        limits=live.saved.limits,
        started_at_ns=live.saved.started_at_ns,
        runtime=live.saved.runtime,
        kernel=platform.release(),
    )


async def _find_version(runtime: str, what: str) -> str:
    """Return the version of a runtime. Raises FailedPrecondition for one that cannot use criu."""
    said = (await spawn.run([runtime, "--version"], timeout=_VERSION_TIMEOUT)).output
    version = next(iter(said.splitlines()), "")
    if Path(runtime).name == "crun" and "CRIU" not in said:
        raise errors.FailedPrecondition(
            f"{what}: its runtime, {version} at {runtime}, is built without criu; runc (--runtime runc) has it"
        )
    return version


def _find_outside(live: LiveContainer, init: LiveProcess) -> disk.Outside:
    own = os.stat("/proc/self/ns/net").st_ino == os.stat(f"/proc/{init.pid}/ns/net").st_ino
    config = bundle.load_config(Path(live.saved.bundle) / "config.json")
    namespaces = (config.get("linux") or {}).get("namespaces") or []
    # One that has a path is somebody else's: the runtime itself sees to it.
    is_given = any(item.get("type") == "network" and item.get("path") for item in namespaces)
    return disk.Outside(streams=read_streams(init.pid, init.stdio), network=not own and not is_given)


def read_streams(pid: int, stdio: Stdio) -> tuple[str, ...]:
    """Return by which key criu knows each of stdin, stdout and stderr that is a file of a client's: a FIFO outside.

    "" for pipes, terminals and /dev/null, of which the runtime itself takes care.
    """
    if stdio.mode != "fifo" or stdio.terminal:
        return ()
    return tuple(
        _read_key(pid, fd) if path else "" for fd, path in enumerate((stdio.stdin, stdio.stdout, stdio.stderr))
    )


def _read_key(pid: int, fd: int) -> str:
    """Return `file[MOUNT:INODE]`, both hexadecimal (criu(8), --external), of a descriptor of a process."""
    lines = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines()
    mount = next(line.split()[1] for line in lines if line.startswith("mnt_id:"))
    return f"file[{int(mount):x}:{os.stat(f'/proc/{pid}/fd/{fd}').st_ino:x}]"


def flags(info: CheckpointInfo) -> list[str]:
    """Return the options of the runtime that dump and restore have in common."""
    pairs = ((info.tcp, "--tcp-established"), (info.unix_sockets, "--ext-unix-sk"), (info.shell, "--shell-job"))
    found = [flag for is_set, flag in pairs if is_set]
    for name in info.empty_ns:
        found += ["--empty-ns", name]
    return found


async def _write(core: Core, live: LiveContainer, work: Work) -> CheckpointInfo:
    info = work.info
    parent = await copy_before(core, live, work)
    begin = await _freeze(core, live)
    failpoint.hit("checkpoint.frozen")
    if live.saved.layer:
        await storage.copy_out(live.disk.storage, work.path / disk.LAYER)
    await _dump(core, live, work, work.path / disk.IMAGE, [*parent, *([] if info.exit else ["--leave-running"])])
    failpoint.hit("checkpoint.dumped")
    if info.exit:
        await pause.thaw(core, live)  # what criu has killed dies only then
    else:
        await core.driver(live).resume(live.id)
    info = dataclasses.replace(info, frozen_us=int((time.monotonic() - begin) * 1e6))
    return await completion.keep(core, live, work.path, info, work.outside)


async def copy_before(
    core: Core, live: LiveContainer, work: Work, done: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Copy memory while the container runs, as often as is asked for; return what the dump after that has to know.

    `done` is called with the name of each round once it is there.
    """
    # A health check that is under way is no descendant of the container's process; no further one begins now. One that
    # is being started has no pid yet, but a directory.
    checks = [process for process in live.execs if process.is_check and process.disk is not None]
    await asyncio.gather(*(process.settled.wait() for process in checks))
    parent: list[str] = []
    for number in range(work.info.pre_copy):
        image = work.path / f"pre-{number}"
        image.mkdir(mode=0o700)
        await _dump(core, live, work, image, ["--pre-dump", *parent])
        parent = ["--parent-path", f"../{image.name}"]
        done(image.name)
    return parent


async def dump_frozen(core: Core, live: LiveContainer, work: Work, parent: list[str]) -> float:
    """Write down the processes of a container and leave it frozen; return since when (time.monotonic)."""
    begin = await _freeze(core, live)
    failpoint.hit("migrate.frozen")
    await _dump(core, live, work, work.path / disk.IMAGE, [*parent, "--leave-running"])
    return begin


async def _freeze(core: Core, live: LiveContainer) -> float:
    """Freeze a container so that criu can seize all of it; return since when it stands still (time.monotonic)."""
    driver = core.driver(live)
    for _ in range(_FREEZE_TRIES):
        begin = time.monotonic()
        await driver.pause(live.id)
        if stopped := await core.thread(cgroup.find_stopped, live.saved.cgroup):
            raise errors.FailedPrecondition(
                f"cannot checkpoint container {live.id}: its process {stopped} (on the host) is stopped, by SIGSTOP or"
                " Ctrl-Z, and criu cannot take hold of it; let it continue first"
            )
        if not await core.thread(cgroup.waits_for_vfork, live.saved.cgroup):
            return begin
        # In the middle of starting a program: that takes less than a millisecond.
        await driver.resume(live.id)
        await asyncio.sleep(random.uniform(0, _FREEZE_PAUSE))
    raise errors.FailedPrecondition(
        f"cannot checkpoint container {live.id}: {_FREEZE_TRIES} times it was in the middle of starting a program"
    )


async def _dump(core: Core, live: LiveContainer, work: Work, image: Path, options: list[str]) -> None:
    logs = work.path / disk.WORK
    argv = core.driver(live).checkpoint_argv(live.id, image, logs, [*options, *flags(work.info)])
    env = work.criu.environment(logs / "criu.conf")
    watching = core.tasks.start(patience.watch(core, live, work.path), f"watch criu of {live.id}")
    try:
        result = await spawn.run(argv, timeout=None, env=env, is_spared=True)
    finally:
        watching.cancel()
    if result.status == 0:
        return
    problem = criu_module.read_problem(logs / "dump.log")
    said = problem or drivers.words(drivers.read_log(logs / "log.json"), result.output)
    kind = errors.ResourceExhausted if "no space is left" in said else errors.FailedPrecondition
    raise kind(f"cannot checkpoint container {live.id}: {said or f'the runtime ended with {result.status}'}")


async def _conclude(core: Core, live: LiveContainer, info: CheckpointInfo) -> None:
    """Tell of a checkpoint, and let the container be what it was. The caller holds the lock."""
    await core.emit(live, "checkpoint", process="", reason=info.name)
    failpoint.hit("checkpoint.journaled")
    await core.insist(lambda: live.change(Change.CHECKPOINTED, checkpointing=""))


async def undo(core: Core, live: LiveContainer, work: Work, error: Exception) -> errors.WherryError:
    """Let the container go on, keep criu's words in its directory, remove the rest, and return the error to raise."""
    found = _as_ours(live, error)
    log = work.path / disk.WORK / "dump.log"
    kept = live.process(ids.INIT).opened().directory / "criu.log"
    if log.exists() and not isinstance(found, errors.Unavailable):
        try:
            shutil.copyfile(log, kept)
            found = type(found)(f"{found.message}; criu's log is {kept}")
        except OSError:
            pass  # the disk is full, perhaps: its last words are in the error
    await patience.wait_idle(core, live, work.path)  # criu survives its runtime
    await pause.go_on(core, live)
    if live.state in (State.CHECKPOINTING, State.MIGRATING):
        fields = {"end_reason": ""} if live.saved.end_reason == completion.REASON else {}
        await core.insist(lambda: live.change(Change.CHECKPOINTED, checkpointing="", moving_to="", **fields))
    await completion.discard(core, live, work.path)  # last: a disk that fails must not keep it from going on
    return found


def _as_ours(live: LiveContainer, error: Exception) -> errors.WherryError:
    if isinstance(error, errors.WherryError):
        return error
    what = f"checkpoint container {live.id}"
    if isinstance(error, FileNotFoundError | ProcessLookupError) and str(error.filename or "").startswith("/proc/"):
        return errors.FailedPrecondition(f"cannot {what}: it has just ended")
    return errors.from_os(what, error) if isinstance(error, OSError) else errors.Internal(f"cannot {what}: {error!r}")


async def recover(core: Core, live: LiveContainer) -> None:
    """Go on with the checkpoint that a dead supervisor was at; see `settle`."""
    async with live.lock:
        await settle(core, live)
        if live.state is State.RUNNING and live.saved.end_reason != completion.REASON:
            await health.resume(core, live)


async def settle(core: Core, live: LiveContainer) -> None:
    """Finish the checkpoint that a dead supervisor was at, if criu has written everything; else undo it.

    The caller holds the lock. Whoever tells the end of the container comes here first.
    """
    if live.state is not State.CHECKPOINTING:
        return
    name = live.saved.checkpointing
    path = core.checkpoints.making(live.disk.namespace, live.id, name)
    await patience.wait_idle(core, live, path)
    info = await completion.take_over(core, live, path)
    if info is None or not info.exit:
        await pause.go_on(core, live)
    else:
        await pause.thaw(core, live)
    if info is None:
        _logger.warning("container %s: checkpoint %s was not finished, and is taken back", live.id, name)
        fields = {"end_reason": ""} if live.saved.end_reason == completion.REASON else {}
        await core.insist(lambda: live.change(Change.CHECKPOINTED, checkpointing="", **fields))
    elif core.journal.find_told(live.saved.generation, "", info.created_at_ns) == "checkpoint":
        await core.insist(lambda: live.change(Change.CHECKPOINTED, checkpointing=""))
    else:
        await _conclude(core, live, info)
