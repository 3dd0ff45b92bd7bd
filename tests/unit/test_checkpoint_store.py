"""Checkpoints on disk: there as a whole or not at all, and nothing that lies there keeps anybody from the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wherry import errors
from wherry.model.checkpoint import CheckpointInfo
from wherry.model.request import CreateRequest
from wherry.runtime import checkpoint as disk

INFO = CheckpointInfo(
    id="job",
    namespace="default",
    name="noon",
    generation=7,
    created_at_ns=5,
    tcp=True,
    empty_ns=("network",),
    request=CreateRequest(id="job", args=("sleep", "60")),
)
OUTSIDE = disk.Outside(streams=("", "file[1b:2268dd]", ""), network=True)


@pytest.fixture
def store(tmp_path: Path) -> disk.Checkpoints:
    """Return the checkpoints below an empty root directory."""
    return disk.Checkpoints(tmp_path)


def _make(store: disk.Checkpoints, info: CheckpointInfo = INFO) -> Path:
    store.finish(store.begin(info.namespace, info.id, info.name), info, OUTSIDE)
    return store.path(info.namespace, info.id, info.name)


def test_what_is_written_is_read_back(store: disk.Checkpoints) -> None:
    path = _make(store)
    assert disk.load(path) == (INFO, OUTSIDE)
    assert store.load("default", "job", "noon") == INFO
    assert store.list() == store.list("default") == store.list("default", "job") == [INFO]
    assert store.list("other") == store.list("default", "other") == []
    assert store.root.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_half_made_one_is_listed_by_nobody_and_swept(store: disk.Checkpoints) -> None:
    making = store.begin("default", "job", "noon")
    disk.save(making, INFO, OUTSIDE)
    assert store.list() == []
    with pytest.raises(errors.NotFound, match="'noon'"):
        store.load("default", "job", "noon")
    assert store.find_stale({making}) == ()
    store.sweep(store.find_stale(set()))
    assert not making.exists()


def test_one_for_clones_is_hidden_and_swept(store: disk.Checkpoints) -> None:
    name = f"{disk.TEMPORARY}abc"
    making = store.begin("default", "job", name)
    disk.save(making, INFO, OUTSIDE)
    path = making.rename(store.path("default", "job", name))
    assert store.list() == []
    store.sweep(store.find_stale(set()))
    assert not path.exists()


def test_the_last_one_takes_its_directories_along(store: disk.Checkpoints) -> None:
    _make(store)
    with pytest.raises(errors.AlreadyExists, match="it exists"):
        store.begin("default", "job", "noon")
    store.remove("default", "job", "noon")
    assert list(store.root.iterdir()) == []
    with pytest.raises(errors.NotFound):
        store.remove("default", "job", "noon")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1}',
        '{"version": 1, "outside": {"streams": 5}}',
        '{"version": 1, "outside": {}, "id": "job"}',
        "[" * 100_000,
    ],
)
def test_a_torn_or_foreign_file_is_an_error_of_its_own(store: disk.Checkpoints, text: str) -> None:
    path = _make(store)
    (path / disk.FILE).write_text(text)
    with pytest.raises(errors.DataLoss, match="cannot read"):
        store.load("default", "job", "noon")
    assert store.list() == []


def test_links_and_devices_are_not_followed(store: disk.Checkpoints, tmp_path: Path) -> None:
    path = _make(store)
    secret = tmp_path / "secret.json"
    (path / disk.FILE).rename(secret)
    (path / disk.FILE).symlink_to(secret)
    with pytest.raises(errors.DataLoss):
        store.load("default", "job", "noon")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../noon", ".making-noon", "x" * 129])
def test_names_lead_nowhere(store: disk.Checkpoints, name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="checkpoint name"):
        store.begin("default", "job", name)


def test_one_of_the_original_is_read(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoints" / "c1"
    directory.mkdir(parents=True)
    config = {"created": "2016-01-01T00:00:00Z", "name": "c1", "tcp": True, "unixSockets": False, "shell": True}
    (directory / disk.V0_FILE).write_text(json.dumps(config))
    info, outside = disk.load(directory)
    assert (info.name, info.tcp, info.unix_sockets, info.shell, info.empty_ns) == ("c1", True, False, True, ())
    assert outside == disk.Outside()
    assert disk.find_image(directory) == directory
    (directory / disk.V0_FILE).write_text(json.dumps(config | {"tcp": "yes"}))
    with pytest.raises(errors.DataLoss, match=r"config\.json"):
        disk.load(directory)
