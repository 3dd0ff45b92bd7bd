"""Containers in the pid namespace of the host, whose processes do not end with the first: nobody outlives them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.faults.world import SLOW, World, eventually_async, is_alive, scenario
from tests.support import rootfs
from wherry.client.client import Client
from wherry.model import request as req

SCRIPT = "sleep 3600 & setsid sleep 3600 & echo ready; read x; exit 6"


def _make_bundle(world: World) -> str:
    """Make a bundle in the pid namespace of the host whose process leaves two children behind."""
    root = rootfs.make_busybox_rootfs(world.base / "rootfs")
    bundle = rootfs.make_bundle(world.base / "bundle", root, "sh", "-c", SCRIPT)
    config = json.loads((bundle / "config.json").read_text())
    config["linux"]["namespaces"] = [item for item in config["linux"]["namespaces"] if item["type"] != "pid"]
    config["linux"]["cgroupsPath"] = f"/wherry~{world.token}-shared"
    (bundle / "config.json").write_text(json.dumps(config))
    return str(bundle)


def _make_runtime(world: World) -> tuple[str, Path]:
    """Make a crun that gets nowhere with a `kill`, and the file that is there once it is at one."""
    path, at_it = world.base / "bin" / "crun", world.base / "at-it"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\ncase " $* " in *" kill "*) touch {at_it}; exec sleep 60;; esac\nexec crun "$@"\n')
    path.chmod(0o755)
    return str(path), at_it


async def _run(world: World, client: Client, runtime: str, *, auto_remove: bool) -> list[int]:
    """Run the container `a`; return the numbers of its three processes."""
    source = req.Source(kind="bundle", path=_make_bundle(world))
    request = req.CreateRequest(
        id=world.id("a"), source=source, runtime=runtime, stdio=req.Stdio(stdin_open=True), auto_remove=auto_remove
    )
    await client.service.run(request)
    log = world.root / "containers/default" / world.id("a") / "init.log"
    await eventually_async("it has its children", lambda: b"ready" in log.read_bytes())
    pids = [process.pid for process in (await client.service.processes(world.ref("a"))).processes]
    assert len(pids) == 3
    return pids


@pytest.mark.parametrize("means", ["its shim is killed", "its shim is killed without a daemon", "it takes too long"])
@scenario
async def test_whom_the_sweep_has_missed_ends_with_the_container(world: World, means: str) -> None:
    world.start()
    runtime, at_it = _make_runtime(world)
    async with world.client() as client:
        pids = await _run(world, client, runtime, auto_remove=False)
        shim = world.shim_pid("a")
        await client.service.close_stdin(world.process_ref("a"))
        await eventually_async("its shim is at the sweep", at_it.exists)
        if "without" in means:
            world.kill()
        if "killed" in means:
            os.kill(shim, signal.SIGKILL)
    if "without" in means:
        world.start()
    async with world.client() as client, asyncio.timeout(20 * SLOW):
        assert (await client.service.wait(world.process_ref("a"))).status == 6
        assert not [pid for pid in pids if is_alive(pid)]
        await client.service.delete(req.DeleteRequest(id=world.id("a")))
        assert "cannot remove cgroup" not in world.log()


@scenario
async def test_a_container_that_removes_itself_is_removed_though_its_sweep_was_cut_short(world: World) -> None:
    world.start()
    runtime, at_it = _make_runtime(world)
    async with world.client() as client:
        pids = await _run(world, client, runtime, auto_remove=True)
        await client.service.close_stdin(world.process_ref("a"))
        await eventually_async("its shim is at the sweep", at_it.exists)
        os.kill(world.shim_pid("a"), signal.SIGKILL)
        await eventually_async("it is removed", lambda: not world.directory("a").parent.exists())
        assert not [pid for pid in pids if is_alive(pid)]
