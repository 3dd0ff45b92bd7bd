"""Foreign, empty and torn files in both directories, and full disks: no content keeps the daemon from starting."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.world import SLEEPER, World, eventually, eventually_async, is_alive, scenario
from wherry import errors
from wherry.model import request as req


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _change_state(directory: Path, **fields: str) -> None:
    path = directory / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty state.json": lambda d: (d / "state.json").write_text(""),
    "torn state.json": lambda d: os.truncate(d / "state.json", 40),
    "list in state.json": lambda d: (d / "state.json").write_text("[]"),
    "NUL state.json": lambda d: (d / "state.json").write_bytes(b"\0" * 500),
    "absurd state": lambda d: (d / "state.json").write_text('{"generation":"x","request":5}'),
    "deep state.json": lambda d: (d / "state.json").write_text("[" * 100_000),
    "absurd checkpoint": lambda d: _change_state(d, checkpointing="a/b"),
    "absurd checkpoint under way": lambda d: _change_state(d, state="checkpointing", checkpointing="../b"),
    "no state.json": lambda d: (d / "state.json").unlink(),
    "FIFO state.json": lambda d: _replace(d / "state.json", os.mkfifo),
    "directory state.json": lambda d: _replace(d / "state.json", os.mkdir),
    "link state.json": lambda d: _replace(d / "state.json", lambda path: path.symlink_to("/etc/passwd")),
    "torn process.json": lambda d: os.truncate(d / "init/process.json", 30),
    "empty process.json": lambda d: (d / "init/process.json").write_text(""),
    "list in process.json": lambda d: (d / "init/process.json").write_text("[]"),
    "no process.json": lambda d: (d / "init/process.json").unlink(),
    "no exit FIFO": lambda d: (d / "init/exit").unlink(),
    "file for a FIFO": lambda d: _replace(d / "init/exit", lambda path: path.write_text("x")),
    "no control FIFO": lambda d: (d / "init/control").unlink(),
    "absurd pid": lambda d: (d / "init/pid").write_text("moon"),
    "huge pid": lambda d: (d / "init/pid").write_text("9" * 5000),
    "absurd exit.json": lambda d: (d / "init/exit.json").write_text("[]"),
    "no init": lambda d: shutil.rmtree(d / "init"),
}


@scenario
async def test_damaged_containers_are_shown_and_can_be_removed_by_force(world: World) -> None:
    world.start()
    names = {damage: f"d{number}" for number, damage in enumerate(DAMAGE)}
    pids: dict[str, int] = {}
    async with world.client() as client:
        made = await asyncio.gather(*(client.service.run(world.request(name)) for name in names.values()))
        pids = {info.id: info.pid for info in made}
        sound = await client.service.run(world.request("sound"))
    world.kill()
    for damage, name in names.items():
        DAMAGE[damage](world.directory(name).parent)
    world.start()
    async with world.client() as client:
        known = {info.id: info for info in await client.containers()}
        assert known[world.id("sound")].state == "running"
        assert known[world.id("sound")].pid == sound.pid
        for damage, name in names.items():
            info = known[world.id(name)]
            assert info.state in ("unknown", "running", "stopped"), (damage, info)
            assert (info.state == "unknown") == bool(info.problem), (damage, info)
            if info.state == "unknown":
                with pytest.raises(errors.FailedPrecondition, match="only by force"):
                    await client.service.delete(req.DeleteRequest(id=info.id))
        for name in names.values():
            await client.service.delete(req.DeleteRequest(id=world.id(name), force=True))
        left = [damage for damage, name in names.items() if is_alive(pids[world.id(name)])]
        assert left == [], "these still run"
        told = [event.container for event in await world.events(client) if event.type == "exit"]
        assert sorted(told) == sorted(world.id(name) for name in names.values()), "each end is told, and once"
        await world.check_serving(client, "d0")
        assert is_alive(sound.pid)


@scenario
async def test_foreign_things_in_the_directories_are_passed_over_and_kept(world: World) -> None:
    world.start()
    async with world.client() as client:
        kept = await client.service.run(world.request("a"))
    world.kill()
    default = world.state / "default"
    outside = world.base / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (default / "foreign-file").write_text("x")
    (default / "foreign dir").mkdir()
    (default / "foreign-link").symlink_to(outside)
    os.mkfifo(default / "foreign-fifo")
    (default / ".hidden").mkdir()
    (world.state / "foreign-file").write_text("x")
    (world.state / "bad namespace!").mkdir()
    (world.state / "link").symlink_to(outside)
    os.mkfifo(world.state / "fifo")
    (world.directory("a") / "foreign").write_text("x")
    (world.root / "containers/default/stray").mkdir()
    (world.root / "containers/link").symlink_to(outside)
    (world.root / "containers/file").write_text("x")
    (world.root / "journal/foreign.jsonl").write_text("x")
    world.start()
    async with world.client() as client:
        (info,) = await client.containers(all_namespaces=True)
        assert (info.state, info.pid) == ("running", kept.pid)
        await world.check_serving(client, "b")
        await client.service.delete(req.DeleteRequest(id=world.id("a"), force=True))
    assert (outside / "precious").read_text() == "x"
    assert len(list((world.state / "quarantine").iterdir())) == 4
    for path in (default / ".hidden", default):
        if path.exists():
            path.rmdir()
    for name in ("containers/link", "containers/file"):
        (world.root / name).unlink(missing_ok=True)


@scenario
async def test_damaged_journal_loses_only_what_is_damaged(world: World) -> None:
    world.start()
    async with world.client() as client:
        for _ in range(3):
            await world.check_serving(client)
        before = await world.events(client)
    world.kill()
    (segment,) = (path for path in (world.root / "journal").iterdir() if path.stat().st_size > 100)
    with segment.open("ab") as file:
        file.write(b"\0" * 300 + b"\n[1,2]\n{}\nmoon\n" + b'{"seq": 13, "time_ns": 5, "typ')
    (world.root / "journal" / "99.jsonl").mkdir()
    world.start()
    async with world.client() as client:
        assert await world.events(client) == before
        await world.check_serving(client)
        assert len(await world.events(client)) == len(before) + 4


def _fill(ballast: Path) -> None:
    """Write a file until its disk is full."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@scenario
