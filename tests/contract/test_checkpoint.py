"""Checkpoints: written, listed, gone back to, cloned; and what cannot be written down, with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Box
from tests.support import fifo
from tests.support.eventually import eventually
from wherry import errors
from wherry.client.sync import Sync, SyncContainer
from wherry.model.request import Limits, Source, Stdio

pytestmark = pytest.mark.requires("criu", "runc", "overlay")

#: Writes 0, 1, 2, ... a line each.
COUNTER = ("sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done")


@pytest.fixture(autouse=True)
def no_checkpoints(client: Sync) -> Iterator[None]:
    """Delete the checkpoints of a test."""
    yield
    for info in client.checkpoints(all_namespaces=True):
        client.container(info.id, info.namespace).delete_checkpoint(info.name)


def _numbers(container: SyncContainer) -> list[int]:
    return [int(line) for line in container.output().split()]


def _wait_numbers(container: SyncContainer, count: int) -> list[int]:
    eventually(lambda: len(_numbers(container)) >= count, what=f"{count} numbers")
    return _numbers(container)


def _wait_text(container: SyncContainer, text: bytes) -> None:
    eventually(lambda: text in container.output(), what=repr(text))


def test_a_counter_goes_on_from_its_number_in_the_same_log(box: Box) -> None:
    container = box.run(*COUNTER, runtime="runc")
    _wait_numbers(container, 3)
    info = container.checkpoint("here", exit=True)
    record = container.wait(10)
    assert (record.status, record.reason) == (137, "checkpoint")
    before = _numbers(container)
    assert container.restore("here").state == "running"
    after = _wait_numbers(container, len(before) + 3)
    assert after == list(range(len(after))), "a number is missing, or there twice"
    types = [event.type for event in box.read_events(container)]
    assert types == ["create", "start", "checkpoint", "exit", "restore", "start"]
    assert {event.reason for event in box.read_events(container, "checkpoint", "restore")} == {"here"}
    assert (info.exit, info.image_bytes > 0, info.frozen_us > 0) == (True, True, True)
    assert info.runtime_version.startswith("runc")
    assert container.checkpoints() == (info,)


def test_a_container_runs_on_and_can_go_back_when_it_is_deleted(box: Box) -> None:
    container = box.run("sh", "-c", "echo old >/file; while :; do cat /file; sleep 0.02; done", runtime="runc")
    eventually(lambda: b"old" in container.output())
    container.checkpoint("before")
    assert container.info().state == "running"
    assert container.exec("sh", "-c", "echo new >/file; rm /etc/passwd").wait(10).status == 0
    eventually(lambda: b"new" in container.output())
    container.delete(force=True)
    container.restore("before")
    eventually(lambda: b"old" in container.output())
    assert b"new" not in container.output()
    assert container.exec("test", "-f", "/etc/passwd").wait(10).status == 0, "the layer is not what it was"
    assert container.info().layer == "disk"


def test_a_terminal_goes_on(box: Box) -> None:
    terminal = Stdio(terminal=True, stdin_open=True, width=80, height=24)
    container = box.run("sh", "-c", "while read line; do echo got $line; done", stdio=terminal, runtime="runc")
    with container.attach() as attachment:
        attachment.write(b"one\n")
        eventually(lambda: b"got one" in container.output())
    container.checkpoint("here", exit=True)
    container.wait(10)
    container.restore("here")
    with container.attach() as attachment:
        attachment.write(b"two\n")
        eventually(lambda: b"got two" in container.output())
    assert container.output().count(b"got one") == 1


def test_stdin_of_a_pipe_goes_on(box: Box) -> None:
    container = box.run("cat", stdio=Stdio(stdin_open=True), runtime="runc")
    with container.attach() as attachment:
        attachment.write(b"one\n")
        eventually(lambda: b"one" in container.output())
    container.checkpoint("here", exit=True)
    container.wait(10)
    container.restore("here")
    with container.attach() as attachment:
        attachment.write(b"two\n")
        eventually(lambda: container.output() == b"one\ntwo\n")
        attachment.close_stdin()
    assert container.wait(10).status == 0


def test_fifos_of_a_client_go_on(box: Box, tmp_path: Path) -> None:
    stdout, stderr = str(tmp_path / "stdout"), str(tmp_path / "stderr")
    for path in (stdout, stderr):
        os.mkfifo(path)
    out, err = fifo.open_reader(stdout), fifo.open_reader(stderr)
    try:
        container = box.run(*COUNTER, stdio=Stdio(mode="fifo", stdout=stdout, stderr=stderr), runtime="runc")
        text = fifo.read_until(out, 6)
        container.checkpoint("here", exit=True)
        container.wait(10)
        container.restore("here")
        text += fifo.read_until(out, 60)
        numbers = [int(line) for line in text.rpartition(b"\n")[0].split()]
        assert numbers == list(range(len(numbers)))
    finally:
        container.delete(force=True)
        os.close(out)
        os.close(err)


def test_an_exec_that_has_ended_is_no_hindrance(box: Box) -> None:
    container = box.run(*COUNTER, runtime="runc")
    assert container.exec("true").wait(10).status == 0
    container.checkpoint("here")


def test_clones_of_a_running_container_have_their_own_files_and_ids(box: Box) -> None:
    container = box.run("sh", "-c", "echo $$ >/file; while :; do cat /file; sleep 0.02; done", runtime="runc")
    eventually(lambda: b"1" in container.output())
    new = [f"{container.container_id}-{number}" for number in range(4)]
    clones = [box.keep(clone) for clone in container.clone(*new)]
    assert [clone.container_id for clone in clones] == new
    for number, clone in enumerate(clones):
        assert clone.exec("sh", "-c", f"echo clone {number} >/file").wait(10).status == 0
    for number, clone in enumerate(clones):
        others = [f"clone {other}\n".encode() for other in range(len(clones)) if other != number]
        _wait_text(clone, f"clone {number}\n".encode())
        assert not any(text in clone.output() for text in others)
    assert b"clone" not in container.output()
    infos = [clone.info() for clone in (container, *clones)]
    assert len({info.cgroup for info in infos}) == len({info.pid for info in infos}) == len(infos)
    assert container.checkpoints() == (), "what the clones were made from is left"


def test_clones_of_a_checkpoint_when_the_container_is_gone(box: Box) -> None:
    container = box.run(*COUNTER, runtime="runc")
    last = _wait_numbers(container, 3)[-1]
    container.checkpoint("warm")
    container.delete(force=True)
    clones = container.clone(f"{container.container_id}-a", f"{container.container_id}-b", checkpoint="warm")
    for clone in map(box.keep, clones):
        first = _wait_numbers(clone, 1)[0]
        assert first > last, "it began anew"


def test_what_does_not_run_is_not_written_down(box: Box) -> None:
    container = box.create("sleep", "60", runtime="runc")
    with pytest.raises(errors.FailedPrecondition, match="it is created"):
        container.checkpoint("x")
    container.start()
    container.pause()
    with pytest.raises(errors.FailedPrecondition, match="it is paused"):
        container.checkpoint("x")
    container.resume()
    container.stop(0)
    with pytest.raises(errors.FailedPrecondition, match="it is stopped"):
        container.checkpoint("x")
    assert container.checkpoints() == ()


def test_an_exec_that_runs_is_named(box: Box) -> None:
    container = box.run("sleep", "60", runtime="runc")
    container.exec("sleep", "60", id="shell")
    with pytest.raises(errors.FailedPrecondition, match="exec shell runs in it"):
        container.checkpoint("x")


@pytest.mark.requires("crun")
def test_a_runtime_without_criu_is_named(box: Box) -> None:
    has_criu = "+CRIU" in subprocess.run(["crun", "--version"], capture_output=True, text=True, check=True).stdout
    if has_criu:
        pytest.skip("this crun has it")
    container = box.run("sleep", "60", runtime="crun")
    with pytest.raises(errors.FailedPrecondition, match=r"built without criu; runc \(--runtime runc\) has it"):
        container.checkpoint("x")
    assert container.info().state == "running"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "x" * 200, "clone~x"])
def test_a_name_that_is_no_name_is_refused(box: Box, name: str) -> None:
    container = box.run("sleep", "60", runtime="runc")
    with pytest.raises(errors.InvalidArgument, match="checkpoint name"):
        container.checkpoint(name)
    with pytest.raises(errors.InvalidArgument, match="checkpoint name"):
        container.delete_checkpoint(name)
    with pytest.raises(errors.InvalidArgument, match="checkpoint name"):
        container.restore(name)


def test_names_are_taken_once_and_missing_ones_are_named(box: Box) -> None:
    container = box.run("sleep", "60", runtime="runc")
    first = container.checkpoint("x")
    with pytest.raises(errors.AlreadyExists, match="it exists"):
        container.checkpoint("x")
    assert container.checkpoints() == (first,)
    with pytest.raises(errors.NotFound, match="'y'"):
        container.restore("y")
    with pytest.raises(errors.NotFound, match="'y'"):
        container.delete_checkpoint("y")
    with pytest.raises(errors.FailedPrecondition, match="it is running"):
        container.restore("x")
    with pytest.raises(errors.InvalidArgument, match="empty_ns|namespace"):
        container.checkpoint("z", empty_ns=("moon",))
    with pytest.raises(errors.InvalidArgument, match="pre_copy"):
        container.checkpoint("z", pre_copy=17)


def test_another_container_of_the_same_id_is_left_alone(box: Box) -> None:
    container = box.run("sleep", "60", id="same-id", runtime="runc")
    container.checkpoint("x")
    container.delete(force=True)
    other = box.run("true", id="same-id", runtime="runc")
    other.wait(10)
    with pytest.raises(errors.FailedPrecondition, match="different request"):
        other.restore("x")
    assert other.info().state == "stopped"


def test_clones_are_made_all_or_none(box: Box) -> None:
    container = box.run("sleep", "60", runtime="runc")
    with pytest.raises(errors.AlreadyExists, match="it exists"):
        container.clone("fresh-one", container.container_id)
    with pytest.raises(errors.InvalidArgument, match="twice"):
        container.clone("fresh-one", "fresh-one")
    with pytest.raises(errors.InvalidArgument, match="no id"):
        container.clone()
    with pytest.raises(errors.NotFound, match="fresh-one"):
        box.client.container("fresh-one").info()
    assert container.checkpoints() == ()


def test_what_has_no_layer_of_its_own_is_not_cloned(box: Box, busybox_rootfs: Path) -> None:
    shared = Source(kind="rootfs", path=str(busybox_rootfs), writable=True)
    container = box.run("sleep", "60", source=shared, runtime="runc")
    with pytest.raises(errors.FailedPrecondition, match="all write to"):
        container.clone("fresh-two")
    assert container.info().state == "running"


def test_what_criu_cannot_write_down_is_told_and_the_container_goes_on(box: Box) -> None:
    talk = "nc -l -p 7 -e cat & sleep 0.2; (while :; do echo x; sleep 0.05; done) | nc 127.0.0.1 7"
    container = box.run("sh", "-c", talk, runtime="runc")
    eventually(lambda: container.output().count(b"x") > 3, what="a connection")
    with pytest.raises(errors.FailedPrecondition, match=r"--tcp.*criu's log is /"):
        container.checkpoint("x")
    assert container.info().state == "running"
    assert container.checkpoints() == ()
    before = container.output().count(b"x")
    eventually(lambda: container.output().count(b"x") > before + 3, what="the connection goes on")
    container.checkpoint("x", tcp=True, exit=True)
    container.wait(10)
    before = container.output().count(b"x")
    container.restore("x")
    eventually(lambda: container.output().count(b"x") > before + 3, what="the connection goes on after all that")


def test_limits_that_were_changed_are_kept(box: Box) -> None:
    container = box.run("sleep", "60", limits=Limits(pids=50), runtime="runc")
    container.update(Limits(pids=70))
    container.checkpoint("x", exit=True)
    container.wait(10)
    container.delete()
    container.restore("x")
    assert container.info().limits.pids == 70


def test_the_loopback_interface_of_its_own_network_is_up(box: Box) -> None:
    container = box.run("sleep", "60", runtime="runc")
    container.checkpoint("x", exit=True)
    container.wait(10)
    container.restore("x")
    shown = container.exec("ifconfig", "lo")
    assert shown.wait(10).status == 0
    assert b"127.0.0.1" in shown.output()
    assert b"UP" in shown.output()
    own = os.stat("/proc/self/ns/net").st_ino
    assert os.stat(f"/proc/{container.info().pid}/ns/net").st_ino != own


def test_a_restored_container_has_no_descriptor_but_its_own(box: Box) -> None:
    container = box.run("sleep", "60", runtime="runc")
    before = sorted(os.listdir(f"/proc/{container.info().pid}/fd"))
    assert before == ["0", "1", "2"]
    container.checkpoint("x", exit=True)
    container.wait(10)
    container.restore("x")
    assert sorted(os.listdir(f"/proc/{container.info().pid}/fd")) == before


def test_a_stopped_process_is_refused_with_the_reason(box: Box) -> None:
    """ptrace(2) waits for a stopped thread until it is thawed: criu would hang."""
    container = box.run("sh", "-c", "sleep 1000 & kill -STOP $!; while :; do echo on; sleep 0.02; done", runtime="runc")
    _wait_text(container, b"on\n")
    with pytest.raises(errors.FailedPrecondition, match="is stopped, by SIGSTOP or Ctrl-Z"):
        container.checkpoint("x")
    size = len(container.output())
    eventually(lambda: len(container.output()) > size, what="it goes on")
    assert container.checkpoints() == ()


def test_a_restore_that_fails_leaves_the_container_as_it_was(box: Box, client: Sync) -> None:
    container = box.run(
        "sh", "-c", "test -e /f || echo old >/f; while :; do sleep 0.05; done", runtime="runc",
        limits=Limits(memory_bytes=100 << 20),
    )  # fmt: skip
    eventually(lambda: container.exec("test", "-e", "/f").wait(10).status == 0)
    container.checkpoint("x")
    container.update(Limits(memory_bytes=50 << 20))
    assert container.exec("sh", "-c", "echo newer >/f").wait(10).status == 0
    image = _directory(client, container, "x") / "image/core-1.img"
    image.write_bytes(b"x" * image.stat().st_size)
    container.stop(timeout=0)
    before = container.info()
    with pytest.raises(errors.FailedPrecondition, match="cannot restore container"):
        container.restore("x")
    after = container.info()
    assert (after.state, after.exit, after.limits) == (before.state, before.exit, before.limits)
    container.start()
    shown = container.exec("cat", "/f")
    shown.wait(10)
    assert shown.output() == b"newer\n", "its layer was thrown away"
    assert container.info().limits.memory_bytes == 50 << 20


def _directory(client: Sync, container: SyncContainer, name: str) -> Path:
    return Path(client.info().root_dir) / f"checkpoints/default/{container.id}/{name}"


def test_a_container_at_its_limit_of_processes_goes_on(box: Box) -> None:
    container = box.run(
        "sh", "-c", "sleep 1000 & sleep 1000 & while :; do echo on; sleep 0.05; done", runtime="runc",
        limits=Limits(pids=4),
    )  # fmt: skip
    _wait_text(container, b"on\n")
    container.checkpoint("x", exit=True)
    container.wait(10)
    size = len(container.output())
    container.restore("x")
    eventually(lambda: len(container.output()) > size, what="it goes on")
    assert container.info().limits.pids == 4


def test_a_checkpoint_without_its_layer_is_not_gone_on_from(box: Box, client: Sync) -> None:
    container = box.run("sleep", "1000", runtime="runc")
    container.checkpoint("x")
    shutil.rmtree(_directory(client, container, "x") / "layer/upper")
    with pytest.raises(errors.DataLoss, match="has no layer upper"):
        container.clone("other", checkpoint="x")
