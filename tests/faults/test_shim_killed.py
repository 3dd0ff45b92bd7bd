"""SIGKILL and SIGSTOP of a shim, SIGKILL of the zygote: noticed at once, and nobody else is harmed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.world import SLEEPER, SLOW, World, count_fds, eventually_async, is_alive, scenario
from wherry import errors
from wherry.client.client import Client
from wherry.linux import cgroup as cgroups
from wherry.model import request as req
from wherry.model import status as st

COUNTER = ("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")


async def _wait(world: World, client: Client, name: str, process: str = "init", limit: float = 1.0) -> st.ExitRecord:
    async with asyncio.timeout(limit * SLOW):
        return await client.service.wait(world.process_ref(name, process))


def _check_lost(record: st.ExitRecord) -> None:
    assert (record.status, record.signal, record.reason) == (137, 9, "shim-lost")


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@scenario
async def test_killed_shim_is_noticed_within_a_second_and_takes_its_container_along(world: World, runtime: str) -> None:
    world.runtime = runtime
    world.start()
    async with world.client() as client:
        info = await client.service.run(world.request("a", "sh", "-c", "sleep 300 & sleep 300"))
        other = await client.service.run(world.request("b"))
        await eventually_async("both processes run", lambda: len(world.strangers()) >= 4)
        os.kill(world.shim_pid("a"), signal.SIGKILL)
        _check_lost(await _wait(world, client, "a"))
        assert not is_alive(info.pid)
        after = await client.service.get(world.ref("a"))
        assert after.state == "stopped"
        assert is_alive(other.pid)
        (event,) = [event for event in await world.events(client) if event.type == "exit"]
        assert (event.container, event.status, event.signal, event.reason) == (world.id("a"), 137, 9, "shim-lost")
        assert (world.directory("a") / "exitStatus").read_text() == "137"
        # Told first, then cleaned up.
        left = f"*/wherry~{world.id('a')}~*"
        await eventually_async("its cgroup is removed", lambda: not list(Path("/sys/fs/cgroup").glob(left)))
        await client.service.delete(req.DeleteRequest(id=world.id("a")))
        await world.check_serving(client, "a")


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@scenario
async def test_killed_shim_of_an_exec_ends_only_that_exec(world: World, runtime: str) -> None:
    world.runtime = runtime
    world.start()
    async with world.client() as client:
        info = await client.service.run(world.request("a"))
        pids = {}
        for name in ("e1", "e2"):
            pids[name] = (await client.service.exec(req.ExecRequest(id=world.id("a"), process=name, args=SLEEPER))).pid
        os.kill(world.shim_pid("a", "e1"), signal.SIGKILL)
        _check_lost(await _wait(world, client, "a", "e1"))
        assert not is_alive(pids["e1"])
        assert is_alive(pids["e2"])
        assert is_alive(info.pid)
        assert (await client.service.get(world.ref("a"))).state == "running"
        record = await client.service.stop(req.StopRequest(id=world.id("a"), timeout=0))
        assert (record.signal, record.reason) == (9, "")
        exits = [event.process for event in await world.events(client) if event.type == "exit"]
        assert exits == ["e1", "e2", "init"]


@scenario
async def test_shims_killed_while_the_daemon_is_down_are_told_by_the_next_one(world: World) -> None:
    world.start()
    async with world.client() as client:
        lost = await client.service.run(world.request("a"))
        kept = await client.service.run(world.request("b"))
        exec_ = await client.service.exec(req.ExecRequest(id=world.id("b"), process="e", args=SLEEPER))
    world.kill()
    os.kill(world.shim_pid("a"), signal.SIGKILL)
    os.kill(world.shim_pid("b", "e"), signal.SIGKILL)
    world.start()
    async with world.client() as client:
        _check_lost(await _wait(world, client, "a", limit=3))
        _check_lost(await _wait(world, client, "b", "e", limit=3))
        assert not is_alive(lost.pid)
        assert not is_alive(exec_.pid)
        assert is_alive(kept.pid)
        told = [(event.container, event.process) for event in await world.events(client) if event.type == "exit"]
        assert sorted(told) == [(world.id("a"), "init"), (world.id("b"), "e")]


def _slow_runtime(world: World, where: str) -> str:
    """Return a real runtime that takes its time to create, before or after it has done so, unless there is `quick`."""
    path = world.base / "slow"
    before, after = ("sleep 60", "") if where == "before" else ("", "sleep 60")
    path.write_text(
        "#!/bin/sh\n"
        f'[ -e {world.base}/quick ] && exec crun "$@"\n'
        f'case " $* " in *" create "*|*" run "*) touch {world.base}/reached-before;\n'
        f'{before or ":"}; crun "$@" || exit\n'
        f"touch {world.base}/reached-after; {after or ':'}; exit 0;; esac\n"
        'exec crun "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("where", ["before", "after"])
@scenario
async def test_shim_killed_during_a_creation_leaves_nothing_of_it(world: World, where: str) -> None:
    world.start()
    async with world.client() as client:
        request = world.request("a", runtime=_slow_runtime(world, where))
        creating = asyncio.ensure_future(client.service.run(request))  # noqa: TID251 - awaited below
        await eventually_async("the runtime is at it", (world.base / f"reached-{where}").exists)
        os.kill(world.shim_pid("a"), signal.SIGKILL)
        with pytest.raises(errors.WherryError, match="the shim was killed"):
            async with asyncio.timeout(5 * SLOW):
                await creating
        assert await client.containers() == ()
        assert world.leftovers() == []
        await world.check_serving(client, "a")


@pytest.mark.parametrize("where", ["before", "after"])
@scenario
async def test_shim_killed_during_a_restart_leaves_no_process_and_no_cgroup(world: World, where: str) -> None:
    world.start()
    quick = world.base / "quick"
    quick.touch()
    async with world.client() as client:
        cgroup = (await client.service.run(world.request("a", runtime=_slow_runtime(world, where)))).cgroup
        quick.unlink()
        restarting = asyncio.ensure_future(  # noqa: TID251 - awaited below
            client.service.restart(req.StopRequest(id=world.id("a"), timeout=0))
        )
        await eventually_async("the runtime is at it", (world.base / f"reached-{where}").exists)
        os.kill(world.shim_pid("a"), signal.SIGKILL)
        with pytest.raises(errors.Aborted, match="the shim was killed"):
            async with asyncio.timeout(5 * SLOW):
                await restarting
        assert (await client.service.get(world.ref("a"))).state == "stopped"
        assert not [parent for parent, names, _ in os.walk("/sys/fs/cgroup") if cgroup.strip("/") in names]
        assert world.strangers() == []
        quick.touch()
        assert (await client.service.start(world.ref("a"))).state == "running"


@pytest.mark.parametrize("victim", ["shim", "maker"])
@pytest.mark.parametrize("runtime", ["crun", "runc"])
@scenario
async def test_exec_whose_shim_is_killed_before_its_pid_is_known_leaves_no_process(
    world: World, runtime: str, victim: str
) -> None:
    world.start()
    path = world.base / runtime
    # As if the runtime had been killed just before it wrote the number down.
    after = f"rm -f pid; touch {world.base}/reached; sleep 60"
    path.write_text(f'#!/bin/sh\n{runtime} "$@" || exit\ncase " $* " in *" exec "*) {after};; esac\n')
    path.chmod(0o755)
    async with world.client() as client:
        request = world.request("a", "sh", "-c", "sleep 300 & sleep 300 & wait", runtime=str(path))
        info = await client.service.run(request)
        await eventually_async("all of it runs", lambda: len(cgroups.find_pids(info.cgroup)) == 3)
        held = cgroups.find_pids(info.cgroup)
        exec_ = req.ExecRequest(id=world.id("a"), process="e", args=SLEEPER)
        call = asyncio.gather(client.service.exec(exec_), return_exceptions=True)
        await eventually_async("the exec runs", (world.base / "reached").exists)
        assert len(cgroups.find_pids(info.cgroup)) == len(held) + 1
        shim = world.shim_pid("a", "e")
        os.kill(shim if victim == "shim" else _children(shim)[0], signal.SIGKILL)
        (error,) = await call
        assert isinstance(error, errors.Aborted), error
        await eventually_async("it is gone", lambda: cgroups.find_pids(info.cgroup) == held)
        assert (await client.service.get(world.ref("a"))).state == "running"


@pytest.mark.parametrize("where", ["before", "after"])
@scenario
async def test_a_restart_that_the_next_daemon_gives_up_is_ended_before_it_makes_it_anew(
    world: World, where: str
) -> None:
    world.start()
    quick = world.base / "quick"
    quick.touch()
    async with world.client() as client:
        await client.service.run(world.request("a", runtime=_slow_runtime(world, where)))
        quick.unlink()
        restarting = asyncio.gather(
            client.service.restart(req.StopRequest(id=world.id("a"), timeout=0)), return_exceptions=True
        )
        await eventually_async("the runtime is at it", (world.base / f"reached-{where}").exists)
        shim = world.shim_pid("a")
        world.kill()
        await restarting
    quick.touch()
    world.start("--start-timeout", "1")
    async with world.client() as client:
        for _ in range(500):
            if (await client.service.get(world.ref("a"))).state == "running":
                break
            await asyncio.sleep(0.02)
        assert (await (await client.container(world.id("a")).exec("true")).wait()).status == 0
        assert not is_alive(shim)
        inside = {process.pid for process in (await client.service.processes(world.ref("a"))).processes}
        assert set(world.strangers()) == inside
        told = [event.type for event in await world.events(client)]
        assert told == ["create", "start", "exit", "restart", "start", "start", "exit"]


@scenario
async def test_stopped_shim_delays_nobody_else_and_can_be_deleted_by_force(world: World) -> None:
    world.start()
    async with world.client() as client:
        info = await client.service.run(world.request("a"))
        await client.service.run(world.request("b"))
        os.kill(world.shim_pid("a"), signal.SIGSTOP)
        deleting = asyncio.ensure_future(  # noqa: TID251 - awaited below
            client.service.delete(req.DeleteRequest(id=world.id("a"), force=True))
        )
        async with asyncio.timeout(5 * SLOW):
            begun = time.monotonic()
            assert len(await client.containers()) == 2
            assert (await client.service.get(world.ref("a"))).pid in (0, info.pid)
            assert time.monotonic() - begun < 0.5 * SLOW
            await world.check_serving(client, "c")
            await client.service.stop(req.StopRequest(id=world.id("b"), timeout=0))
        assert not is_alive(info.pid)
        async with asyncio.timeout(25 * SLOW):
            await deleting
        (event,) = [
            event for event in await world.events(client) if event.type == "exit" and event.container == info.id
        ]
        assert event.status == 137


@scenario
async def test_killed_zygote_harms_no_container_and_is_replaced(world: World) -> None:
    world.start()
    async with world.client() as client:
        info = await client.service.run(world.request("a", *COUNTER))
        zygote = (await client.info()).zygote_pid
        os.kill(zygote, signal.SIGKILL)
        await eventually_async("the zygote is reaped", lambda: not Path(f"/proc/{zygote}").exists(), 1.0)
        size = (log := Path(info.processes[0].log_path)).stat().st_size
        await eventually_async("the output goes on", lambda: log.stat().st_size > size + 100)
        await world.check_serving(client, "b")
        assert (await client.info()).zygote_pid not in (0, zygote)
        shim = world.shim_pid("a")
        assert (await client.service.stop(req.StopRequest(id=world.id("a"), timeout=0))).reason == ""
        await eventually_async("the orphaned shim is reaped", lambda: not Path(f"/proc/{shim}").exists())


@scenario
async def test_zygote_killed_while_the_daemon_is_down_loses_no_exit(world: World) -> None:
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("a", "sh", "-c", "sleep 0.5; exit 6"))
        zygote = (await client.info()).zygote_pid
    world.kill()
    os.kill(zygote, signal.SIGKILL)
    world.start()
    async with world.client() as client:
        assert (await _wait(world, client, "a", limit=5)).status == 6
        await world.check_serving(client, "b")


@scenario
async def test_zygote_killed_among_ten_creations_fails_each_cleanly_or_not_at_all(world: World) -> None:
    world.start()
    async with world.client() as client:
        await client.service.run(world.request("warm", "true"))
        base = count_fds(world.pid)
        for round_ in range(3):
            names = [f"{round_}-{number}" for number in range(10)]
            work = asyncio.gather(*(client.service.run(world.request(name)) for name in names), return_exceptions=True)
            await asyncio.sleep(0.02 * (round_ + 1))
            os.kill((await client.info()).zygote_pid or (1 << 22), signal.SIGKILL)
            results = await work
            known = {info.id: info for info in await client.containers()}
            for name, result in zip(names, results, strict=True):
                if isinstance(result, st.ContainerInfo):
                    assert known[world.id(name)].state == "running"
                    assert is_alive(result.pid)
                    await client.service.delete(req.DeleteRequest(id=world.id(name), force=True))
                else:
                    assert isinstance(result, errors.Unavailable | errors.Aborted), result
                    assert world.id(name) not in known
        await client.service.delete(req.DeleteRequest(id=world.id("warm")))
        assert world.leftovers() == []
        await world.check_serving(client)
        await eventually_async("descriptors are back", lambda: count_fds(world.pid) <= base + 2)


@scenario
async def test_zygote_that_cannot_live_is_one_clear_error(world: World) -> None:
    world.start()
    async with world.client() as client:
        await world.check_serving(client)
        stop = asyncio.Event()

        async def hunt() -> None:
            while not stop.is_set():
                with contextlib.suppress(ProcessLookupError):
                    if pid := (await client.info()).zygote_pid:
                        os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            group.create_task(hunt())
            try:
                async with asyncio.timeout(15 * SLOW):
                    with contextlib.suppress(errors.Unavailable, errors.Internal, errors.Aborted):
                        await client.service.run(world.request("a", "true"))
            finally:
                stop.set()
        await client.service.run(world.request("a", "true"))
        assert (await client.service.wait(world.process_ref("a"))).status == 0


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@scenario
async def test_shim_killed_at_any_moment_of_a_creation_leaves_no_process_that_nobody_knows(
    world: World, runtime: str
) -> None:
    world.runtime = runtime
    world.start()
    async with world.client() as client:
        for number in range(25):
            async with asyncio.TaskGroup() as group:
                making = group.create_task(_try_to_run(world, client, f"a{number}"))
                await eventually_async("there is a shim", functools.partial(_has_shim, world, f"a{number}"))
                await asyncio.sleep(0.0015 * number)
                with contextlib.suppress(OSError):
                    os.kill(world.shim_pid(f"a{number}"), signal.SIGKILL)
            if making.result():
                _check_lost(await _wait(world, client, f"a{number}"))
                await client.service.delete(req.DeleteRequest(id=world.id(f"a{number}")))
        assert not await client.containers()
        await eventually_async("no container runs", lambda: not [pid for pid in world.descendants() if _sleeps(pid)])


def _has_shim(world: World, name: str) -> bool:
    path = world.directory(name) / "shim.pid"
    return path.exists() and bool(path.read_text())


async def _try_to_run(world: World, client: Client, name: str) -> bool:
    with contextlib.suppress(errors.WherryError):
        await client.service.run(world.request(name))
        return True
    return False


def _sleeps(pid: int) -> bool:
    """Tell whether a process is a container's, or what a runtime has made to become one."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return words.startswith(b"sleep\0") or b"runc\0init" in words


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@scenario
async def test_killed_child_of_a_shim_that_makes_its_process_leaves_nothing(world: World) -> None:
    world.start()
    path = world.base / "slow-crun"
    hang = f'case " $* " in *" run "*) touch {world.base}/called; sleep 60;; esac'
    path.write_text(f'#!/bin/sh\n{hang}\nexec crun "$@"\n')
    path.chmod(0o755)
    async with world.client() as client:
        call = asyncio.gather(client.service.run(world.request("a", runtime=str(path))), return_exceptions=True)
        await eventually_async("the runtime is at it", (world.base / "called").exists)
        (maker,) = _children(world.shim_pid("a"))
        os.kill(maker, signal.SIGKILL)
        async with asyncio.timeout(10 * SLOW):
            (result,) = await call
        assert type(result) is errors.Aborted, result
        assert await client.containers() == ()
        assert world.leftovers() == []
        await eventually_async("no runtime is left", lambda: not world.strangers())
        await world.check_serving(client, "a")


