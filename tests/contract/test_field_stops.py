"""Stops, and what is asked of a container or its shim meanwhile, that others in the field have stumbled over."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.conftest import Box
from tests.support.eventually import eventually
from wherry import errors
from wherry.client.sync import SyncContainer
from wherry.model.request import Stdio

DEAF = ("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
#: What no control line is: too few, too many, no numbers, too large, too long, binary.
NONSENSE = (
    *(b"1\n", b"1 80\n", b"1 80 24 7\n", b"1 -1 -1\n", b"1 8e1 24\n", b"1 0x50 24\n", b"1 99999999999999999999 24\n"),
    *(b"1 0080 0024x\n", b"9 9 9\n", b"moon\n", b"\n", b"\xff\x00\xfe\n", b"1 " + b"8" * 3000 + b" 24\n"),
)


def _run_deaf(box: Box, runtime: str = "") -> SyncContainer:
    container = box.run(*DEAF, runtime=runtime)
    eventually(lambda: b"ready" in container.output())
    return container


def test_a_later_stop_with_a_shorter_grace_does_not_wait_for_the_longer_one(box: Box) -> None:
    container = _run_deaf(box)
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(container.stop, 300.0)
        eventually(lambda: container.info().state == "stopping")
        begun = time.monotonic()
        assert container.stop(0.2).status == 137
        assert patient.result(20).status == 137
        assert time.monotonic() - begun < 20
    assert len(box.read_events(container, "exit")) == 1


def test_nothing_new_is_executed_in_the_grace_of_a_stop_and_what_runs_is_killed_at_its_end(
    box: Box, runtime: str
) -> None:
    container = _run_deaf(box, runtime)
    before = container.exec("sleep", "300")
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(container.stop, 1.0)
        eventually(lambda: container.info().state == "stopping")
        with pytest.raises(errors.FailedPrecondition, match="stopping"):
            container.exec("true")
        assert before.id in [process.id for process in container.info().processes]
        assert stopping.result(20).status == 137
    assert before.wait(20).status == 137
    with pytest.raises(errors.FailedPrecondition, match="stopped"):
        container.exec("true")


def test_a_client_that_leaves_a_restart_does_not_leave_the_container_stopped(box: Box) -> None:
    container = _run_deaf(box)
    with pytest.raises(TimeoutError):
        container._loop.call(asyncio.wait_for(container._inner.restart(1.0), 0.3))
    eventually(lambda: container.info().restarts == 1 and container.info().state == "running")
    assert [event.type for event in box.read_events(container)] == ["create", "start", "exit", "restart", "start"]


def test_nonsense_in_its_control_pipe_harms_no_shim(box: Box, runtime: str) -> None:
    container = box.run("sh", stdio=Stdio(terminal=True, stdin_open=True, width=80, height=24), runtime=runtime)
    directory = Path(box.client.info().state_dir, container.namespace, container.container_id, "init")
    for line in NONSENSE:
        with (directory / "control").open("wb", buffering=0) as control:
            control.write(line)
    container.resize(81, 25)
    with container.attach() as attachment:
        attachment.write(b"stty size; exit 3\n")
        assert container.wait(20).status == 3
    assert b"25 81" in container.output()
