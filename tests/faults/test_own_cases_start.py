"""What passes, as a want of descriptors while a supervisor starts or reads back, makes no container a stranger."""

from __future__ import annotations

import asyncio
import errno
import os
import signal

import pytest

import wherry
from tests.faults.world import SLOW, World, is_alive, scenario
from wherry.client.client import Client
from wherry.model import request as req
from wherry.runtime import container as containers
from wherry.supervisor import kill
from wherry.supervisor.live import LiveContainer, LiveProcess

#: Files of a container that a supervisor reads when it starts.
FILES = ("state.json", "process.json", "exit", "control", "pid", "exit.json")
ENDING = ("sh", "-c", "read x; exit 7")


class Fault:
    """Lets the opening of files with some names fail for a while."""

    def __init__(self) -> None:
        self.left: dict[str, int] = {}
        self.number = errno.EMFILE

    def arm(self, *names: str, times: int = 3, number: int = errno.EMFILE) -> None:
        """Let the next `times` of each name fail with `number`."""
        self.left, self.number = dict.fromkeys(names, times), number

    def check(self, path: str) -> None:
        """Raise if it is the turn of `path`."""
        name = os.path.basename(path)
        if self.left.get(name):
            self.left[name] -= 1
            raise OSError(self.number, os.strerror(self.number), path)


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    """Let os.open fail where and when a test says."""
    found, real = Fault(), os.open

    def open_(path: str | os.PathLike[str], flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if not isinstance(path, int):
            found.check(os.fspath(path))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_)
    return found


async def _make(world: World) -> dict[str, int]:
    """Leave a running, a created and a stopped container without a supervisor; return pids by id."""
    world.start()
    async with world.client() as client:
        running = await client.service.run(world.request("running"))
        created = await client.service.create(world.request("created"))
        await client.service.run(world.request("stopped", "sh", "-c", "exit 7"))
        await client.service.wait(world.process_ref("stopped"))
    world.kill()
    return {running.id: running.pid, created.id: created.pid, world.id("stopped"): 0}


async def _check_known(world: World, client: Client, pids: dict[str, int]) -> None:
    known = {info.id: info for info in await client.containers()}
    for name in ("running", "created", "stopped"):
        info = known[world.id(name)]
        assert (info.state, info.problem, info.pid) == (name, "", pids[info.id])
    assert (await client.service.wait(world.process_ref("stopped"))).status == 7


@scenario
async def test_a_want_of_descriptors_at_the_start_orphans_no_container(world: World, fault: Fault) -> None:
    """Seen: state.json went to the quarantine, since it could not be opened, and its container was a stranger."""
    pids = await _make(world)
    fault.arm(*FILES)
    async with wherry.supervise(state_dir=world.state, root_dir=world.root, runtime=world.runtime) as client:
        assert not any(fault.left.values())
        await _check_known(world, client, pids)
        assert not (world.state / containers.QUARANTINE).exists()
        assert (await client.service.stop(req.StopRequest(id=world.id("running"), timeout=0))).reason == ""


@scenario
async def test_an_exit_that_cannot_be_read_at_once_is_exact_all_the_same(world: World, fault: Fault) -> None:
    """Seen: status 137 and `shim-lost` of a container that had ended with another, written over what the shim had."""
    async with wherry.supervise(state_dir=world.state, root_dir=world.root, runtime=world.runtime) as client:
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            name = errno.errorcode[number]
            await client.service.run(world.request(name, *ENDING, stdio=req.Stdio(stdin_open=True)))
            fault.arm("exit.json", number=number)
            await client.service.close_stdin(world.process_ref(name))
            record = await client.service.wait(world.process_ref(name))
            assert not fault.left["exit.json"]
            assert (record.status, record.reason) == (7, "")


@scenario
async def test_a_survey_that_fails_at_first_does_not_end_in_an_empty_list(world: World) -> None:
    """Seen: the daemon served without any container, and gave their names to others."""
    pids = await _make(world)
    world.start(failpoint="recover.surveyed=2*error(EMFILE)")
    async with world.client() as client:
        async with asyncio.timeout(20 * SLOW):
            await _check_known(world, client, pids)
        assert not (await client.info()).recovering


@scenario
async def test_a_status_that_cannot_be_read_at_once_keeps_no_end_from_being_told(world: World, fault: Fault) -> None:
    async with wherry.supervise(state_dir=world.state, root_dir=world.root, runtime=world.runtime) as client:
        await client.service.run(world.request("a", *ENDING, stdio=req.Stdio(stdin_open=True)))
        fault.arm("exitStatus")
        await client.service.close_stdin(world.process_ref("a"))
        async with asyncio.timeout(10 * SLOW):
            assert (await client.service.wait(world.process_ref("a"))).status == 7
        assert not fault.left["exitStatus"]


@scenario
async def test_what_cannot_be_killed_at_once_for_want_of_descriptors_is_killed_and_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_now, left = kill.kill_now, [errno.EMFILE, errno.ENFILE]

    def fail_first(live: LiveContainer, process: LiveProcess) -> None:
        if left:
            raise OSError(left.pop(), "no descriptor")
        kill_now(live, process)

    monkeypatch.setattr(kill, "kill_now", fail_first)
    async with wherry.supervise(state_dir=world.state, root_dir=world.root, runtime=world.runtime) as client:
        pid = (await client.service.run(world.request("a"))).pid
        os.kill(world.shim_pid("a"), signal.SIGKILL)
        async with asyncio.timeout(10 * SLOW):
            assert (await client.service.wait(world.process_ref("a"))).reason == "shim-lost"
        assert not left
        assert not is_alive(pid)
