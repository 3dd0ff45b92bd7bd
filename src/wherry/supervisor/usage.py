"""What containers use, now and again and again; read by the supervisor itself, so that no shim is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from wherry import errors
from wherry.linux import usage
from wherry.model import ids
from wherry.model import stats as st
from wherry.model.lifecycle import ALIVE
from wherry.supervisor.live import LiveContainer

MIN_INTERVAL, MAX_INTERVAL = 0.05, 3600.0


def take(live: LiveContainer) -> st.Stats:
    """Return what a container uses, or what it used at most MIN_INTERVAL ago. Raises FailedPrecondition.

    Some thirty small files, a millisecond or two of the loop: whoever may read may ask a thousand times at once, and
    all of these share a sample. One from before a change of the record (a limit, another run) says nothing any more.
    """
    if live.state not in ALIVE or not live.saved.cgroup:
        raise errors.FailedPrecondition(f"cannot take stats of container {live.id}: it is {live.state.value}")
    now = time.monotonic()
    if live.sample:
        sample, then, saved = live.sample
        if saved is live.saved and now - then < MIN_INTERVAL:
            return sample
    sample = _read(live)
    live.sample = sample, now, live.saved
    return sample


def _read(live: LiveContainer) -> st.Stats:
    now = time.time_ns()
    try:
        cpu, memory, pids, block, hugetlb = usage.read(live.saved.cgroup)
    except OSError as error:
        raise errors.FailedPrecondition(f"cannot take stats of container {live.id}: it has just ended") from error
    return st.Stats(
        id=live.id,
        namespace=live.disk.namespace,
        time_ns=now,
        cpu=cpu,
        memory=memory,
        pids=pids,
        block=block,
        hugetlb=hugetlb,
        networks=usage.read_networks(live.process(ids.INIT).pid),
    )


async def watch(live: LiveContainer, interval: float) -> AsyncIterator[st.Stats]:
    """Yield a sample at once and one every `interval` seconds, until the container ends."""
    if not MIN_INTERVAL <= interval <= MAX_INTERVAL:
        raise errors.InvalidArgument(
            f"cannot watch container {live.id}: an interval of {interval:g} s is not"
            f" between {MIN_INTERVAL:g} and {MAX_INTERVAL:g}"
        )
    yield take(live)
    while True:
        try:
            async with asyncio.timeout(interval):
                await live.wait_rest()
            return
        except TimeoutError:
            pass
        try:
            sample = take(live)
        except errors.FailedPrecondition:
            continue  # between two runs, or ending
        yield sample