@scenario
async def test_killed_spare_shims_are_replaced(world: World) -> None:
    world.start()
    async with world.client() as client:
        zygote = (await client.info()).zygote_pid
        for _ in range(5):
            spares = _children(zygote)
            for pid in spares:
                os.kill(pid, signal.SIGKILL)
            await world.check_serving(client, "a")
        assert (await client.info()).zygote_pid == zygote


@scenario
async def test_a_zygote_that_cannot_fork_says_so_and_goes_on_when_it_can(world: World) -> None:
    controller = Path("/sys/fs/cgroup/pids" if Path("/sys/fs/cgroup/pids").is_dir() else "/sys/fs/cgroup")
    narrow = controller / f"wherry-narrow-{os.getpid()}"
    narrow.mkdir()
    world.start()
    try:
        async with world.client() as client:
            zygote = (await client.info()).zygote_pid
            (narrow / "cgroup.procs").write_text(str(zygote))
            (narrow / "pids.max").write_text("1")
            for pid in _children(zygote):
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(errors.Unavailable, match="cannot fork a shim"):
                await client.service.run(world.request("a", "true"))
            assert world.leftovers() == []
            # A shim that cannot fork its child is no better.
            (narrow / "pids.max").write_text("2")
            with pytest.raises(errors.Unavailable, match="cannot fork a shim"):
                await client.service.run(world.request("a", "true"))
            (narrow / "pids.max").write_text("max")
            await world.check_serving(client, "a")
            assert (await client.info()).zygote_pid == zygote
            (controller / "cgroup.procs").write_text(str(zygote))
            for word in (narrow / "cgroup.procs").read_text().split():
                (controller / "cgroup.procs").write_text(word)
    finally:
        world.kill()
        await eventually_async("the cgroup is empty", lambda: not (narrow / "cgroup.procs").read_text())
        narrow.rmdir()
