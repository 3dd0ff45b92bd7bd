"""The shim: one per container process, its parent, the keeper of its output, the writer of its exit record.

Order of an end (docs/protocol.md): exit.json -> the rest of a dead init's processes killed -> output drained, bounded
-> exitStatus -> the exit FIFO hangs up. Whatever dies in between, the next reader of the directory knows enough.

Nothing may be imported here after the fork: the package on disk may be another one by then, or gone.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
import time

from wherry.linux import libc
from wherry.model import frame
from wherry.shim import attach, log, record, stdio, wakeup

#: Bytes taken from a pipe at a time: its whole capacity (pipe(7)).
READ_BYTES = 65536
#: How long a dead init's output may stay open in somebody's hands before the exit is told all the same, seconds.
DRAIN_INIT = 2.0
#: How long the output of a dead exec's children is still collected after its exit was told, seconds.
DRAIN_EXEC = 5.0
#: How long the runtime may take to kill what is left of a container without a pid namespace of its own, seconds.
SWEEP = 5.0

#: Above any descriptor; close_range(2) makes the distance cost nothing.
MAX_FD = 1 << 20

_argument_area = (0, 0)


def learn_argument_area() -> None:
    """Remember where `ps -f` reads this process's arguments (proc(5): arg_start and arg_end)."""
    global _argument_area
    numbers = record.read_file("/proc/self/stat").rpartition(b") ")[2].split()
    _argument_area = (int(numbers[45]), int(numbers[46]))


def show_as(text: str) -> None:
    """Let `ps -f` show `text`, as much of it as the arguments had room."""
    start, end = _argument_area
    if start:
        libc.write_memory(start, text.encode()[: end - start - 1].ljust(end - start, b"\0"))


def main(packet: bytes, exit_fd: int, reply_fd: int) -> None:
    """Be the shim that `packet` asks for, from the fork to the end."""
    os.setsid()
    libc.set_name(b"wherry-shim")
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    low, high = (exit_fd, reply_fd) if exit_fd < reply_fd else (reply_fd, exit_fd)
    os.closerange(3, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, MAX_FD)
    shim = None
    try:
        shim = Shim(frame.parse_frame(packet), exit_fd, reply_fd)
        shim.run()
    except BaseException as error:
        record.write_words(describe(error))
        if shim is None or not shim.has_reported:
            record.tell(reply_fd, f"E {_class_of(error)} shim: {record.one_line(str(error))}")
        raise


