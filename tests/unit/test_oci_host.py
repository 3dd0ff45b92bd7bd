"""What of this machine a container does not see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wherry import errors
from wherry.oci import host


def make(path: Path, mode: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("secret")
    path.chmod(mode)
    return str(path)


def test_secrets_are_found_by_mode_and_by_name(tmp_path: Path) -> None:
    public = make(tmp_path / "passwd", 0o644)
    unreadable = make(tmp_path / "a/deep/shadow", 0o640)
    leaked = [
        make(tmp_path / "ssh" / name, 0o644) for name in ("ssh_host_rsa_key", "tls.key", "id_ed25519", "krb5.keytab")
    ]
    harmless = [make(tmp_path / "ssh" / name, 0o644) for name in ("ssh_host_rsa_key.pub", "id_rsa.pub", "machine-id")]
    make(tmp_path / "private/readable", 0o644)
    (tmp_path / "private").chmod(0o710)
    (tmp_path / "link").symlink_to("/etc/shadow")
    (tmp_path / "dirlink").symlink_to("/etc")
    os.mkfifo(tmp_path / "fifo", 0o600)
    found = host.find_secrets([str(tmp_path), str(tmp_path / "missing")])
    assert set(found.files) == {unreadable, *leaked}
    assert found.directories == (str(tmp_path / "private"),)
    assert not {public, *harmless} & set(found.files)


def test_a_tree_without_end_is_an_error_and_not_a_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_MAX_ENTRIES", 3)
    for name in "abcd":
        make(tmp_path / name, 0o644)
    with pytest.raises(errors.ResourceExhausted, match="more than 3 files"):
        host.find_secrets([str(tmp_path)])


def test_this_machines_shadow_and_peoples_directories_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_remembered", None)
    masks = host.masks([])
    assert {"/root", "/tmp", os.path.realpath("/run")} <= set(masks.directories)
    if os.path.exists("/etc/shadow"):
        assert "/etc/shadow" in masks.files
    assert not any(path.startswith(f"{top}/") for path in masks.files for top in masks.directories)


def test_what_lies_in_an_empty_directory_is_not_hidden_again() -> None:
    assert "/run/wherry" not in host.masks(["/run/wherry"]).directories
    assert "/nowhere/at/all" not in host.masks(["/nowhere/at/all"]).directories


@pytest.mark.parametrize("here", ["/", "/etc", "/etc/nginx", "/usr", "/var", "/proc", "/dev/shm", "/sys", "/run"])
def test_what_would_unmask_is_refused_as_here(here: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"cannot show {here} in the container"):
        host.check_here(here, ())


def test_wherrys_own_directories_are_refused_as_here() -> None:
    private = ("/srv/wherry/state",)
    for here in ("/srv", "/srv/wherry", "/srv/wherry/state", "/srv/wherry/state/containers"):
        with pytest.raises(errors.InvalidArgument, match="Wherry's own /srv/wherry/state"):
            host.check_here(here, private)
    host.check_here("/srv/wherry/statement", private)
    host.check_here("/home/alice/project", private)
    host.check_here("/root", private)
