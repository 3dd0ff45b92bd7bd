"""The three standard streams of a process: pipes of the shim, FIFOs of a client, a terminal, or /dev/null.

Whichever it is, `child` holds what the runtime gets as 0, 1 and 2, and the rest stays in the shim.
"""

from __future__ import annotations

import os
import socket
import stat

#: The console socket, in the current directory.
CONSOLE = "console.sock"
#: Seconds for a runtime that has connected to send the terminal.
HAND_OVER = 5.0


class Stdio:
    """Open streams. `stdin` is the shim's write end (-1: none); `outputs` maps read ends to stream names.

    `terminal` is the master of a terminal (-1: none). On FIFOs it is copied from `source` and to `sink`.
    """

    __slots__ = ("_console", "_keepers", "child", "outputs", "sink", "source", "stdin", "terminal")

    def __init__(self) -> None:
        self.child: list[int] = []
        self.stdin = -1
        self.outputs: dict[int, str] = {}
        self.terminal = -1
        self.source = -1
        self.sink = -1
        self._keepers: list[int] = []
        self._console: socket.socket | None = None

    def open_managed(self, stdin_open: bool, owner: tuple[int, int]) -> None:
        """Make pipes owned by `owner`, the host's uid and gid of the container's root; no stdin is /dev/null."""
        if stdin_open:
            theirs, self.stdin = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self.stdin, False)
            os.fchown(theirs, *owner)
        else:
            theirs = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.child.append(theirs)
        for name in ("stdout", "stderr"):
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(ours, False)
            os.fchown(theirs, *owner)
            self.child.append(theirs)
            self.outputs[ours] = name

    @property
    def console(self) -> int:
        """The listener on which the runtime hands over the terminal, -1 before and after."""
        return self._console.fileno() if self._console is not None else -1

    def open_console(self) -> None:
        """Listen for the runtime's terminal (runc(8), --console-socket); its own streams are /dev/null."""
        self._console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._console.bind(CONSOLE)
        os.chmod(CONSOLE, 0o600)
        self._console.listen(1)
        self.child = [os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC) for _ in range(3)]

    def take_terminal(self) -> bool:
        """Take the master of the terminal if the runtime has just sent it; it is stdin and stdout in one."""
        if self._console is None:
            return False
        try:
            sender, _ = self._console.accept()
        except BlockingIOError:
            return False
        with sender:
            sender.settimeout(HAND_OVER)
            _, fds, _, _ = socket.recv_fds(sender, 4096, 1)
        self.close_console()
        if not fds:
            return False
        self.terminal = fds[0]
        os.set_inheritable(self.terminal, False)
        os.set_blocking(self.terminal, False)
        self.outputs[self.terminal] = "stdout"
        # Another descriptor: what is written to and what is read from are watched on their own.
        self.stdin = os.dup(self.terminal)
        return True

    def close_console(self) -> None:
        """Stop waiting for a terminal."""
        if self._console is not None:
            self._console.close()
            self._console = None
            os.unlink(CONSOLE)

    def open_copied(self, stdin: str, stdout: str) -> None:
        """Open what a terminal is copied from and to ("" is /dev/null); no open and no later call waits for a client.

        A FIFO is opened for both, so it never hangs up: clients may come and go.
        """
        self.source = _open_copied(stdin, os.O_RDONLY)
        self.sink = _open_copied(stdout, os.O_WRONLY | os.O_APPEND)

    def open_fifos(self, stdin: str, stdout: str, stderr: str) -> None:
        """Open the client's FIFOs ("" is /dev/null) so that no open and no later write waits for a client."""
        self._open_input(stdin)
        for path in (stdout, stderr):
            self._open_output(path)

    def _open_input(self, path: str) -> None:
        if not path:
            self.child.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
            return
        handle, is_fifo = _open_handle(path)
        try:
            if is_fifo:
                # Read-write first: it needs no peer. Then the child's end has a writer and ours has a reader.
                both = _reopen(handle, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC, path)
                self.child.append(_reopen(handle, os.O_RDONLY | os.O_CLOEXEC, path))
                # Kept so that the process sees no end of file while clients come and go, until CloseStdin.
                self.stdin = _reopen(handle, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC, path)
                os.close(both)
            else:
                self.child.append(_reopen(handle, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC, path))
        finally:
            os.close(handle)

    def _open_output(self, path: str) -> None:
        handle, is_fifo = _open_handle(path or "/dev/null")
        try:
            if is_fifo:
                # Kept until the process ends: without a reader its writes would fail with EPIPE, and without a writer
                # a client that comes back would wait in open(2) (v0 345c9f2).
                self._keepers.append(_reopen(handle, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC, path))
            self.child.append(_reopen(handle, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC, path))
        finally:
            os.close(handle)

    def close_child(self) -> None:
        """Close the child's ends once the runtime has them, so that end of file means every holder is gone."""
        for fd in self.child:
            os.close(fd)
        self.child.clear()

    def close_output(self, fd: int) -> None:
        """Close one read end."""
        del self.outputs[fd]
        if fd == self.terminal:
            self.terminal = -1
        os.close(fd)

    def close_stdin(self) -> None:
        """Close our end of stdin; what is in the pipe is still delivered."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Close everything."""
        self.close_console()
        self.close_child()
        self.close_stdin()
        for fd in (*self.outputs, *self._keepers, self.source, self.sink):
            if fd >= 0:
                os.close(fd)
        self.outputs.clear()
        self._keepers.clear()


def _open_copied(path: str, flags: int) -> int:
    handle, is_fifo = _open_handle(path or "/dev/null")
    try:
        mode = os.O_RDWR if is_fifo else flags
        # A shim leads its session: another terminal, if that is what the path names, must not become its own.
        return _reopen(handle, mode | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, path)
    finally:
        os.close(handle)


def _reopen(handle: int, flags: int, path: str) -> int:
    """Open what an O_PATH descriptor stands for. An error names the path that the client gave."""
    try:
        return os.open(f"/proc/self/fd/{handle}", flags)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def _open_handle(path: str) -> tuple[int, bool]:
    """Return an O_PATH descriptor and whether it is a FIFO; the path may be replaced meanwhile, the handle cannot."""
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    mode = os.fstat(handle).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISCHR(mode):
        return handle, stat.S_ISFIFO(mode)
    os.close(handle)
    raise OSError(0, "is neither a FIFO, a file nor a character device", path)
