"""Ends and races of processes that others in the field have stumbled over; tests/field.toml says who."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.conftest import Box
from tests.support import leaks, rootfs
from tests.support.eventually import eventually
from tests.support.fake_runtime import FakeRuntime
from wherry import errors
from wherry.model.request import Stdio


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_exec_whose_container_ends_while_it_starts_tells_nothing_after_inits_exit(
    box: Box, fake_runtime: FakeRuntime
) -> None:
    container = box.run("sleep", "60", runtime=str(fake_runtime))
    fake_runtime.set("exec", "delay", 1.0)
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(container.exec, "sleep", "60", id="late")
        directory = Path(box.client.info().state_dir, container.namespace, container.container_id, "late")
        eventually((directory / "shim.pid").exists)
        os.kill(container.info().pid, 9)
        error = starting.exception(20)
    assert isinstance(error, errors.WherryError), error
    assert container.wait(20).status == 137
    assert [(event.type, event.process) for event in box.read_events(container)][-1] == ("exit", "init")
    assert not box.read_events(container, "exit")[:-1], "an exec that was never there has ended"
    container.delete()
    assert not directory.exists()


def test_a_container_deleted_behind_our_back_is_told_as_ended_and_its_id_is_free(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime, id="behind")
    info = container.info()
    program = shutil.which(runtime)
    assert program is not None
    root = Path(box.client.info().state_dir, container.namespace, f".{runtime}")
    (kept,) = [path for path in root.iterdir() if path.name.startswith("behind")]
    # It may fail: as soon as the process is dead, the daemon removes the same things.
    subprocess.run([program, "--root", str(root), "delete", "--force", kept.name], capture_output=True)
    assert container.wait(20).status == 137
    assert not _is_there(info.pid)
    with pytest.raises(errors.FailedPrecondition, match="ended"):
        container.kill()
    container.delete()
    assert box.run("true", runtime=runtime, id="behind").wait(20).status == 0


@pytest.fixture
def shared_bundle(box: Box, tmp_path: Path) -> str:
    """Return a bundle in the pid namespace of the host, whose process leaves two children behind."""
    script = "sleep 3600 & setsid sleep 3600 & echo ready; read x; exit 6"
    bundle = rootfs.make_bundle(tmp_path / "bundle", Path(box.source.path), "sh", "-c", script)
    config = json.loads((bundle / "config.json").read_text())
    config["linux"]["namespaces"] = [item for item in config["linux"]["namespaces"] if item["type"] != "pid"]
    config["linux"]["cgroupsPath"] = f"/wt-shared-{os.getpid()}-{tmp_path.name}"
    (bundle / "config.json").write_text(json.dumps(config))
    return f"bundle:{bundle}"


@pytest.mark.parametrize("means", ["an exit", "a signal", "force"])
def test_children_in_the_hosts_pid_namespace_do_not_outlive_their_container(
    box: Box, runtime: str, shared_bundle: str, means: str
) -> None:
    container = box.run(source=shared_bundle, runtime=runtime, stdio=Stdio(stdin_open=True))
    eventually(lambda: b"ready" in container.output())
    pids = [process.pid for process in container.processes()]
    assert len(pids) == 3
    if means == "an exit":
        container.close_stdin()
        assert container.wait(20).status == 6
    elif means == "a signal":
        container.kill("KILL")
        assert container.wait(20).status == 137
    else:
        container.delete(force=True)
    eventually(lambda: not [pid for pid in pids if _is_there(pid)])


def test_the_shortest_process_is_not_told_without_its_pid(box: Box, runtime: str) -> None:
    for _ in range(10):
        container = box.run("true", runtime=runtime)
        container.wait(20)
        started, ended = box.read_events(container, "start", "exit")
        assert started.pid == ended.pid > 0


def test_large_arguments_reach_an_exec_whole(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime)
    big = ["x" * 100_000, "y" * 100_000, "z" * 1000]
    process = container.exec("sh", "-c", "echo ${#1} ${#2} ${#3}", "sh", *big)
    assert process.wait(20).status == 0
    assert process.output() == b"100000 100000 1000\n"


def test_no_byte_of_a_large_output_through_a_terminal_is_lost(box: Box, runtime: str) -> None:
    expected = " ".join(str(number) for number in range(1, 200_001)).encode()
    container = box.run("sleep", "60", runtime=runtime)
    for _ in range(3):
        process = container.exec("seq", "-s", " ", "200000", stdio=Stdio(terminal=True))
        assert process.wait(30).status == 0
        assert process.output().rstrip() == expected


def test_the_longest_names_keep_nobody_from_a_socket(box: Box) -> None:
    name = "n" * 128
    container = box.keep(box.client.run(box.source, "cat", id="c" * 128, namespace=name, stdio=Stdio(stdin_open=True)))
    with container.attach() as attachment:
        attachment.write(b"through\n")
        attachment.close_stdin()
        assert b"".join(piece.data for piece in attachment) == b"through\n"
    process = container.exec("true", id="e" * 128) if container.info().state == "running" else None
    assert process is None or process.wait(10).status == 0


def _count_ptys() -> int:
    """Return how many masters of terminals this process and all below it have open."""
    found = 0
    for pid in (os.getpid(), *leaks.descendants(os.getpid())):
        for link in _links(pid):
            found += link in ("/dev/ptmx", "/dev/pts/ptmx")
    return found


def _links(pid: int) -> Iterator[str]:
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            yield os.readlink(f"/proc/{pid}/fd/{name}")
    except OSError:
        return


def test_terminals_that_have_ended_leave_no_pty_open(box: Box, runtime: str) -> None:
    before = _count_ptys()
    container = box.run("sh", stdio=Stdio(terminal=True, stdin_open=True), runtime=runtime)
    execs = [container.exec("true", stdio=Stdio(terminal=True)) for _ in range(3)]
    assert _count_ptys() > before
    assert [process.wait(20).status for process in execs] == [0, 0, 0]
    container.kill("KILL")
    container.wait(20)
    eventually(lambda: _count_ptys() <= before)
