"""A daemon of other code, with a zygote of other code, over shims that have run since before."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.faults.world import SLOW, SOURCE_DIRECTORY, World, children, eventually_async, is_alive, scenario
from wherry.client.client import Client
from wherry.model import request as req

MARK = "# the next release\n"
TALKER = ("sh", "-c", "i=0; while read line; do i=$((i+1)); echo $i-$line; stty size; done; exit 9")


def _make_next_release(world: World) -> Path:
    """Return a directory with other code than ours: a copy, whose shim starts with a comment."""
    copy = world.base / "next"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(SOURCE_DIRECTORY) / "wherry", copy / "wherry", ignore=ignored)
    for path in (copy / "wherry/shim").glob("*.py"):
        path.write_text(path.read_text() + MARK)
    return copy


async def _ask(client: Client, world: World, line: str, answer: bytes) -> None:
    """Type a line into the terminal and wait for what comes of it."""
    output = b""
    async with asyncio.timeout(15 * SLOW), client.container(world.id("a")).attach(offset=-1) as attachment:
        await attachment.write(f"{line}\n".encode())
        async for piece in attachment:
            output += piece.data
            if answer in output:
                return
    pytest.fail(f"{answer!r} is not in {output!r}")


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@scenario
async def test_shims_of_the_release_before_go_on_in_all_they_do(world: World, runtime: str) -> None:
    world.runtime = runtime
    world.start()
    terminal = req.Stdio(terminal=True, stdin_open=True, width=80, height=24)
    async with world.client() as client:
        info = await client.service.run(world.request("a", *TALKER, stdio=terminal))
        await client.service.exec(req.ExecRequest(id=info.id, process="e", args=("sh", "-c", "sleep 300")))
        zygote, shims = (await client.info()).zygote_pid, [world.shim_pid("a", name) for name in ("init", "e")]
        await _ask(client, world, "one", b"1-one")
    world.kill()
    world.start(environment={"PYTHONPATH": str(_make_next_release(world))})
    async with world.client() as client:
        assert (await client.info()).zygote_pid not in (zygote, 0)
        assert set(shims) <= set(children(zygote)), "the old zygote stays for its shims"
        await client.service.resize(req.ResizeRequest(id=info.id, width=99, height=33))
        await _ask(client, world, "two", b"33 99")
        assert b"1-one" in await client.container(info.id).output()
        await client.service.pause(world.ref("a"))
        await client.service.resume(world.ref("a"))
        new = req.ExecRequest(id=info.id, process="new", args=("sh", "-c", "exit 4"))
        await client.service.exec(new)
        assert (await client.service.wait(world.process_ref("a", "new"))).status == 4
        await client.service.kill(req.KillRequest(id=info.id, process="e", signal=9))
        assert (await client.service.wait(world.process_ref("a", "e"))).signal == 9
        await _ask(client, world, "three\n\x04", b"3-three")
        assert (await client.service.wait(world.process_ref("a"))).status == 9
        await eventually_async("the old zygote ends with its last shim", lambda: not is_alive(zygote))
        await world.check_serving(client)
