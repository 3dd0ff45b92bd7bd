"""Containers in memory whose directory, or whose state, is not what is hoped for."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import cast

import pytest

from wherry import errors
from wherry.model import ids
from wherry.model.lifecycle import State
from wherry.model.request import CreateRequest
from wherry.runtime.container import Container, Directories, Record
from wherry.supervisor import deletion
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer, LiveProcess


@pytest.fixture
def live(tmp_path: Path) -> LiveContainer:
    """Return a running container without anything below it."""
    disk = Container(Directories(state=tmp_path, root=tmp_path / "root"), "default", "a")
    disk.create()
    record = Record(generation=1, request=CreateRequest(id="a"), state=State.RUNNING.value)
    return LiveContainer(disk, record)


def test_nobody_insists_on_writing_down_what_is_deleted(live: LiveContainer) -> None:
    live.save(by_hand=True)
    shutil.rmtree(live.disk.directory)
    with pytest.raises(FileNotFoundError):
        live.save(by_hand=False)
    live.is_gone = True
    with pytest.raises(errors.NotFound, match="was deleted meanwhile"):
        live.save(by_hand=False)


def test_a_deletion_lets_others_go_on_until_an_end_that_is_told_shows_in_the_state(live: LiveContainer) -> None:
    init = live.processes[ids.INIT] = LiveProcess(ids.INIT, {}, State.STOPPED)
    init.settle(None)

    async def delete() -> None:
        async with asyncio.timeout(0.05):
            await deletion.delete(cast("Core", None), live, force=True)

    with pytest.raises(TimeoutError):
        asyncio.run(delete())
