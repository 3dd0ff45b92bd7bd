"""Limits changed while a container is there, and the limits in force.

The runtime's own `update` does it where it can. What it does is read back, since a runtime may report success for a
limit that it knows nothing of.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
import time
from typing import Any

from wherry import errors
from wherry.linux import failpoint
from wherry.linux import limits as files
from wherry.model import ids
from wherry.model.lifecycle import ALIVE, State
from wherry.model.request import Limits
from wherry.oci import limits as rules
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer

_logger = logging.getLogger(__name__)

#: States in which a container has limits that can be changed.
_CHANGEABLE = frozenset({State.CREATED, State.RUNNING, State.PAUSED})
#: What version 2 has in numbers of its own.
_WEIGHTS = frozenset({"cpu_shares", "blkio_weight"})
#: The kernel rounds memory down to whole pages, twice where a limit is the sum of two.
_ROUNDING = 2 * 4096
#: From here on a limit on memory is none (linux/limits.py).
_ENDLESS = 2**62
#: A limit below what is in use, of which nothing can be reclaimed: EBUSY of version 1, and runc's words for it.
_IN_USE = re.compile(r"resource busy|unable to set memory limit", re.IGNORECASE)
#: EINVAL, ERANGE, EACCES, EPERM: of a value that this host does not have, or that a parent cgroup does not allow.
_REFUSED = re.compile(r"invalid argument|out of range|permission denied|not permitted", re.IGNORECASE)


async def update(core: Core, live: LiveContainer, limits: Limits) -> None:
    """Change the limits that `limits` sets, all of them or none.

    Raises InvalidArgument, FailedPrecondition (the state, the kernel, what is in use) and RuntimeFailed.
    """
    if not rules.names_set(limits):
        raise errors.InvalidArgument(f"cannot update container {live.id}: no limit is given")
    if limits.memory_bytes is not None:
        rules.check(limits)
    else:
        rules.check_each(limits)  # what it says of memory may go well with the limit in force
    async with live.lock:
        if live.state not in _CHANGEABLE:
            raise errors.FailedPrecondition(f"cannot update container {live.id}: it is {live.state.value}")
        live.save(updating=limits, updating_at_ns=time.time_ns())
        failpoint.hit("update.recorded")
        try:
            await _apply(core, live, limits)
        except errors.WherryError:
            live.save(updating=None)
            raise
        failpoint.hit("update.applied")
        await core.emit(live, "update", process="")
        failpoint.hit("update.journaled")
        _keep(live, limits)


def _keep(live: LiveContainer, limits: Limits) -> None:
    live.save(limits=rules.overlay(live.saved.limits, limits), updating=None)


async def recover(core: Core, live: LiveContainer, *, has_ended: bool) -> None:
    """Finish the update that the daemon was at: what is half in force comes into force, or is given up and logged."""
    limits = live.saved.updating
    if limits is None:
        return
    if core.journal.find_told(live.saved.generation, "", live.saved.updating_at_ns) == "update":
        await core.insist(lambda: _keep(live, limits))
        return
    try:
        if has_ended or live.state not in _CHANGEABLE:
            raise errors.FailedPrecondition("it has ended")
        await _apply(core, live, limits)
    except errors.WherryError as error:
        _logger.warning("container %s: an update is given up: %s", live.id, error)
        await core.insist(lambda: live.save(updating=None))
        return
    await core.emit(live, "update", process="")
    await core.insist(lambda: _keep(live, limits))


async def reapply(core: Core, live: LiveContainer, *, pids: bool = False) -> None:
    """Apply what is not in its configuration to a container that was just made. The caller holds the lock.

    With `pids` the limit of processes is not in it either.

    That is what updates have changed, and the weight of block I/O: crun 1.8.1 knows only blkio.weight, and cannot make
    a container with a weight where the kernel has blkio.bfq.weight.
    """
    late = _find_late(live)
    if pids and late.pids is None:
        late = dataclasses.replace(late, pids=live.saved.request.limits.pids)
    if rules.names_set(late):
        await _apply(core, live, late)


def has_late(live: LiveContainer) -> bool:
    """Tell whether there is anything to apply between the creation of a container and its start."""
    return bool(rules.names_set(_find_late(live)))


def _find_late(live: LiveContainer) -> Limits:
    late = Limits(blkio_weight=live.saved.request.limits.blkio_weight)
    return rules.overlay(late, live.saved.limits)


def read_limits(live: LiveContainer) -> Limits:
    """Return the limits in force, or of a container that has ended those it had. A dozen small files."""
    try:
        if live.state in ALIVE and live.saved.cgroup:
            return _read(live)
    except OSError:
        pass  # it has just ended
    return rules.shown(_asked(live))


def _asked(live: LiveContainer) -> Limits:
    return rules.overlay(live.saved.request.limits, live.saved.limits)


def _read(live: LiveContainer) -> Limits:
    found = files.read(live.saved.cgroup)
    if not files.is_v2():
        return found
    # Weights, as they were asked for: what version 2 has of them cannot be told in the same numbers.
    asked = _asked(live)
    weight = found.blkio_weight if found.blkio_weight is not None else asked.blkio_weight
    return dataclasses.replace(found, cpu_shares=asked.cpu_shares, blkio_weight=weight)


async def _apply(core: Core, live: LiveContainer, limits: Limits) -> None:
    """Bring `limits` into force and make sure of it, or leave everything as it was and raise why."""
    wanted = rules.expand(limits)
    before = await _read_now(core, live)
    try:
        rules.check_together(rules.overlay(before, wanted))
    except errors.InvalidArgument as error:
        cause = f"{error.message}; these go together and are changed together"
        raise errors.FailedPrecondition(f"cannot update container {live.id}: {cause}") from error
    for name in rules.names_set(wanted):
        if files.find_file(live.saved.cgroup, name) is None:
            cause = f"this kernel has no {' or '.join(files.candidates(name))}"
            raise errors.FailedPrecondition(f"cannot update container {live.id}: {name} cannot be set, {cause}")
    try:
        await _write(core, live, before, wanted)
        _check_effect(live, rules.overlay(before, wanted), await _read_now(core, live))
    except errors.WherryError as error:
        raise type(error)(error.message + await _restore(core, live, before)) from error


async def _read_now(core: Core, live: LiveContainer) -> Limits:
    """Return the limits in force, `cpus` left to quota and period."""
    if not live.saved.cgroup:
        raise errors.FailedPrecondition(f"cannot update container {live.id}: it has no cgroup of its own")
    try:
        return dataclasses.replace(await core.thread(_read, live), cpus=None)
    except OSError as error:
        raise errors.FailedPrecondition(f"cannot update container {live.id}: it has just ended") from error


async def _write(core: Core, live: LiveContainer, before: Limits, wanted: Limits) -> None:
    both = rules.overlay(before, wanted)
    direct = _find_direct(wanted, both)
    try:
        for name, value in direct.items():
            await core.thread(files.write, live.saved.cgroup, name, value)
    except OSError as error:
        raise errors.from_os(f"update container {live.id}", error) from error
    resources = rules.changes(_complete(wanted, both, frozenset(direct)))
    if not resources:
        return
    try:
        await core.driver(live).update(live.id, live.process(ids.INIT).opened().directory, resources)
    except errors.RuntimeFailed as error:
        if _IN_USE.search(error.message):
            raise errors.FailedPrecondition(f"{error.message}: the limit is below what is in use") from error
        if _REFUSED.search(error.message):
            raise errors.FailedPrecondition(f"{error.message}: the kernel does not allow it here") from error
        raise


def _find_direct(wanted: Limits, both: Limits) -> dict[str, str]:
    """Return the limits that we write ourselves, whatever the runtime, since not every one can.

    crun 1.8.1 on version 1 writes -1 as it is for pids and as 2**64-1 for a quota, which the kernel takes for neither,
    and knows blkio.weight, but not blkio.bfq.weight. runc 1.1.5 adds to a period alone the last quota that it has set
    itself, lifted or not. On version 2 a reservation of -1 would be all of the memory.
    """
    v2 = files.is_v2()
    found: dict[str, str] = {}
    if wanted.cpu_quota_us == rules.NO_LIMIT:
        found["cpu_quota_us"] = "max" if v2 else "-1"
    if wanted.cpu_period_us is not None and both.cpu_quota_us in (None, rules.NO_LIMIT):
        found["cpu_period_us"] = f"max {wanted.cpu_period_us}" if v2 else str(wanted.cpu_period_us)
    if wanted.pids == rules.NO_LIMIT:
        found["pids"] = "max"
    if wanted.memory_reservation_bytes == rules.NO_LIMIT and v2:
        found["memory_reservation_bytes"] = "0"
    if wanted.blkio_weight is not None and not v2:
        found["blkio_weight"] = str(wanted.blkio_weight)
    return found


def _complete(wanted: Limits, both: Limits, done: frozenset[str]) -> Limits:
    """Return what the runtime is to change: pairs are whole, so that it finds the order in which they can be changed.

    On version 2 it needs both to compute what it writes, and would take the default for the one that is missing.
    """
    found = {name: value for name, value in rules.names_set(wanted).items() if name not in done}
    pairs = (("memory_bytes", "memory_swap_bytes"), ("cpu_period_us", "cpu_quota_us"))
    for first, second in pairs:
        if first in found or second in found:
            pair = {name: getattr(both, name) for name in (first, second) if name not in done}
            found |= {name: value for name, value in pair.items() if value is not None}
    return Limits(**found)


def _check_effect(live: LiveContainer, wanted: Limits, found: Limits) -> None:
    """Raise RuntimeFailed for a limit that is not as it should be though nobody has failed, asked for or not."""
    for field in dataclasses.fields(wanted):
        name, value, actual = field.name, getattr(wanted, field.name), getattr(found, field.name)
        if files.is_v2() and (name in _WEIGHTS or (name == "memory_swap_bytes" and value is None)):
            continue  # weights are found as asked for, and a limit on swap only where there is one on memory
        if not _is_in_force(name, rules.NO_LIMIT if value is None else value, actual):
            shown = "none" if actual in (None, "") else actual
            raise errors.RuntimeFailed(
                f"cannot update container {live.id}: {name} of {value} has not taken effect, {shown} is in force"
            )


def _is_in_force(name: str, value: int | str, actual: int | str | None) -> bool:
    if isinstance(value, str):
        if not value or not actual:
            return value == actual
        return rules.parse_cpuset(name, value) == rules.parse_cpuset(name, str(actual))
    if value == rules.NO_LIMIT or actual is None:
        return actual is None and (value == rules.NO_LIMIT or value >= _ENDLESS)
    rounding = _ROUNDING if name.startswith("memory") else 1
    return abs(int(actual) - value) < rounding


async def _restore(core: Core, live: LiveContainer, before: Limits) -> str:
    """Bring the limits back to `before` after an update that failed; return what to say when that fails, too."""
    try:
        now = await _read_now(core, live)
        if now != before:
            with contextlib.suppress(errors.WherryError):  # what counts is what is in force after it
                await _write(core, live, now, _find_way_back(now, before))
            now = await _read_now(core, live)
    except errors.FailedPrecondition:
        return ""  # it has ended, and its limits with it
    left = rules.names_set(_find_way_back(before, now))
    changed = ", ".join(f"{name} {value}" for name, value in left.items())
    return f"; it could not be taken back whole, now in force: {changed}" if changed else ""


def _find_way_back(now: Limits, before: Limits) -> Limits:
    """Return the changes that lead from `now` to `before`."""
    pairs = {field.name: (getattr(now, field.name), getattr(before, field.name)) for field in dataclasses.fields(now)}
    differing = {name: then for name, (value, then) in pairs.items() if value != then}
    back: dict[str, Any] = {name: rules.NO_LIMIT if then is None else then for name, then in differing.items()}
    return Limits(**back)
