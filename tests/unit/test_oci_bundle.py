"""A request becomes a bundle, and an exec a process."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from wherry import errors
from wherry.model.request import CreateRequest, ExecRequest, Limits, Mount, Source, Stdio
from wherry.oci import bundle, capabilities, layers


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    (made / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n")
    (made / "etc/group").write_text("video:x:44:alice\n")
    return made


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "wherry/containers/one"
    made.mkdir(parents=True)
    made.chmod(0o700)
    return made


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests have every capability and a tmpfs, whoever runs them and wherever."""
    monkeypatch.setattr(capabilities, "held", lambda: frozenset(capabilities.NAMES))
    monkeypatch.setattr(layers, "_options", lambda *_: None)


def request(root: Path, *, writable: bool = False, here: str = "", **more: Any) -> CreateRequest:
    source = Source(kind="rootfs", path=str(root), writable=writable, here=here)
    return CreateRequest(**{"id": "one", "source": source, "args": ("true",), **more})


def prepare(asked: CreateRequest, directory: Path) -> tuple[bundle.Prepared, dict[str, Any]]:
    hidden = [directory.parent.parent]
    prepared = bundle.prepare(asked, directory, cgroups_path="/wherry/one", hidden=hidden)
    config = bundle.load_config(Path(prepared.bundle) / "config.json")
    assert prepared.process == config["process"]
    return prepared, config


def test_a_rootfs_is_shown_copy_on_write(root: Path, directory: Path) -> None:
    prepared, config = prepare(request(root), directory)
    assert prepared.bundle == str(directory)
    assert prepared.layer == "tmpfs"
    assert [entry[1] for entry in prepared.mounts if entry[2] == "overlay"] == [f"{directory}/rootfs"]
    assert prepared.rootfs == str(root)
    assert (prepared.root_uid, prepared.root_gid, prepared.private_pid) == (0, 0, True)
    assert prepared.cgroups_path == config["linux"]["cgroupsPath"] == "/wherry/one"
    assert config["root"] == {"path": f"{directory}/rootfs", "readonly": False}
    assert stat.S_IMODE((directory / "config.json").stat().st_mode) == 0o600


def test_a_writable_rootfs_is_taken_as_it_is(root: Path, directory: Path) -> None:
    prepared, config = prepare(request(root, writable=True), directory)
    assert (prepared.layer, prepared.mounts) == ("", ())
    assert config["root"]["path"] == str(root)
    assert os.listdir(directory) == ["config.json"]


