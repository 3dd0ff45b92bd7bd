"""A client that goes away mid-stream leaves no task and no descriptor; the daemon's own end and its rivals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from tests.faults.world import SLEEPER, SLOW, World, count_fds, eventually, eventually_async, is_alive, scenario
from wherry import errors
from wherry.model import request as req

CHATTER = ("sh", "-c", "while :; do echo chatter; sleep 0.02; done")


def _dump(world: World) -> str:
    """Return the daemon's list of its tasks."""
    before = len(world.log())
    assert world.daemon is not None
    world.daemon.send_signal(signal.SIGUSR1)
    eventually("the dump", lambda: "last event" in world.log()[before:])
    return world.log()[before:]


def _count_tasks(world: World) -> int:
    return len(re.findall("^(No stack for |Stack for |)<Task ", _dump(world), re.MULTILINE))


def test_killed_clients_leave_no_task_and_no_descriptor(world: World) -> None:
    world.start()
    id_ = world.id("a")
    assert world.cli("run", "-d", "-i", "--name", id_, "host", "--", *CHATTER).returncode == 0
    assert world.cli("ps").returncode == 0
    eventually("the first calls are over", lambda: "_serve" in _dump(world))
    fds, tasks, shim_fds = count_fds(world.pid), _count_tasks(world), count_fds(world.shim_pid("a"))
    commands = [
        ("attach", id_),
        ("logs", "-f", id_),
        ("events", "--after", "0", "-f"),
        ("run", "--name", world.id("b"), "host", "--", *CHATTER),
    ]
    clients = [world.spawn(world.cli_argv(*words), stdin=-1, stdout=-1, stderr=-1) for words in commands]
    for client in clients:
        assert client.stdout is not None
        assert client.stdout.read(1), "the stream has begun"
    streams = _count_tasks(world)
    assert streams > tasks
    waiting = world.spawn(world.cli_argv("wait", id_), stdout=-1)
    eventually("wait is under way", lambda: _count_tasks(world) > streams)
    for client in (*clients, waiting):
        client.kill()
        client.wait()
        for stream in (client.stdin, client.stdout, client.stderr):
            if stream is not None:
                stream.close()
    assert world.cli("rm", "-f", world.id("b")).returncode == 0
    eventually(f"{fds} descriptors: {_fds(world.pid)}", lambda: count_fds(world.pid) <= fds)
    eventually(f"{tasks} tasks: {_dump(world)}", lambda: _count_tasks(world) <= tasks)
    eventually("the shim has no clients", lambda: count_fds(world.shim_pid("a")) <= shim_fds)
    assert world.cli("exec", id_, "--", "true").returncode == 0


def _fds(pid: int) -> list[str]:
    return [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]


def test_client_killed_amid_a_creation_cancels_its_wait_but_not_the_creation(world: World) -> None:
    slow = world.base / "slow"
    slow.write_text(
        f'#!/bin/sh\ncase " $* " in *" create "*) touch {world.base}/at-it; sleep 0.5;; esac\nexec crun "$@"\n'
    )
    slow.chmod(0o755)
    world.start()
    id_ = world.id("a")
    client = world.spawn(world.cli_argv("create", "--runtime", str(slow), "--name", id_, "host", "--", "true"))
    eventually("the runtime is at it", (world.base / "at-it").exists)
    client.kill()
    client.wait()
    eventually("it is created", lambda: '"created"' in world.cli("inspect", "--json", id_).stdout)


def test_daemon_out_of_descriptors_recovers_when_its_clients_leave(world: World) -> None:
    world.start()
    id_ = world.id("a")
    assert world.cli("run", "-d", "--name", id_, "host", "--", *CHATTER).returncode == 0
    before = count_fds(world.pid)
    resource.prlimit(world.pid, resource.RLIMIT_NOFILE, (before + 12, 4096))

    async def crowd() -> int:
        refused = 0

        async def attach() -> None:
            nonlocal refused
            try:
                async with (
                    asyncio.timeout(3),
                    world.client() as client,
                    client.container(id_).attach() as attachment,
                ):
                    async for _ in attachment:
                        pass
            except TimeoutError:
                pass
            except errors.WherryError:
                refused += 1

        await asyncio.gather(*(attach() for _ in range(30)))
        return refused

    assert asyncio.run(crowd()) > 0
    eventually("descriptors are back", lambda: count_fds(world.pid) <= before + 1)

    async def check() -> None:
        async with world.client() as client:
            assert (await client.service.get(world.ref("a"))).state == "running"
            resource.prlimit(world.pid, resource.RLIMIT_NOFILE, (1024, 4096))
            await world.check_serving(client)

    asyncio.run(check())


