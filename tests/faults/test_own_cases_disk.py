"""Power cuts, full disks and logs that cannot be written."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.world import World, eventually_async, is_alive, name_of, scenario
from wherry.client.client import Client
from wherry.model import request as req

KINDS = ("running", "stopped", "created")
#: Lengths that a file is cut to: nothing, hardly anything, half, all but the last byte.
CUTS = ("nothing", "a byte", "half", "all but one")
EXPECTED = {"running": 137, "stopped": 7, "created": 137}


def _length(cut: str, size: int) -> int:
    return {"nothing": 0, "a byte": 1, "half": size // 2, "all but one": max(0, size - 1)}[cut]


async def _make(world: World, client: Client, kind: str, name: str) -> int:
    """Make a container of a kind; return the pid of its process, 0 for one that has ended."""
    if kind == "created":
        return (await client.service.create(world.request(name))).pid
    info = await client.service.run(world.request(name, *(() if kind == "running" else ("sh", "-c", "exit 7"))))
    if kind == "running":
        return info.pid
    assert (await client.service.wait(world.process_ref(name))).status == 7
    return 0


def _files(world: World, name: str) -> list[str]:
    """Return every regular file of a container's state that is not empty, as names below its directory."""
    top = world.directory(name).parent
    return sorted(
        str(path.relative_to(top)) for path in top.rglob("*") if path.is_file() and path.stat().st_size and path.name
    )


@scenario
async def test_a_power_cut_in_any_file_of_a_container_harms_no_other_and_keeps_no_daemon_from_starting(
    world: World,
) -> None:
    world.start()
    damages: dict[str, tuple[str, str, str]] = {}
    pids: dict[str, int] = {}
    async with world.client() as client:
        sound = {kind: await _make(world, client, kind, f"sound-{kind}") for kind in KINDS}
        for kind in KINDS:
            for file in _files(world, f"sound-{kind}"):
                damages |= {f"c{len(damages) + i}": (kind, file, cut) for i, cut in enumerate(CUTS)}
        assert len(damages) > 60
        made = await asyncio.gather(*(_make(world, client, kind, name) for name, (kind, _, _) in damages.items()))
        pids = dict(zip(damages, made, strict=True))
    world.kill()
    for name, (_, file, cut) in damages.items():
        path = world.directory(name).parent / file
        os.truncate(path, _length(cut, path.stat().st_size))
    world.start()
    async with world.client() as client:
        known = {info.id: info for info in await client.containers()}
        for kind in KINDS:
            info = known[world.id(f"sound-{kind}")]
            assert (info.state, info.problem, info.pid) == (kind, "", sound[kind])
        for name, damage in damages.items():
            info = known[world.id(name)]
            assert (info.state == "unknown") == bool(info.problem), (damage, info)
            assert info.state in ("unknown", "stopped", damage[0]), (damage, info)
        await _remove(world, client, damages, pids)
        assert not [pid for pid in (sound["running"], sound["created"]) if not is_alive(pid)]
        await world.check_serving(client, "c0")


async def _remove(world: World, client: Client, damages: dict[str, tuple[str, str, str]], pids: dict[str, int]) -> None:
    """Delete all that is damaged by force: its processes end, its id is free, and each end has been told once."""
    names = list(damages)
    delete = [client.service.delete(req.DeleteRequest(id=world.id(name), force=True)) for name in names]
    await asyncio.gather(*delete)
    assert [damages[name] for name in names if pids[name] and is_alive(pids[name])] == [], "these still run"
    told: dict[str, list[int]] = {world.id(name): [] for name in names}
    for event in await world.events(client):
        if event.type == "exit" and event.container in told:
            told[event.container].append(event.status)
    for name, damage in damages.items():
        assert told[world.id(name)] == [EXPECTED[damage[0]]], damage
    assert not [path for path in world.leftovers() if world.token in path and "-sound-" not in path]


@scenario
async def test_exits_are_exact_though_the_state_directory_is_full(world: World, small_state: Path) -> None:
    world.start()
    stdio = req.Stdio(stdin_open=True)
    async with world.client() as client:
        for number in range(5):
            await client.service.run(world.request(f"a{number}", "sh", "-c", f"read x; exit {number}", stdio=stdio))
        ballast = small_state / "ballast"
        subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=512"], stderr=subprocess.DEVNULL)
        shims = [world.shim_pid(f"a{number}") for number in range(5)]
        for number in range(5):
            await client.service.close_stdin(world.process_ref(f"a{number}"))
        await eventually_async("their shims end", lambda: not [pid for pid in shims if is_alive(pid)])
        ballast.unlink()
        for number in range(5):
            record = await client.service.wait(world.process_ref(f"a{number}"))
            assert (record.status, record.reason) == (number, "")
        await world.check_serving(client)


