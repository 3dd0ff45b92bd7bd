"""Checkpoints that criu has written, made whole.

One that is not a checkpoint in the end is removed, and its container goes on. Not so when the container was to end with
it: what criu has written is then all that there is of the container, so it is tried until it is a checkpoint.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from wherry import errors
from wherry.linux import failpoint
from wherry.model.checkpoint import CheckpointInfo
from wherry.runtime import checkpoint as disk
from wherry.runtime import criu
from wherry.supervisor.core import FULL_DISK_RETRY, Core
from wherry.supervisor.live import LiveContainer

_logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Why a container ends that is written down to end.
REASON = "checkpoint"


def finish(core: Core, path: Path, info: CheckpointInfo, outside: disk.Outside) -> CheckpointInfo:
    """Let what has been written to `path` be a checkpoint, and return all that is known of it. Blocks."""
    images = [path / disk.IMAGE, *path.glob("pre-*")]
    info = dataclasses.replace(
        info,
        image_bytes=sum(map(disk.count_bytes, images)),
        layer_bytes=disk.count_bytes(path / disk.LAYER),
    )
    core.checkpoints.finish(path, info, outside)
    failpoint.hit("checkpoint.finished")
    return info


async def keep(
    core: Core, live: LiveContainer, path: Path, info: CheckpointInfo, outside: disk.Outside
) -> CheckpointInfo:
    """Do what `finish` does with the checkpoint of a container, again and again if it has ended with it."""
    return await _persist(core, live, lambda: _finish_as(core, path, info, outside))


def _finish_as(core: Core, path: Path, info: CheckpointInfo, outside: disk.Outside) -> CheckpointInfo:
    """Do what `finish` does, under another name if somebody has given its own away and the container is dead."""
    try:
        return finish(core, path, info, outside)
    except errors.AlreadyExists as error:
        if not info.exit:
            raise
        other = core.checkpoints.find_free_name(info.namespace, info.id, info.name)
        _logger.error("%s; what %s has ended with is kept as checkpoint %s", error.message, info.id, other)
        return finish(core, path, dataclasses.replace(info, name=other), outside)


async def take_over(core: Core, live: LiveContainer, path: Path) -> CheckpointInfo | None:
    """Return the checkpoint that a dead supervisor was at, finished; None if it cannot be, and is removed."""
    try:
        info = await _persist(core, live, lambda: _find_finished(core, live, path))
    except (errors.WherryError, OSError) as error:
        _logger.warning("container %s: %s", live.id, error)
        info = None
    if info is None:
        await discard(core, live, path)
    return info


def _find_finished(core: Core, live: LiveContainer, path: Path) -> CheckpointInfo | None:
    if live.saved.checkpointing.startswith(disk.TEMPORARY):
        raise errors.Aborted("clones were to be made of it")
    if not path.exists():
        return core.checkpoints.load(live.disk.namespace, live.id, live.saved.checkpointing)
    if criu.has_finished(path / disk.WORK / "dump.log") and (path / disk.IMAGE / "inventory.img").exists():
        return _finish_as(core, path, *disk.load(path))
    return None


async def discard(core: Core, live: LiveContainer, path: Path) -> None:
    """Remove what is no checkpoint; what cannot be removed is swept by the next supervisor."""
    try:
        await core.thread(core.checkpoints.discard, path)
    except OSError as error:
        _logger.error("container %s: cannot remove %s: %s", live.id, path, error)


async def _persist(core: Core, live: LiveContainer, work: Callable[[], T]) -> T:
    """Do blocking work on what criu has written, again and again if there is nothing else left of the container."""
    while True:
        try:
            return await core.thread(work)
        except OSError as error:
            if live.saved.end_reason != REASON:
                raise
            name = live.saved.checkpointing
            _logger.error("container %s: cannot finish checkpoint %s: %s; trying again", live.id, name, error)
        await asyncio.sleep(FULL_DISK_RETRY)