def test_a_link_to_a_rootfs_is_followed_once(root: Path, directory: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert prepare(request(tmp_path / "link"), directory)[0].rootfs == str(root)


def test_the_default_process_is_confined(root: Path, directory: Path) -> None:
    _, config = prepare(request(root), directory)
    process, linux = config["process"], config["linux"]
    assert process["noNewPrivileges"] is True
    assert process["capabilities"]["inheritable"] == []
    assert set(process["capabilities"]["effective"]) == capabilities.DEFAULT
    assert process["user"] == {"uid": 0, "gid": 0, "additionalGids": [0]}
    assert {"HOSTNAME=one", "HOME=/root"} <= set(process["env"])
    assert not any(variable.startswith("TERM=") for variable in process["env"])
    assert {"/proc/kcore", "/sys/firmware", "/sys/devices/virtual/powercap"} <= set(linux["maskedPaths"])
    assert "/proc/sys" in linux["readonlyPaths"]
    assert linux["seccomp"]["syscalls"]
    assert linux["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert {"pid", "mount", "network"} <= {item["type"] for item in linux["namespaces"]}
    options = {mount["destination"]: mount["options"] for mount in config["mounts"]}
    assert "ro" in options["/sys"]
    assert "ro" in options["/sys/fs/cgroup"]


def test_a_privileged_one_is_not(root: Path, directory: Path) -> None:
    _, config = prepare(request(root, privileged=True), directory)
    assert config["process"]["noNewPrivileges"] is False
    assert config["process"]["capabilities"]["effective"] == list(capabilities.NAMES)
    assert not {"maskedPaths", "readonlyPaths", "seccomp"} & set(config["linux"])
    assert config["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


def test_options_reach_the_configuration(root: Path, directory: Path) -> None:
    asked = request(
        root,
        user="alice",
        env=("HOME=/x", "A=1", "A=2"),
        workdir="/srv",
        hostname="boat",
        network="host",
        read_only=True,
        limits=Limits(pids=7),
        mounts=(Mount(target="/m", source="/usr", read_only=True), Mount(target="/t", type="tmpfs")),
    )
    _, config = prepare(asked, directory)
    process = config["process"]
    assert process["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [1000, 44]}
    assert process["capabilities"]["effective"] == []
    assert "HOME=/x" in process["env"]
    assert process["env"].count("A=2") == 1
    assert "A=1" not in process["env"]
    assert process["cwd"] == "/srv"
    assert config["hostname"] == "boat"
    assert config["root"]["readonly"] is True
    assert "network" not in {item["type"] for item in config["linux"]["namespaces"]}
    assert config["linux"]["resources"]["pids"] == {"limit": 7}
    bind, tmpfs = config["mounts"][-2:]
    assert bind["options"] == ["rbind", "rprivate", "ro", "rro"]
    assert tmpfs["options"] == ["nosuid", "nodev", "mode=1777"]


def test_here_is_a_second_view_and_the_working_directory(root: Path, directory: Path, tmp_path: Path) -> None:
    here = tmp_path / "project"
    here.mkdir()
    prepared, config = prepare(request(root, here=str(here)), directory)
    assert config["process"]["cwd"] == str(here)
    assert [entry[1] for entry in prepared.mounts if entry[2] == "overlay"] == [
        f"{directory}/rootfs",
        f"{directory}/here",
    ]
    shown = {mount["destination"]: mount["source"] for mount in config["mounts"]}
    assert shown[str(here)] == f"{directory}/here"


def test_wherrys_own_directories_are_not_shown(root: Path, directory: Path, tmp_path: Path) -> None:
    for asked in (request(tmp_path), request(root, here=str(tmp_path)), request(root, here=str(directory))):
        with pytest.raises(errors.InvalidArgument, match="Wherry's own"):
            prepare(asked, directory)
    with pytest.raises(errors.InvalidArgument, match="use source host"):
        prepare(request(Path("/")), directory)
    assert os.listdir(directory) == []


def test_what_is_not_there_is_not_found(root: Path, directory: Path, tmp_path: Path) -> None:
    for asked in (
        request(tmp_path / "no"),
        request(root, here=str(tmp_path / "no")),
        request(root, mounts=(Mount(target="/m", source=str(tmp_path / "no")),)),
    ):
        with pytest.raises(errors.NotFound, match="/no"):
            prepare(asked, directory)
    with pytest.raises(errors.InvalidArgument, match="not a directory"):
        prepare(request(root / "etc/passwd"), directory)
    assert os.listdir(directory) == []


def test_a_long_id_is_cut_to_a_hostname(root: Path, directory: Path) -> None:
    _, config = prepare(request(root, id="a" * 128), directory)
    assert config["hostname"] == "a" * 64


def test_a_disk_that_fails_is_named(root: Path, directory: Path) -> None:
    with pytest.raises(errors.Internal, match=r"cannot prepare container one: .*missing.*: No such file"):
        bundle.prepare(request(root), directory / "missing", cgroups_path="", hidden=[])


def test_two_containers_share_nothing(root: Path, directory: Path) -> None:
    first, _ = prepare(request(root, writable=True), directory)
    first.process["env"].append("LEAK=1")
    first.process["capabilities"]["bounding"].clear()
    second, _ = prepare(request(root, writable=True), directory)
    assert "LEAK=1" not in second.process["env"]
    assert second.process["capabilities"]["bounding"]


def test_a_bundle_is_taken_as_it_is(tmp_path: Path, directory: Path) -> None:
    process = {"args": ["sh"], "cwd": "/", "user": {"uid": 5, "gid": 6}}
    linux = {
        "namespaces": [{"type": "pid"}, {"type": "user"}],
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
        "cgroupsPath": "/mine",
    }
    config = {"ociVersion": "1.0.2", "root": {"path": "fs"}, "process": process, "linux": linux}
    (tmp_path / "config.json").write_text(json.dumps(config))
    asked = CreateRequest(id="one", source=Source(kind="bundle", path=str(tmp_path)))
    prepared = bundle.prepare(asked, directory, cgroups_path="/wherry/one", hidden=[])
    assert prepared == bundle.Prepared(
        bundle=str(tmp_path),
        mounts=(),
        layer="",
        process=process,
        root_uid=1000,
        root_gid=0,
        private_pid=True,
        cgroups_path="/mine",
        rootfs=f"{tmp_path}/fs",
        is_plain=True,
    )
    assert os.listdir(directory) == []
    (tmp_path / "config.json").write_text(json.dumps({**config, "process": {**process, "terminal": True}}))
    with pytest.raises(errors.InvalidArgument, match="terminal"):
        bundle.prepare(asked, directory, cgroups_path="", hidden=[])
    asked = dataclasses.replace(asked, stdio=Stdio(terminal=True))
    assert bundle.prepare(asked, directory, cgroups_path="", hidden=[]).process["terminal"] is True


BASE: dict[str, Any] = {
    "terminal": True,
    "consoleSize": {"height": 1, "width": 1},
    "args": ["init"],
    "cwd": "/srv",
    "env": ["PATH=/bin", "HOME=/root"],
    "user": {"uid": 0, "gid": 0, "additionalGids": [0], "umask": 18},
    "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
    "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
    "noNewPrivileges": True,
}


def test_an_exec_is_the_containers_process_with_another_command(root: Path) -> None:
    before = copy.deepcopy(BASE)
    process = bundle.exec_process(BASE, ExecRequest(id="one", args=("ls",), env=("A=b", "PATH=/x")), str(root))
    assert before == BASE
    assert process["args"] == ["ls"]
    assert process["terminal"] is False
    assert "consoleSize" not in process
    assert process["env"] == ["PATH=/x", "HOME=/root", "A=b"]
    for kept in ("cwd", "user", "capabilities", "rlimits", "noNewPrivileges"):
        assert process[kept] == BASE[kept]
    process["rlimits"][0]["soft"] = 9
    assert before == BASE


def test_an_exec_as_somebody_else_has_all_of_that_user_and_no_capabilities(root: Path) -> None:
    process = bundle.exec_process(BASE, ExecRequest(id="one", args=("ls",), user="alice", workdir="/"), str(root))
    assert process["user"] == {"umask": 18, "uid": 1000, "gid": 1000, "additionalGids": [1000, 44]}
    assert process["capabilities"] == capabilities.sets(["CAP_KILL"], 1000)
    assert "HOME=/home/alice" in process["env"]
    assert process["cwd"] == "/"
    back = bundle.exec_process(process, ExecRequest(id="one", args=("ls",), user="0"), str(root))
    assert back["capabilities"]["effective"] == ["CAP_KILL"]


def test_an_exec_in_a_bare_bundle_still_names_its_user_in_numbers(root: Path) -> None:
    process = bundle.exec_process({"args": ["a"], "cwd": "/"}, ExecRequest(id="one", args=("ls",)), str(root))
    assert process["user"] == {"uid": 0, "gid": 0}
    assert process["env"] == []
    assert "capabilities" not in process


@pytest.mark.parametrize(
    ("changes", "cause"),
    [({"user": "bob"}, "'bob'"), ({"workdir": "/proc/self/fd/3"}, "lead out"), ({"args": ()}, "no")],
)
def test_a_bad_exec_is_refused(root: Path, changes: dict[str, Any], cause: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=cause):
        bundle.exec_process(BASE, ExecRequest(**{"id": "one", "args": ("ls",), **changes}), str(root))
