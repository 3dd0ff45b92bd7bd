"""An OCI runtime that is missing, hangs, lies or dies: its own words, the right class, nothing left behind."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from tests.faults.world import SLOW, World, eventually_async, is_alive, scenario
from wherry import errors
from wherry.model import request as req

#: What the runtime does instead of `create`, the class of the error, and a word of it. $PIDFILE is where its pid goes.
LIES: dict[str, tuple[str, type[errors.WherryError], str]] = {
    "says why": ("echo the moon is full >&2; exit 3", errors.RuntimeFailed, "status 3: the moon is full"),
    "says nothing": ("exit 3", errors.RuntimeFailed, "status 3: it gave no reason"),
    "prints a megabyte and dies": (
        "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo last words >&2; exit 4",
        errors.RuntimeFailed,
        "status 4: last words",
    ),
    "prints a megabyte on one line": (
        "head -c 1000000 /dev/zero | tr '\\0' x; exit 4",
        errors.RuntimeFailed,
        "status 4",
    ),
    "floods its errors and dies": (
        "head -c 1048576 /dev/zero | tr '\\0' x >&2; kill -ABRT $$",
        errors.RuntimeFailed,
        "signal 6",
    ),
    "prints what is no text": ("printf '\\377\\376\\000\\033[31m\\n'; exit 5", errors.RuntimeFailed, "status 5"),
    "makes no pid": ("exit 0", errors.RuntimeFailed, "made no process"),
    "makes an absurd pid": ("echo moon > $PIDFILE; exit 0", errors.RuntimeFailed, "made no process"),
    "makes an empty pid": (": > $PIDFILE; exit 0", errors.RuntimeFailed, "made no process"),
    "names a pid that is no child": ("echo 1 > $PIDFILE; exit 0", errors.RuntimeFailed, "made no process"),
    "names a negative pid": ("echo -1 > $PIDFILE; exit 0", errors.RuntimeFailed, "made no process"),
    "kills itself": ("kill -9 $$", errors.RuntimeFailed, "signal 9"),
    "hangs": ("sleep 60", errors.DeadlineExceeded, "did not create the process in time"),
    "hangs with a child": ("sleep 60 & sleep 60", errors.DeadlineExceeded, "did not create the process in time"),
    "hangs and is deaf": ("trap '' TERM INT HUP; sleep 60; sleep 60", errors.DeadlineExceeded, "in time"),
}


def _make(world: World, command: str, script: str) -> str:
    """Return a runtime that is crun but for one command."""
    path = world.base / f"{command}-lies"
    path.write_text(
        "#!/bin/sh\n"
        'PIDFILE=; previous=; for word; do [ "$previous" = --pid-file ] && PIDFILE=$word; previous=$word; done\n'
        f'case " $* " in *" {command} "*) {script};; esac\n'
        'exec crun "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


@scenario
async def test_runtime_that_lies_at_create_leaves_nothing_and_is_quoted(world: World) -> None:
    world.start("--start-timeout", "0.5")
    async with world.client() as client:
        calls = (("create", client.service.create), ("run", client.service.run))
        for (verb, call), (name, (script, kind, word)) in itertools.product(calls, LIES.items()):
            request = world.request("a", "true", runtime=_make(world, verb, script))
            with pytest.raises(errors.WherryError) as caught:
                async with asyncio.timeout(5 * SLOW):
                    await call(request)
            error = caught.value
            assert type(error) is kind, (name, error)
            assert word in error.message, name
            assert error.message.startswith(f"cannot create container {world.id('a')}: "), name
            assert len(error.message) < 4200, name
            assert error.message.isprintable(), (name, error.message)
            assert await client.containers() == (), name
            assert world.leftovers() == [], name
        await eventually_async("no runtime is left", lambda: not world.strangers())
        await world.check_serving(client, "a")
        assert [event.type for event in await world.events(client)] == ["create", "start", "exit", "delete"]


@scenario
async def test_runtime_that_lies_at_exec_leaves_nothing_of_the_exec(world: World) -> None:
    world.start("--start-timeout", "0.5")
    async with world.client() as client:
        path = _make(world, "exec", "exit 0")
        await client.service.run(world.request("a", runtime=path))
        info = await client.service.get(world.ref("a"))
        for name, (script, kind, word) in LIES.items():
            _make(world, "exec", script)
            with pytest.raises(errors.WherryError) as caught:
                async with asyncio.timeout(5 * SLOW):
                    await client.service.exec(req.ExecRequest(id=world.id("a"), process="e", args=("true",)))
            assert type(caught.value) is kind, (name, caught.value)
            assert word in caught.value.message
            assert not world.directory("a", "e").exists()
        after = await client.service.get(world.ref("a"))
        assert [process.id for process in after.processes] == ["init"]
        assert is_alive(info.pid)
        _make(world, "nothing", "exit 9")
        await client.service.delete(req.DeleteRequest(id=world.id("a"), force=True))
        await world.check_serving(client, "a")


@scenario
async def test_runtime_that_cannot_start_ends_the_container_and_is_quoted(world: World) -> None:
    world.start("--start-timeout", "0.5")
    async with world.client() as client:
        for script, kind in (
            ("echo no start >&2; exit 3", errors.RuntimeFailed),
            ("sleep 60", errors.DeadlineExceeded),
        ):
            request = world.request("a", runtime=_make(world, "start", script))
            created = await client.service.create(request)
            with pytest.raises(errors.WherryError) as caught:
                await client.service.start(world.ref("a"))
            assert type(caught.value) is kind, caught.value
            if kind is errors.RuntimeFailed:
                assert "no start" in caught.value.message
            assert (await client.service.wait(world.process_ref("a"))).status == 137
            assert not is_alive(created.pid)
            await client.service.delete(req.DeleteRequest(id=world.id("a")))
        await world.check_serving(client, "a")
        assert world.leftovers() == []


@scenario
async def test_start_of_a_container_that_is_killed_meanwhile_does_not_wait_for_its_runtime(world: World) -> None:
    """Seen: `crun start` waited in open(2) of a FIFO for an init that was dead, and the end was not told for 30 s."""
    world.start()
    async with world.client() as client:
        path = _make(world, "start", f"touch {world.base}/called; sleep 60")
        created = await client.service.create(world.request("a", runtime=path))
        call = asyncio.gather(client.service.start(world.ref("a")), return_exceptions=True)
        await eventually_async("the runtime is at it", (world.base / "called").exists)
        begun = time.monotonic()
        await client.service.delete(req.DeleteRequest(id=world.id("a"), force=True))
        (result,) = await call
        assert time.monotonic() - begun < 10 * SLOW, "not the 30 s of --start-timeout"
        assert type(result) is errors.FailedPrecondition, result
        assert "has ended meanwhile" in result.message
        assert not is_alive(created.pid)
        assert [event.type for event in await world.events(client)] == ["create", "exit", "delete"]
        assert world.leftovers() == []
        await world.check_serving(client, "a")


@scenario
async def test_runtime_that_is_missing_or_no_program_is_named(world: World) -> None:
    world.start()
    plain = world.base / "plain"
    plain.write_text("no program")
    garbage = world.base / "garbage"
    garbage.write_text("\x01\x02")
    garbage.chmod(0o755)
    async with world.client() as client:
        for runtime, kinds in (
            ("no-such-runtime", (errors.NotFound,)),
            ("/no/such/runtime", (errors.NotFound,)),
            (str(plain), (errors.NotFound, errors.PermissionDenied)),
            (str(garbage), (errors.RuntimeFailed,)),
            (str(world.base), (errors.NotFound, errors.PermissionDenied)),
        ):
            with pytest.raises(errors.WherryError) as caught:
                await client.service.run(world.request("a", "true", runtime=runtime))
            assert type(caught.value) in kinds, caught.value
            assert await client.containers() == ()
            assert world.leftovers() == []
        await world.check_serving(client, "a")


@scenario
async def test_daemon_without_a_working_runtime_serves_and_says_why(world: World) -> None:
    world.runtime = "no-such-runtime"
    world.start()
    async with world.client() as client:
        with pytest.raises(errors.WherryError, match="no-such-runtime") as caught:
            await client.service.run(world.request("a", "true"))
        assert isinstance(caught.value, errors.NotFound | errors.FailedPrecondition | errors.RuntimeFailed)
        assert (await client.info()).runtimes[0].problem
        assert await client.containers() == ()
    world.runtime = "crun"
    world.restart()


@scenario
async def test_hanging_creation_delays_nobody_else(world: World) -> None:
    world.start("--start-timeout", "3", "--concurrency", "2")
    async with world.client() as client:
        request = world.request("slow", runtime=_make(world, "run", "sleep 60"))
        hanging = asyncio.gather(client.service.run(request), return_exceptions=True)
        await eventually_async("it hangs", world.directory("slow").exists)
        begun = time.monotonic()
        await world.check_serving(client, "a")
        (info,) = await client.containers()
        assert info.state == "creating"
        assert time.monotonic() - begun < 2 * SLOW
        (result,) = await hanging
        assert isinstance(result, errors.DeadlineExceeded)
        assert await client.containers() == ()