def test_exit_while_the_daemon_is_down_is_told_once_and_everywhere_alike(world: World) -> None:
    world.start()
    id_ = world.id("a")
    assert world.cli("run", "-d", "--name", id_, "host", "--", "sh", "-c", "sleep 0.4; exit 9").returncode == 0
    shim = world.shim_pid("a")
    world.kill()
    eventually("the container ends", lambda: not is_alive(shim))
    world.start()
    assert world.cli("wait", id_).stdout == "9\n"
    assert '"status": 9' in world.cli("inspect", "--json", id_).stdout
    lines = world.cli("events", "--after", "0", "--json").stdout.splitlines()
    exits = [line for line in lines if '"exit"' in line]
    assert len(exits) == 1
    assert re.search(r'"status": ?9\b', exits[0])


def test_sigterm_ends_the_daemon_with_0_and_leaves_containers_running(world: World) -> None:
    world.start()
    id_ = world.id("a")
    assert world.cli("run", "-d", "--name", id_, "host", "--", *CHATTER).returncode == 0
    with world.spawn(world.cli_argv("logs", "-f", id_), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as follower:
        assert follower.stdout is not None
        assert follower.stdout.read(1)
        shim = world.shim_pid("a")
        assert world.kill(signal.SIGTERM) == 0
        assert is_alive(shim)
        assert not (world.state / "wherry.sock").exists()
        log = world.root / "containers/default" / id_ / "init.log"
        size = log.stat().st_size
        eventually("the output goes on", lambda: log.stat().st_size > size)
        world.start()
        follower.kill()
    assert '"running"' in world.cli("inspect", "--json", id_).stdout


def _run_rival(world: World, *argv: str) -> str:
    """Run a daemon that must refuse to start, and return its one error line."""
    done = subprocess.run(argv, capture_output=True, text=True, env=world.environment, timeout=20 * SLOW)
    assert done.returncode == 1, done
    (line,) = done.stderr.strip().splitlines()
    return line


def test_second_daemon_on_the_same_directories_is_refused(world: World) -> None:
    world.start()
    line = _run_rival(world, *world.argv())
    assert f"cannot use {world.state}: another supervisor has it (pid {world.pid})" in line


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_a_state_directory_that_a_stranger_has_put_there_is_refused_and_left_as_it_is(world: World, kind: str) -> None:
    directory, mode = world.base / "strange", 0o755
    if kind == "link":
        directory.symlink_to(other := world.base / "ours")
        other.mkdir(mode=mode)
    else:
        directory.mkdir(mode=mode)
    os.lchown(directory, 65534, 65534)
    line = _run_rival(world, *world.argv(state=directory))
    assert f"cannot use {directory}: it, or where it leads, belongs to user 65534" in line
    assert directory.stat().st_mode & 0o777 == mode
    assert list(directory.iterdir()) == []


def test_root_directory_of_another_state_directory_is_refused(world: World) -> None:
    world.start()
    assert "another supervisor has it" in _run_rival(world, *world.argv(state=world.base / "other"))
    world.kill(signal.SIGTERM)
    line = _run_rival(world, *world.argv(state=world.base / "other"))
    assert f"belongs to the state directory {world.state}" in line
    world.start()


def test_idle_daemon_ends_by_itself_but_not_while_it_has_a_container(world: World) -> None:
    world.start("--idle-exit", "3")
    id_ = world.id("a")
    assert world.cli("run", "-d", "--name", id_, "host", "--", *SLEEPER).returncode == 0
    daemon = world.daemon
    assert daemon is not None
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.wait(4)
    assert world.cli("rm", "-f", id_).returncode == 0
    assert world.join() == 0
    assert not (world.state / "wherry.sock").exists()


@scenario
async def test_abandoned_attach_of_a_stopped_shim_does_not_pile_up(world: World) -> None:
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", *CHATTER))
        shim = world.shim_pid("a")
        before = count_fds(world.pid)
        os.kill(shim, signal.SIGSTOP)
        try:
            for _ in range(5):
                with contextlib.suppress(TimeoutError, errors.WherryError):
                    async with asyncio.timeout(0.1), client.container(world.id("a")).attach() as attachment:
                        await attachment.write(b"x")
                        async for _ in attachment:
                            pass
            await client.service.run(world.request("b", "true"))
            assert (await client.service.wait(world.process_ref("b"))).status == 0
        finally:
            os.kill(shim, signal.SIGCONT)
        await eventually_async("descriptors are back", lambda: count_fds(world.pid) <= before)
        await client.service.delete(req.DeleteRequest(id=world.id("a"), force=True))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_starting_ends_the_daemon_cleanly(world: World, number: int) -> None:
    daemon = world.spawn([*world.argv()], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    eventually("it has its lock", (world.state / "wherryd.lock").exists)
    daemon.send_signal(number)
    assert daemon.stderr is not None
    said = daemon.stderr.read().decode()
    daemon.stderr.close()
    assert daemon.wait(20 * SLOW) == 0, said
    assert "Traceback" not in said
