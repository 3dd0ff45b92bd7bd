"""The one place where the daemon starts a program and waits for it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wherry import errors
from wherry.linux import pidfd as pidfds

#: Output kept of a program; more is read and thrown away, so that it never blocks on us.
MAX_OUTPUT = 65536
#: Children that somebody here waits for; a reaper of orphans leaves them alone.
owned: set[int] = set()
#: Seconds in which a killed program is gone, or else is in the hands of the kernel; the loop stands still meanwhile.
KILL_TIMEOUT = 0.2
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
#: What systemd tells the program that it has started itself (sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3)).
_OURS_ALONE = frozenset(
    {"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"}
)


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended: `status` as of os.waitstatus_to_exitcode (negative: a signal), and what it printed."""

    status: int
    output: str


class _Output:
    """Collects what comes out of a pipe, up to MAX_OUTPUT."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.data = b""
        asyncio.get_running_loop().add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            piece = os.read(self.fd, MAX_OUTPUT)
        except BlockingIOError:
            return
        if piece:
            self.data += piece[: MAX_OUTPUT - len(self.data)]
        else:
            asyncio.get_running_loop().remove_reader(self.fd)

    def close(self) -> None:
        self._read()  # what was written before the end; a descendant may hold the pipe open, so no wait for its end
        asyncio.get_running_loop().remove_reader(self.fd)
        os.close(self.fd)


async def run(
    argv: Sequence[str], *, timeout: float | None, env: Mapping[str, str] | None = None, is_spared: bool = False
) -> Result:
    """Run a program to its end, at most `timeout` seconds, with /dev/null as stdin; `env` is added to our environment.

    `is_spared`: if the wait is cancelled the program goes on.
    Raises NotFound or PermissionDenied when it cannot be executed, DeadlineExceeded after killing its process group,
    ResourceExhausted after killing it as well.
    """
    ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    output = _Output(ours)
    try:
        try:
            pid = start(argv, {1: theirs, 2: theirs}, env)
        finally:
            os.close(theirs)
        status = await _wait(pid, timeout, is_spared)
    except TimeoutError as error:
        raise errors.DeadlineExceeded(f"cannot run {argv[0]}: it did not end within {timeout:g} s") from error
    finally:
        output.close()
    return Result(status, output.data.decode(errors="replace"))


def resolve(waited: asyncio.Future[None]) -> None:
    """Let whoever waits for a descriptor go on."""
    if not waited.done():
        waited.set_result(None)


def start(argv: Sequence[str], streams: dict[int, int], env: Mapping[str, str] | None = None) -> int:
    """Start a program in a process group of its own and return its pid; `streams` maps its descriptors to ours.

    `env` is added to our environment.

    The caller waits for it, and takes it out of `owned` then.
    """
    null: list[tuple[object, ...]] = [
        (os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2) if fd not in streams
    ]
    given: list[tuple[object, ...]] = [(os.POSIX_SPAWN_DUP2, source, fd) for fd, source in streams.items()]
    try:
        # vfork inside: nothing of this large process is copied. Every other descriptor is close-on-exec (PEP 446).
        # Python ignores these two, and an ignored signal would stay so in the container.
        pid = os.posix_spawn(
            argv[0], list(argv), _environment(env or {}), file_actions=null + given, setpgroup=0, setsigdef=_IGNORED
        )
        owned.add(pid)
        return pid
    except PermissionError as error:
        raise errors.PermissionDenied(f"cannot execute {argv[0]}: {error.strerror}") from error
    except FileNotFoundError as error:
        raise errors.NotFound(f"cannot execute {argv[0]}: {error.strerror}") from error
    except OSError as error:
        raise errors.FailedPrecondition(f"cannot execute {argv[0]}: {error.strerror}") from error


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return our environment with `more`, without what systemd has told us.

    A runtime takes it for its own: with NOTIFY_SOCKET runc 1.1.5 and crun 1.8.1 wait for the READY=1 of the container,
    which may never come. In the supervisor of another program (`embed`) the variables are that program's to unset.
    """
    return {name: value for name, value in os.environ.items() if name not in _OURS_ALONE} | dict(more)


def open_pidfd(pid: int) -> int:
    """Return a pidfd of a child that was just started. Raises what `from_os` gives: then it is killed and reaped."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        _kill(pid)  # nobody could wait for it
        os.waitpid(pid, 0)
        owned.discard(pid)
        raise errors.from_os("wait for a program", error) from error


async def _wait(pid: int, timeout: float | None, is_spared: bool) -> int:
    """Wait for the end of our child and reap it; what ends the wait early kills its process group unless spared."""
    loop = asyncio.get_running_loop()
    pidfd = open_pidfd(pid)
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pidfd, resolve, ended)
    try:
        async with asyncio.timeout(timeout):
            await ended
    except BaseException:
        if is_spared:
            loop.add_reader(pidfd, _reap, pid, pidfd)
            raise
        _kill(pid)
        if not pidfds.wait(pidfd, KILL_TIMEOUT):
            loop.add_reader(pidfd, _reap, pid, pidfd)  # in a state in which it cannot die yet: nobody waits for that
            raise
        _reap(pid, pidfd)
        raise
    return os.waitstatus_to_exitcode(_reap(pid, pidfd))


def _kill(pid: int) -> None:
    # Not reaped yet, so the number is still its; it may have left the group that it was given.
    os.kill(pid, signal.SIGKILL)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _reap(pid: int, pidfd: int) -> int:
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
    _, status = os.waitpid(pid, 0)
    owned.discard(pid)
    return status
