"""What the zygote does a few times before it freezes: the whole life of a shim, with a shell as the runtime.

The interpreter specialises code and fills caches and allocators while it runs, and the standard library imports on
first use (os.wait4 loads `resource`). Done here, each of those writes lies in pages that all shims share; done after
the fork, it would be a private copy in every one of them (docs/decisions/0005-rehearsal.md has the figures).
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import time

from wherry.model import frame
from wherry.shim import creation, record, shim

#: The specialising interpreter of Python 3.11 rewrites code within its first 8 runs, and loops within 16.
ROUNDS = 12
#: A "runtime" that leaves a child behind, as `create` does: it echoes its stdin, then ends.
#: Whatever the daemon's PATH: without `cat` every round would wait for its timeout.
_RUNTIME = "PATH=/usr/bin:/bin; exec 3<&0; (exec cat <&3 3<&-) & echo -n $! > pid"
_TIMEOUT = 5.0
#: Seconds after which no further round begins: a round takes milliseconds, and the daemon waits.
_ENOUGH = 2.0


def run(directory: str, shared: creation.Shared, kept: int) -> None:
    """Rehearse in `directory`, which is made and removed. Whatever goes wrong only costs memory later.

    Of the caller's descriptors it leaves open the first three, those of `shared` and `kept`.
    """
    words = os.dup(2)
    has_failed = False
    give_up = time.monotonic() + _ENOUGH
    try:
        for number in range(ROUNDS):
            if time.monotonic() < give_up:
                _one(f"{directory}-{number}", shared)
    except OSError as error:
        os.dup2(words, 2)
        record.write_words(f"the rehearsal failed, shims will be larger: {error}")
        has_failed = True
    finally:
        os.chdir("/")
        os.dup2(words, 2)
        os.close(words)
    if has_failed:
        # Once the traceback is gone: a creation that was cut off has left open what it had, and hears the signals.
        gc.collect()
        shared.close_others(kept)
        shared.wake.listen()


def _one(directory: str, shared: creation.Shared) -> None:
    os.mkdir(directory, 0o700)
    try:
        os.mkfifo(f"{directory}/exit", 0o600)
        os.mkfifo(f"{directory}/control", 0o600)
        reader = os.open(f"{directory}/exit", os.O_RDONLY | os.O_NONBLOCK)
        reply = os.pipe()
        try:
            client = _fork_client(directory)
            _live(frame.format_frame(_job(directory)), [os.open(f"{directory}/exit", os.O_WRONLY), reply[1]], shared)
        finally:
            os.close(reader)
            os.close(reply[0])
        _reap(client)
    finally:
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)


def _live(packet: bytes, fds: list[int], shared: creation.Shared) -> None:
    """Make the process and keep it to its end, both in this process."""
    shared.renew()
    if creation.make(os.getpid(), packet, fds, shared) == creation.IDLE:
        shim.main(_made, shared)


def _made() -> int:
    return creation.IDLE


def _job(directory: str) -> dict[str, list[str]]:
    values = {
        "name": "rehearsal",
        "directory": directory,
        "init": "1",
        "stdio": "managed",
        "stdin_open": "1",
        "root_uid": str(os.geteuid()),
        "root_gid": str(os.getegid()),
        "log": f"{directory}/log",
        "log_max_bytes": "65536",
        "log_max_files": "2",
        "timeout": str(_TIMEOUT),
    }
    return {key: [value] for key, value in values.items()} | {"argv": ["/bin/sh", "-c", _RUNTIME]}


def _fork_client(directory: str) -> int:
    """Fork somebody who attaches, writes, closes stdin and reads to the end."""
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    is_done = False
    try:
        os.chdir(directory)  # a socket's path has 107 bytes at most (unix(7)), whatever the state directory's has
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.settimeout(_TIMEOUT)
        give_up = time.monotonic() + _TIMEOUT
        # Not before the shim has its process: the shell would reap one that ends sooner.
        while not os.path.exists("starttime") and time.monotonic() < give_up and os.getppid() == zygote:
            time.sleep(0.001)
        client.connect("attach.sock")
        for packet in (b"I" + b"a line\n" * 100, b"Iwithout an end", b"C"):
            client.send(packet)
        while client.recv(1 << 17):
            pass
        is_done = True
    finally:
        if not is_done and (pid := record.read_pid("pid")):
            os.kill(pid, signal.SIGKILL)  # it waits for the end of a stdin that nobody else will close
        os._exit(0)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # the shim has, like any other child of its process
