"""Reading below an untrusted root: nothing leads out, nothing hangs."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from wherry.linux import libc, paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    (made / "etc/passwd").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return made


@pytest.fixture(params=["openat2", "without"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test with openat2, and as on a kernel that has none."""
    if request.param == "without":

        def refuse(number: int, *arguments: int | bytes) -> int:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(libc, "syscall", refuse)


@pytest.mark.usefixtures("either")
def test_a_file_is_read_by_a_relative_or_an_absolute_path(root: Path) -> None:
    assert paths.read_in_root(str(root), "etc/passwd", 100) == b"inside"
    assert paths.read_in_root(str(root), "/etc//./passwd", 100) == b"inside"


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("target", ["../../secret", "/secret", "/proc/self/cwd"])
def test_a_link_never_leads_out(root: Path, tmp_path: Path, target: str) -> None:
    (root / "etc/group").symlink_to(target)
    with pytest.raises(OSError, match=r"etc"):
        paths.read_in_root(str(root), "etc/group", 100)


def test_a_link_inside_is_followed_from_the_root(root: Path) -> None:
    (root / "link").symlink_to("/etc/passwd")
    (root / "up").symlink_to("../../../etc/passwd")
    assert paths.read_in_root(str(root), "link", 100) == b"inside"
    assert paths.read_in_root(str(root), "up", 100) == b"inside"


def test_a_magic_link_is_refused(root: Path) -> None:
    with pytest.raises(OSError, match="self/exe") as raised:
        paths.read_in_root("/proc", "self/exe", 100)
    assert raised.value.errno == errno.ELOOP


@pytest.mark.usefixtures("either")
def test_a_fifo_a_socket_a_directory_and_a_missing_file_do_not_hang(root: Path) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(root / "sock"))
        for name, number in (
            ("fifo", errno.EINVAL),
            ("sock", errno.EINVAL),
            ("etc", errno.EINVAL),
            ("no", errno.ENOENT),
        ):
            with pytest.raises(OSError, match=name) as raised:
                paths.read_in_root(str(root), name, 100)
            assert raised.value.errno == number


@pytest.mark.usefixtures("either")
def test_a_file_above_the_limit_is_not_read(root: Path) -> None:
    assert paths.read_in_root(str(root), "etc/passwd", 6) == b"inside"
    with pytest.raises(OSError, match="larger than 5 bytes") as raised:
        paths.read_in_root(str(root), "etc/passwd", 5)
    assert raised.value.errno == errno.EFBIG


def test_without_openat2_a_link_and_a_dot_dot_on_the_way_are_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int, *arguments: int | bytes) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(libc, "syscall", refuse)
    (root / "dir").symlink_to("etc")
    for path in ("dir/passwd", "etc/../etc/passwd", "/", ""):
        with pytest.raises(OSError, match=r"."):
            paths.read_in_root(str(root), path, 100)


def test_read_regular_does_not_open_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert paths.read_regular(str(tmp_path / "link"), 3) == b"abc"
    with pytest.raises(OSError, match="not a regular file"):
        paths.read_regular(str(tmp_path / "fifo"), 3)


@pytest.mark.usefixtures("either")
def test_no_descriptor_is_left_open(root: Path) -> None:
    before = os.listdir("/proc/self/fd")
    (root / "link").symlink_to("/secret")
    for path in ("etc/passwd", "link", "no/where", "etc"):
        try:
            paths.read_in_root(str(root), path, 100)
        except OSError:
            continue
    assert len(os.listdir("/proc/self/fd")) == len(before)
