"""After a restart: every directory is looked at, all at once, and its container is known again.

What was half-made is finished if its process exists, undone if not. What cannot be understood is shown as `unknown`.
No content of the state directory keeps the supervisor from starting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from wherry import errors
from wherry.linux import failpoint, proc
from wherry.model import ids
from wherry.model import status as st
from wherry.model.lifecycle import State
from wherry.supervisor import (
    arrival,
    birth,
    checkpoint,
    death,
    deletion,
    health,
    kill,
    migration,
    oom,
    pause,
    restart,
    restoration,
    stop,
    survey,
    update,
)
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that calls on others wait for the recovery of one container, which goes on: a full disk may hold it up.
DEADLINE = 10.0
#: The same for one that is being removed. Most have little to remove, and are gone when the first call comes.
REMOVAL_DEADLINE = 2.0
#: Seconds that clients of the dead daemon have to come back for the output of a container that removes itself.
RETURN_GRACE = 10.0
#: Seconds between looks at a creation that its shim is still at.
_POLL = 0.02
#: Seconds until a runtime that does not tell a state is asked again.
_RETRY = 1.0


async def recover(core: Core) -> None:
    """Load everything below the state directory, then set `core.recovered`.

    Each has a task of its own, so that what takes long, a runtime that hangs for instance, holds nobody else up.
    """
    try:
        found = await core.reread(lambda: survey.find(core))
        for live in found:
            core.containers[live.key] = live
        # Before anything is recovered: what recovery itself removes is being removed already.
        stale = await _tidy(core, _find_stale_checkpoints, core, found) or ()
        tasks = await asyncio.gather(*(_recover(core, live) for live in found))
        failpoint.hit("recover.recovered")
        await _tidy(core, _sweep_storage, core, {live.key for live in found})
        await _tidy(core, core.checkpoints.sweep, stale)
        failpoint.hit("recover.swept")
    finally:
        core.recovered.set()
    _logger.info("recovered %d containers", len(core.containers))
    restart.recover_always(core)
    await asyncio.gather(*tasks, return_exceptions=True)
    core.journal.told.clear()
    core.journal.generations.clear()
    core.journal.ooms.clear()
    core.journal.healths.clear()


async def _tidy(core: Core, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Do in a thread what removes things; when it cannot be done there is more left, and recovery goes on."""
    try:
        return await core.thread(function, *args, **kwargs)
    except (errors.WherryError, OSError) as error:
        _logger.error("cannot tidy up: %s", error)
        return None


async def _recover(core: Core, live: LiveContainer) -> asyncio.Task[None]:
    """Begin to recover one container; return its task once it has ended, or nobody else is to wait for it."""
    known = asyncio.Event()
    live.made.clear()
    task = core.tasks.start(_recover_one(core, live, known), f"recover {live.id}")
    deadline = REMOVAL_DEADLINE if live.state is State.DELETING else DEADLINE
    try:
        async with asyncio.timeout(deadline):
            await known.wait()
    except TimeoutError:
        _logger.warning("container %s: its recovery takes longer than %g s, and goes on", live.id, deadline)
    return task


async def _recover_one(core: Core, live: LiveContainer, known: asyncio.Event) -> None:
    """Recover one container; set `known` once nobody else is to wait for it."""
    try:
        await _recover_state(core, live, known)
    except Exception as error:  # noqa: BLE001 - whatever one directory holds, it must not keep the others from recovery
        survey.make_unknown(core, live, f"it could not be recovered: {error}")
    finally:
        live.made.set()
        known.set()
    if live.state is State.CHECKPOINTING:
        await checkpoint.recover(core, live)
    elif live.state is State.MIGRATING or (live.state is State.STOPPED and live.saved.moving_to):
        core.tasks.start(migration.recover(core, live), f"recover migration of {live.id}")
    await core.recovered.wait()
    if live.state is State.STOPPED and live.saved.request.auto_remove:
        deletion.remove_later(core, live, RETURN_GRACE)


async def _recover_state(core: Core, live: LiveContainer, known: asyncio.Event) -> None:
    if live.state is State.UNKNOWN:
        return
    if live.state is State.DELETING:
        live.is_told_deleted = core.journal.find_told(live.saved.generation, "", 0) == "delete"
        await deletion.remove_unread(core, live)  # again and again until it can be, like any other
        return
    async with live.lock:
        await health.recall(core, live)
        await core.reread(lambda: core.thread(health.undo_left, live))
        await _recover_known(core, live, known)


