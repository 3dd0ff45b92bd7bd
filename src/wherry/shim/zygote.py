"""The zygote: warm once, frozen, one thread, then only forks.

It keeps a few spare shims, each of which waits for a request at the socket that all of them share; when one has taken
its request, the next is forked. So nobody waits for a fork, and the zygote itself does so little that the pages its
shims share with it stay theirs.

It is a child subreaper: when a shim is killed, its container process becomes the zygote's child and is reaped here,
also on machines whose PID 1 does not reap. When wherryd goes away it takes no more requests and stays just long
enough to reap the shims it has.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket

from wherry.linux import failpoint, libc
from wherry.shim import creation, record, rehearsal, shim, wakeup

TYPE_CHECKING = False  # `typing` has no place in a shim
if TYPE_CHECKING:
    from collections.abc import Callable

#: Shims that wait for a request.
SPARES = 2
#: Spares in a row that could not be made, after which a request is refused.
TRIES = 2


def main(fd: int, scratch: str) -> None:
    """Serve requests on the SEQPACKET socket `fd` until its other end is closed and no shim is left.

    `scratch` is a path below which it may make directories for the rehearsal.
    """
    # What whoever started wherryd left inheritable would be held open by every shim.
    os.closerange(3, fd)
    os.closerange(fd + 1, creation.MAX_FD)
    creation.learn_argument_area()
    record.learn_oom_score()
    requests = socket.socket(fileno=fd)
    # Until it is ready it dies with its wherryd, whose successor removes what it rehearses with.
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if _has_closed(requests):
        return
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    wakeup.handle_signals()
    shared = creation.Shared()
    rehearsal.run(scratch, shared, fd)
    creation.show_as("wherry-zygote", os.getpid())
    zygote = Zygote(requests, shared)
    zygote.rehearse()
    libc.set_name(b"wherry-zygote")
    # No gc.collect() here: the holes it makes in pages would be filled, and so copied, after each fork.
    gc.disable()
    gc.freeze()
    libc.prctl(libc.PR_SET_PDEATHSIG, 0)
    if not _has_closed(requests):
        requests.send(b"ready")
        zygote.serve()


def _has_closed(requests: socket.socket) -> bool:
    """Tell whether wherryd has gone away: nothing but the end is to be read before we are ready."""
    with select.epoll() as epoll:
        epoll.register(requests.fileno(), select.EPOLLIN)
        return bool(epoll.poll(0))


class Zygote:
    """Forks shims, and reaps them."""

    __slots__ = (
        "_failures", "_is_open", "_problem", "_requests", "_shared", "_shims", "_spares", "_tell", "_told",
    )  # fmt: skip

    def __init__(self, requests: socket.socket, shared: creation.Shared) -> None:
        self._requests = requests
        self._shared = shared
        self._is_open = True
        self._spares: set[int] = set()
        self._shims: set[int] = set()
        #: Why the last spare could not be made, "" when it could.
        self._problem = ""
        self._failures = 0
        self._told, self._tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        shared.renew()
        shared.epoll.register(shared.wake.fd, select.EPOLLIN)
        shared.epoll.register(self._told, select.EPOLLIN)

    def rehearse(self) -> None:
        """Fork, hear and reap a few that do nothing: what the zygote writes later, its shims have to copy."""
        for _ in range(rehearsal.ROUNDS):
            self._fork(self._do_nothing)
            while self._spares or self._shims:
                self._turn()
        self._problem = ""
        self._failures = 0

    def _do_nothing(self) -> int:
        os.write(self._tell, os.getpid().to_bytes(creation.PID_BYTES, "big"))
        return 0

    def serve(self) -> None:
        """Serve until wherryd is gone and no shim is left."""
        while self._is_open or self._spares or self._shims:
            while self._is_open and not self._problem and len(self._spares) < SPARES:
                self._fork(self._be_shim)
            if self._is_open and not self._spares:
                self._wait_in_need()
            else:
                self._turn()

    def _turn(self) -> None:
        # Nothing is read that is not ready: an exception costs every later shim a dozen pages.
        for fd, _ in self._shared.epoll.poll():
            if fd == self._told:
                self._read_told()
            else:
                self._shared.wake.drain()
                self._reap()

    def _wait_in_need(self) -> None:
        """Wait without a spare. A request makes us try again, and then again; in the end it is refused."""
        with select.epoll() as both:
            both.register(self._shared.epoll.fileno(), select.EPOLLIN)
            both.register(self._requests.fileno(), select.EPOLLIN)
            ready = [fd for fd, _ in both.poll()]
        if self._shared.epoll.fileno() in ready:
            self._turn()
        if self._requests.fileno() not in ready:
            return
        if self._failures > TRIES:
            self._failures = 0
            self._refuse()
        self._problem = ""

    def _be_shim(self) -> int:
        return shim.main(self._make, self._shared)

    def _make(self) -> int:
        return creation.main(os.getppid(), self._requests, self._tell, self._shared)

    def _fork(self, work: Callable[[], int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._fail(str(error.strerror))
            return
        if pid:
            self._spares.add(pid)
            return
        status = 1
        try:
            os.setsid()
            if failpoint.asked:
                failpoint.arm(failpoint.asked, in_shim=True)
            status = work()
        finally:
            # Not sys.exit: the zygote's frames below must never run in a shim.
            os._exit(status)

    def _read_told(self) -> None:
        try:
            told = os.read(self._told, 4096)
        except BlockingIOError:
            return  # read already, when the end of a short-lived shim was seen in the same turn
        for start in range(0, len(told), creation.PID_BYTES):
            pid = int.from_bytes(told[start : start + creation.PID_BYTES], "big")
            self._spares.discard(pid)
            self._shims.add(pid)
            self._problem = ""
            self._failures = 0

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._shims.discard(pid)
            if pid in self._spares:
                self._on_spare_end(pid, os.waitstatus_to_exitcode(status))

    def _on_spare_end(self, pid: int, status: int) -> None:
        self._read_told()  # it was none any more, perhaps, and a short-lived shim
        self._shims.discard(pid)
        if pid not in self._spares:
            return
        self._spares.discard(pid)
        if status == shim.NO_REQUEST:
            self._is_open = False
            self._requests.close()
        elif status >= 0:  # else somebody has killed it; the next one may live
            self._fail("it could not fork in its turn" if status == shim.NO_FORK else f"it ended with {status}")

    def _fail(self, problem: str) -> None:
        self._problem = problem
        self._failures += 1

    def _refuse(self) -> None:
        packet, fds = creation.receive(self._requests)
        if not packet:
            self._is_open = False
            return
        record.tell(fds[1], f"E Unavailable cannot fork a shim: {self._problem}")
        for fd in fds:
            os.close(fd)
