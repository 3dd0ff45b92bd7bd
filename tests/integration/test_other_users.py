"""Another user of this machine: neither connects nor reads (SECURITY.md)."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import wherry
from tests.support.daemon import Daemon

NOBODY = 65534


#: Not Python: that of the tests may lie where nobody else may go.
_CONNECT = "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($ARGV[0])) or die $!"


def _as_nobody(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, timeout=30, cwd="/"
    )


def test_another_user_cannot_connect(daemon: Daemon) -> None:
    path = daemon.address.removeprefix("unix://")
    refused = _as_nobody("perl", "-e", _CONNECT, path)
    assert "Permission denied" in refused.stderr
    allowed = subprocess.run(["perl", "-e", _CONNECT, path], capture_output=True, text=True, timeout=30)
    assert allowed.stderr == ""


def test_another_user_reads_no_state_no_log_and_no_layer(daemon: Daemon) -> None:
    with wherry.Sync(daemon.address) as client:
        container = client.run("host", "sh", "-c", "echo secret; echo secret >/srv/secret; sleep 1000", id="private")
        try:
            info = client.info()
            listed = _as_nobody("find", info.state_dir, info.root_dir, "-mindepth", "1", "-readable")
            assert listed.stdout.split() == [], listed.stdout
            found = _as_nobody("grep", "-r", "secret", info.state_dir, info.root_dir)
            assert found.stdout == ""
        finally:
            container.delete(force=True)


def test_nothing_below_the_directories_is_for_others(daemon: Daemon) -> None:
    """Whoever made them, and whatever the umask; a container's own files lie behind a directory that is closed."""
    with wherry.Sync(daemon.address) as client:
        container = client.run("host", "sleep", "1000", id="private")
        try:
            info = client.info()
            assert stat.S_IMODE(os.stat(info.root_dir).st_mode) == 0o700
            for path in Path(info.state_dir).iterdir():
                mode = path.lstat().st_mode
                if not stat.S_ISLNK(mode):
                    assert not stat.S_IMODE(mode) & 0o007, f"{path} has mode {stat.S_IMODE(mode):o}"
        finally:
            container.delete(force=True)
