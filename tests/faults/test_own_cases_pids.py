"""Process numbers that come again every few containers: a signal finds the very process, or nobody."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults.world import SLOW, World, eventually_async, scenario
from wherry.client.client import Client
from wherry.model import request as req

#: After the first time round, numbers begin at 300 (kernel/pid.c, RESERVED_PIDS).
PIDS = 420
#: More than three times round: a container with an exec takes about ten.
COUNT = 60
NEW = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def _probe() -> str:
    """Return why the number of process numbers cannot be set for one namespace alone, "" if it can."""
    if shutil.which("unshare") is None:
        return "unshare is not on PATH"
    before = Path("/proc/sys/kernel/pid_max").read_text()
    script = f"echo {PIDS} > /proc/sys/kernel/pid_max && cat /proc/sys/kernel/pid_max"
    # Before Linux 6.14 there is one for all of the host: it must not be touched, so the release is asked first.
    release = tuple(int(word) for word in Path("/proc/sys/kernel/osrelease").read_text().split(".")[:2])
    if release < (6, 14):
        return "before Linux 6.14 all namespaces share one pid_max"
    done = subprocess.run([*NEW, "sh", "-c", script], capture_output=True, text=True)
    is_own = Path("/proc/sys/kernel/pid_max").read_text() == before
    return "" if done.stdout.strip() == str(PIDS) and is_own else f"pid_max cannot be set: {done.stderr.strip()}"


def _start_in_there(world: World) -> subprocess.Popen[bytes]:
    """Start a daemon among few numbers, beside a program that starts others and counts those that are killed."""
    daemon = " ".join(world.argv())
    script = (
        f"echo {PIDS} > /proc/sys/kernel/pid_max || exit 9\n"
        f"{daemon} & daemon=$!\n"
        f"while [ ! -e {world.base}/enough ]; do /bin/sleep 0.02 || echo $? >> {world.base}/hits; done\n"
        f"kill $daemon; wait $daemon; echo $? > {world.base}/ended\n"
    )
    with (world.base / "log").open("ab") as log:
        return world.spawn([*NEW, "sh", "-c", script], stdout=log, stderr=log)


async def _live(world: World, client: Client, number: int) -> int:
    """Let a container live and be killed in one of several ways; return its process's number."""
    name = f"n{number}"
    status = number % 50 + 1
    info = await client.service.run(
        world.request(name, "sh", "-c", f"read x; exit {status}", stdio=req.Stdio(stdin_open=True))
    )
    exec_ = req.ExecRequest(id=info.id, process="e", args=("sh", "-c", f"exit {status}"))
    await client.service.exec(exec_)
    assert (await client.service.wait(world.process_ref(name, "e"))).status == status
    if number % 3 == 0:
        await client.service.kill(req.KillRequest(id=info.id, signal=9, all=True))
    elif number % 3 == 1:
        await client.service.close_stdin(world.process_ref(name))
    if number % 3 < 2:
        record = await client.service.wait(world.process_ref(name))
        assert record.status == (137 if number % 3 == 0 else status)
    await client.service.delete(req.DeleteRequest(id=info.id, force=True))
    return info.pid


@scenario
async def test_numbers_that_come_again_let_no_signal_hit_a_stranger(world: World) -> None:
    if why := _probe():
        pytest.skip(why)
    daemon = _start_in_there(world)
    await eventually_async("it listens", (world.state / "wherry.sock").exists, 20.0)
    async with world.client() as client:
        kept = await client.service.run(world.request("kept"))
        pids: list[int] = []
        async with asyncio.timeout(50 * SLOW):
            for first in range(0, COUNT, 3):
                numbers = range(first, first + 3)
                pids += await asyncio.gather(*(_live(world, client, number) for number in numbers))
        assert len(set(pids)) < len(pids), "no number has come again"
        info = await client.service.get(world.ref("kept"))
        assert (info.state, info.pid) == ("running", kept.pid)
        await client.service.delete(req.DeleteRequest(id=kept.id, force=True))
        await world.events(client)
    (world.base / "enough").touch()
    assert await asyncio.to_thread(daemon.wait, 30 * SLOW) == 0, world.log()
    assert (world.base / "ended").read_text() == "0\n", world.log()
    assert not (world.base / "hits").exists(), "a stranger was killed"
