"""The shim: one per container process, its parent, the keeper of its output, the writer of its exit record.

Order of an end (docs/protocol.md): exit.json -> the rest of a dead init's processes killed -> output drained, bounded
-> exitStatus -> the exit FIFO hangs up. Whatever dies in between, the next reader of the directory knows enough.

Nothing may be imported here after the fork: the package on disk may be another one by then, or gone.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import time

from wherry.linux import libc
from wherry.model import frame
from wherry.shim import record, stdio, streams, wakeup

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
            record.tell(reply_fd, f"E {_class_of(error)} shim: {record.one_line(_cause_of(error))}")
        raise


def _class_of(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "NotFound"
    if isinstance(error, PermissionError):
        return "PermissionDenied"
    # ENXIO, ELOOP: a device that nobody stands behind, a link to itself; 0 is our own.
    if isinstance(error, OSError) and error.errno in (0, 6, 40):
        return "InvalidArgument"
    return "Internal"


def _cause_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


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
        "_control", "_deadline", "_epoll", "_exit_fd", "_job", "_oom_kills", "_oom_path", "_phase", "_pid", "_reply_fd",
        "_rest", "_runtime", "_stray", "_streams", "_wake", "has_reported",
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
        self._oom_path = ""
        self._oom_kills = 0
        self._control = -1
        self._rest = b""
        self._wake = wakeup.Wakeup()
        self._epoll = select.epoll()
        self._streams = streams.Streams(self._epoll, job)

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
        self._streams.open()
        self._mount()
        self._deadline = time.monotonic() + float(self._one("timeout", "30"))
        # Through /proc, since the path of a long id does not fit sun_path, and the runtime changes its directory.
        console = f"/proc/{os.getpid()}/cwd/{stdio.CONSOLE}"
        argv = [console if item == frame.CONSOLE else item for item in self._job["argv"]]
        self._runtime = record.spawn(argv, self._streams.stdio.child)
        self._streams.stdio.close_child()
        while self._phase != "ended":
            self._turn()
        self._finish()

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
        if self._phase in ("draining", "lingering"):
            self._check_drained()
        if self._deadline and time.monotonic() >= self._deadline and self._phase != "ended":
            self._on_deadline()

    def _dispatch(self, fd: int) -> None:
        if fd == self._wake.fd:
            self._wake.drain()
            self._reap()
        elif fd == self._control:
            self._read_control()
        else:
            self._streams.handle(fd)

    def _on_deadline(self) -> None:
        self._deadline = 0.0
        if self._phase == "creating":
            record.kill_group(self._runtime)
            self._report("E DeadlineExceeded the runtime did not create the process in time")
            if not self._runtime:
                self._phase = "ended"
        elif self._phase == "running":
            # Our own child, not reaped: the number is still its.
            record.set_reason("ttl" if self._is_init else "timeout")
            os.kill(self._pid, signal.SIGKILL)
        elif self._phase == "sweeping":
            record.kill_group(self._runtime)
            self._drain()
        elif self._phase == "draining":
            self._streams.give_up()
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
                if not self._runtime:
                    self._adopt()

    # -- creation -----------------------------------------------------------------------------------------------------

    def _on_runtime_end(self, status: int) -> None:
        self._runtime = 0
        if self._phase == "sweeping":
            self._drain()
            return
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
        """Take the process that the runtime has made as our own child.

        crun's `run --detach` leaves it to a child of its own, which ends a moment later and leaves it to us.
        """
        pid = record.read_pid("pid")
        is_ours = pid in self._stray or record.is_child(pid)
        if not is_ours and pid and record.has_children():
            return  # each end of a child brings us here again
        self._deadline = 0.0
        if not is_ours or (self._one("terminal") == "1" and not self._streams.begin_terminal()):
            self._report("E RuntimeFailed 0")
            self._phase = "ended"
            return
        record.write_starttime(pid)
        record.reserve()
        self._oom_path = record.find_oom_file(pid)
        # What was killed before an exec was there is not its business; for init the cgroup is new.
        self._oom_kills = 0 if self._is_init else record.count_oom_kills(self._oom_path)
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

    def _limit(self, seconds: float) -> None:
        """Kill the process in so many seconds from now (0: never)."""
        if self._phase == "running":  # later the deadline is another one, and a late line must not take it away
            self._deadline = time.monotonic() + seconds if seconds > 0 else 0.0

    def _read_control(self) -> None:
        lines = (self._rest + os.read(self._control, 4096)).split(b"\n")
        self._rest = lines.pop()[:4096]  # a piece ends anywhere
        for line in lines:
            # `0 0 0` closes stdin; `1 <width> <height>` resizes (v0-system 2.2). Anything else is nobody's request.
            if line == b"0 0 0":
                self._streams.end_input()
            elif line.startswith(b"1 "):
                self._read_resize(line)
            elif line.startswith(b"2 ") and line[2:-2].isdigit():
                self._limit(int(line[2:-2]) / 1000)

    def _read_resize(self, line: bytes) -> None:
        try:
            _, width, height = map(int, line.split())
            self._streams.resize(width, height)
        except (ValueError, struct.error, OSError):
            record.write_words(f"no size: {line[:64]!r}")

    # -- the end ------------------------------------------------------------------------------------------------------

    def _on_exit(self, status: int, usage: record.Usage) -> None:
        code = os.waitstatus_to_exitcode(status)
        signal_number = -code if code < 0 else 0
        oom = record.count_oom_kills(self._oom_path) > self._oom_kills
        record.write_exit(128 + signal_number if signal_number else code, signal_number, oom, usage)
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
        self._streams.collect()
        self._check_drained()
        if self._phase == "draining" and not self._is_init:
            self._tell_exit()
            self._phase = "lingering"

    def _check_drained(self) -> None:
        if not self._streams.has_ended:
            return
        if self._phase == "draining":
            self._tell_exit()
        if self._phase in ("draining", "lingering"):
            self._phase = "ended"

    def _tell_exit(self) -> None:
        if self._streams.dropped_bytes:
            record.add_dropped(self._streams.dropped_bytes)
        record.write_exit_status()
        os.close(self._exit_fd)

    def _finish(self) -> None:
        self._streams.close()
        for fd in (self._control, self._epoll.fileno()):
            os.close(fd)
        self._wake.close()
