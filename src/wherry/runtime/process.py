"""One process of a container as a directory: the ancestor's `Process`.

Names and formats are those of v0-system 1.2: process.json, pid, starttime, exit, control, exitStatus; beside them
exit.json, which carries the whole exit record.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import stat
from pathlib import Path
from typing import Any

from wherry import errors
from wherry.linux import failpoint, files, pidfd
from wherry.model import codec
from wherry.model import status as st
from wherry.runtime import record

#: No process has this number or a higher one (proc(5): pid_max).
_PID_LIMIT = 2**22


class Process:
    """A process directory with its two FIFOs open. Made by `create` or `load`; must be closed."""

    def __init__(self, directory: Path, spec: dict[str, Any]) -> None:
        self.directory = directory
        self.id = directory.name
        self.spec = spec
        #: Read end of `exit`, to be polled: its hang-up is the end of the shim. -1 when closed.
        self.exit_fd = -1
        self._control_fd = -1

    @classmethod
    def create(cls, directory: Path, spec: dict[str, Any]) -> Process:
        """Make the directory with everything a shim needs. Raises FileExistsError if it is there."""
        failpoint.hit("process.mkdir")
        directory.mkdir(mode=0o700)
        record.write_json(directory / "process.json", spec)
        failpoint.hit("process.mkfifo")
        os.mkfifo(directory / "exit", 0o600)
        os.mkfifo(directory / "control", 0o600)
        failpoint.hit("process.open")
        process = cls(directory, spec)
        try:
            process._open()
        except OSError:
            process.close()
            raise
        return process

    @classmethod
    def load(cls, directory: Path) -> Process:
        """Return the process that `directory` holds, after a restart. Raises DataLoss for what cannot be understood."""
        try:
            spec = record.read_json(directory / "process.json")
        except FileNotFoundError as error:
            raise errors.DataLoss(f"cannot load {directory}: process.json is missing") from error
        process = cls(directory, spec)
        try:
            process._open()
        except OSError as error:
            process.close()
            record.check_passing(error)
            raise errors.DataLoss(f"cannot load {directory}: {error.filename}: {error.strerror}") from error
        return process

    def _open(self) -> None:
        flags = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        self.exit_fd = os.open(self.directory / "exit", os.O_RDONLY | flags)
        self._control_fd = os.open(self.directory / "control", os.O_RDWR | flags)
        for fd, name in ((self.exit_fd, "exit"), (self._control_fd, "control")):
            if not stat.S_ISFIFO(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a FIFO", str(self.directory / name))

    def open_exit_writer(self) -> int:
        """Return a write end of `exit`, to be handed to the shim: so there is no moment without a writer."""
        return os.open(self.directory / "exit", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def is_shim_alive(self) -> bool:
        """Tell whether somebody holds the write end of `exit`.

        A reader that was opened after the last writer left gets no hang-up, ever; but read(2) tells: end of file
        without a writer, would-block with one (fifo(7), tried on Linux 6.18).
        """
        try:
            return os.read(self.exit_fd, 1) != b""
        except BlockingIOError:
            return True

    @property
    def pid(self) -> int:
        """The host's process id, 0 before the runtime has made the process."""
        return _read_pid(self.directory / "pid")

    @property
    def shim_pid(self) -> int:
        """The process id of the shim, 0 when it was never there."""
        return _read_pid(self.directory / "shim.pid")

    @property
    def starttime(self) -> int | None:
        """When the process started, in clock ticks since boot; None when it was too short to be asked."""
        return record.read_number(self.directory / "starttime")

    def exit_status(self) -> int | None:
        """Return the status, or None: "not exited" is an answer, not a failure."""
        status = record.read_number(self.directory / "exitStatus")
        # Old writers left -1 for unknown; everything else fits a byte (v0-system 1.2).
        return None if status is None else min(max(status, 0), 255) if status >= 0 else 255

    def exit_record(self) -> st.ExitRecord | None:
        """Return how the process ended, None when it has not or nobody could write it down.

        Raises ResourceExhausted when it cannot be read just now.
        """
        try:
            found = codec.from_plain(st.ExitRecord, record.read_json(self.directory / "exit.json"))
            if not 0 <= found.status <= 255:
                raise ValueError(f"status {found.status}")
            # The kernel's OOM killer sends SIGKILL. One that ended another process of the container is not the reason.
            is_victim = found.oom and found.signal == signal.SIGKILL and not found.reason
            return dataclasses.replace(found, reason="oom") if is_victim else found
        except (FileNotFoundError, ValueError, errors.DataLoss):
            status = self.exit_status()
            return None if status is None else st.ExitRecord(status=status, reason="unknown" if status == 255 else "")

    def write_exit_record(self, record_: st.ExitRecord) -> None:
        """Write down an end that the shim could not: exit.json first, then exitStatus."""
        record.write_json(self.directory / "exit.json", codec.to_plain(record_) | {"status": record_.status})
        files.write_whole(self.directory / "exitStatus", str(record_.status).encode())

    def send_signal(self, number: int) -> None:
        """Send a signal to this very process. Raises FailedPrecondition when it has ended."""
        pid = self.pid
        if not pid:
            raise errors.FailedPrecondition(f"cannot signal process {self.id}: it is not made yet")
        try:
            pidfd.send_signal(pid, self.starttime, number)
        except ProcessLookupError as error:
            raise errors.FailedPrecondition(f"cannot signal process {self.id}: it has ended") from error

    def close_stdin(self) -> None:
        """Ask the shim to close the process's stdin after what was written to it."""
        self._write_control(b"0 0 0\n")

    def resize(self, width: int, height: int) -> None:
        """Ask the shim to set the size of the process's terminal."""
        self._write_control(b"1 %d %d\n" % (width, height))

    def set_limit(self, seconds: float) -> None:
        """Ask the shim to kill the process in so many seconds from now."""
        self._write_control(b"2 %d 0\n" % max(1, round(seconds * 1000)))

    def _write_control(self, line: bytes) -> None:
        try:
            os.write(self._control_fd, line)
        except BlockingIOError as error:
            raise errors.Unavailable(f"cannot control process {self.id}: its shim does not read") from error

    def open_directory(self) -> int:
        """Return a descriptor of the directory, for socket paths longer than sun_path."""
        return os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def words(self) -> str:
        """Return the shim's own words, "" if it had none."""
        try:
            return record.read_bytes(self.directory / "shim.log")[-4096:].decode(errors="replace").strip()
        except (FileNotFoundError, errors.DataLoss):
            return ""

    def close(self) -> None:
        """Close both FIFOs."""
        for fd in (self.exit_fd, self._control_fd):
            if fd >= 0:
                os.close(fd)
        self.exit_fd = self._control_fd = -1


def _read_pid(path: Path) -> int:
    number = record.read_number(path) or 0
    return number if 0 < number < _PID_LIMIT else 0
