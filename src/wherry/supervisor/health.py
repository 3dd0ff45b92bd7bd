"""Health checks: a command run again and again in a container, as an exec that is told and shown nowhere.

The id of a check is none that anybody could choose (a leading dot), so recovery knows by the name of a directory what a
dead supervisor was at. A new status is told first and saved then: of the present run, what was told last is the truth.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import random
import signal
import time
from pathlib import Path

from wherry import errors
from wherry.linux import cgroup, failpoint, pidfd, proc
from wherry.model import ids
from wherry.model import request as req
from wherry.model import status as st
from wherry.model.lifecycle import State
from wherry.runtime import container as containers
from wherry.runtime import log, removal
from wherry.runtime.process import Process
from wherry.supervisor import birth, kill, stop
from wherry.supervisor.core import Core
from wherry.supervisor.live import CHECK, LiveContainer, LiveProcess

_logger = logging.getLogger(__name__)

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
#: Bytes kept of what a check has printed.
MAX_OUTPUT = 4096
#: What a check prints goes to a log like any other, the smallest there is.
_STDIO = req.Stdio(log_max_bytes=64 * 1024, log_max_files=2)
#: Statuses of a check that could not be started: those of the shells.
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
#: What speaks of the container. Any other failure to start a check is the host's: nobody is unwell for a full disk.
_TELLING = (
    errors.DeadlineExceeded,
    errors.InvalidArgument,
    errors.NotFound,
    errors.PermissionDenied,
    errors.RuntimeFailed,
)


class Watch:
    """The checks of one run of a container. Before `grace_ends` (monotonic) failures are part of the start."""

    def __init__(self, grace_ends: float) -> None:
        self.grace_ends = grace_ends
        self.timer: asyncio.TimerHandle | None = None
        #: Of the check under way: when it began, the changes of state before it, and the session of its process.
        self.begun = 0.0
        self.moves = 0
        self.session = 0


async def begin(core: Core, live: LiveContainer) -> None:
    """Begin to check a container that has just been started, if it has a check."""
    check = live.saved.request.health
    if not check.args:
        return
    was = live.health.status
    live.health = st.Health(status=was)  # the rest was of an earlier run
    if was != STARTING:
        await _tell(core, live, STARTING)
    _watch(core, live, check.interval)


async def resume(core: Core, live: LiveContainer) -> None:
    """Go on checking a container that was started before the supervisor was, if it has a check."""
    check = live.saved.request.health
    if not check.args or live.checks is not None:
        return
    if live.health.status != live.saved.health:
        await _tell(core, live, live.saved.health)
    if (live.saved.wants_restart or live.saved.end_reason) and await _is_running(core, live):
        # A dead daemon was about to end it: the next failure says so anew. One that has ended, has by that.
        await core.insist(lambda: live.save(wants_restart=False, end_reason=""))
    # Not all at the same moment.
    _watch(core, live, random.uniform(0, check.interval))


async def _is_running(core: Core, live: LiveContainer) -> bool:
    init = live.process(ids.INIT)
    return init.opened().is_shim_alive() and await core.reread(init.read_exit) is None


def _watch(core: Core, live: LiveContainer, delay: float) -> None:
    age = max(0.0, (time.time_ns() - live.saved.started_at_ns) / 1e9)
    live.checks = Watch(time.monotonic() + live.saved.request.health.start_period - age)
    _schedule(core, live, live.checks, delay)


def end(live: LiveContainer) -> None:
    """Check no more: the container has ended, or the supervisor closes; either sees to a check under way."""
    watch, live.checks = live.checks, None
    if watch is not None and watch.timer is not None:
        watch.timer.cancel()


async def recall(core: Core, live: LiveContainer) -> None:
    """After a restart of the supervisor, find out what was told of a container's health."""
    saved = live.saved
    if not saved.request.health.args:
        return
    status, time_ns = core.journal.healths.get(saved.generation, ("", 0))
    if status and time_ns >= saved.started_at_ns:
        if saved.health != status:
            await core.insist(lambda: live.save(health=status))
    elif saved.health != STARTING or core.journal.is_forgotten(saved.started_at_ns):
        status = saved.health  # told, and no longer kept
    live.health = st.Health(status=status)