async def _recover_known(core: Core, live: LiveContainer, known: asyncio.Event) -> None:
    if live.state in (State.CREATING, State.RESTARTING):
        if (live.disk.process_directory(ids.INIT) / "control").exists():
            await _load_process(core, live, ids.INIT)
            if live.process(ids.INIT).opened().is_shim_alive():
                known.set()  # it is as long at that as the runtime takes
        await _recover_made(core, live)
        return
    await _recover_execs(core, live)
    if live.state is State.STOPPED and not live.disk.process_directory(ids.INIT).exists():
        restart.show_last_run(live)
        return
    await _load_process(core, live, ids.INIT)
    await _recover_init(core, live, live.process(ids.INIT))


async def _recover_execs(core: Core, live: LiveContainer) -> None:
    for process_id in live.disk.process_ids():
        if process_id != ids.INIT:
            await _load_process(core, live, process_id)
    for process in live.execs:
        await _recover_exec(core, live, process)


async def _recover_made(core: Core, live: LiveContainer) -> None:
    """Finish a creation whose process exists; undo any other, or try again if it was not the first."""
    init = live.init
    if live.state is State.RESTARTING:
        await _recover_execs(core, live)
    if init is not None and await _wait_made(core, live, init) and not _is_last_run(live, init):
        found: dict[str, Any] = {} if live.saved.cgroup else birth.find_cgroup(core, live, init)
        found |= {"state": State.CREATED.value, "created_at_ns": live.saved.created_at_ns or time.time_ns()}
        await core.insist(lambda: live.save(**found))
        await _recover_init(core, live, init)
    elif live.state is State.RESTARTING:
        await restart.recover(core, live)
    else:
        await deletion.undo(core, live)


def _is_last_run(live: LiveContainer, init: LiveProcess) -> bool:
    """Tell whether what lies there is the run whose end was told, and not one that came and went after it."""
    record, last = init.opened().exit_record(), live.saved.last_exit
    return record is not None and last is not None and record.exited_at_ns == last.exited_at_ns


async def _load_process(core: Core, live: LiveContainer, process_id: str) -> None:
    await core.reread(lambda: _try_to_load_process(live, process_id))


async def _try_to_load_process(live: LiveContainer, process_id: str) -> None:
    if process_id != ids.INIT and not (live.disk.process_directory(process_id) / "control").exists():
        live.disk.remove_process(process_id)  # an exec that was only begun
        return
    disk = live.disk.load_process(process_id)
    process = LiveProcess(process_id, disk.spec, State.CREATING)
    try:
        process.pid = disk.pid
    except errors.ResourceExhausted:
        disk.close()
        raise
    process.disk = disk
    process.started_at_ns = process.created_at_ns if process_id != ids.INIT else 0
    live.processes[process_id] = process


async def _wait_made(core: Core, live: LiveContainer, process: LiveProcess) -> bool:
    """Wait while a living shim makes its process; return whether there is one, or was one that has ended."""
    disk = process.opened()
    is_restored = bool(live.saved.checkpoint) and process.id == ids.INIT
    timeout = restoration.find_timeout(core) if is_restored else core.settings.start_timeout
    give_up = time.monotonic() + timeout
    while disk.is_shim_alive() and time.monotonic() < give_up:
        process.pid = disk.pid
        if process.pid and (disk.starttime is not None or proc.read_starttime(process.pid) is None):
            return True
        await asyncio.sleep(_POLL)
    process.pid = disk.pid
    return disk.exit_record() is not None and process.pid != 0


