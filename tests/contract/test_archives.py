"""Checkpoints as files: exported, taken in again, gone on from; and archives that are not taken leave nothing."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Box
from tests.support import zstd
from tests.support.eventually import eventually
from wherry import errors
from wherry.client.sync import Sync
from wherry.model.request import Mount, Source

pytestmark = pytest.mark.requires("criu", "runc", "overlay")

#: Leaves what a program may leave in its layer, and counts.
PROGRAM = (
    "mkdir /srv/d && echo hello >/srv/d/file && ln /srv/d/file /srv/d/hard && ln -s /root /srv/d/soft"
    " && mkfifo /srv/d/fifo && rm /etc/passwd; i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"
)


@pytest.fixture(autouse=True)
def no_checkpoints(client: Sync) -> Iterator[None]:
    """Delete the checkpoints of a test."""
    yield
    for info in client.checkpoints(all_namespaces=True):
        client.container(info.id, info.namespace).delete_checkpoint(info.name)


@pytest.fixture
def archive(box: Box, tmp_path: Path) -> Path:
    """Return the archive of a counting container, which is deleted with its checkpoint."""
    container = box.run("sh", "-c", PROGRAM, runtime="runc", source=Source())
    eventually(lambda: len(container.output().split()) >= 3)
    container.checkpoint("noon", exit=True)
    container.wait(10)
    assert container.export_checkpoint("noon", tmp_path / "job.wherry") == (tmp_path / "job.wherry").stat().st_size
    container.delete_checkpoint("noon")
    container.delete()
    return tmp_path / "job.wherry"


def test_a_container_goes_on_from_a_file(box: Box, client: Sync, archive: Path) -> None:
    info = client.import_checkpoint(archive, id="moved")
    assert (info.id, info.name, info.request.id) == ("moved", "noon", "moved")
    container = client.container("moved")
    assert container.checkpoints() == (info,)
    container.restore("noon")
    try:
        eventually(lambda: len(container.output().split()) >= 3)
        numbers = [int(word) for word in container.output().split()]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert numbers[0] >= 3
        shown = container.exec("sh", "-c", "cat /srv/d/hard; readlink /srv/d/soft; ls -A /root /srv/d; ls /etc/passwd")
        shown.wait(10)
        assert shown.output().split()[:2] == [b"hello", b"/root"]
        assert b"fifo" in shown.output()
        assert b"/etc/passwd" not in shown.output().split(), "what was removed is back"
    finally:
        container.delete(force=True)


def test_an_archive_that_hides_nothing_of_the_host_shows_nothing_of_it(
    client: Sync, archive: Path, tmp_path: Path
) -> None:
    """The layer of a container of `host` is what hides the host's secrets: one that comes from elsewhere may not."""
    bare = tmp_path / "bare.wherry"
    with (
        zstd.ZstdFile(archive) as packed,
        tarfile.open(fileobj=packed, mode="r|") as old,
        zstd.ZstdFile(bare, "w") as file,
        tarfile.open(fileobj=file, mode="w|") as new,
    ):
        for member in old:
            is_mask = member.name.startswith("layer/upper/") and not member.name.startswith("layer/upper/srv")
            if not is_mask:
                data = old.extractfile(member) if member.isreg() else None
                new.addfile(member, io.BytesIO(data.read()) if data else None)
    client.import_checkpoint(bare, id="moved")
    container = client.container("moved")
    container.restore("noon")
    try:
        shown = container.exec("sh", "-c", "ls -A /root /home; cat /etc/shadow")
        shown.wait(10)
        assert shown.output().split() == [b"/home:", b"/root:"]
    finally:
        container.delete(force=True)


def test_what_is_not_granted_is_refused_and_leaves_nothing(box: Box, client: Sync, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here/file").write_text("here")
    mount = Mount(target="/mnt", source=str(tmp_path / "there"))
    container = box.run("sleep", "1000", runtime="runc", source=Source(), mounts=(mount,))
    container.checkpoint("noon", exit=True)
    container.export_checkpoint("noon", tmp_path / "job.wherry")
    with pytest.raises(errors.PermissionDenied, match=f"--grant 'path={tmp_path}/there'"):
        client.import_checkpoint(tmp_path / "job.wherry", id="moved")
    assert [info.id for info in client.checkpoints()] == [container.id]
    grant = f"path={tmp_path}/there:{tmp_path}/here"
    client.import_checkpoint(tmp_path / "job.wherry", id="moved", grants=(grant,))
    moved = client.container("moved")
    moved.restore("noon")
    try:
        shown = moved.exec("cat", "/mnt/file")
        shown.wait(10)
        assert shown.output() == b"here"
    finally:
        moved.delete(force=True)


def test_damage_leaves_nothing_and_the_next_import_succeeds(client: Sync, archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    broken = tmp_path / "broken.wherry"
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for damage in (data[:-1], data[: len(data) // 2], bytes(flipped), b"", b"no archive"):
        broken.write_bytes(damage)
        with pytest.raises((errors.DataLoss, errors.InvalidArgument), match="cannot import"):
            client.import_checkpoint(broken, id="moved")
        assert client.checkpoints() == ()
    client.import_checkpoint(archive, id="moved")
    with pytest.raises(errors.AlreadyExists, match="checkpoint noon of container moved"):
        client.import_checkpoint(archive, id="moved")


def test_an_export_replaces_a_file(box: Box, tmp_path: Path) -> None:
    container = box.run("sh", "-c", "head -c 30000000 /dev/urandom >/f; echo done; sleep 1000", runtime="runc")
    eventually(lambda: container.output() == b"done\n")
    container.checkpoint("noon")
    file = tmp_path / "job.wherry"
    file.write_text("before")
    container.export_checkpoint("noon", file)
    assert file.stat().st_size > 30_000_000
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(errors.PermissionDenied, match="cannot write /proc/1/job"):
        container.export_checkpoint("noon", "/proc/1/job")
    assert os.listdir(tmp_path) == ["job.wherry"]


def test_an_export_of_nothing_leaves_no_file(box: Box, tmp_path: Path) -> None:
    container = box.run("sleep", "1000", runtime="runc")
    with pytest.raises(errors.NotFound, match="no checkpoint 'noon'"):
        container.export_checkpoint("noon", tmp_path / "file")
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_read_is_named_and_not_taken_for_a_cancellation(client: Sync) -> None:
    with pytest.raises(errors.WherryError, match="Input/output error"):
        client.import_checkpoint("/proc/self/mem", id="moved")
    assert client.checkpoints() == ()
