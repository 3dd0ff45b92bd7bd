"""Python, privileges, namespaces, limits."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator

from wherry.cli.doctor import finding
from wherry.cli.doctor.finding import FAIL, OK, WARN, Finding, Places

_OLDEST = (3, 11)
#: What wherryd and the runtimes use, by bit (linux/capability.h).
_NEEDED = {
    0: "CHOWN",
    1: "DAC_OVERRIDE",
    3: "FOWNER",
    5: "KILL",
    6: "SETGID",
    7: "SETUID",
    8: "SETPCAP",
    12: "NET_ADMIN",
    18: "SYS_CHROOT",
    19: "SYS_PTRACE",
    21: "SYS_ADMIN",
    24: "SYS_RESOURCE",
    27: "MKNOD",
}
#: Without these only what needs them fails: ulimits above the host's own, kill and stats across users.
_LACKED = frozenset({"NET_ADMIN", "SYS_PTRACE", "SYS_RESOURCE"})
_NAMESPACES = {"mount": ("--mount",), "pid": ("--pid", "--fork"), "ipc": ("--ipc",), "uts": ("--uts",)}
_NAMESPACES |= {"net": ("--net",), "cgroup": ("--cgroup",), "user": ("--user",)}
#: A host without these runs containers all the same; Wherry does not use them unless asked.
_OPTIONAL = frozenset({"cgroup", "user"})
#: Descriptors that wherryd holds per container process (exit FIFO, pidfd, attach, log), and how many are comfortable.
_FILES_PER_PROCESS = 4
_FILES_WANTED = 4096


def check(places: Places) -> Iterator[Finding]:
    """Yield what was found about the host itself."""
    yield _check_python()
    yield check_privileges(finding.read_text(places.proc / "self/status"))
    yield _check_namespaces()
    yield from _check_limits(places)


def _check_python() -> Finding:
    detail = f"Python {platform.python_version()} at {sys.executable}, Linux {platform.release()}"
    if sys.version_info < _OLDEST:
        return Finding("python", FAIL, detail, "install Python 3.11 or newer")
    return Finding("python", OK, detail)


def check_privileges(status: str) -> Finding:
    """Return what `/proc/self/status` says about user and capabilities."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    try:
        uid, effective = int(fields["Uid"].split()[1]), int(fields["CapEff"], 16)
    except (KeyError, IndexError, ValueError):
        return Finding("privileges", WARN, "cannot read the capabilities of this process", "is /proc mounted?")
    if uid != 0:
        return Finding(
            "privileges",
            WARN,
            f"user {uid}, not root: what needs root is not examined",
            "run wherry doctor as root",
        )
    missing = [name for bit, name in _NEEDED.items() if not effective >> bit & 1]
    if missing:
        return Finding(
            "privileges",
            WARN if set(missing) <= _LACKED else FAIL,
            f"root without CAP_{', CAP_'.join(missing)}",
            "it does not matter until an ulimit, a trace or a network setting is refused"
            if set(missing) <= _LACKED
            else "inside a container, start that one with more privileges (--privileged)",
        )
    return Finding("privileges", OK, "root with every capability that is needed")


def _check_namespaces() -> Finding:
    if shutil.which("unshare") is None:
        return Finding("namespaces", WARN, "not examined: unshare is not on PATH", "install util-linux")
    if os.geteuid() != 0:
        return Finding("namespaces", WARN, "not tried: only root can", "run wherry doctor as root")
    broken = {}
    for name, flags in _NAMESPACES.items():
        outcome = finding.try_program(["unshare", *flags, "true"])
        if outcome.status != 0:
            broken[name] = outcome.words
    if not broken:
        return Finding("namespaces", OK, f"{', '.join(_NAMESPACES)} can be made")
    detail = "; ".join(f"{name}: {words}" for name, words in broken.items())
    if set(broken) <= _OPTIONAL:
        return Finding("namespaces", OK, f"all that is needed can be made (not: {detail})")
    return Finding(
        "namespaces",
        FAIL,
        f"cannot make {detail}",
        "run as root, in a container that may unshare, or on the host itself",
    )


def _check_limits(places: Places) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"{soft} open files (hard limit {hard})"
    if hard != resource.RLIM_INFINITY and hard < _FILES_WANTED:
        advice = f"raise it (ulimit -Hn, LimitNOFILE=): a container process takes about {_FILES_PER_PROCESS}"
        yield Finding("open files", WARN, detail, advice)
    else:
        yield Finding("open files", OK, detail)
    kernel = places.proc / "sys"
    wanted = {
        "kernel/pid_max": 32768,
        "kernel/threads-max": 8192,
        "fs/inotify/max_user_instances": 128,
        "user/max_mnt_namespaces": 1024,
    }
    low = []
    for name, least in wanted.items():
        text = finding.read_text(kernel / name).strip()
        if text.isdecimal() and int(text) < least:
            low.append((name.replace("/", "."), int(text), least))
    if low:
        detail = ", ".join(f"{name} is {value}" for name, value, _ in low)
        advice = "; ".join(f"sysctl -w {name}={least}" for name, _, least in low)
        yield Finding("kernel limits", WARN, detail, advice)
    else:
        yield Finding("kernel limits", OK, "process, thread, inotify and namespace limits are roomy")
