"""Whether copy-on-write root filesystems can be mounted, and the modes of Wherry's own directories."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wherry.cli.doctor import finding
from wherry.cli.doctor.finding import FAIL, OK, WARN, Finding, Places

#: Mounts an overlay over / with its writable layer in $1, on a tmpfs when $2 says so, and writes through it. It runs in
#: a mount namespace of its own, so nothing has to be unmounted.
_OVERLAY = """
set -e
if [ "$2" = tmpfs ]; then mount -t tmpfs tmpfs "$1"; fi
mkdir "$1/upper" "$1/work" "$1/merged"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/merged"
: > "$1/merged/wherry-doctor"
"""


def check(places: Places) -> Iterator[Finding]:
    """Yield what was found about overlay mounts and directory modes."""
    yield _check_overlay(places.root)
    yield check_modes(places)


def _check_overlay(root: Path) -> Finding:
    if os.geteuid() != 0:
        return Finding("overlay", WARN, "not tried: only root can", "run wherry doctor as root")
    if shutil.which("unshare") is None:
        return Finding("overlay", WARN, "not tried: unshare is not on PATH", "install util-linux")
    base = next(path for path in (root, *root.parents) if path.is_dir())
    on_disk = _try_overlay(base, "disk")
    if on_disk.status == 0:
        return Finding("overlay", OK, f"writable layers can lie below {base}")
    in_memory = _try_overlay(base, "tmpfs")
    if in_memory.status == 0:
        return Finding(
            "overlay",
            WARN,
            f"not with its layer below {base} ({on_disk.words}); with one on a tmpfs it works",
            f"layers will live in memory; for large ones put {root} on another filesystem, such as ext4",
        )
    return Finding(
        "overlay",
        FAIL,
        f"cannot mount one: {in_memory.words}",
        "modprobe overlay; until then only rootfs:DIR with --rootfs-rw and bundle:DIR work",
    )


def _try_overlay(base: Path, kind: str) -> finding.Outcome:
    try:
        with tempfile.TemporaryDirectory(prefix=".wherry-doctor-", dir=base, ignore_cleanup_errors=True) as directory:
            return finding.try_program(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", _OVERLAY, "doctor", directory, kind]
            )
    except OSError as error:
        return finding.Outcome(1, str(error))


def check_modes(places: Places) -> Finding:
    """Return whether Wherry's directories and socket are open to nobody they should not be open to."""
    allowed = {
        places.run: 0o711,
        places.root: 0o700,
        places.run / "wherry.sock": 0o660,
        places.run / "wherryd.log": 0o600,
    }
    wrong, fixes, present = [], [], 0
    for path, mode in allowed.items():
        try:
            found = os.lstat(path)
        except OSError:
            continue
        present += 1
        if stat.S_IMODE(found.st_mode) & ~mode:
            wrong.append(f"{path} has mode {stat.S_IMODE(found.st_mode):04o}")
            fixes.append(f"chmod {mode:04o} {path}")
        if found.st_uid != 0:
            wrong.append(f"{path} belongs to user {found.st_uid}")
            fixes.append(f"chown root {path}")
    if wrong:
        return Finding("modes", FAIL, ", ".join(wrong), "; ".join(fixes))
    return Finding("modes", OK, "directories and socket are closed to others" if present else "nothing is there yet")
