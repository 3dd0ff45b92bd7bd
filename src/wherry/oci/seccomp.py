"""The seccomp filter: everything is allowed but what a container has no business with.

docs/decisions/0002-seccomp-deny-list.md has the reasons, and what it costs. `tools/seccomp_cost.py` measures.
"""

from __future__ import annotations

import errno
import platform
from collections.abc import Collection
from typing import Any

#: Refused, by the capabilities of which any one gives them back. What nothing gives back stands under ().
DENIED: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("CAP_SYS_ADMIN",),
        (
            "mount umount umount2 pivot_root fsopen fsconfig fsmount fspick open_tree open_tree_attr move_mount "
            "mount_setattr setns quotactl quotactl_fd swapon swapoff fanotify_init lookup_dcookie setdomainname "
            "sethostname"
        ),
    ),
    (("CAP_BPF", "CAP_SYS_ADMIN"), "bpf"),
    (("CAP_PERFMON", "CAP_SYS_ADMIN"), "perf_event_open"),
    (("CAP_SYSLOG", "CAP_SYS_ADMIN"), "syslog"),
    (("CAP_SYS_PTRACE",), "kcmp pidfd_getfd userfaultfd"),
    (("CAP_SYS_MODULE",), "init_module finit_module delete_module create_module query_module get_kernel_syms"),
    (("CAP_SYS_BOOT",), "reboot kexec_load kexec_file_load"),
    (("CAP_SYS_TIME",), "settimeofday stime clock_settime clock_settime64"),
    (("CAP_SYS_PACCT",), "acct"),
    (("CAP_SYS_RAWIO",), "iopl ioperm"),
    (("CAP_SYS_TTY_CONFIG",), "vhangup"),
    (("CAP_SYS_NICE",), "move_pages migrate_pages"),
    (("CAP_DAC_READ_SEARCH",), "open_by_handle_at name_to_handle_at"),
    # Keyrings have no namespace; io_uring has been the kernel's richest source of holes and slips past filters like
    # this one; the rest is dead code that the kernel still carries.
    (
        (),
        (
            "add_key keyctl request_key io_uring_setup io_uring_enter io_uring_register nfsservctl vm86 vm86old uselib "
            "ustat sysfs _sysctl"
        ),
    ),
)

# linux/sched.h: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
_NEW_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
# For clone(2) this bit is part of the exit signal.
_CLONE_NEWTIME = 0x00000080
# linux/socket.h: talking to the hypervisor (it has no network namespace, so `network none` would not stop it), and
# the kernel's ciphers, which every library can do without.
_AF_VSOCK = 40
_AF_ALG = 38

#: The machine's own calls and, where programs still use them, those of its 32-bit mode. Calls of any other kind kill
#: the process, which on x86-64 includes x32.
_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "riscv64": ("SCMP_ARCH_RISCV64",),
    "ppc64le": ("SCMP_ARCH_PPC64LE",),
    "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
}


def profile(capabilities: Collection[str], machine: str | None = None) -> dict[str, Any]:
    """Return the `linux.seccomp` for a container with `capabilities` on `machine` (this one)."""
    machine = machine or platform.machine()
    names = [
        name for unlocked, row in DENIED if not any(item in capabilities for item in unlocked) for name in row.split()
    ]
    rules = [_deny(names), _deny_socket(_AF_VSOCK), _deny_socket(_AF_ALG)]
    if "CAP_SYS_ADMIN" not in capabilities:
        # Its arguments are in memory, where no filter looks; libraries that are told ENOSYS use clone instead.
        rules.append(_deny(["clone3"], errno.ENOSYS))
        # On s390x the flags of clone are the second argument (clone(2)).
        rules += [_deny_flag("clone", 1 if machine == "s390x" else 0, flag) for flag in _NEW_NAMESPACES]
        rules += [_deny_flag("unshare", 0, flag) for flag in (*_NEW_NAMESPACES, _CLONE_NEWTIME)]
    found: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    if machine in _ARCHITECTURES:
        found["architectures"] = list(_ARCHITECTURES[machine])
    return found


def _deny(names: list[str], number: int = errno.EPERM) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number}


def _deny_socket(family: int) -> dict[str, Any]:
    args = [{"index": 0, "value": family, "op": "SCMP_CMP_EQ"}]
    return {**_deny(["socket"], errno.EAFNOSUPPORT), "args": args}


def _deny_flag(name: str, index: int, flag: int) -> dict[str, Any]:
    # `value` is the mask and `valueTwo` what must be left of it.
    args = [{"index": index, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}]
    return {**_deny([name]), "args": args}