@contextlib.contextmanager
def _filled(directory: Path) -> Iterator[None]:
    """Leave no room on the disk of a directory."""
    ballast = directory / "ballast"
    subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=512"], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        ballast.unlink()


@scenario
async def test_a_start_that_has_happened_is_saved_once_there_is_room(world: World, small_state: Path) -> None:
    world.start(failpoint="start.started=1*delay(2)")
    async with world.client() as client:
        info = await client.service.create(world.request("a"))
        starting = asyncio.gather(client.service.start(world.ref("a")), return_exceptions=True)
        await eventually_async("it runs", lambda: name_of(info.pid).startswith("sleep"))
        with _filled(small_state):
            await eventually_async("it cannot be saved", lambda: "cannot write down" in world.log())
            assert not starting.done()
        assert [getattr(answer, "state", answer) for answer in await starting] == ["running"]
        assert is_alive(info.pid)
        assert [event.type for event in await world.events(client)] == ["create", "start"]


@scenario
async def test_what_removes_itself_is_removed_once_its_state_can_be_saved(world: World) -> None:
    world.start(failpoint="exit.saved=1*delay(2)")
    state = world.directory("a").parent / "state.json"
    async with world.client() as client:
        await client.service.run(world.request("a", "sh", "-c", "sleep 0.5", auto_remove=True))
        await eventually_async("it has ended", lambda: b'"stopped"' in state.read_bytes())
        (state.parent / ".state.json.new").mkdir()  # in the way of any new one
        await eventually_async("it cannot be removed", lambda: "Is a directory" in world.log())
        (state.parent / ".state.json.new").rmdir()
        await eventually_async("it is removed", lambda: not state.parent.exists())
        assert [event.type for event in await world.events(client)] == ["create", "start", "exit", "delete"]


def _is_kept_from_writing(directory: Path) -> bool:
    """Tell whether an open file that becomes immutable takes no more: not on every file system."""
    path = directory / "probe"
    with path.open("wb", buffering=0) as file:
        if subprocess.run(["chattr", "+i", str(path)], capture_output=True).returncode:
            return False
        try:
            file.write(b"x")
        except PermissionError:
            return True
        else:
            return False
        finally:
            subprocess.run(["chattr", "-i", str(path)], check=True)


async def _has_written(world: World, client: Client, part: int) -> None:
    """Wait until a container has written a part, and its shim has read that: it sleeps in epoll again."""
    pid = (await client.service.get(world.ref("a"))).pid
    await eventually_async("it waits for input", lambda: Path(f"/proc/{pid}/root/tmp/part-{part}").exists())
    shim = world.shim_pid("a")
    await eventually_async("its output is read", lambda: _is_read(pid) and name_of(shim).endswith("S"))


def _is_read(pid: int) -> bool:
    """Tell whether the pipe that is a process's stdout is empty."""
    fd = os.open(f"/proc/{pid}/fd/1", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return fcntl.ioctl(fd, termios.FIONREAD, bytes(4)) == bytes(4)
    finally:
        os.close(fd)


#: A line while the log can be written, one while it cannot, and one afterwards.
TALKER = "for n in 1 2 3; do echo part-$n; touch /tmp/part-$n; read x; done; exit 4"


@scenario
async def test_a_log_that_becomes_immutable_stops_no_container_and_the_loss_is_told(world: World) -> None:
    if not _is_kept_from_writing(world.base):
        pytest.skip("a file that is open can be written here though it is immutable")
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", "sh", "-c", TALKER, stdio=req.Stdio(stdin_open=True)))
        log = world.root / "containers/default" / world.id("a") / "init.log"
        await eventually_async("the first part is there", lambda: b"part-1" in log.read_bytes())
        try:
            async with client.container(world.id("a")).attach(offset=-1) as attachment:
                subprocess.run(["chattr", "+i", str(log)], check=True)
                await attachment.write(b"\n")
                await _has_written(world, client, 2)
                assert b"part-2" not in log.read_bytes()
                subprocess.run(["chattr", "-i", str(log)], check=True)
                await attachment.write(b"\n")
                await eventually_async("the last part is there", lambda: b"part-3" in log.read_bytes())
                await attachment.write(b"\n")
        finally:
            subprocess.run(["chattr", "-i", str(log)], capture_output=True)
        record = await client.service.wait(world.process_ref("a"))
        assert (record.status, record.dropped_bytes) == (4, len(b"part-2\n"))
        assert b"wherry: 7 bytes of output dropped" in await client.container(world.id("a")).output()
        told = json.loads((world.directory("a") / "exit.json").read_text())
        assert told["dropped_bytes"] == record.dropped_bytes
