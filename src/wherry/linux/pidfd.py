"""Signals by pidfd (pidfd_open(2), pidfd_send_signal(2)): never to a process that merely got the same number."""

from __future__ import annotations

import os
import select
import signal

from wherry.linux import proc


def open_checked(pid: int, starttime: int | None) -> int:
    """Return a pidfd of the process `pid` that started at `starttime`; it must be closed. Raises ProcessLookupError.

    The start time is compared after the pidfd is open: from then on the number cannot be given away unseen.
    """
    fd = os.pidfd_open(pid)
    if starttime is None or proc.read_starttime(pid) != starttime:
        os.close(fd)
        raise ProcessLookupError(f"process {pid} has ended")
    return fd


def send_signal(pid: int, starttime: int | None, number: int) -> None:
    """Send signal `number` to that very process. Raises ProcessLookupError when it has ended."""
    fd = open_checked(pid, starttime)
    try:
        signal.pidfd_send_signal(fd, number)
    finally:
        os.close(fd)


def wait_end(pid: int, starttime: int | None, timeout: float) -> bool:
    """Block until that process has ended, at most `timeout` seconds; return whether it has. A zombie has ended."""
    try:
        fd = open_checked(pid, starttime)
    except ProcessLookupError:
        return True
    try:
        return wait(fd, timeout)
    finally:
        os.close(fd)


def wait(fd: int, timeout: float) -> bool:
    """Block until the process of the pidfd has ended, at most `timeout` seconds; return whether it has."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
