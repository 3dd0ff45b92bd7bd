"""Checkpoints as `ctr checkpoints` and `ctr containers start --checkpoint` have them (v0-system 7)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode as Code

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.v0.client import Client
from wherry.wire import v0_pb2 as pb

pytestmark = pytest.mark.requires("criu", "runc")

COUNTER = ("sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done")


@pytest.fixture
def client(shared_daemon: Daemon, tmp_path: Path, busybox_rootfs: Path, collected: None) -> Iterator[Client]:
    """Return a client of containers under runc: crun is mostly built without criu."""
    client = Client(shared_daemon, tmp_path, busybox_rootfs, "runc")
    yield client
    client.close()
    shared_daemon.remove_containers()


def _numbers(text: bytes) -> list[int]:
    return [int(line) for line in text.rpartition(b"\n")[0].split()]


@pytest.mark.parametrize("has_directory", [False, True])
def test_a_container_goes_on_on_the_fifos_of_another_client(
    client: Client, tmp_path: Path, has_directory: bool
) -> None:
    directory = str(tmp_path / "some" / "where") if has_directory else ""
    events, bundle = client.events(), client.bundle(*COUNTER)
    first = client.fifos()
    client.start("counter", bundle=bundle, fifos=first)
    first.wait(b"3\n")
    checkpoint = pb.Checkpoint(name="k2", exit=True, tcp=True)
    client.call("CreateCheckpoint", id="counter", checkpoint=checkpoint, checkpointDir=directory)
    assert events.wait_exit("counter") == 137
    second = client.fifos()
    client.start("counter", bundle=bundle, fifos=second, checkpoint="k2", checkpointDir=directory)
    second.wait(b"\n")
    before = _numbers(first.read())
    eventually(lambda: len(_numbers(second.read())) > 3)
    numbers = before + _numbers(second.read())
    assert numbers == list(range(len(numbers))), "a number is missing, or there twice"
    found = client.call("ListCheckpoint", id="counter", checkpointDir=directory).checkpoints
    assert list(found) == [pb.Checkpoint(name="k2", tcp=True)]
    kinds = [kind for kind, _, _ in events.of("counter")]
    assert kinds == ["start-container", "exit", "start-container"]
    client.call("DeleteCheckpoint", id="counter", name="k2", checkpointDir=directory)
    client.call("DeleteCheckpoint", id="counter", name="k2", checkpointDir=directory)
    assert not client.call("ListCheckpoint", id="counter", checkpointDir=directory).checkpoints


def test_what_lies_there_is_what_the_original_lays_out(client: Client) -> None:
    bundle = client.bundle("sleep", "60")
    client.start("top", bundle=bundle)
    client.call("CreateCheckpoint", id="top", checkpoint=pb.Checkpoint(name="c1", shell=True, emptyNS=["network"]))
    directory = Path(bundle, "checkpoints", "c1")
    config = json.loads((directory / "config.json").read_text())
    assert config.pop("created").endswith("Z")
    assert config == {
        "name": "c1",
        "tcp": False,
        "unixSockets": False,
        "shell": True,
        "exit": False,
        "emptyNS": ["network"],
    }
    for name in ("descriptors.json", "inventory.img", "criu.work/dump.log"):
        assert (directory / name).is_file()
    assert directory.stat().st_mode & 0o777 == 0o700, "it holds the memory of processes"
    assert client.state("top")[0].status == "running"
    error = client.fail("CreateCheckpoint", id="top", checkpoint=pb.Checkpoint(name="c1"))
    assert error == (Code.ALREADY_EXISTS, f"mkdir {directory}: file exists")


def test_a_failed_checkpoint_leaves_no_directory(client: Client) -> None:
    bundle = client.bundle("sleep", "60")
    client.start("top", bundle=bundle)
    client.call("UpdateContainer", id="top", pid="init", status="paused")
    code, text = client.fail("CreateCheckpoint", id="top", checkpoint=pb.Checkpoint(name="c1"))
    assert code == Code.FAILED_PRECONDITION
    assert "paused" in text
    assert not Path(bundle, "checkpoints").exists()


def test_what_is_not_there_is_named(client: Client) -> None:
    bundle = client.bundle("sleep", "60")
    client.start("top", bundle=bundle)
    directory = Path(bundle, "checkpoints")
    assert client.fail("ListCheckpoint", id="top") == (Code.NOT_FOUND, f"open {directory}: no such file or directory")
    error = client.fail("CreateContainer", id="new", bundlePath=bundle, checkpoint="c9")
    assert error == (Code.NOT_FOUND, f"shim error: open {directory}/c9/config.json: no such file or directory")


def test_only_checkpoints_are_deleted(client: Client, tmp_path: Path) -> None:
    client.start("top", "sleep", "60")
    (tmp_path / "dir" / "precious").mkdir(parents=True)
    code, text = client.fail("DeleteCheckpoint", id="top", name="precious", checkpointDir=str(tmp_path / "dir"))
    assert code == Code.FAILED_PRECONDITION
    assert "it is no checkpoint" in text
    assert (tmp_path / "dir" / "precious").is_dir()


def test_a_link_in_a_bundle_leads_no_checkpoint_elsewhere(client: Client, tmp_path: Path) -> None:
    bundle = client.bundle("sleep", "60")
    other = tmp_path / "other"
    (other / "c1").mkdir(parents=True)
    (other / "c1" / "config.json").write_text("{}")
    Path(bundle, "checkpoints").symlink_to(other)
    client.start("top", bundle=bundle)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("CreateCheckpoint", {"id": "top", "checkpoint": pb.Checkpoint(name="c2")}),
        ("DeleteCheckpoint", {"id": "top", "name": "c1"}),
        ("ListCheckpoint", {"id": "top"}),
        ("CreateContainer", {"id": "new", "bundlePath": bundle, "checkpoint": "c1"}),
    ]
    for name, fields in calls:
        code, text = client.fail(name, **fields)
        assert (code, "checkpoints is a link" in text) == (Code.FAILED_PRECONDITION, True), (name, text)
    assert [path.name for path in other.iterdir()] == ["c1"]
