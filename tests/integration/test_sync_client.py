"""The synchronous client: in a notebook's running loop, with Ctrl-C, and without a daemon."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import wherry
from tests.support.daemon import Daemon, make_environment
from tests.support.eventually import eventually
from wherry import errors

INTERRUPTED = """
import signal, sys, wherry
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
with wherry.Sync() as client:
    container = client.container("c1")
    events = client.events(after=0)
    try:
        print("waiting", next(events).type, flush=True)
        {wait}
    except KeyboardInterrupt:
        print("interrupted", client.container("c1").info().state)
"""


async def test_it_works_where_a_loop_is_running(daemon: Daemon) -> None:
    with wherry.Sync(daemon.address) as client:
        container = client.run("host", "echo", "hi")
        assert container.wait(10).status == 0
        assert container.output() == b"hi\n"


@pytest.mark.parametrize("wait", ["container.wait()", "list(events)", "list(container.logs(follow=True))"])
def test_an_interrupt_ends_the_wait_and_nothing_else(daemon: Daemon, wait: str) -> None:
    daemon.wherry("run", "-d", "--name", "c1", "host", "--", "sleep", "60")
    env = make_environment({"WHERRY_ADDRESS": daemon.address})
    script = INTERRUPTED.format(wait=wait)
    argv = [sys.executable, "-W", "error", "-c", script]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting create\n"
        # Its main thread sleeps: it is in the wait.
        eventually(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2].startswith("S"))
        output, words = _interrupt(child)
    assert (output, child.returncode) == ("interrupted running\n", 0), words


def _interrupt(child: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what a program prints once it is interrupted.

    Python loses an interrupt that comes in the middle of a weak reference's callback ("Exception ignored in"): whoever
    sits before it presses the keys once more.
    """
    for _ in range(4):
        child.send_signal(signal.SIGINT)
        try:
            return child.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            continue
    child.kill()
    return child.communicate()


def test_nobody_at_the_address_is_a_named_error_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(errors.Unavailable, match="no daemon answers"):
        wherry.Sync("unix:///nowhere/wherry.sock")
    assert threading.active_count() == before


def test_a_closed_client_says_so(daemon: Daemon) -> None:
    client = wherry.Sync(daemon.address)
    events = client.events(after=0, follow=False)
    client.close()
    client.close()
    with pytest.raises(errors.FailedPrecondition, match="closed"):
        client.info()
    with pytest.raises(errors.FailedPrecondition, match="closed"):
        next(events)


def test_containers_outlive_a_supervisor_without_daemon(tmp_path: Path) -> None:
    directories = {"state_dir": tmp_path / "state", "root_dir": tmp_path / "root"}
    with wherry.Sync.supervise(**directories) as client:
        client.run("host", "sh", "-c", "sleep 0.5; echo done; exit 7", id="c1")
    with wherry.Sync.supervise(**directories) as client:
        container = client.container("c1")
        assert container.wait(10).status == 7
        assert container.output() == b"done\n"
        with pytest.raises(errors.FailedPrecondition, match="another supervisor"):
            wherry.Sync.supervise(**directories)
        container.delete()
