"""The shim: one per container process, its parent, the keeper of its output, the writer of its exit record.

Order of an end (docs/protocol.md): exit.json -> the rest of a dead init's processes killed -> output drained, bounded
-> exitStatus -> the exit FIFO hangs up. Whatever dies in between, the next reader of the directory knows enough.

The process is made by a child (`creation`) that shares the shim's descriptors and current directory and ends when that
is done. What it wrote to memory is gone with it: until the first event the shim has hardly written any, and shares
nearly all its pages with the zygote (docs/decisions/0010-a-child-makes-the-process.md).

Nothing may be imported here after the fork: the package on disk may be another one by then, or gone.
"""

from __future__ import annotations

import os
import signal
import struct
import time

from wherry.linux import failpoint, libc
from wherry.model import frame
from wherry.shim import creation, record, streams

TYPE_CHECKING = False  # `typing` has no place in a shim
if TYPE_CHECKING:
    from collections.abc import Callable

#: How long a dead init's output may stay open in somebody's hands before the exit is told all the same, seconds.
DRAIN_INIT = 2.0
#: How long the output of a dead exec's children is still collected after its exit was told, seconds.
DRAIN_EXEC = 5.0
#: How long the runtime may take to kill what is left of a container without a pid namespace of its own, seconds.
SWEEP = 5.0
#: Statuses of a shim that never had a process: the daemon is gone; it could not fork.
NO_REQUEST = creation.NO_REQUEST
NO_FORK = 5


def main(make: Callable[[], int], shared: creation.Shared) -> int:
    """Be a spare shim until `make`, in a child, has made a process, then its shim; return the status to end with.

    Every call on the way to the first event costs pages, so there are four.
    """
    libc.become_shim()
    try:
        child = libc.fork_sharing()
    except OSError:
        return NO_FORK
    if child == 0:
        # Never back into the frames of shim and zygote.
        os._exit(make())
    status = os.waitpid(child, libc.WALL)[1]
    if status == creation.IDLE << 8:
        shared.epoll.poll(None, 1)
    return _keep(status, shared)


def _keep(status: int, shared: creation.Shared) -> int:
    if status == creation.NO_REQUEST << 8:
        return NO_REQUEST
    try:
        job = os.read(shared.read_fd, frame.MAX_BYTES)
    except BlockingIOError:
        return 1  # there is no process; that has been said
    try:
        fields = frame.parse_frame(job)
        if status & 0x7F:  # killed when it had handed over, perhaps before it could say so
            record.tell(int(fields["fd_reply"][0]), f"C {fields['pid'][0]}")
            os.close(int(fields["fd_reply"][0]))
        Shim(fields, shared).run()
    except BaseException as error:
        record.write_words(record.describe(error))
        raise
    return 0


class Shim:
    """One container process that runs, and all that is kept for it. The current directory is the process's."""

    __slots__ = (
        "_control", "_deadline", "_epoll", "_exit_fd", "_is_init", "_job", "_oom_kills", "_oom_path", "_phase", "_pid",
        "_rest", "_streams", "_sweeper", "_wake",
    )  # fmt: skip

    def __init__(self, job: dict[str, list[str]], shared: creation.Shared) -> None:
        self._job = job
        self._epoll = shared.epoll
        self._wake = shared.wake
        self._phase = "running"  # then sweeping, draining, lingering, ended
        self._rest = b""
        self._sweeper = 0
        self._is_init = job["init"] == ["1"]
        self._pid = int(job["pid"][0])
        self._exit_fd = int(job["fd_exit"][0])
        self._control = int(job["fd_control"][0])
        self._deadline = float(job["deadline"][0])
        self._oom_path = job["oom_path"][0]
        self._oom_kills = int(job["oom_kills"][0])
        self._streams = streams.Streams(shared.epoll, job)

    def run(self) -> None:
        """Keep the process, and leave when it and its output have ended."""
        self._streams.take_over()
        self._reap()
        while self._phase != "ended":
            self._turn()
        self._finish()

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        timeout = -1.0
        if self._deadline:
            timeout = min(max(0.0, self._deadline - time.monotonic()), creation.LONGEST_WAIT)
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
        if self._phase == "running":
            # Our own child, not reaped: the number is still its.
            record.set_reason("ttl" if self._is_init else "timeout")
            os.kill(self._pid, signal.SIGKILL)
        elif self._phase == "sweeping":
            record.kill_group(self._sweeper)
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
            elif pid == self._sweeper:
                self._sweeper = 0
                if self._phase == "sweeping":
                    self._drain()

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
            elif line.startswith(b"2 ") and line[2:-2].isdigit() and len(line) < 32:
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
        failpoint.hit("shim.reaped")
        signal_number = -code if code < 0 else 0
        oom = record.count_oom_kills(self._oom_path) > self._oom_kills
        record.write_exit(128 + signal_number if signal_number else code, signal_number, oom, usage)
        sweep = self._job.get("sweep", [])
        if self._is_init and sweep:
            self._phase = "sweeping"
            self._deadline = time.monotonic() + SWEEP
            self._sweeper = record.spawn(sweep, [], [])
        else:
            self._drain()

    def _drain(self) -> None:
        """Take what is in the pipes now; then wait for their end, a bounded time."""
        failpoint.hit("shim.ended")
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
        failpoint.hit("shim.told")
        os.close(self._exit_fd)

    def _finish(self) -> None:
        self._streams.close()
        os.close(self._control)
