"""Orphans: wherryd is a child subreaper, so that the shims of a killed zygote become its children, and are reaped.

Without this a machine whose PID 1 does not reap would keep a zombie of each. Children that somebody here waits for
are left to him: whoever reaps another's child steals its status (v0 8476905).
"""

from __future__ import annotations

import asyncio
import os
import signal

from wherry.linux import libc
from wherry.runtime import spawn

#: Seconds until the next look when a child that somebody waits for hides what is behind it.
_AGAIN = 0.05


def start() -> None:
    """Become a subreaper, and reap at each SIGCHLD."""
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, reap)


def reap() -> None:
    """Reap every child that has ended and that nobody here waits for."""
    while True:
        try:
            # WNOWAIT: look, and leave it. The kernel shows one at a time.
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        if ended.si_pid in spawn.owned:
            asyncio.get_running_loop().call_later(_AGAIN, reap)
            return
        os.waitpid(ended.si_pid, os.WNOHANG)
