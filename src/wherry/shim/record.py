"""What a shim reads and writes in the directory of its process (its current directory), and how it starts a program.

Formats: v0-system 1.2 for pid, starttime and exitStatus; exit.json is ours. JSON is written by hand: numbers and one
fixed word need no encoder.
"""

from __future__ import annotations

import os
import select
import signal
import time

from wherry.linux import failpoint, libc

TYPE_CHECKING = False  # `typing` has no place in a shim
if TYPE_CHECKING:
    from resource import struct_rusage

    Usage = struct_rusage

#: Seconds for a child of the runtime's to end behind it.
LEAVE = 0.1
#: More than an exit record has.
RESERVED = 512

OOM_SCORE = "/proc/self/oom_score_adj"
#: Whether the OOM killer is told to spare us (proc(5), oom_score_adj).
_is_spared = False

_exit: dict[str, int] = {}
_reason = ""


def reserve() -> None:
    """Make room for the exit record while there is some: an exit must be written down on a full disk, too."""
    failpoint.hit("shim.reserve")
    for name in ("exit.json", "exitStatus"):
        fd = os.open(f".{name}.new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(fd, b" " * RESERVED)
        os.close(fd)


def write_reserved(name: str, text: str) -> None:
    """Write a file for which there is room: over it, then cut, then renamed."""
    failpoint.hit("shim.end-open")
    fd = os.open(f".{name}.new", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        data = text.encode()
        failpoint.hit("shim.end-write")
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)
    failpoint.hit("shim.end-rename")
    os.rename(f".{name}.new", name)


def write_file(name: str, text: str) -> None:
    """Write a small file that is read back: beside, then renamed, so that it is whole or not there."""
    failpoint.hit("shim.file-open")
    fd = os.open(f".{name}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        failpoint.hit("shim.file-write")
        os.write(fd, text.encode())
    finally:
        os.close(fd)
    failpoint.hit("shim.file-rename")
    os.rename(f".{name}.new", name)


def read_file(name: str) -> bytes:
    """Return the first 4096 bytes of a file, which is more than anything we read has; without the `io` machinery."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def open_words() -> None:
    """Let standard error be shim.log."""
    fd = os.open("shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(fd, 2)
    os.close(fd)


def write_words(text: str) -> None:
    """Add a line to shim.log."""
    try:
        os.write(2, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n".encode())
    except OSError:
        pass  # nobody left to tell


def describe(error: BaseException) -> str:
    """Return an error with its places; the `traceback` module is not worth its memory here."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__}: {error} at {' '.join(places)}"


def one_line(text: str) -> str:
    """Return `text` without line ends, for the reply of one line."""
    return " ".join(text.split())


def tell(fd: int, line: str) -> None:
    """Write one line to wherryd, which may be gone."""
    try:
        os.write(fd, line.encode("utf-8", "surrogateescape") + b"\n")
    except OSError:
        pass


def learn_oom_score() -> None:
    """Remember whether what is started here would be spared by the OOM killer, as we are."""
    global _is_spared
    _is_spared = int(read_file(OOM_SCORE)) < 0


def _share_oom_score() -> None:
    """Let the OOM killer have us as any other: a daemon is spared, but not at the expense of its containers."""
    fd = os.open(OOM_SCORE, os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, b"0")
    os.close(fd)


def spawn(argv: list[str], streams: list[int], env: list[str]) -> int:
    """Start a program in a process group of its own, with `streams` as 0, 1 and 2; it dies with this shim.

    `env` are NAME=VALUE to add to our environment.
    """
    shim = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != shim:
            os._exit(1)
        if _is_spared:
            _share_oom_score()
        signal.set_wakeup_fd(-1)
        # Python ignores these two, and what is ignored stays so across exec.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        os.execve(argv[0], argv, {**os.environ, **dict([item.split("=", 1) for item in env])})
    except OSError as error:
        write_words(f"cannot execute {argv[0]}: {error.strerror}")
    finally:
        os._exit(127)


def kill_group(leader: int) -> None:
    """Kill the process group that `spawn` made."""
    if leader:
        try:
            os.killpg(leader, signal.SIGKILL)
        except ProcessLookupError:
            pass


def read_pid(name: str) -> int:
    """Return the process id in a file the runtime wrote, 0 when it is missing or absurd."""
    try:
        return max(0, int(read_file(name)))
    except (OSError, ValueError):
        return 0


def read_parent(pid: int) -> int:
    """Return the parent of a process, 0 when it is not there (proc(5), /proc/PID/stat)."""
    try:
        return int(read_file(f"/proc/{pid}/stat").rpartition(b") ")[2].split()[1])
    except (OSError, IndexError):
        return 0


def wait_end(pid: int, timeout: float) -> bool:
    """Wait for the end of a process; return False when it has not ended after `timeout` seconds."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], max(timeout, 0.0))[0])
    finally:
        os.close(handle)


def reap_others(kept: int) -> None:
    """Reap our children but for one: what the runtime has left has ended, or is about to."""
    me = os.getpid()
    # An exiting process has lost its children before it can be reaped, so each is waited for; one that stays is not.
    try:
        children = read_file(f"/proc/{me}/task/{me}/children")
    except OSError:
        return  # a kernel without CONFIG_PROC_CHILDREN: the shim reaps them
    for word in children.split():
        if int(word) != kept and wait_end(int(word), LEAVE):
            os.waitpid(int(word), 0)


def write_starttime(pid: int) -> None:
    """Write field 22 of /proc/PID/stat, which with the pid names a process for ever (proc(5))."""
    try:
        write_file("starttime", read_file(f"/proc/{pid}/stat").rpartition(b") ")[2].split()[19].decode())
    except OSError:
        pass  # ended already


def find_oom_file(pid: int) -> str:
    """Return the file that counts OOM kills in the cgroup of `pid`, "" when there is none (cgroups(7))."""
    try:
        lines = os.fsdecode(read_file(f"/proc/{pid}/cgroup")).split("\n")
    except OSError:
        return ""
    found = ""
    for line in filter(None, lines):
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return f"/sys/fs/cgroup/memory{path}/memory.oom_control"
        if not controllers:
            found = f"/sys/fs/cgroup{path}/memory.events"
    return found


def count_oom_kills(path: str) -> int:
    """Return how many the kernel has killed for memory there: the line `oom_kill N` of both cgroup versions."""
    try:
        lines = read_file(path).split(b"\n")
    except OSError:
        return 0
    for line in lines:
        if line.startswith(b"oom_kill "):
            return int(line[9:])
    return 0


def set_reason(word: str) -> None:
    """Say why the process is about to be killed."""
    global _reason
    _reason = word


def write_exit(status: int, signal_number: int, oom: bool, usage: Usage) -> None:
    """Write exit.json: the exit record, on disk before anybody is told."""
    _exit["status"] = status
    _exit["signal"] = signal_number
    _exit["exited_at_ns"] = time.time_ns()
    _exit["oom"] = int(oom)
    _exit["user_cpu_us"] = round(usage.ru_utime * 1e6)
    _exit["system_cpu_us"] = round(usage.ru_stime * 1e6)
    _exit["max_rss_bytes"] = usage.ru_maxrss * 1024
    _write_exit()


def add_dropped(count: int) -> None:
    """Add to exit.json how many bytes of output could not be logged."""
    _exit["dropped_bytes"] = count
    try:
        _write_exit()
    except OSError:
        pass  # no room for a second one; the first tells what matters


def _write_exit() -> None:
    words = {"oom": ("false", "true")}
    fields = (f'"{key}": {words[key][value] if key in words else value}' for key, value in _exit.items())
    reason = f', "reason": "{_reason}"' if _reason else ""
    write_reserved("exit.json", "{" + ", ".join(fields) + reason + "}\n")


def write_exit_status() -> None:
    """Write exitStatus, the decimal status alone."""
    write_reserved("exitStatus", str(_exit["status"]))
