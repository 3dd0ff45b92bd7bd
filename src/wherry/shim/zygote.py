"""The zygote: warm once, frozen, one thread, then only forks.

It is a child subreaper: when a shim is killed, its container process becomes the zygote's child and is reaped here,
also on machines whose PID 1 does not reap. When wherryd goes away it takes no more requests and stays just long
enough to reap the shims it has.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import sys

from wherry.linux import libc
from wherry.model import frame
from wherry.shim import rehearsal, shim, wakeup

#: exit FIFO's write end, reply pipe's write end
FDS_PER_REQUEST = 2


def main(fd: int, scratch: str) -> None:
    """Serve requests on the SEQPACKET socket `fd` until its other end is closed and no shim is left.

    `scratch` is a path below which it may make directories for the rehearsal.
    """
    # What whoever started wherryd left inheritable would be held open by every shim.
    os.closerange(3, fd)
    os.closerange(fd + 1, shim.MAX_FD)
    libc.set_name(b"wherry-zygote")
    shim.learn_argument_area()
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    wakeup.handle_signals()
    rehearsal.run(scratch)
    shim.show_as("wherry-zygote")
    # No gc.collect() here: the holes it makes in pages would be filled, and so copied, after each fork.
    gc.disable()
    gc.freeze()
    requests = socket.socket(fileno=fd)
    requests.send(b"ready")
    _serve(requests)


def _serve(requests: socket.socket) -> None:
    children: set[int] = set()
    wake = wakeup.Wakeup()
    poll = select.poll()
    poll.register(wake.fd, select.POLLIN)
    poll.register(requests.fileno(), select.POLLIN)
    listening = True
    while listening or children:
        for ready, _ in poll.poll():
            if ready == wake.fd:
                wake.drain()
                _reap(children)
            elif listening and not _take(requests, children):
                poll.unregister(requests.fileno())
                requests.close()
                listening = False


def _reap(children: set[int]) -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        children.discard(pid)


def _take(requests: socket.socket, children: set[int]) -> bool:
    """Take one request and fork its shim; return False when wherryd is gone."""
    try:
        packet, fds, _, _ = socket.recv_fds(requests, frame.MAX_BYTES + 1, FDS_PER_REQUEST)
    except ConnectionError:
        return False
    if not packet and not fds:
        return False
    try:
        for fd in fds:
            # recv_fds leaves them inheritable, and its `flags` unused (Python 3.11): a runtime that outlives its shim
            # would keep the exit FIFO from hanging up and the reply from ending.
            os.set_inheritable(fd, False)
        if len(fds) == FDS_PER_REQUEST:
            children.add(_fork(packet, fds, requests))
    finally:
        for fd in fds:
            os.close(fd)
    return True


def _fork(packet: bytes, fds: list[int], requests: socket.socket) -> int:
    try:
        pid = os.fork()
    except OSError as error:
        os.write(fds[1], f"E Unavailable cannot fork a shim: {error.strerror}\n".encode())
        return 0
    if pid:
        return pid
    try:
        requests.detach()
        shim.main(packet, fds[0], fds[1])
    finally:
        # Not sys.exit: the zygote's frames below must never run in a shim.
        os._exit(1 if sys.exc_info()[0] else 0)