async def test_full_disk_stops_no_container_and_drops_are_counted(world: World, small_disk: Path) -> None:
    world.start()
    async with world.client() as client:
        script = (
            "i=0; while [ $i -lt 3000 ]; do echo $i-xxxxxxxxxxxxxxxxxxxx; i=$((i+1)); done; read x; echo after; exit 3"
        )
        stdio = req.Stdio(stdin_open=True)
        await client.service.run(world.request("a", "sh", "-c", script, stdio=stdio))
        ballast = small_disk / "ballast"
        log = small_disk / "containers/default" / world.id("b") / "init.log"
        await client.service.run(world.request("b", "sh", "-c", f"sleep 0.3; {script}", stdio=stdio))
        _fill(ballast)
        await asyncio.sleep(0.6)  # the burst falls on the full disk
        with pytest.raises(errors.ResourceExhausted, match="No space left|cannot") as caught:
            await client.service.create(world.request("c"))
        assert world.id("c") in caught.value.message
        assert [info.id for info in await client.containers()] == [world.id("a"), world.id("b")]
        assert not (world.state / "default" / world.id("c")).exists()
        assert not list(small_disk.glob(f"containers/default/*{world.id('c')}*"))
        ballast.unlink()
        async with client.container(world.id("b")).attach() as attachment:
            await attachment.write(b"go\n")
            record = await client.service.wait(world.process_ref("b"))
        assert record.status == 3
        assert record.dropped_bytes > 10_000
        text = await client.container(world.id("b")).output()
        assert b"bytes of output dropped: No space left on device" in text
        assert text.endswith(b"after\n")
        assert json.loads((world.directory("b") / "exit.json").read_text())["dropped_bytes"] == record.dropped_bytes
        assert log.exists()
        await world.check_serving(client, "c")


@scenario
async def test_exit_on_a_full_disk_is_told_once_there_is_room(world: World, small_disk: Path) -> None:
    world.start()
    async with world.client() as client:
        info = await client.service.run(world.request("a", *SLEEPER))
        ballast = small_disk / "ballast"
        _fill(ballast)
        segment = next(iter((small_disk / "journal").iterdir()))
        with segment.open("ab") as file:  # what is left of its last page
            file.truncate(segment.stat().st_size)
        await client.service.kill(req.KillRequest(id=info.id, signal=9))
        await eventually_async("the process ends", lambda: not is_alive(info.pid))
        ballast.unlink()
        assert (await client.service.wait(world.process_ref("a"))).status == 137
        assert [event.type for event in await world.events(client)] == ["create", "start", "exit"]


def test_daemon_on_a_full_disk_starts_or_says_why(world: World, small_disk: Path) -> None:
    _fill(small_disk / "ballast")
    done = subprocess.run(world.argv(), capture_output=True, text=True, env=world.environment, timeout=20)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr.strip().splitlines()[-1]
    (small_disk / "ballast").unlink()
    world.start()
    eventually("it serves", lambda: world.cli("ps").returncode == 0)
