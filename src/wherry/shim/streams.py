"""What flows through a process's standard streams, as far as it flows through the shim.

Managed: its output goes to the log and to the clients of the attach socket, theirs to its stdin. A terminal on FIFOs is
copied from one and to the other. Plain FIFOs are the process's own, nothing flows through here.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios

from wherry.shim import attach, log, relay, stdio

#: Bytes taken from a pipe at a time: its whole capacity (pipe(7)).
READ_BYTES = 65536


class Streams:
    """The streams of one process. Whoever makes it opens them; the shim takes them over."""

    __slots__ = (
        "_attach", "_ends", "_epoll", "_input", "_is_terminal", "_job", "_listener", "_log", "_output", "_pending",
        "stdio",
    )  # fmt: skip

    def __init__(self, epoll: select.epoll, job: dict[str, list[str]]) -> None:
        self._epoll = epoll
        self._job = job
        self._is_terminal = job.get("terminal") == ["1"]
        self.stdio = stdio.Stdio()
        self._log: log.Log | None = None
        self._listener = -1
        self._attach: attach.Attach | None = None
        self._pending = b""
        self._ends = False  # stdin is to be closed once everything sent is written
        # A terminal on FIFOs only, and not before there is one.
        self._input: relay.Relay | None = None
        self._output: relay.Relay | None = None

    @property
    def is_copied(self) -> bool:
        """Whether a terminal is copied from and to FIFOs: somebody must be there to do it."""
        return self._is_terminal and self._log is None

    @property
    def has_ended(self) -> bool:
        """Whether no more output can come."""
        return not self.stdio.outputs

    @property
    def dropped_bytes(self) -> int:
        """Bytes of output that could not be written."""
        if self._output is not None:
            return self._output.dropped_bytes
        return self._log.dropped_bytes if self._log is not None else 0

    # -- the beginning, before there is a process ---------------------------------------------------------------------

    def open(self) -> None:
        """Open what the request asks for; no open waits for a client."""
        job = self._job
        is_managed = job["stdio"] == ["managed"]
        if not is_managed and not self._is_terminal:
            self.stdio.open_fifos(job["stdin"][0], job["stdout"][0], job["stderr"][0])
            return
        if not is_managed:
            self.stdio.open_copied(job["stdin"][0], job["stdout"][0])
        if self._is_terminal:
            self.stdio.open_console()
            self._epoll.register(self.stdio.console, select.EPOLLIN)
        else:
            self.stdio.open_managed(job["stdin_open"] == ["1"], (int(job["root_uid"][0]), int(job["root_gid"][0])))
        if is_managed:
            self._open_log(-1)
            self._listener = attach.listen()
        for fd in self.stdio.outputs:
            self._epoll.register(fd, select.EPOLLIN)

    def _open_log(self, fd: int, dropped_bytes: int = 0) -> None:
        job = self._job
        sizes = int(job["log_max_bytes"][0]), int(job["log_max_files"][0])
        self._log = log.Log(job["log"][0], *sizes, fd, dropped_bytes)

    def take_terminal(self) -> bool:
        """Take the terminal that the runtime has handed over; return False when it has not, unless none is wanted."""
        if self._is_terminal and self.stdio.take_terminal():
            width, height = int(self._job["width"][0]), int(self._job["height"][0])
            if width:
                self.resize(width, height)
        return not self._is_terminal or self.stdio.terminal >= 0

    def hand_over(self) -> dict[str, str]:
        """Return the descriptors by which `take_over` goes on, in a process that shares them."""
        found = {
            "fd_stdin": str(self.stdio.stdin),
            "fd_outputs": " ".join(f"{fd}={name}" for fd, name in self.stdio.outputs.items()),
            "fd_terminal": str(self.stdio.terminal),
            "fd_source": str(self.stdio.source),
            "fd_sink": str(self.stdio.sink),
        }
        if self._log is not None:
            self._epoll.register(self._listener, select.EPOLLIN)
            found["fd_log"] = str(self._log.fd)
            found["fd_attach"] = str(self._listener)
            found["dropped"] = str(self._log.dropped_bytes)
        # Not before the process exists: read while nobody has the other side open, it fails as if all had ended.
        if self._is_terminal and self._log is not None:
            self._epoll.register(self.stdio.terminal, select.EPOLLIN)
        return found

    # -- from then on, in the shim ------------------------------------------------------------------------------------

    def take_over(self) -> None:
        """Go on with what `hand_over` has told."""
        job, streams = self._job, self.stdio
        streams.stdin = int(job["fd_stdin"][0])
        for item in job["fd_outputs"][0].split():
            fd, _, name = item.partition("=")
            streams.outputs[int(fd)] = name
        streams.terminal = int(job["fd_terminal"][0])
        streams.source = int(job["fd_source"][0])
        streams.sink = int(job["fd_sink"][0])
        if "fd_log" in job:
            self._open_log(int(job["fd_log"][0]), int(job["dropped"][0]))
            self._attach = attach.Attach(self._epoll, int(job["fd_attach"][0]))
        elif self._is_terminal:
            self._input = relay.Relay(self._epoll, streams.source, streams.stdin)
            self._output = relay.Relay(self._epoll, streams.terminal, streams.sink)
            self._input.start()
            self._output.start()

    def resize(self, width: int, height: int) -> None:
        """Set the terminal's size (ioctl_tty(2), TIOCSWINSZ: rows, columns, and two unused).

        Raises struct.error or OSError for no size.
        """
        if self.stdio.terminal >= 0:
            fcntl.ioctl(self.stdio.terminal, termios.TIOCSWINSZ, struct.pack("4H", height, width, 0, 0))

    # -- the loop -----------------------------------------------------------------------------------------------------

    def handle(self, fd: int) -> None:
        """Do what is due on a descriptor that is ready."""
        if fd == self.stdio.console:
            self.take_terminal()
        elif self._input is not None and self._output is not None:
            self._copy(self._input, self._output, fd)
        elif fd in self.stdio.outputs:
            self._read_output(fd)
        elif fd == self.stdio.stdin:
            self._write_stdin()
        elif self._attach is None:
            return
        elif fd == self._attach.fd:
            self._attach.accept(self._log.end if self._log else 0)
        elif fd in self._attach.clients:  # else it was dropped by an earlier event of this batch
            self._take_input(self._attach.receive(fd))
            self._write_stdin()

    def _copy(self, source: relay.Relay, sink: relay.Relay, fd: int) -> int:
        """Copy one piece through the relay that waits for `fd`; return its size."""
        size = 0
        if fd == source.watched:
            source.turn()
            if source.dropped_bytes:  # nobody has the terminal open: it takes no more
                source.end()
        elif fd == sink.watched:
            size = sink.turn()
            if sink.has_ended:
                source.end()
                self.stdio.close_output(self.stdio.terminal)
        return size

    def _read_output(self, fd: int) -> int:
        """Take one piece of output and return its size: 0 when there is none now, or no more ever."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: nobody has the terminal open any more (tty_ioctl(4))
            data = b""
        if not data:
            self._epoll.unregister(fd)
            self.stdio.close_output(fd)
            return 0
        stream = self.stdio.outputs[fd]
        assert self._log is not None
        begin = self._log.end
        self._log.write(stream, data)
        if self._attach is not None and self._attach.clients:
            self._attach.send(b"O" if stream == "stdout" else b"E", begin, self._log.end, data)
        return len(data)

    def _take_input(self, packet: bytes) -> None:
        if packet[:1] == b"I" and self.stdio.stdin >= 0:
            self._pending += packet[1:]
        elif packet[:1] == b"C" and not self._is_terminal:
            self._ends = True

    def end_input(self) -> None:
        """Close stdin behind what was sent before."""
        # The end of a terminal's input is a character (^D); the master serves its output, and later clients, too.
        if self._is_terminal:
            return
        # Who wrote before this may still stand at the door: connected, and not accepted.
        while self._attach is not None and self._log is not None and self._attach.accept(self._log.end):
            pass
        self._ends = True
        self._write_stdin()

    def _write_stdin(self) -> None:
        """Write what clients have sent; once stdin is to end, take first what they had sent before that."""
        while self._flush_stdin() and self._ends and self.stdio.stdin >= 0:
            packet = self._attach.receive_any() if self._attach is not None else b""
            if not packet:
                self.stdio.close_stdin()
            self._take_input(packet)

    def _flush_stdin(self) -> bool:
        """Write _pending; return whether all of it is written, or nobody will ever read it."""
        try:
            while self._pending and self.stdio.stdin >= 0:
                self._pending = self._pending[os.write(self.stdio.stdin, self._pending) :]
        except BlockingIOError:
            self._hold_input(True)
            return False
        except OSError:  # EPIPE: nobody will ever read it
            self._ends = True
        self._pending = b""
        self._hold_input(False)
        return True

    def _hold_input(self, held: bool) -> None:
        """Let clients wait while the process does not read, instead of keeping their bytes here without bound."""
        if self.stdio.stdin < 0:
            return
        try:
            if held:
                self._epoll.register(self.stdio.stdin, select.EPOLLOUT)
            else:
                self._epoll.unregister(self.stdio.stdin)
        except (FileExistsError, FileNotFoundError):
            return  # as it was
        if self._attach is not None:
            self._attach.hold_input(held)

    # -- the end ------------------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Take the output that is there now.

        Bounded by the capacity of a pipe: a child that writes on and on must not keep the exit from being told.
        """
        for fd in list(self.stdio.outputs):
            taken = 0
            while taken < READ_BYTES:
                if self._input is not None and self._output is not None:
                    size = self._copy(self._input, self._output, fd)
                else:
                    size = self._read_output(fd)
                if not size:
                    break
                taken += size

    def give_up(self) -> None:
        """Wait for nobody to make room for output; what is left of it is dropped and counted."""
        if self._output is not None:
            self._output.give_up()

    def close(self) -> None:
        """Close everything."""
        if self._attach is not None:
            self._attach.close()
        elif self._listener >= 0:
            os.close(self._listener)
            os.unlink("attach.sock")
        if self._log is not None:
            self._log.close()
        self.stdio.close()
