"""Migration: no number missing, none twice; and whatever breaks or dies on the way, exactly one side runs it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.faults.cut import Break, Wire
from tests.faults.world import World, eventually_async, get_state, is_alive, scenario
from wherry import errors
from wherry.client.client import Client
from wherry.model import migration as mg
from wherry.model import request as req

pytestmark = pytest.mark.requires("criu", "runc", "overlay")

Pair = tuple[World, World]
#: Counts, in its output and in its layer.
COUNTER = ("sh", "-c", "i=0; while :; do echo $i; echo $i >>/srv/n; i=$((i+1)); sleep 0.01; done")
#: Where the home daemon dies, and where the container then runs.
HOME = {
    "migrate.recorded": "home",
    "migrate.offered": "home",
    "migrate.frozen": "home",
    "migrate.dumped": "home",
    "migrate.sent": "home",
    "migrate.asked": "there",
    "migrate.answered": "there",
    "migrate.journaled": "there",
    "migrate.ended": "there",
}
#: Where the other daemon dies.
THERE = {"arrival.received": "home", "arrival.decided": "there", "arrival.completed": "there"}
OWN = (*HOME, *THERE)


async def _numbers(client: Client, id: str) -> list[int]:
    try:
        return [int(line) for line in (await client.container(id).output()).split()]
    except errors.NotFound:
        return []


async def _begin(home: World, client: Client) -> str:
    await client.service.run(home.request("a", *COUNTER))
    id = home.id("a")
    for _ in range(500):
        if len(await _numbers(client, id)) > 5:
            return id
        await asyncio.sleep(0.02)
    pytest.fail("it does not count")


def _migrate(id: str, to: World | Path) -> mg.MigrateRequest:
    path = to if isinstance(to, Path) else to.state / "wherry.sock"
    return mg.MigrateRequest(id=id, to=f"unix://{path}")


async def _die_asked(pair: Pair) -> str:
    """Migrate a container, and let the home daemon die when it has asked; return the container's id."""
    home, there = pair
    home.start(failpoint="migrate.asked")
    there.start()
    async with home.client() as one:
        id = await _begin(home, one)
        with pytest.raises(errors.Unavailable):
            await one.service.migrate(_migrate(id, there))
    home.join()
    return id


async def _check(pair: Pair, id: str, where: str) -> None:
    """Fail unless the container runs at `where` and nowhere else, goes on, and has missed and repeated nothing."""
    home, there = pair
    async with home.client() as one, there.client() as two:
        wanted = {"home": ("running", ""), "there": ("stopped", "running")}[where]
        state = ("", "")
        for _ in range(1000):
            state = (await get_state(one, req.ContainerRef(id=id)), await get_state(two, req.ContainerRef(id=id)))
            if state == wanted:
                break
            assert state != ("running", "running"), "it runs in two places"
            await asyncio.sleep(0.02)
        assert state == wanted, f"{home.log()}\n---\n{there.log()}"
        found: list[int] = []
        before = len(await _numbers(one, id)) + len(await _numbers(two, id))
        for _ in range(500):
            found = [*await _numbers(one, id), *await _numbers(two, id)]
            if len(found) > before + 5:
                break
            await asyncio.sleep(0.02)
        assert found == list(range(len(found))), "a number is missing, or there twice"
        assert len(found) > before + 5, "it does not go on"
        told = [event.type for event in await home.events(one)]
        if where == "there":
            assert told[-2:] == ["migrate", "exit"]
            assert told.count("migrate") == 1
            assert (await one.service.wait(req.ProcessRef(id=id))).reason == "migrated"
            assert [event.type for event in await there.events(two)] == ["create", "restore", "start"]
        else:
            assert [type for type in told if type not in ("pause", "resume")][:2] == ["create", "start"]
            assert not {"migrate", "checkpoint", "restore"} & set(told)
            assert await there.events(two) == []
    await eventually_async("nothing of it is left", lambda: not _left(pair))


def _left(pair: Pair) -> list[Path]:
    """Return what migrations keep on disk."""
    patterns = [(place.state, ".migrations/*") for place in pair] + [
        (place.root, "checkpoints/*/*/*") for place in pair
    ]
    return [path for top, pattern in patterns for path in top.glob(pattern)]


