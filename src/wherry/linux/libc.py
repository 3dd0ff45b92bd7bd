"""The system calls that the standard library of Python 3.11 lacks: the only ctypes in Wherry.

The zygote imports this file before it freezes; it must import nothing but os, ctypes and struct.
"""

from __future__ import annotations

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
#: Keeps the interpreter's lock during a call: a child of clone3 goes on in the middle of one.
_held = ctypes.PyDLL(None, use_errno=True)

# linux/mount.h
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MNT_DETACH = 0x2
# linux/sched.h
CLONE_FS = 0x00000200
CLONE_FILES = 0x00000400
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_SET_THP_DISABLE = 41

_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.syscall.restype = ctypes.c_long


def _error(path: str | None = None) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path) if path else OSError(number, os.strerror(number))


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """Mount as mount(2); `flags` are MS_* bits, `data` the filesystem's own options."""
    done = _libc.mount(os.fsencode(source), os.fsencode(target), os.fsencode(fstype), flags, os.fsencode(data) or None)
    if done != 0:
        raise _error(target)


def umount(target: str, flags: int = 0) -> None:
    """Unmount as umount2(2)."""
    if _libc.umount2(os.fsencode(target), flags) != 0:
        raise _error(target)


def unshare(flags: int) -> None:
    """Leave namespaces as unshare(2); `flags` are CLONE_* bits."""
    if _libc.unshare(flags) != 0:
        raise _error()


def sync_filesystem(fd: int) -> None:
    """Write the filesystem of `fd` back to its disk (syncfs(2))."""
    if _libc.syncfs(fd) != 0:
        raise _error()


def setns(fd: int, kind: int) -> None:
    """Enter the namespace of `fd`, of the `kind` CLONE_NEW* (setns(2))."""
    if _libc.setns(fd, kind) != 0:
        raise _error()


def prctl(option: int, argument: int = 0) -> None:
    """Call prctl(2) with one integer argument."""
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        raise _error()


# Made beforehand: converting an argument in a shim costs it 150 kB of pages of its own.
_ONE, _NONE = ctypes.c_ulong(1), ctypes.c_ulong(0)
_SET_NAME, _NAME = ctypes.c_ulong(PR_SET_NAME), ctypes.create_string_buffer(b"wherry-shim")
_NAME_AT = ctypes.c_ulong(ctypes.addressof(_NAME))
_SUBREAPER = ctypes.c_ulong(PR_SET_CHILD_SUBREAPER)
# asm-generic/unistd.h: the same on every architecture. struct clone_args has eight 64-bit fields, of which flags is the
# first; no signal is sent at the child's end.
_CLONE3 = ctypes.c_long(435)
_CLONE_ARGS = ctypes.create_string_buffer(struct.pack("8Q", CLONE_FILES | CLONE_FS, 0, 0, 0, 0, 0, 0, 0), 64)
_CLONE_SIZE = ctypes.c_long(64)
_held.syscall.restype = ctypes.c_long
#: linux/wait.h: wait for children that send another signal than SIGCHLD at their end, too.
WALL = 0x40000000


def become_shim() -> None:
    """Inherit whoever below us loses its parent (prctl(2), PR_SET_CHILD_SUBREAPER), and be called `wherry-shim`."""
    _held.prctl(_SET_NAME, _NAME_AT, _NONE, _NONE, _NONE)
    if _held.prctl(_SUBREAPER, _ONE, _NONE, _NONE, _NONE) != 0:
        raise _error()


def fork_sharing() -> int:
    """Fork a child that shares descriptors and current directory with us (clone3(2), CLONE_FILES | CLONE_FS).

    Returns 0 in the child; WALL waits for it. Only for a process with one thread: nothing is done for others.
    """
    pid = int(_held.syscall(_CLONE3, _CLONE_ARGS, _CLONE_SIZE))
    if pid < 0:
        raise _error()
    return pid


def set_name(name: bytes) -> None:
    """Set the name that `ps -e` shows, of which 15 bytes are kept (proc(5), /proc/PID/comm)."""
    fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, name[:15])
    finally:
        os.close(fd)


def syscall(number: int, *arguments: int | bytes) -> int:
    """Make a raw system call; integers are passed as longs, bytes as pointers. Raises OSError."""
    converted = [ctypes.c_char_p(item) if isinstance(item, bytes) else ctypes.c_long(item) for item in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *converted))
    if result < 0:
        raise _error()
    return result