async def _tell(core: Core, live: LiveContainer, status: str) -> None:
    """Tell a new status, then save it."""
    await core.emit(live, "health", process="", reason=status)
    failpoint.hit("health.told")
    live.health = dataclasses.replace(live.health, status=status)
    if live.saved.health != status:
        await core.insist(lambda: live.save(health=status))


def _schedule(core: Core, live: LiveContainer, watch: Watch, delay: float) -> None:
    if live.checks is watch and not core.is_closing:
        watch.timer = asyncio.get_running_loop().call_later(delay, _on_due, core, live, watch)


def _on_due(core: Core, live: LiveContainer, watch: Watch) -> None:
    if not core.is_closing:
        core.tasks.start(_check(core, live, watch), f"check {live.id}")


async def _check(core: Core, live: LiveContainer, watch: Watch) -> None:
    """Start a check; what comes of it is noticed by its end."""
    check = live.saved.request.health
    process = LiveProcess(f"{CHECK}{core.make_generation()}", {}, State.CREATING)
    request = req.ExecRequest(id=live.id, args=check.args, stdio=_STDIO, timeout=check.timeout)
    async with core.checks:
        if live.checks is not watch:
            return
        live.processes[process.id] = process
        watch.begun, watch.moves = time.monotonic(), live.moves
        try:
            await birth.exec(core, live, process, request)
        except errors.WherryError as error:
            failure = error
        else:
            watch.session = _find_session(process.opened())
            return
    await _conclude(core, live, watch, _explain(live, failure))


def _explain(live: LiveContainer, error: errors.WherryError) -> st.Health | None:
    """Return what a check that could not be started tells of the container, None for nothing."""
    if isinstance(error, errors.FailedPrecondition):
        return None  # it is paused, or ends
    if not isinstance(error, _TELLING):
        _logger.warning("container %s: cannot check its health: %s", live.id, error)
        return None
    status = _NOT_FOUND if isinstance(error, errors.CommandNotFound) else _NOT_EXECUTABLE
    return st.Health(exit_status=status, output=error.message[-MAX_OUTPUT:], checked_at_ns=time.time_ns())


async def on_end(core: Core, live: LiveContainer, process: LiveProcess) -> None:
    """Take note of a check whose shim is gone, and remove every trace of it."""
    watch = live.checks
    if core.is_closing and watch is not None:
        return  # the next supervisor undoes it
    found = None
    try:
        found = await _take_result(core, live, process, watch)
    except (errors.WherryError, OSError) as error:  # of the host: the next check is due all the same
        _logger.warning("container %s: cannot check its health: %s", live.id, error)
    if watch is not None:
        await _conclude(core, live, watch, found)


async def _take_result(core: Core, live: LiveContainer, process: LiveProcess, watch: Watch | None) -> st.Health | None:
    """Return what a check that has ended tells of the container, None for nothing; undo the check."""
    try:
        record = await core.reread(process.read_exit)
        output = await core.thread(_read_output, live.disk.log_path(process.id))
        if watch is not None and (record is None or record.reason == "timeout"):
            await core.thread(_kill_session, live, watch.session)
    finally:
        await birth.undo_exec(core, live, process)
    if watch is not None and record is None:
        _logger.warning("container %s: the shim of a health check was killed", live.id)
    if watch is None or record is None:
        return None
    if record.status != 0 and await _is_ending(core, live, record):
        return None
    return _find(live, record, output)


async def _is_ending(core: Core, live: LiveContainer, record: st.ExitRecord) -> bool:
    """Tell whether a check has failed because its container ends: that may be noticed later than the check's end."""
    init = live.process(ids.INIT)
    was_killed = record.signal == signal.SIGKILL and record.reason != "timeout"
    grace = birth.END_GRACE if was_killed else 0.0
    return init.settled.is_set() or await core.thread(pidfd.wait_end, init.pid, init.opened().starttime, grace)


