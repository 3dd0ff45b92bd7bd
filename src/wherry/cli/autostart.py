"""Starting a daemon when none answers at the default address."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable

from wherry import errors
from wherry.cli.parser import say

IDLE_SECONDS = 600
#: Seconds until the new daemon must answer.
START_SECONDS = 15.0
#: Seconds that a daemon which ended at once leaves to another one, started at the same time, to answer.
GRACE_SECONDS = 3.0
_POLL_SECONDS = 0.02
_LOG_NAME = "wherryd.log"
_LAST_LINES = 5
#: What a daemon may know of the shell that happened to start it. The rest (tokens, agents) is none of its business.
_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "HOME", "TZ", "TMPDIR", "VIRTUAL_ENV", "WHERRY_DEBUG")


async def start_daemon(socket_path: str, connect: Callable[[], Awaitable[None]]) -> None:
    """Start a daemon for the default address, say so, and return once `connect` succeeds. Raises Unavailable."""
    directory = os.path.dirname(socket_path)
    log_path = os.path.join(directory, _LOG_NAME)
    try:
        log = open_log(directory, log_path)
        try:
            begin = os.fstat(log).st_size
            daemon = _spawn(log)
        finally:
            os.close(log)
    except OSError as error:
        raise errors.Unavailable(f"cannot start a daemon: {error}") from error
    say(
        f"no daemon at unix://{socket_path}: started one (pid {daemon.pid},"
        f" ends after {IDLE_SECONDS // 60} minutes without containers or clients)"
    )
    await _wait_ready(daemon, connect, log_path, begin)


def open_log(directory: str, log_path: str) -> int:
    """Make the run directory (0711, root's) and open the daemon's log in it (0600) for appending. Raises OSError."""
    try:
        os.mkdir(directory, 0o711)
        os.chmod(directory, 0o711)
    except FileExistsError:
        found = os.lstat(directory)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PermissionError(f"{directory} is not a directory that only root can write") from None
    return os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _spawn(log: int) -> subprocess.Popen[bytes]:
    # -P: the current directory must not be able to offer a module called wherry.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "wherry.daemon.main", "--idle-exit", str(IDLE_SECONDS)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        start_new_session=True,
        umask=0o022,
    )


async def _wait_ready(
    daemon: subprocess.Popen[bytes], connect: Callable[[], Awaitable[None]], log_path: str, begin: int
) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_SECONDS
    ended = False
    while True:
        try:
            await connect()
        except errors.Unavailable as error:
            status = daemon.poll()
            if status is not None and not ended:
                ended, deadline = True, min(deadline, loop.time() + GRACE_SECONDS)
            if loop.time() >= deadline:
                cause = f"it ended with status {status}" if ended else f"it does not answer: {error.message}"
                raise errors.Unavailable(f"cannot start a daemon: {cause}{read_last_lines(log_path, begin)}") from error
            await asyncio.sleep(_POLL_SECONDS)
        else:
            # The daemon outlives us on purpose: subprocess would warn about a child nobody waited for.
            daemon.returncode = daemon.returncode if daemon.returncode is not None else 0
            return


def read_last_lines(log_path: str, begin: int) -> str:
    """Return the last lines of the log behind byte `begin`, indented under a message; "" when there are none."""
    try:
        with open(log_path, "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(begin, size - 4096))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    words = "".join(f"\n  {line}" for line in lines[-_LAST_LINES:])
    return f"\n{log_path} says:{words}" if words else f" (see {log_path})"