@scenario
async def test_a_container_goes_on_elsewhere_and_comes_back(pair: Pair) -> None:
    home, there = pair
    home.start()
    there.start()
    async with home.client() as one, there.client() as two:
        id = await _begin(home, one)
        info = await one.service.migrate(_migrate(id, there))
        assert (info.id, info.to) == (id, f"unix://{there.state}/wherry.sock")
        assert info.downtime_us > 0
        assert info.sent_bytes > 1000
        await _check(pair, id, "there")
        shown = await two.container(id).exec("cat", "/srv/n")
        await shown.wait()
        assert int((await shown.output()).split()[-1]) > 5
        with pytest.raises(errors.AlreadyExists, match="there is one of that id"):
            await two.service.migrate(_migrate(id, home))
        assert await get_state(two, req.ContainerRef(id=id)) == "running"
        await one.container(id).delete()
        await two.service.migrate(_migrate(id, home))
        assert await get_state(one, req.ContainerRef(id=id)) == "running"


@pytest.mark.parametrize("point", HOME)
@scenario
async def test_the_home_daemon_dies(pair: Pair, point: str) -> None:
    home, there = pair
    there.start()
    home.start(failpoint=point)
    async with home.client() as one:
        id = await _begin(home, one)
        with pytest.raises(errors.Unavailable):
            await one.service.migrate(_migrate(id, there))
    assert home.join() == -9
    async with there.client() as two:
        assert await get_state(two, req.ContainerRef(id=id)) in ("", "running")
    home.start()
    await _check(pair, id, HOME[point])


@pytest.mark.parametrize("point", THERE)
@scenario
async def test_the_other_daemon_dies(pair: Pair, point: str) -> None:
    home, there = pair
    home.start()
    there.start(failpoint=point)
    async with home.client() as one:
        id = await _begin(home, one)
        moving = asyncio.gather(one.service.migrate(_migrate(id, there)))
        assert await asyncio.to_thread(there.join) == -9
        there.start()
        if THERE[point] == "there":
            await moving
        else:
            with pytest.raises(errors.Unavailable, match=f"cannot migrate container {id}, which goes on here: unix://"):
                await moving
        await _check(pair, id, THERE[point])


@scenario
async def test_what_was_started_again_there_before_the_answer_is_no_stranger(pair: Pair) -> None:
    home, there = pair
    home.start()
    there.start(failpoint="arrival.completed")
    async with home.client() as one:
        policy = req.RestartPolicy(name="always", delay=0.1)
        await one.service.run(home.request("a", *COUNTER, restart=policy))
        id = home.id("a")
        moving = asyncio.gather(one.service.migrate(_migrate(id, there)))
        await asyncio.to_thread(there.join)
        directory = there.state / "default" / id / "init"
        os.kill(int((directory / "pid").read_text()), 9)
        await eventually_async("it has ended there", (directory / "exitStatus").exists)
        there.start()
        await moving
        assert await get_state(one, req.ContainerRef(id=id)) == "stopped"
        async with there.client() as two:
            assert await get_state(two, req.ContainerRef(id=id)) in ("running", "restarting")
            told = [event.type for event in await there.events(two)]
            assert told[:5] == ["create", "restore", "start", "exit", "restart"]


@scenario
async def test_both_daemons_die_and_the_other_one_comes_back_late(pair: Pair) -> None:
    home, there = pair
    id = await _die_asked(pair)
    there.kill()
    home.start()
    async with home.client() as one:
        await eventually_async("it is asked about", lambda: "does not say whether it runs there" in home.log())
        assert await get_state(one, req.ContainerRef(id=id)) == "migrating"
        for call in (
            one.container(id).delete(force=True),
            one.container(id).stop(),
            one.container(id).kill(9),
        ):
            with pytest.raises(errors.FailedPrecondition, match="stands still until that answers"):
                await call
        there.start()
        await _check(pair, id, "there")


@scenario
async def test_who_gives_up_has_it_back(pair: Pair) -> None:
    home, there = pair
    id = await _die_asked(pair)
    there.kill()
    home.start()
    async with home.client() as one:
        await eventually_async("it is asked about", lambda: "does not say whether it runs there" in home.log())
        await one.container(id).give_up_migration()
        there.start()
        await _check(pair, id, "home")


BREAKS = {
    "refused": (Break(1, up=0), "home"),
    "in the head": (Break(1, down=20), "home"),
    "in the archive": (Break(1, up=9000), "home"),
    "the answer to the offer is lost": (Break(1, down=120), "home"),
    "the answer to what was sent is lost": (Break(1, down=300), "home"),
    "asking is refused": (Break(2, up=0), "there"),
    "the question is lost": (Break(2, up=100), "there"),
    "the question is lost at the end": (Break(2, up=300), "there"),
    "the answer is lost": (Break(2, down=130), "there"),
    "the answer is cut off": (Break(2, down=180), "there"),
    "forgetting is refused": (Break(3, up=0), "there"),
}


