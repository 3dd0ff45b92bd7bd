"""The daemon's side of the zygote: start it, ask it for shims, replace it when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import wherry
from wherry import errors
from wherry.model import frame
from wherry.runtime import spawn

_logger = logging.getLogger(__name__)

#: Seconds a fresh zygote may take to say that it is ready.
START_TIMEOUT = 20.0
#: Seconds a shim has on top of its own limit to say how a creation went.
GRACE = 5.0
#: The zygote's end of the socket pair.
_CHILD_FD = 3
#: `ps -f` shows a process's name in the space of its first arguments; this makes room for long ids.
_ROOM = "-" * 120


#: Zygotes that were left with living shims by a supervisor that has closed in this process; reaped by the next one.
_orphans: set[int] = set()


def _reap_orphans() -> None:
    for pid in list(_orphans):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0]
        except ChildProcessError:  # the program we are embedded in waits for any child
            ended = pid
        if ended:
            _orphans.discard(pid)
            spawn.owned.discard(pid)


#: The beginning of the names of a rehearsal's directories, beside the log.
_REHEARSAL = ".rehearsal-"


class _Gone(Exception):
    """The zygote died before it forked: asking another one is safe."""


class Zygote:
    """Keeps one zygote running. `log_path` receives what it may have to say."""

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._socket: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._pidfd = -1
        self._ended = asyncio.Event()
        self._is_ready = False
        #: Process id of the zygote, 0 when there is none.
        self.pid = 0

    async def start(self) -> None:
        """Have a zygote that is ready, launched now if need be. Raises Internal when it does not get ready."""
        async with self._lock:
            if self._socket is None:
                self.launch()
            if not self._is_ready:
                await self._get_ready()

    def launch(self) -> None:
        """Begin to start a zygote, which takes as long as its rehearsal; nobody need wait for that but a request."""
        _reap_orphans()
        self._sweep()
        self._ended.clear()
        self._is_ready = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        script = Path(wherry.__file__).parent / "shim" / "__main__.py"
        log = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            argv = [
                sys.executable,
                "-I",
                "-S",
                str(script),
                str(_CHILD_FD),
                f"{self._log_path.parent}/{_REHEARSAL}{os.getpid()}",
                _ROOM,
            ]
            pid = spawn.start(argv, {2: log, _CHILD_FD: theirs.fileno()})
            self._pidfd = spawn.open_pidfd(pid)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(log)
        ours.setblocking(False)
        self.pid = pid
        self._socket = ours  # last: who finds one takes the rest for granted

    async def _get_ready(self) -> None:
        assert self._socket is not None
        said, problem = b"", "it does not answer"
        try:
            async with asyncio.timeout(START_TIMEOUT):
                said, problem = await self._wait_ready(self._socket), "it ended"
        except TimeoutError:
            pass
        finally:
            asyncio.get_running_loop().add_reader(self._pidfd, self._on_end)
        if said != b"ready":
            self._kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._ended.wait()
            raise errors.Internal(f"cannot start the zygote: {problem}; see {self._log_path}")
        self._is_ready = True

    async def _wait_ready(self, ours: socket.socket) -> bytes:
        """Return what a fresh zygote says; nothing when it has ended, which its own children may outlive."""
        loop = asyncio.get_running_loop()
        changed: asyncio.Future[None] = loop.create_future()
        for fd in (ours.fileno(), self._pidfd):
            loop.add_reader(fd, spawn.resolve, changed)
        try:
            await changed
            return ours.recv(64)
        except (BlockingIOError, ConnectionError):
            return b""
        finally:
            for fd in (ours.fileno(), self._pidfd):
                loop.remove_reader(fd)

    def _sweep(self) -> None:
        """Remove what a zygote has left that was killed in its rehearsal: in the next one it would be in the way."""
        for path in self._log_path.parent.glob(f"{_REHEARSAL}*"):
            shutil.rmtree(path, ignore_errors=True)

    def _kill(self) -> None:
        if self.pid:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _on_end(self) -> None:
        """Reap a zygote that has ended; the shims it had go on, and the next request starts another one."""
        with contextlib.suppress(ChildProcessError):  # the caller of an embedded supervisor waits for any child
            os.waitpid(self.pid, 0)
        spawn.owned.discard(self.pid)
        if self._socket is not None:
            _logger.warning("the zygote (pid %d) has ended", self.pid)
            self._sweep()
        self._forget()
        self._ended.set()

    def _forget(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self.pid = 0
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def spawn_shim(self, fields: dict[str, list[str]], exit_fd: int, timeout: float) -> int:
        """Have a shim forked that creates one process; return that process's id on this host.

        `exit_fd` is the write end of its exit FIFO; `timeout` seconds are the shim's own limit. Raises what the shim
        reports: RuntimeFailed carries only the runtime's status, its words are in log.json.
        """
        packet = frame.format_frame(fields)
        for last in (False, False, True):
            try:
                await self.start()
            except errors.Internal:  # it was killed before it was ready
                if last:
                    raise
                continue
            try:
                return await self._ask(packet, exit_fd, timeout + GRACE)
            except _Gone:
                await self._wait_end()
        raise errors.Unavailable("cannot start a shim: the zygote keeps dying")

    async def _wait_end(self) -> None:
        """Wait until the death of the zygote is known here, too: until then its socket only looks alive."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._ended.wait()

    async def _ask(self, packet: bytes, exit_fd: int, timeout: float) -> int:
        ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        reply = _Reply(ours)
        try:
            try:
                await self._send(packet, [exit_fd, theirs])
            finally:
                os.close(theirs)
            async with asyncio.timeout(timeout):
                return await reply.wait_pid()
        except TimeoutError as error:
            raise errors.DeadlineExceeded("the shim does not answer") from error
        finally:
            reply.close()

    async def _send(self, packet: bytes, fds: list[int]) -> None:
        while True:
            if self._socket is None:
                raise _Gone
            try:
                socket.send_fds(self._socket, [packet], fds)
                return
            except BlockingIOError:
                await _wait_writable(self._socket)
            except OSError as error:
                raise _Gone from error

    async def close(self, *, wait: bool) -> None:
        """Let the zygote end once its shims have; `wait` for that, a second at most."""
        async with self._lock:
            if self._socket is None:
                return
            if not self._is_ready:
                try:
                    await self._get_ready()  # cut off in its rehearsal it would leave children that nobody reaps
                except errors.Internal:
                    return
            self._socket.close()
            self._socket = None
            if wait:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self._ended.wait()
            if self._pidfd >= 0:
                _orphans.add(self.pid)
                self._forget()


async def _wait_writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock, spawn.resolve, ready)
    try:
        await ready
    finally:
        loop.remove_writer(sock)


class _Reply:
    """The lines a shim sends about a creation: `S <shim pid>`, then `C <pid>` or `E <class> <text>`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._text = b""
        self._changed = asyncio.Event()
        self._ended = False
        asyncio.get_running_loop().add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            piece = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        self._text += piece
        if not piece:
            self._ended = True
            asyncio.get_running_loop().remove_reader(self._fd)
        self._changed.set()

    async def wait_pid(self) -> int:
        """Return the pid of the created process; raise what was reported, or _Gone when there never was a shim."""
        while True:
            self._changed.clear()
            for line in self._text.split(b"\n")[:-1]:
                kind, _, rest = line.decode(errors="replace").partition(" ")
                if kind == "C":
                    return int(rest)
                if kind == "E":
                    name, _, text = rest.partition(" ")
                    raise errors.named().get(name, errors.Internal)(text)
            if self._ended:
                if not self._text:
                    raise _Gone
                raise errors.Aborted("the shim was killed")
            await self._changed.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
