"""The start of a zygote, which rehearses before it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.support import leaks
from tests.support.eventually import eventually
from wherry import errors
from wherry.runtime.zygote import Zygote


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.04, 0.06, 0.08])
async def test_one_that_is_killed_in_its_rehearsal_leaves_nothing_in_the_way(tmp_path: Path, delay: float) -> None:
    before = leaks.take(containers=False).children
    zygote = Zygote(tmp_path / "zygote.log")

    async def start() -> None:
        with contextlib.suppress(errors.Internal):
            await zygote.start()

    async with asyncio.TaskGroup() as group:
        group.create_task(start())
        while not zygote.pid:
            await asyncio.sleep(0)
        await asyncio.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(zygote.pid, signal.SIGKILL)
    await zygote.start()
    assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "zygote.log").read_text() == "", "the rehearsal was whole"
    await zygote.close(wait=True)

    # What the killed one has left came to us, as it comes to the daemon, which has a reaper.
    def is_reaped() -> bool:
        leaks.reap(before)
        return leaks.take(containers=False).children == before

    eventually(is_reaped)