@pytest.mark.parametrize("name", BREAKS)
@scenario
async def test_the_connection_breaks(pair: Pair, name: str) -> None:
    home, there = pair
    home.start()
    there.start()
    where, place = BREAKS[name]
    async with Wire(home.base / "wire", there.state / "wherry.sock", where) as wire, home.client() as one:
        id = await _begin(home, one)
        moving = asyncio.gather(one.service.migrate(_migrate(id, wire.path)))
        await eventually_async("it breaks", lambda: wire.is_broken)
        if place == "home":
            with pytest.raises(errors.Unavailable):
                await moving
            wire.mend()
        else:
            async with there.client() as two:
                ref = req.ContainerRef(id=id)
                states = {await get_state(one, ref), await get_state(two, ref)}
                assert states != {"running"}, "it runs in two places"
            wire.mend()
            await moving
        await _check(pair, id, place)


@scenario
async def test_what_cannot_go_on_there_goes_on_here(pair: Pair) -> None:
    home, there = pair
    home.start()
    there.start()
    async with home.client() as one, there.client() as two:
        (home.base / "only-here").mkdir()
        bound = req.Mount(target="/mnt", source=str(home.base / "only-here"))
        await one.service.run(home.request("a", *COUNTER, mounts=(bound,)))
        id = home.id("a")
        (home.base / "only-here").rename(home.base / "moved")
        with pytest.raises(errors.FailedPrecondition, match="goes on here: .*no such file or directory on the host"):
            await one.service.migrate(_migrate(id, there))
        await _check(pair, id, "home")
        assert await two.containers() == ()


@scenario
async def test_wrong_uses_leave_it_running(pair: Pair) -> None:
    home, there = pair
    home.start()
    async with home.client() as one:
        id = await _begin(home, one)
        wrong = {
            "": (errors.InvalidArgument, "where to is not said"),
            "node-b": (errors.InvalidArgument, "is not valid"),
            "unix:///nonexistent": (errors.Unavailable, "no daemon answers"),
            f"unix://{home.state}/wherry.sock": (errors.AlreadyExists, "there is one of that id"),
        }
        for to, (kind, said) in wrong.items():
            with pytest.raises(kind, match=said):
                await one.service.migrate(mg.MigrateRequest(id=id, to=to))
        with pytest.raises(errors.FailedPrecondition, match="it is running, and waits for no answer"):
            await one.container(id).give_up_migration()
        checking = await one.container(id).exec("sleep", "100")
        with pytest.raises(errors.FailedPrecondition, match="exec .* runs in it"):
            await one.service.migrate(_migrate(id, there))
        await checking.kill(9)
        await one.container(id).pause()
        with pytest.raises(errors.FailedPrecondition, match="it is paused"):
            await one.service.migrate(_migrate(id, there))
        await one.container(id).resume()
        there.start()
        await _check(pair, id, "home")


@scenario
async def test_a_shim_that_is_killed_while_it_is_asked_about_loses_nothing(pair: Pair) -> None:
    home, there = pair
    id = await _die_asked(pair)
    pid = int((home.directory("a") / "pid").read_text())
    os.kill(home.shim_pid("a"), 9)
    home.start()
    async with home.client() as one, there.client() as two:
        states: list[str] = []
        for _ in range(500):
            states = [await get_state(client, req.ContainerRef(id=id)) for client in (one, two)]
            if states == ["stopped", "running"]:
                break
            await asyncio.sleep(0.02)
        assert states == ["stopped", "running"]
        assert not is_alive(pid)
        told = [event.type for event in await home.events(one)]
        assert told == ["create", "start", "migrate", "exit"]
        numbers = await _numbers(two, id)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@scenario
async def test_a_policy_does_not_start_what_runs_elsewhere(pair: Pair) -> None:
    home, there = pair
    home.start()
    there.start()
    async with home.client() as one:
        await one.service.run(home.request("a", *COUNTER, restart=req.RestartPolicy(name="always")))
        id = home.id("a")
        await one.service.migrate(_migrate(id, there))
    home.restart()
    async with home.client() as one, there.client() as two:
        await one.container(id).wait()
        assert await get_state(one, req.ContainerRef(id=id)) == "stopped"
        assert await get_state(two, req.ContainerRef(id=id)) == "running"
        # It is started anew by hand only, and ends like any other then.
        await two.container(id).delete(force=True)
        await one.container(id).start()
        assert await get_state(one, req.ContainerRef(id=id)) == "running"
        assert (await one.container(id).stop(timeout=0)).reason == ""
