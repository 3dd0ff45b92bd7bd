"""What systemd tells wherryd is for wherryd alone."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import wherry
from tests.support.daemon import Daemon

#: As of a unit with Type=notify, WatchdogSec= and a socket.
GIVEN = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC")


def make_witness(directory: Path, runtime: str) -> Path:
    """Return a runtime that notes the environment it was started with, and is the real one then."""
    path = directory / runtime
    path.write_text(f'#!/bin/sh\ntr "\\0" "\\n" < /proc/$$/environ >> {path}.environ\nexec {runtime} "$@"\n')
    path.chmod(0o755)
    return path


def names_in(text: str) -> set[str]:
    return {line.partition("=")[0] for line in text.replace("\0", "\n").splitlines()}


def test_readiness_is_told_and_nobody_below_hears_where(
    make_daemon: Callable[..., Daemon], runtime: str, tmp_path: Path
) -> None:
    witness = make_witness(tmp_path, runtime)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        given = dict.fromkeys(GIVEN, "1") | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "SEEN": "1"}
        daemon = make_daemon("--start-timeout", "5", runtime=str(witness), env=given)
        assert systemd.recv(1000).splitlines()[0] == b"READY=1"
        with wherry.Sync(daemon.address) as client:
            # A runtime with NOTIFY_SOCKET waits until the container says READY=1, and none of these does.
            assert client.run("host", "true", auto_remove=True).wait(10).status == 0
            container = client.run("host", "env")
            assert container.wait(10).status == 0
            seen = b"".join(chunk.data for chunk in container.logs()).decode()
            container.delete()
            container = client.run("host", "sleep", "60")
            assert container.exec("true").wait(10).status == 0
            container.delete(force=True)
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
    [zygote] = [Path("/proc", pid) for pid in children if Path("/proc", pid, "comm").read_text() == "wherry-zygote\n"]
    texts = [Path(f"{witness}.environ").read_text(), (zygote / "environ").read_text()]
    for text in texts:
        assert "SEEN" in names_in(text), "it is our environment in all else"
    assert not names_in("\n".join([seen, *texts])) & set(GIVEN)