def _class_of(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "NotFound"
    if isinstance(error, PermissionError):
        return "PermissionDenied"
    if isinstance(error, OSError) and error.errno == 0:
        return "InvalidArgument"
    return "Internal"


def describe(error: BaseException) -> str:
    """Return an error with its places; the `traceback` module is not worth its memory here."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__}: {error} at {' '.join(places)}"


class Shim:
    """One container process and all that is kept for it. The current directory is the process's."""

    __slots__ = (
        "_attach", "_control", "_deadline", "_ends", "_epoll", "_exit_fd", "_job", "_log", "_oom_path", "_pending",
        "_phase", "_pid", "_reply_fd", "_runtime", "_stdio", "_stray", "_wake", "has_reported",
    )  # fmt: skip

    def __init__(self, job: dict[str, list[str]], exit_fd: int, reply_fd: int) -> None:
        self._job = job
        self._exit_fd = exit_fd
        self._reply_fd = reply_fd
        self.has_reported = False
        self._phase = "creating"  # then running, sweeping, draining, lingering, ended
        self._deadline = 0.0
        self._runtime = 0
        self._pid = 0
        self._stray: dict[int, tuple[int, record.Usage]] = {}
        self._pending = b""
        self._ends = False  # stdin is to be closed once everything sent is written
        self._oom_path = ""
        self._log: log.Log | None = None
        self._attach: attach.Attach | None = None
        self._stdio = stdio.Stdio()
        self._control = -1
        self._wake = wakeup.Wakeup()
        self._epoll = select.epoll()

    def _one(self, key: str, default: str = "") -> str:
        return self._job.get(key, [default])[0]

    @property
    def _is_init(self) -> bool:
        return self._one("init") == "1"

    # -- the beginning ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Create the process through the runtime, keep it, and leave when it and its output have ended."""
        os.chdir(self._one("directory"))
        record.open_words()
        show_as(f"wherry-shim {self._one('name')}")
        record.tell(self._reply_fd, f"S {os.getpid()}")
        record.write_file("shim.pid", str(os.getpid()))
        self._control = os.open("control", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._wake.fd, select.EPOLLIN)
        self._epoll.register(self._control, select.EPOLLIN)
        self._open_stdio()
        self._mount()
        self._deadline = time.monotonic() + float(self._one("timeout", "30"))
        # Through /proc, since the path of a long id does not fit sun_path, and the runtime changes its directory.
        console = f"/proc/{os.getpid()}/cwd/{stdio.CONSOLE}"
        argv = [console if item == frame.CONSOLE else item for item in self._job["argv"]]
        self._runtime = record.spawn(argv, self._stdio.child)
        self._stdio.close_child()
        while self._phase != "ended":
            self._turn()
        self._finish()

    def _open_stdio(self) -> None:
        if self._one("stdio") == "managed":
            if self._one("terminal") == "1":
                self._stdio.open_console()
                self._epoll.register(self._stdio.console, select.EPOLLIN)
            else:
                owner = (int(self._one("root_uid", "0")), int(self._one("root_gid", "0")))
                self._stdio.open_managed(self._one("stdin_open") == "1", owner)
            self._log = log.Log(self._one("log"), int(self._one("log_max_bytes")), int(self._one("log_max_files")))
            self._attach = attach.Attach(self._epoll)
            for fd in self._stdio.outputs:
                self._epoll.register(fd, select.EPOLLIN)
        else:
            self._stdio.open_fifos(self._one("stdin"), self._one("stdout"), self._one("stderr"))

    def _mount(self) -> None:
        """Build the root filesystem where only this shim and its container see it: nothing to leak on the host."""
        mounts = self._job.get("mount", [])
        if not mounts:
            return
        libc.unshare(libc.CLONE_NEWNS)
        # Slave, not private: what the host unmounts must not be kept busy by us.
        libc.mount("none", "/", "none", libc.MS_REC | libc.MS_SLAVE)
        for item in mounts:
            source, target, fstype, flags, data = item.split(frame.PART)
            if fstype == "mkdir":
                os.mkdir(target)
                os.chmod(target, int(flags))
            else:
                libc.mount(source, target, fstype, int(flags), data)

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        timeout = -1.0
        if self._deadline:
            timeout = max(0.0, self._deadline - time.monotonic())
        for fd, _ in self._epoll.poll(timeout):
            self._dispatch(fd)
        if self._deadline and time.monotonic() >= self._deadline and self._phase != "ended":
            self._on_deadline()

    def _dispatch(self, fd: int) -> None:
        if fd == self._wake.fd:
            self._wake.drain()
            self._reap()
        elif fd in self._stdio.outputs:
            self._read_output(fd)
        elif fd == self._control:
            self._read_control()
        elif fd == self._stdio.stdin:
            self._write_stdin()
        elif fd == self._stdio.console:
            self._take_terminal()
        elif self._attach is None:
            return
        elif fd == self._attach.fd:
            self._attach.accept(self._log.end if self._log else 0)
        elif fd in self._attach.clients:  # else it was dropped by an earlier event of this batch
            self._read_client(fd)

    def _on_deadline(self) -> None:
        self._deadline = 0.0
        if self._phase == "creating":
            record.kill_group(self._runtime)
            self._report("E DeadlineExceeded the runtime did not create the process in time")
        elif self._phase == "running":
            # Our own child, not reaped: the number is still its.
            record.set_reason("ttl" if self._is_init else "timeout")
            os.kill(self._pid, signal.SIGKILL)
        elif self._phase == "sweeping":
            record.kill_group(self._runtime)
            self._drain()
        elif self._phase == "draining":
            self._tell_exit()
            self._phase = "ended"
        elif self._phase == "lingering":
            self._phase = "ended"

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._on_exit(status, usage)
            elif pid == self._runtime:
                self._on_runtime_end(status)
            elif self._phase == "creating":
                # Perhaps the container's process, faster than the news of its creation.
                self._stray[pid] = (status, usage)

    # -- creation -----------------------------------------------------------------------------------------------------

    def _on_runtime_end(self, status: int) -> None:
        self._runtime = 0
        if self._phase == "sweeping":
            self._drain()
            return
        self._deadline = 0.0
        if self.has_reported:  # the deadline has spoken
            self._phase = "ended"
            return
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            self._report(f"E RuntimeFailed {code}")
            self._phase = "ended"
            return
        self._adopt()

    def _adopt(self) -> None:
        """Take the process that the runtime has made as our own child."""
        pid = record.read_pid("pid")
        if pid not in self._stray and not record.is_child(pid):
            self._report("E RuntimeFailed 0")
            self._phase = "ended"
            return
        if self._one("terminal") == "1" and not self._watch_terminal():
            self._report("E RuntimeFailed 0")
            self._phase = "ended"
            return
        record.write_starttime(pid)
        record.reserve()
        if self._is_init:
            self._oom_path = record.find_oom_file(pid)
        self._pid = pid
        self._phase = "running"
        self._limit(float(self._one("limit", "0")))
        self._report(f"C {pid}")
        if pid in self._stray:
            self._on_exit(*self._stray[pid])
        self._stray.clear()

    def _report(self, line: str) -> None:
        if not self.has_reported:
            self.has_reported = True
            record.tell(self._reply_fd, line)
            os.close(self._reply_fd)

    def _take_terminal(self) -> None:
        """Take the terminal when the runtime hands it over."""
        if self._stdio.take_terminal() >= 0 and self._one("width", "0") != "0":
            self._resize(int(self._one("width")), int(self._one("height")))

    def _watch_terminal(self) -> bool:
        """Begin to read the terminal; return whether there is one.

        Not before the process exists: read while nobody has the other side open, it fails as if all had ended.
        """
        self._take_terminal()
        for fd in self._stdio.outputs:
            self._epoll.register(fd, select.EPOLLIN)
        return bool(self._stdio.outputs)

    def _resize(self, width: int, height: int) -> None:
        """Set the terminal's size (ioctl_tty(2), TIOCSWINSZ: rows, columns, and two unused)."""
        for fd in self._stdio.outputs if self._one("terminal") == "1" else ():
            fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", height, width, 0, 0))

    def _limit(self, seconds: float) -> None:
        """Kill the process in so many seconds from now (0: never)."""
        self._deadline = time.monotonic() + seconds if seconds > 0 and self._phase == "running" else 0.0

    # -- streams ------------------------------------------------------------------------------------------------------

    def _read_output(self, fd: int) -> bool:
        """Take one piece of output; return False when there is none now, or no more ever."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody has the terminal open any more (tty_ioctl(4))
            data = b""
        if not data:
            self._epoll.unregister(fd)
            self._stdio.close_output(fd)
            if not self._stdio.outputs:
                self._on_drained()
            return False
        stream = self._stdio.outputs[fd]
        assert self._log is not None
        assert self._attach is not None
        begin = self._log.end
        self._log.write(stream, data)
        if self._attach.clients:
            self._attach.send(b"O" if stream == "stdout" else b"E", begin, self._log.end, data)
        return True

    def _read_client(self, fd: int) -> None:
        assert self._attach is not None
        self._take_input(self._attach.receive(fd))
        self._write_stdin()

    def _take_input(self, packet: bytes) -> None:
        if packet[:1] == b"I" and self._stdio.stdin >= 0:
            self._pending += packet[1:]
        elif packet[:1] == b"C":
            self._end_stdin()

    def _end_stdin(self) -> None:
        # The end of a terminal's input is a character (^D); the master serves its output, and later clients, too.
        if self._one("terminal") != "1":
            self._ends = True

    def _write_stdin(self) -> None:
        """Write what clients have sent; once stdin is to end, take first what they had sent before that."""
        while self._flush_stdin() and self._ends and self._stdio.stdin >= 0:
            packet = self._attach.receive_any() if self._attach is not None else b""
            if not packet:
                self._stdio.close_stdin()
            self._take_input(packet)

    def _flush_stdin(self) -> bool:
        """Write _pending; return whether all of it is written, or nobody will ever read it."""
        try:
            while self._pending and self._stdio.stdin >= 0:
                self._pending = self._pending[os.write(self._stdio.stdin, self._pending) :]
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
        if self._stdio.stdin < 0:
            return
        try:
            if held:
                self._epoll.register(self._stdio.stdin, select.EPOLLOUT)
            else:
                self._epoll.unregister(self._stdio.stdin)
        except (FileExistsError, FileNotFoundError):
            return  # as it was
        if self._attach is not None:
            self._attach.hold_input(held)

    def _read_control(self) -> None:
        for line in os.read(self._control, 4096).split(b"\n"):
            # `0 0 0` closes stdin; `1 <width> <height>` resizes (v0-system 2.2). Anything else is nobody's request.
            if line == b"0 0 0":
                # Who wrote before this may still stand at the door: connected, and not accepted.
                while self._attach is not None and self._log is not None and self._attach.accept(self._log.end):
                    pass
                self._end_stdin()
                self._write_stdin()
            elif line.startswith(b"1 "):
                self._read_resize(line)
            elif line.startswith(b"2 ") and line[2:-2].isdigit():
                self._limit(int(line[2:-2]) / 1000)

    def _read_resize(self, line: bytes) -> None:
        try:
            _, width, height = map(int, line.split())
            self._resize(width, height)
        except (ValueError, struct.error, OSError):
            record.write_words(f"no size: {line[:64]!r}")

    # -- the end ------------------------------------------------------------------------------------------------------

    def _on_exit(self, status: int, usage: record.Usage) -> None:
        code = os.waitstatus_to_exitcode(status)
        signal_number = -code if code < 0 else 0
        record.write_exit(
            128 + signal_number if signal_number else code, signal_number, record.is_oom(self._oom_path), usage
        )
        sweep = self._job.get("sweep", [])
        if self._is_init and sweep:
            self._phase = "sweeping"
            self._deadline = time.monotonic() + SWEEP
            self._runtime = record.spawn(sweep, [])
        else:
            self._drain()

    def _drain(self) -> None:
        """Take what is in the pipes now; then wait for their end, a bounded time."""
        self._phase = "draining"
        self._deadline = time.monotonic() + (DRAIN_INIT if self._is_init else DRAIN_EXEC)
        if not self._stdio.outputs:
            self._on_drained()
            return
        for fd in list(self._stdio.outputs):
            # Bounded by the capacity of a pipe: a child that writes on and on must not keep the exit from being told.
            for _ in range(2):
                if not self._read_output(fd):
                    break
        if self._phase == "draining" and not self._is_init:
            self._tell_exit()
            self._phase = "lingering"

    def _on_drained(self) -> None:
        if self._phase == "draining":
            self._tell_exit()
        if self._phase in ("draining", "lingering"):
            self._phase = "ended"

    def _tell_exit(self) -> None:
        if self._log is not None and self._log.dropped_bytes:
            record.add_dropped(self._log.dropped_bytes)
        record.write_exit_status()
        os.close(self._exit_fd)

    def _finish(self) -> None:
        if self._attach is not None:
            self._attach.close()
        if self._log is not None:
            self._log.close()
        self._stdio.close()
        for fd in (self._control, self._epoll.fileno()):
            os.close(fd)
        self._wake.close()
