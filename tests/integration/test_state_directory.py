"""What lies on disk has the ancestor's names and shapes (docs/protocol.md)."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from wherry.client.sync import Sync
from wherry.model.request import Stdio


def is_fifo(path: Path) -> bool:
    return stat.S_ISFIFO(path.stat().st_mode)


def test_a_process_directory_has_the_ancestors_files(daemon: Daemon) -> None:
    with Sync(daemon.address) as client:
        container = client.run("host", "cat", id="c1", labels={"a": "b"}, stdio=Stdio(stdin_open=True))
        directory = daemon.state_dir / "default" / "c1" / "init"
        spec = json.loads((directory / "process.json").read_text())
        assert spec["args"] == ["cat"]
        assert spec["exec"] is False
        assert (spec["checkpoint"], spec["rootUID"], spec["rootGID"]) == ("", 0, 0)
        assert {"containerdStdin", "containerdStdout", "containerdStderr", "user", "cwd", "capabilities"} <= set(spec)
        pid = (directory / "pid").read_text()
        assert pid.isdigit()
        assert int(pid) == container.info().pid
        stat_line = Path(f"/proc/{pid}/stat").read_text()
        assert (directory / "starttime").read_text() == stat_line.rpartition(") ")[2].split()[19]
        assert is_fifo(directory / "exit")
        assert is_fifo(directory / "control")
        assert not (directory / "exitStatus").exists()
        state = json.loads((directory.parent / "state.json").read_text())
        assert state["labels"] == {"a": "b"} or state["labels"] == ["a=b"]
        assert state["bundle"] == container.info().bundle
        process = container.exec("sh", "-c", "exit 7", id="e1")
        process.wait(10)
        execs = directory.parent / "e1"
        assert json.loads((execs / "process.json").read_text())["exec"] is True
        assert (execs / "exitStatus").read_text() == "7"
        # By hand, as the ancestor's daemon did: `0 0 0` closes stdin.
        (directory / "control").write_text("0 0 0\n")
        assert container.wait(10).status == 0
        assert (directory / "exitStatus").read_text() == "0"
        record = json.loads((directory / "exit.json").read_text())
        assert (record["status"], record["signal"], record["oom"]) == (0, 0, False)


def test_the_exit_fifo_hangs_up_when_the_process_has_ended(daemon: Daemon) -> None:
    with Sync(daemon.address) as client:
        container = client.run("host", "sleep", "60", id="c1")
        fd = os.open(daemon.state_dir / "default" / "c1" / "init" / "exit", os.O_RDONLY | os.O_NONBLOCK)
        try:
            try:
                assert os.read(fd, 1) == b"never", "a living shim holds the other end"
            except BlockingIOError:
                pass
            container.kill("KILL")
            container.wait(10)
            assert eventually(lambda: os.read(fd, 1) == b"")
        finally:
            os.close(fd)


def test_only_root_can_look_into_it(daemon: Daemon) -> None:
    daemon.wherry("run", "-d", "--name", "c1", "host", "--", "sleep", "60")
    for path in (daemon.state_dir / "default", daemon.state_dir / "default" / "c1", daemon.root_dir):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    for path in (daemon.state_dir / "default").rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        # What the OCI runtime makes in its own directory has its own mode; the directory above keeps others out.
        if not any(part.startswith(".") for part in path.relative_to(daemon.state_dir).parts) and path.is_file():
            assert mode & 0o022 == 0, path
    assert stat.S_IMODE(daemon.state_dir.stat().st_mode) == 0o711
    assert stat.S_IMODE(daemon.socket_path.stat().st_mode) in (0o600, 0o660)
