"""config.json: torn, absurd, and good."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wherry import errors
from wherry.oci import bundle, config


def plain(**process: Any) -> dict[str, Any]:
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}, **process},
    }


def write(directory: Path, content: object) -> Path:
    path = directory / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_plain_configuration_without_capabilities_is_fine(tmp_path: Path) -> None:
    assert bundle.load_config(write(tmp_path, plain())) == plain()
    bundle.load_config(write(tmp_path, plain(capabilities=None)))
    bundle.load_config(write(tmp_path, {**plain(), "linux": None}))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "Expecting value"),
        ('{"ociVersion": "1.0', "Unterminated"),
        ("[]", "the configuration is not an object"),
        ("null", "the configuration is missing"),
        ('{"root": NaN}', "NaN is not JSON"),
        ("[" * 200_000, "nested too deeply"),
        ("9" * 5000, "."),
        ({"root": {"path": "r"}}, "process is missing"),
        ({"process": {}}, "root is missing"),
        ({**plain(), "root": {}}, "root.path is missing"),
        ({**plain(), "root": {"path": ""}}, "root.path is empty"),
        ({**plain(), "ociVersion": 1}, "ociVersion is not a string"),
        ({**plain(), "process": []}, "process is not an object"),
        (plain(args=None), "process.args is missing"),
        (plain(args=[]), "process.args is empty"),
        (plain(args="sh"), "process.args is not an array"),
        (plain(args=[1]), r"process.args\[0\] is not a string"),
        (plain(env={"A": "b"}), "process.env is not an array"),
        (plain(cwd=""), "process.cwd is not an absolute path"),
        (plain(cwd=7), "process.cwd is not a string"),
        (plain(user="root"), "process.user is not an object"),
        (plain(user={"uid": -1}), "process.user.uid"),
        (plain(user={"uid": 2**32}), "process.user.uid"),
        (plain(user={"uid": 1.0}), "process.user.uid"),
        (plain(user={"uid": True}), "process.user.uid"),
        (plain(terminal="yes"), "process.terminal is not true or false"),
        (plain(capabilities=["CAP_KILL"]), "process.capabilities is not an object"),
        (plain(capabilities={"bounding": "all"}), "process.capabilities.bounding is not an array"),
        ({**plain(), "linux": []}, "linux is not an object"),
        ({**plain(), "linux": {"namespaces": {}}}, "linux.namespaces is not an array"),
        ({**plain(), "linux": {"namespaces": ["pid"]}}, r"linux.namespaces\[0\] is not an object"),
        ({**plain(), "linux": {"namespaces": [{}]}}, r"linux.namespaces\[0\].type is missing"),
        ({**plain(), "linux": {"uidMappings": [{"containerID": 0}]}}, r"linux.uidMappings\[0\].hostID"),
        ({**plain(), "linux": {"cgroupsPath": 1}}, "linux.cgroupsPath is not a string"),
    ],
)
def test_a_bad_configuration_is_named_with_its_cause(tmp_path: Path, content: object, cause: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=cause) as raised:
        bundle.load_config(write(tmp_path, content))
    assert raised.value.message.startswith(f"cannot read bundle {tmp_path}: config.json")


def test_a_missing_bundle_is_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "config.json", tmp_path / "no/config.json"):
        with pytest.raises(errors.NotFound, match="cannot read bundle"):
            bundle.load_config(path)


def test_neither_a_fifo_nor_a_directory_nor_a_huge_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dir").mkdir()
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(config.MAX_BYTES + 1)
    for name, cause in (("fifo", "not a regular file"), ("dir", "not a regular file"), ("huge", "larger than")):
        with pytest.raises(errors.InvalidArgument, match=cause):
            bundle.load_config(tmp_path / name)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xff\xfe{\x00}\x00")
    with pytest.raises(errors.InvalidArgument, match="cannot read bundle"):
        bundle.load_config(tmp_path / "config.json")


def test_roots_ids_follow_the_user_namespace() -> None:
    mapped = {"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}], "gidMappings": [{"containerID": 1}]}
    assert config.root_ids({**plain(), "linux": mapped}) == (0, 0)
    inside = {**mapped, "gidMappings": [{"containerID": 1, "hostID": 5, "size": 1}], "namespaces": [{"type": "user"}]}
    assert config.root_ids({**plain(), "linux": inside}) == (1000, 0)
    assert config.root_ids(plain()) == (0, 0)


def test_a_pid_namespace_is_private_without_a_path() -> None:
    assert config.is_private_pid({"linux": {"namespaces": [{"type": "pid"}]}})
    assert config.is_private_pid({"linux": {"namespaces": [{"type": "pid", "path": ""}]}})
    assert not config.is_private_pid({"linux": {"namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}]}})
    assert not config.is_private_pid(plain())


def test_a_configuration_is_written_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    config.write_config(tmp_path, plain())
    assert os.listdir(tmp_path) == ["config.json"]
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) == 0o600
    assert config.load_config(tmp_path / "config.json") == plain()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("/"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


# A busy machine is no failure.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(["root", "process", "linux", "ociVersion"]), _JSON),
    st.dictionaries(st.sampled_from(["args", "env", "cwd", "user", "capabilities", "terminal", "rlimits"]), _JSON),
    st.dictionaries(st.sampled_from(["namespaces", "uidMappings", "gidMappings", "cgroupsPath"]), _JSON),
)
def test_any_configuration_is_understood_or_refused(
    top: dict[str, Any], process: dict[str, Any], linux: dict[str, Any]
) -> None:
    for candidate in (top, plain(**process), {**plain(), "linux": linux}):
        try:
            config.check(candidate)
        except errors.InvalidArgument:
            continue
        config.root_ids(candidate)
        config.is_private_pid(candidate)
