"""How a container's process comes to be: what happens between a request and the shim's first event.

All of it is done by a child of the shim, which shares its descriptors and its current directory (clone(2), CLONE_FILES
and CLONE_FS): what is opened here is open there. At the end it writes down what the shim must know, and ends.

Nothing may be imported here after the fork: the package on disk may be another one by then, or gone.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import time

from wherry.linux import failpoint, libc
from wherry.model import frame
from wherry.shim import record, stdio, streams, wakeup

#: Statuses of the child: the shim may wait for an event; it has something to do at once; it has no process; the daemon
#: is gone, there will be no request.
IDLE = 0
BUSY = 4
FAILED = 1
NO_REQUEST = 3
#: The exit FIFO's write end, the reply pipe's write end.
FDS_PER_REQUEST = 2
#: At most so many seconds at a time: epoll_wait(2) takes milliseconds as an int, less than 25 days.
LONGEST_WAIT = 86400.0
#: Above any descriptor; close_range(2) makes the distance cost nothing.
MAX_FD = 1 << 20
#: Bytes of the number in which the zygote is told which shim has taken a request.
PID_BYTES = 4

# linux/sockios.h, net/if.h
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1

_argument_area = (0, 0)


def learn_argument_area() -> None:
    """Remember where `ps -f` reads this process's arguments (proc(5): arg_start and arg_end)."""
    global _argument_area
    numbers = record.read_file("/proc/self/stat").rpartition(b") ")[2].split()
    _argument_area = (int(numbers[45]), int(numbers[46]))


def show_as(text: str, pid: int) -> None:
    """Let `ps -f` show `text` for `pid`, us or a fork of us, as much of it as the arguments had room."""
    start, end = _argument_area
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # ptrace(2) is restricted to others than us
    try:
        os.pwrite(memory, text.encode()[: end - start - 1].ljust(end - start, b"\0"), start)
    except OSError:
        pass
    finally:
        os.close(memory)


class Shared:
    """Descriptors by which a shim and the child that makes its process have each other.

    Their numbers, and the objects that know them, are made once, in the zygote; each shim has others behind them. So a
    shim has its own without having made anything.
    """

    __slots__ = ("epoll", "read_fd", "wake", "write_fd")

    def __init__(self) -> None:
        self.wake = wakeup.Wakeup()
        self.epoll = select.epoll()
        self.read_fd, self.write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def renew(self) -> None:
        """Put new pipes and a new epoll behind the numbers."""
        for pair in ((self.wake.fd, self.wake.write_fd), (self.read_fd, self.write_fd)):
            for new, old in zip(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC), pair, strict=True):
                os.dup2(new, old, inheritable=False)
                os.close(new)
        with select.epoll() as epoll:
            os.dup2(epoll.fileno(), self.epoll.fileno(), inheritable=False)

    def close_others(self, *kept: int) -> None:
        """Close every descriptor but the first three, these and `kept`."""
        last = 2
        ours = (self.epoll.fileno(), self.wake.fd, self.wake.write_fd, self.read_fd, self.write_fd)
        for fd in sorted((*ours, *kept)):
            os.closerange(last + 1, fd)
            last = fd
        os.closerange(last + 1, MAX_FD)


def main(shim: int, requests: socket.socket, told: int, shared: Shared) -> int:
    """Wait for a request, tell the zygote, and make the process that it asks for; return the status to end with."""
    try:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        # The runtime's orphans come to us, so that we can tell the process from others; the shim has it after us.
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        if os.getppid() != shim:
            return FAILED
        shared.renew()
        packet, fds = receive(requests)
        if not packet:
            return NO_REQUEST
        os.write(told, shim.to_bytes(PID_BYTES, "big"))
        shared.close_others(*fds)
        return make(shim, packet, fds, shared)
    except BaseException as error:  # noqa: BLE001 - the edge of a process: there is nobody above
        record.write_words(record.describe(error))
        return FAILED


def receive(requests: socket.socket) -> tuple[bytes, list[int]]:
    """Return the next request and its descriptors; nothing when wherryd is gone."""
    while True:
        try:
            packet, fds, _, _ = socket.recv_fds(requests, frame.MAX_BYTES + 1, FDS_PER_REQUEST)
        except ConnectionError:
            return b"", []
        for fd in fds:
            # recv_fds leaves them inheritable, and its `flags` unused (Python 3.11): a runtime that outlives its shim
            # would keep the exit FIFO from hanging up and the reply from ending.
            os.set_inheritable(fd, False)
        if len(fds) == FDS_PER_REQUEST or not packet:
            return packet, fds
        for fd in fds:
            os.close(fd)


def make(shim: int, packet: bytes, fds: list[int], shared: Shared) -> int:
    """Make the process that `packet` asks for, for `shim`; report what goes wrong. Returns the status to end with."""
    creation = None
    try:
        creation = Creation(shim, frame.parse_frame(packet), fds, shared)
        return creation.run()
    except BaseException as error:
        if creation is None or not creation.has_reported:
            record.tell(fds[1], f"E {_class_of(error)} shim: {record.one_line(_cause_of(error))}")
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


def _open_network() -> None:
    """Open a new network namespace with nothing but its loopback interface up, for a runtime to inherit.

    criu joins it: those that it makes itself for runc have nothing up, not even for the sockets that it makes in them.
    """
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    libc.unshare(libc.CLONE_NEWNET)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            # struct ifreq (netdevice(7)): the name, then the flags.
            fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
        new = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(new, frame.NETWORK_FD, inheritable=True)
        os.close(new)
    finally:
        libc.setns(own, libc.CLONE_NEWNET)
        os.close(own)