async def _recover_exec(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    made_ns = process.created_at_ns
    record = await core.reread(process.read_exit)
    told = core.journal.find_told(live.saved.generation, process.id, made_ns)
    if told is None and core.journal.is_forgotten(made_ns):
        told = "exit" if record is not None and core.journal.is_forgotten(record.exited_at_ns) else "start"
    if told == "exit" and record is not None:
        process.state = State.STOPPED
        process.opened().close()
        process.settle(record)
    elif told is None and process.opened().is_shim_alive():
        core.tasks.start(_finish_exec(core, live, process), f"recover {live.id}/{process.id}")
    elif told is None:
        await _finish_exec(core, live, process)
    else:
        process.state = State.RUNNING
        _watch(core, live, process)


async def _finish_exec(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    """Finish an exec whose shim has, or will have, made the process; undo it otherwise."""
    if not await _wait_made(core, live, process):
        await birth.undo_exec(core, live, process)
        return
    await birth.exec_started(core, live, process)
    if not process.opened().is_shim_alive():
        death.hang_up(core, live, process)


def _watch(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    death.watch(core, live, process)
    if not process.opened().is_shim_alive():
        death.hang_up(core, live, process)


async def _recover_init(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    saved, journal = live.saved, core.journal
    told = journal.find_told(saved.generation, ids.INIT, 0)
    if journal.find_told(saved.generation, "", 0) is None and not journal.is_forgotten(saved.created_at_ns):
        await core.emit(live, "create", process="")
    if saved.checkpoint and told is None and not journal.is_forgotten(saved.created_at_ns):
        await restoration.tell(core, live)
    init.state = live.state
    init.started_at_ns = saved.started_at_ns
    has_ended = live.state is State.STOPPED or told == "exit"
    await update.recover(core, live, has_ended=has_ended or not init.opened().is_shim_alive())
    if has_ended:
        await _settle_stopped(core, live, init)
        return
    if live.state is State.CREATED and saved.goal == State.RUNNING.value:
        await _finish_start(core, live, init)
    elif saved.started_at_ns and told in (None, "restart", "restore") and not journal.is_forgotten(saved.started_at_ns):
        await core.emit(live, "start", process=ids.INIT, pid=init.pid, count=saved.restarts)
    if live.state in (State.PAUSING, State.PAUSED) and init.opened().is_shim_alive():
        await core.reread(lambda: pause.recover(core, live))
    oom.begin(core, live)
    await restoration.recover(core, live)
    if live.state in (State.RUNNING, State.PAUSED):
        await health.resume(core, live)
    _watch(core, live, init)
    if live.state is State.STOPPING and init.opened().is_shim_alive():
        core.tasks.start(stop.go_on(core, live), f"stop {live.id}")


async def _settle_stopped(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    record = await core.reread(init.read_exit)
    init.opened().close()
    if live.state is State.STOPPED:
        record = live.saved.last_exit or record  # what lies there may be of a run that could not be made
    else:
        await core.insist(lambda: live.save(state=State.STOPPING.value))
        await restart.conclude(core, live, record or st.ExitRecord(status=255, reason="unknown"))
    init.state = State.STOPPED
    init.settle(record)
    await deletion.release(core, live)
    restart.schedule(core, live)


async def _finish_start(core: Core, live: LiveContainer, init: LiveProcess) -> None:
    """Finish the start that the daemon was at. A process that has ended was started, as far as anybody can tell."""
    if await _waits_for_start(core, live, init):
        try:
            await core.driver(live).start(live.id, init.opened().directory)
        except errors.WherryError as error:
            _logger.error("container %s: %s", live.id, error)
            await core.thread(kill.kill_now, live, init)
            return
    await birth.started(core, live, init)


async def _waits_for_start(core: Core, live: LiveContainer, init: LiveProcess) -> bool:
    """Tell whether a process is still to be started, which only the runtime knows: it is asked until it answers."""
    while init.opened().is_shim_alive():
        try:
            if state := await core.driver(live).state(live.id):
                return state == "created"
        except (errors.WherryError, OSError) as error:  # it hangs, or is just being replaced
            _logger.warning("container %s: %s; asking again", live.id, error)
        await asyncio.sleep(_RETRY)
    return False


def _find_stale_checkpoints(core: Core, found: list[LiveContainer]) -> tuple[Path, ...]:
    kept = arrival.find_kept(core)
    for live in found:
        if live.saved.checkpointing:
            kept.add(core.checkpoints.making(live.disk.namespace, live.id, live.saved.checkpointing))
    return core.checkpoints.find_stale(kept)


def _sweep_storage(core: Core, known: set[tuple[str, str]]) -> None:
    """Remove bundles, layers and logs of containers that no longer are: of an earlier boot, or half-removed."""
    root = core.directories.root / "containers"
    if not root.is_dir():
        return
    for namespace in root.iterdir():
        for path in namespace.iterdir() if namespace.is_dir() else ():
            if (namespace.name, path.name) not in known:
                _logger.info("%s belongs to no container; removed", path)
                survey.remove(path)
