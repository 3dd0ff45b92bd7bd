"""The daemon's one way to run a program: it cannot block, leak, or be blocked by what it runs."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from wherry import errors
from wherry.runtime import spawn

#: glibc ignores its two internal signals, 32 and 33, in whatever posix_spawn(3) starts.
_OF_THE_C_LIBRARY = 1 << 31 | 1 << 32


def run(*argv: str, timeout: float = 20.0) -> spawn.Result:
    return asyncio.run(spawn.run(argv, timeout=timeout))


def shell(script: str, timeout: float = 20.0) -> spawn.Result:
    return run("/bin/sh", "-c", script, timeout=timeout)


def write_script(path: Path, text: str, mode: int = 0o755) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


#: Of supervisors in this process that other tests have left with living containers.
BEFORE: set[int] = set()


@pytest.fixture(autouse=True)
def _take_owned() -> None:
    BEFORE.clear()
    BEFORE.update(spawn.owned)


@pytest.mark.parametrize("status", [0, 1, 7, 127, 255])
def test_the_exit_code_is_exact(status: int) -> None:
    assert shell(f"exit {status}") == spawn.Result(status, "")
    assert spawn.owned <= BEFORE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_death_by_a_signal_is_negative(number: signal.Signals) -> None:
    assert shell(f"ulimit -c 0; kill -{int(number)} $$").status == -number


def test_both_streams_are_collected_and_stdin_is_empty() -> None:
    assert shell("cat; echo out; echo err >&2").output == "out\nerr\n"


def test_a_megabyte_of_output_does_not_block_and_is_not_kept() -> None:
    result = shell("head -c 1048576 /dev/zero | tr '\\0' x; exit 3")
    assert result.status == 3
    assert result.output == "x" * spawn.MAX_OUTPUT


def test_output_that_is_not_utf8_is_shown_somehow() -> None:
    assert shell("printf 'a\\377b'").output == "a\ufffdb"


def test_a_descendant_that_keeps_the_pipe_open_does_not_hold_us(tmp_path: Path) -> None:
    begin = time.monotonic()
    result = shell(f"sleep 60 & echo $! > {tmp_path}/pid; echo done")
    assert result.output == "done\n"
    assert time.monotonic() - begin < 30
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: has_ended(pid))


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or a zombie that we, a subreaper perhaps, then reap."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not Path(f"/proc/{pid}").exists()


def test_a_timeout_kills_the_whole_process_group(tmp_path: Path) -> None:
    with pytest.raises(errors.DeadlineExceeded, match=r"^cannot run /bin/sh: it did not end within 0.5 s$"):
        shell(f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; wait", timeout=0.5)
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: has_ended(pid))
    assert spawn.owned <= BEFORE


def test_whoever_cancels_leaves_no_child() -> None:
    async def scenario() -> None:
        task = asyncio.get_running_loop().create_task(spawn.run(["/bin/sleep", "60"], timeout=60.0))
        while spawn.owned <= BEFORE:
            await asyncio.sleep(0)
        (pid,) = spawn.owned - BEFORE
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not Path(f"/proc/{pid}").exists()

    asyncio.run(scenario())
    assert spawn.owned <= BEFORE


def test_what_is_missing_or_cannot_be_executed_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound, match="cannot execute /no/such/runtime: No such file"):
        run("/no/such/runtime")
    with pytest.raises(errors.PermissionDenied, match=r"cannot execute .*/plain: Permission denied"):
        run(write_script(tmp_path / "plain", "#!/bin/sh\n", 0o644))
    with pytest.raises(errors.PermissionDenied, match=f"cannot execute {tmp_path}: Permission denied"):
        run(str(tmp_path))
    with pytest.raises(errors.NotFound, match="No such file"):
        run(write_script(tmp_path / "foreign", "#!/no/such/interpreter\n"))
    with pytest.raises(errors.FailedPrecondition, match="Exec format error"):
        run(write_script(tmp_path / "garbage", "\0\1\2"))
    assert spawn.owned <= BEFORE


def test_many_at_once_leave_no_descriptor_and_no_child() -> None:
    async def scenario() -> list[int]:
        before = len(os.listdir("/proc/self/fd"))
        results = await asyncio.gather(*(spawn.run(["/bin/sh", "-c", f"exit {n}"], timeout=30.0) for n in range(40)))
        with pytest.raises(errors.NotFound):
            await spawn.run(["/no/such"], timeout=1.0)
        assert len(os.listdir("/proc/self/fd")) == before
        return [result.status for result in results]

    assert asyncio.run(scenario()) == list(range(40))
    assert spawn.owned <= BEFORE


def is_inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False  # it was that of the listing


def test_the_child_gets_no_descriptor_no_ignored_signal_and_a_group_of_its_own() -> None:
    with open("/dev/null"):
        descriptors = run("/bin/ls", "-l", "/proc/self/fd").output
        status = run("/bin/grep", "-E", "SigIgn|SigBlk", "/proc/self/status").output
        _, _, _, parent, group, *_ = run("/bin/cat", "/proc/self/stat").output.split()
    found = {int(line.partition(" -> ")[0].split()[-1]) for line in descriptors.splitlines()[1:]}
    # Nothing of what Python opened; but for now what whoever started us left open for everybody.
    inherited = {fd for fd in map(int, os.listdir("/proc/self/fd")) if is_inheritable(fd)}
    assert len(found - inherited - {0, 1, 2}) <= 1, descriptors  # the directory that is being listed
    blocked, ignored = (int(word, 16) for word in status.split()[1::2])
    assert blocked == 0
    assert ignored & ~_OF_THE_C_LIBRARY == 0
    assert int(parent) == os.getpid()
    assert int(group) != os.getpgrp()


def test_the_child_dies_of_a_broken_pipe_as_programs_do() -> None:
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN  # Python's own; what is tested is that it stays here
    assert shell("(sh -c 'kill -PIPE $$; echo survived')").output.strip() != "survived"


def test_a_program_that_left_its_group_is_killed_all_the_same() -> None:
    """Else the loop waited for it, and with it everybody."""
    script = "import os, time; os.setpgid(0, os.getpgid(os.getppid())); time.sleep(60)"
    with pytest.raises(errors.DeadlineExceeded):
        run(sys.executable, "-c", script, timeout=1.0)
    assert spawn.owned <= BEFORE


def _no_descriptor(_pid: int) -> int:
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_program_that_nobody_could_wait_for_is_ended_and_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    start = spawn.start

    def note(*args: Any) -> int:
        started.append(start(*args))
        return started[-1]

    monkeypatch.setattr(spawn, "start", note)
    monkeypatch.setattr(os, "pidfd_open", _no_descriptor)
    with pytest.raises(errors.ResourceExhausted, match="Too many open files"):
        run("/bin/sleep", "60")
    assert spawn.owned <= BEFORE
    with pytest.raises(ChildProcessError):
        os.waitpid(started[0], os.WNOHANG)
