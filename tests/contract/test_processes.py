"""The processes of a container as its cgroup lists them."""

from __future__ import annotations

import os
import time

import pytest

from tests.contract.conftest import Box, at_once
from tests.support.eventually import eventually
from wherry import errors
from wherry.client.sync import SyncContainer
from wherry.model import status as st


def _list(container: SyncContainer, *, command: str) -> list[st.HostProcess]:
    return [process for process in container.processes() if command in process.command]


def test_every_process_is_listed_with_the_one_it_descends_from(box: Box, runtime: str) -> None:
    container = box.run("sh", "-c", "sleep 301 & exec sleep 300", runtime=runtime)
    exec_ = container.exec("sh", "-c", "sleep 302 & sleep 303; true", user="65534")
    names = {"300", "301", "302", "303"}
    # Between fork and exec a child has the command of its parent.
    eventually(lambda: names <= {process.command[-1] for process in container.processes()})
    found = {process.command[-1]: process for process in container.processes()}
    assert len(found) == 5
    init = found["300"]
    assert (init.pid, init.process, init.command) == (container.info().pid, "init", ("sleep", "300"))
    assert (found["301"].parent, found["301"].process) == (init.pid, "init")
    assert {found[name].process for name in ("302", "303")} == {exec_.id}
    assert (init.uid, found["303"].uid) == (0, 65534)
    assert [process.pid for process in container.processes()] == sorted(process.pid for process in found.values())


def test_what_has_lost_its_parents_is_listed_all_the_same(box: Box) -> None:
    container = box.run("sleep", "300")
    container.exec("sh", "-c", "sleep 301 & true").wait(10)
    (orphan,) = eventually(lambda: _list(container, command="301"))
    # In a process namespace of its own, the container's first process adopts orphans.
    assert orphan.process == "init"
    assert orphan.parent == container.info().pid


def test_numbers_are_those_of_the_kernel(box: Box) -> None:
    before_ns = time.time_ns()
    container = box.run("sh", "-c", "while :; do :; done")
    (busy,) = eventually(lambda: [process for process in container.processes() if process.cpu_us > 100_000])
    assert (busy.state, busy.threads) == ("R", 1)
    assert 0 < busy.rss_bytes < 64 << 20
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert before_ns - 2 * tick_ns <= busy.started_at_ns <= time.time_ns()


def test_a_command_is_bounded_and_any_bytes_will_do(box: Box) -> None:
    container = box.run("sh", "-c", "while :; do sleep 1 < /dev/null; done", "\x1b[31m", "x" * 20000)
    init = container.processes()[0]
    assert init.command[3] == "\x1b[31m"
    assert sum(map(len, init.command)) <= 4097
    assert init.command[-1].endswith("x…")
    container.exec("sh", "-c", """exec sh -c 'sleep 302; true' "$(printf 'a\\377')" """)
    eventually(lambda: _list(container, command="a\N{REPLACEMENT CHARACTER}"))


def test_a_paused_container_has_its_processes(box: Box) -> None:
    container = box.run("sleep", "300")
    container.pause()
    assert [process.command for process in container.processes()] == [("sleep", "300")]


@pytest.mark.parametrize("state", ["stopped", "created"])
def test_only_what_is_alive_has_processes(box: Box, state: str) -> None:
    container = box.create("true")
    if state == "created":
        (waiting,) = container.processes()
        assert (waiting.pid, waiting.process) == (container.info().pid, "init")
        return
    container.start()
    container.wait(10)
    with pytest.raises(
        errors.FailedPrecondition, match=f"cannot list processes of container {container.id}: .*{state}"
    ):
        container.processes()


def test_processes_that_come_and_go_are_no_failure(box: Box) -> None:
    container = box.run("sh", "-c", "while :; do true | true | /bin/true & /bin/true; done")
    found = at_once(8, lambda _: [container.processes() for _ in range(10)])
    for lists in found:
        assert not isinstance(lists, BaseException)
        assert all(process.command and process.state for processes in lists for process in processes)
        assert all(processes for processes in lists)
