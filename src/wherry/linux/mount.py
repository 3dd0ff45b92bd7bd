"""What the kernel would mount, found out without mounting anything anywhere."""

from __future__ import annotations

import contextlib
import os

from wherry.linux import libc

# The new mount API (linux/mount.h, Linux 5.2); the numbers are the same on every architecture.
_FSOPEN = 430
_FSCONFIG = 431
_FSOPEN_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6


def try_filesystem(fstype: str, **options: str) -> None:
    """Have the kernel make a filesystem as for a mount, and drop it; an option "" is a flag. Raises OSError.

    The filesystem lives as long as the descriptor here and is attached to no namespace, so nothing is left to unmount,
    even if this process is killed. The message is the kernel's own where it has one (fsopen(2)).
    """
    try:
        descriptor = libc.syscall(_FSOPEN, fstype.encode(), _FSOPEN_CLOEXEC)
    except OSError as error:
        raise OSError(error.errno, error.strerror, fstype) from None
    try:
        for key, value in options.items():
            if value:
                libc.syscall(_FSCONFIG, descriptor, _FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)
            else:
                libc.syscall(_FSCONFIG, descriptor, _FSCONFIG_SET_FLAG, key.encode(), 0, 0)
        libc.syscall(_FSCONFIG, descriptor, _FSCONFIG_CMD_CREATE, 0, 0, 0)
    except OSError as error:
        words = error.strerror
        with contextlib.suppress(OSError):
            words = os.read(descriptor, 4096).decode("utf-8", "replace").strip() or words
        raise OSError(error.errno, words, fstype) from None
    finally:
        os.close(descriptor)


def escape_option(value: str) -> str:
    """Return `value` so that overlayfs takes it as one path: its options are split at `,`, its layers at `:`."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")