class Creation:
    """One process that is being made. The current directory becomes the process's."""

    __slots__ = (
        "_control", "_deadline", "_exit_fd", "_job", "_reply_fd", "_runtime", "_shared", "_shim", "_streams",
        "_wake", "has_reported",
    )  # fmt: skip

    def __init__(self, shim: int, job: dict[str, list[str]], fds: list[int], shared: Shared) -> None:
        self._shim = shim
        self._job = job
        self._shared = shared
        self._exit_fd, self._reply_fd = fds
        self.has_reported = False
        self._runtime = 0
        self._deadline = time.monotonic() + float(job["timeout"][0])
        self._control = -1
        self._wake = wakeup.Wakeup()
        self._streams = streams.Streams(shared.epoll, job)

    def run(self) -> int:
        """Have the runtime make the process and hand it over; return the status to end with."""
        job, shared = self._job, self._shared
        os.chdir(job["directory"][0])
        record.open_words()
        show_as(f"wherry-shim {job['name'][0]}", self._shim)
        record.tell(self._reply_fd, f"S {self._shim}")
        failpoint.hit("shim.begun")
        record.write_file("shim.pid", str(self._shim))
        self._control = os.open("control", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        shared.epoll.register(self._wake.fd, select.EPOLLIN)
        self._streams.open()
        self._mount()
        # Through /proc, since the path of a long id does not fit sun_path, and the runtime changes its directory.
        console = f"/proc/{os.getpid()}/cwd/{stdio.CONSOLE}"
        argv = [console if item == frame.CONSOLE else item for item in job["argv"]]
        if job.get("network") == ["1"]:
            _open_network()
        failpoint.hit("shim.mounted")
        self._runtime = record.spawn(argv, self._streams.stdio.child, job.get("env", []))
        if job.get("network") == ["1"]:
            os.close(frame.NETWORK_FD)
        self._streams.stdio.close_child()
        status = self._wait_runtime()
        failpoint.hit("shim.created")
        shared.epoll.unregister(self._wake.fd)
        self._wake.close()
        if status != 0:
            self._streams.collect()  # its last words may still be on their way
        if status is None:
            self._report("E DeadlineExceeded the runtime did not create the process in time")
        elif status:
            self._report(f"E RuntimeFailed {status}")
        elif (pid := record.read_pid("pid")) and self._is_ours(pid) and self._streams.take_terminal():
            return self._hand_over(pid)
        else:
            self._report("E RuntimeFailed 0")
        self._streams.close()
        return FAILED

    def _mount(self) -> None:
        """Build the root filesystem where only the runtime and its container see it: nothing to leak on the host."""
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

    def _wait_runtime(self) -> int | None:
        """Take what the runtime prints until it ends; return its exit status, None when it was killed for its time."""
        is_late = False
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0 and not is_late:
                is_late = True
                record.kill_group(self._runtime)
            for fd, _ in self._shared.epoll.poll(-1.0 if is_late else min(left, LONGEST_WAIT)):
                if fd != self._wake.fd:
                    self._streams.handle(fd)
            self._wake.drain()
            pid, status = os.waitpid(self._runtime, os.WNOHANG)
            if pid:
                return None if is_late else os.waitstatus_to_exitcode(status)

    def _is_ours(self, pid: int) -> bool:
        """Tell whether `pid` was left to us, or will be once a child of the runtime's has ended; the shim has it then.

        crun's `run --detach` leaves it to a child of its own, which ends a moment later.
        """
        while (parent := record.read_parent(pid)) != os.getpid():
            if not parent or record.read_parent(parent) != os.getpid():
                return False
            if not record.wait_end(parent, self._deadline - time.monotonic()):
                return False
            record.reap_others(pid)
        return True

    def _hand_over(self, pid: int) -> int:
        job, shared = self._job, self._shared
        is_init = job["init"] == ["1"]
        record.reap_others(pid)  # else the shim would have to
        record.write_starttime(pid)
        record.reserve()
        oom_path = record.find_oom_file(pid)
        limit = float(job.get("limit", ["0"])[0])
        told = {
            "pid": str(pid),
            "fd_exit": str(self._exit_fd),
            "fd_control": str(self._control),
            "fd_reply": str(self._reply_fd),
            "oom_path": oom_path,
            # What was killed before an exec was there is not its business; for init the cgroup is new.
            "oom_kills": str(0 if is_init else record.count_oom_kills(oom_path)),
            "deadline": str(time.monotonic() + limit if limit > 0 else 0.0),
            **self._streams.hand_over(),
        }
        kept = ("init", "sweep", "stdio", "terminal", "log", "log_max_bytes", "log_max_files")
        fields = {key: job[key] for key in kept if key in job} | {key: [value] for key, value in told.items()}
        shared.epoll.register(shared.wake.fd, select.EPOLLIN)
        shared.epoll.register(self._control, select.EPOLLIN)
        failpoint.hit("shim.ready")
        # From here on the shim goes on even if we are killed.
        os.write(shared.write_fd, frame.format_frame(fields))
        failpoint.hit("shim.handed-over")
        self._report(f"C {pid}")
        return BUSY if limit > 0 or self._streams.is_copied else IDLE

    def _report(self, line: str) -> None:
        self.has_reported = True
        record.tell(self._reply_fd, line)
        os.close(self._reply_fd)
