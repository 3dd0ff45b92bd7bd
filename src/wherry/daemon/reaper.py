"""Orphans: wherryd is a child subreaper, so that the shims of a killed zygote become its children, and are reaped.

Without this a machine whose PID 1 does not reap would keep a zombie of each. Children that somebody here waits for
are left to him: whoever reaps another's child steals its status (v0 8476905).
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from wherry.linux import libc, proc
from wherry.runtime import spawn


def start() -> None:
    """Become a subreaper, and reap at each SIGCHLD."""
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, reap)


def reap() -> None:
    """Reap every child that has ended and that nobody here waits for."""
    for task in Path("/proc/self/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:  # the thread has ended
            continue
        for pid in map(int, children):
            if pid not in spawn.owned and proc.is_zombie(pid):
                os.waitpid(pid, os.WNOHANG)