def _find(live: LiveContainer, record: st.ExitRecord, output: bytes) -> st.Health:
    words = b""
    if record.reason == "timeout":
        is_in_line = output and not output.endswith(b"\n")
        words = (b"\n" if is_in_line else b"") + b"killed after %g s\n" % live.saved.request.health.timeout
    kept = output[-(MAX_OUTPUT - len(words)) :] + words
    return st.Health(exit_status=record.status, output=kept.decode(errors="replace"), checked_at_ns=record.exited_at_ns)


def _read_output(path: Path) -> bytes:
    """Return the last MAX_OUTPUT bytes that a check has printed, on both streams."""
    blocks = []
    for file in (*(rotated for _, rotated in log.list_rotated(path)), path):
        try:
            blocks.append(file.read_bytes())
        except FileNotFoundError:
            continue  # rotated away meanwhile, by what the check has left behind
    return b"".join(chunk.data for chunk in log.parse_block(b"".join(blocks)))[-MAX_OUTPUT:]


def _find_session(disk: Process) -> int:
    """Return the session of a check, 0 when it has ended: the runtimes give each exec one of its own."""
    try:
        return os.getsid(disk.pid) if disk.pid and proc.read_starttime(disk.pid) == disk.starttime else 0
    except ProcessLookupError:
        return 0


def _kill_session(live: LiveContainer, session: int) -> None:
    """Kill a check with all that it has started: its shim kills only the check itself."""
    for entry in Path("/proc").iterdir() if session else ():
        try:
            pid = int(entry.name)
            if os.getsid(pid) == session:
                cgroup.send_one(pid, live.saved.cgroup)
        except (ValueError, OSError):
            continue


async def _conclude(core: Core, live: LiveContainer, watch: Watch, found: st.Health | None) -> None:
    """Let a check count, unless the container was paused or began to end meanwhile; then wait for the next."""
    check = live.saved.request.health
    try:
        async with live.lock:
            counts = found is not None and live.checks is watch and live.moves == watch.moves
            acts = found is not None and counts and await _note(core, live, watch, found)
        if acts:
            await stop.end_unhealthy(core, live, restart=check.on_unhealthy == "restart")
    finally:
        _schedule(core, live, watch, check.interval)


async def _note(core: Core, live: LiveContainer, watch: Watch, found: st.Health) -> bool:
    """Take note of a check, tell a change of status, and return whether something is to be done about it."""
    check, before = live.saved.request.health, live.health
    failures, status = 0, HEALTHY
    if found.exit_status != 0:
        is_grace = before.status == STARTING and watch.begun < watch.grace_ends
        failures = before.failures + (0 if is_grace else 1)
        status = UNHEALTHY if failures >= check.retries else before.status
    live.health = dataclasses.replace(found, status=before.status, failures=failures)
    if status != before.status:
        await _tell(core, live, status)
    # At each failure: the container may have been paused at the first, or the supervisor killed.
    return found.exit_status != 0 and status == UNHEALTHY and check.on_unhealthy != "none"


def undo_left(live: LiveContainer) -> None:
    """Undo the check that a dead supervisor was at. Blocks."""
    for path in list(live.disk.directory.iterdir()):
        if path.name.startswith(CHECK):
            process = LiveProcess(path.name, {}, State.CREATING)
            process.disk = Process(path, {})
            session = _find_session(process.disk)
            kill.end_shim(process.disk)
            _kill_session(live, session)
            if live.state not in (State.PAUSING, State.PAUSED):  # what is frozen ends when it is thawed
                kill.kill_now(live, process)
            live.disk.remove_process(process.id)
        elif path.name.startswith(f"{containers.TRASH}{CHECK}"):
            removal.remove_tree(path)
    for file in live.disk.storage.glob(f"{CHECK}*"):
        file.unlink(missing_ok=True)
