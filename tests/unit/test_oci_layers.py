"""Overlays: what the shim is told to mount, and what lies in the layers before it does."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wherry import errors
from wherry.linux import libc, mount
from wherry.oci import host, layers


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    made = tmp_path / "lower"
    (made / "etc/ssl").mkdir(parents=True)
    (made / "etc/ssl").chmod(0o711)
    (made / "etc/shadow").write_text("secret")
    (made / "etc/shadow").chmod(0o640)
    (made / "root").mkdir(0o700)
    (made / "root/key").write_text("secret")
    return made


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "container"
    made.mkdir(0o700)
    return made


def masks(lower: Path) -> host.Masks:
    return host.Masks(directories=(f"{lower}/root", f"{lower}/etc/ssl"), files=(f"{lower}/etc/shadow",))


def view(lower: Path, directory: Path) -> layers.View:
    return layers.View(lower=str(lower), target=str(directory / "rootfs"), masks=masks(lower))


def test_without_views_there_is_no_layer(directory: Path) -> None:
    assert layers.place([], directory) == ("", ())
    assert os.listdir(directory) == []


def test_on_tmpfs_masks_are_mounted_on_top(lower: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_options", lambda *_: None)
    layer, entries = layers.place([view(lower, directory)], directory)
    assert layer == "tmpfs"
    targets = [(fstype, target.removeprefix(f"{directory}/")) for _, target, fstype, _, _ in entries]
    assert targets == [
        ("tmpfs", "layer"),
        ("mkdir", "layer/upper"),
        ("mkdir", "layer/work"),
        ("overlay", "rootfs"),
        ("tmpfs", "rootfs/root"),
        ("tmpfs", "rootfs/etc/ssl"),
        ("", "rootfs/etc/shadow"),
    ]
    assert entries[4][4].startswith("mode=700,uid=")
    assert entries[6][0] == "/dev/null"
    assert entries[6][3] == libc.MS_BIND
    assert sorted(os.listdir(directory)) == ["layer", "rootfs"]


def test_one_view_that_needs_a_tmpfs_takes_all_there(
    lower: Path, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.setattr(layers, "_options", lambda lower, _: None if lower == str(here) else "volatile")
    second = layers.View(lower=str(here), target=str(directory / "here"), prefix="here-")
    layer, entries = layers.place([view(lower, directory), second], directory)
    assert layer == "tmpfs"
    assert [target for _, target, fstype, _, _ in entries if fstype == "overlay"] == [
        f"{directory}/rootfs",
        f"{directory}/here",
    ]


def test_a_path_too_long_for_mount_is_refused(lower: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_options", lambda *_: None)
    monkeypatch.setattr(layers, "_MAX_DATA", 20)
    with pytest.raises(errors.InvalidArgument, match="the path is too long"):
        layers.place([view(lower, directory)], directory)


def test_what_overlayfs_splits_at_is_escaped() -> None:
    assert mount.escape_option("/a,b:c\\d") == "/a\\,b\\:c\\\\d"
    assert mount.escape_option("/plain") == "/plain"


@pytest.mark.requires("root")
def test_on_disk_masks_are_in_the_upper_layer_with_the_modes_of_the_real(lower: Path, directory: Path) -> None:
    layer, entries = layers.place([view(lower, directory)], directory)
    if layer != "disk":
        pytest.skip("the filesystem of the tests takes no writable layer")
    assert [entry[2] for entry in entries] == ["overlay"]
    upper = directory / "upper"
    assert stat.S_IMODE((upper / "root").stat().st_mode) == 0o700
    assert stat.S_IMODE((upper / "etc/ssl").stat().st_mode) == 0o711
    assert os.getxattr(upper / "root", "trusted.overlay.opaque") == b"y"
    assert "trusted.overlay.opaque" not in os.listxattr(upper / "etc")
    shadow = upper / "etc/shadow"
    assert shadow.read_bytes() == b""
    assert stat.S_IMODE(shadow.stat().st_mode) == 0o640
    assert sorted(os.listdir(directory)) == ["rootfs", "upper", "work"]


_MOUNT = """
import os, sys
from pathlib import Path
from wherry.linux import libc
from wherry.oci import host, layers
lower, directory = sys.argv[1:3]
if sys.argv[3] == "tmpfs":
    layers._options = lambda *_: None
masks = host.Masks(directories=(f"{lower}/root", f"{lower}/etc/ssl"), files=(f"{lower}/etc/shadow",))
layer, entries = layers.place([layers.View(lower=lower, target=f"{directory}/rootfs", masks=masks)], Path(directory))
libc.unshare(libc.CLONE_NEWNS)
libc.mount("none", "/", "none", libc.MS_REC | libc.MS_SLAVE)
for source, target, fstype, flags, data in entries:
    if fstype == "mkdir":
        os.mkdir(target, flags)
    else:
        libc.mount(source, target, fstype, flags, data)
os.chdir(f"{directory}/rootfs")
assert sorted(os.listdir(".")) == ["etc", "root"], os.listdir(".")
assert os.listdir("root") == os.listdir("etc/ssl") == []
assert open("etc/shadow").read() == ""
open("etc/new", "w").close()
open("root/new", "w").close()
"""


@pytest.mark.requires("root")
@pytest.mark.parametrize("kind", ["disk", "tmpfs"])
@pytest.mark.parametrize("name", ["plain", "odd,na:me\\x"])
def test_the_mounts_show_what_they_should_and_leave_nothing(tmp_path: Path, lower: Path, kind: str, name: str) -> None:
    lower = lower.rename(tmp_path / name)
    directory = tmp_path / f"container of {name}"
    directory.mkdir(0o700)
    before = Path("/proc/self/mountinfo").read_text()
    run = subprocess.run(
        [sys.executable, "-c", _MOUNT, str(lower), str(directory), kind],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert Path("/proc/self/mountinfo").read_text() == before
    assert sorted(os.listdir(lower / "etc")) == ["shadow", "ssl"]
    assert (lower / "etc/shadow").read_text() == "secret"


@pytest.mark.requires("root")
def test_what_the_kernel_refuses_is_an_answer_and_leaves_no_trace(lower: Path, directory: Path) -> None:
    assert not layers._is_accepted(str(lower), directory, "nosuchoption")
    assert os.listdir(directory) == []
    with pytest.raises(OSError, match="nosuchfs"):
        mount.try_filesystem("nosuchfs")
