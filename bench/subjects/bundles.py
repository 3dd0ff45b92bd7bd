"""The container that everybody runs: busybox, and one OCI specification without a seccomp filter."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench import peers
from bench.stage import Stage, UnusableError

_CAPABILITIES = [
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"),
    *("CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_SETPCAP", "CAP_AUDIT_WRITE"),
]
_MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/sys/firmware"]
_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
_QUIET = ["nosuid", "noexec", "nodev"]


class Bundles:
    """Bundles round one root filesystem; each command line has one."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.rootfs = stage.make_directory("rootfs")
        _make_rootfs(self.rootfs)
        self._made: dict[tuple[tuple[str, ...], bool], Path] = {}

    def get(self, *args: str, terminal: bool = False) -> Path:
        """Return the bundle that runs `args`."""
        key = (args, terminal)
        if key not in self._made:
            directory = self._stage.make_directory("bundle")
            config = compose(self.rootfs, args, terminal=terminal)
            (directory / "config.json").write_text(json.dumps(config))
            self._made[key] = directory
        return self._made[key]


def _make_rootfs(root: Path) -> None:
    busybox = peers.find("busybox")
    if not busybox:
        raise UnusableError("busybox is not on PATH")
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp"):
        (root / name).mkdir()
    shutil.copy(busybox, root / "bin" / "busybox")
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")


def compose(rootfs: Path, args: tuple[str, ...], *, terminal: bool = False) -> dict[str, Any]:
    """Return config.json: what supervisors usually ask for, the same for all."""
    held = dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES)
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(rootfs)},
        "hostname": "bench",
        "process": {
            "terminal": terminal,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": held,
            "noNewPrivileges": True,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": _QUIET},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            _mount("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            _mount("/dev/shm", "tmpfs", [*_QUIET, "mode=1777", "size=65536k"]),
            _mount("/dev/mqueue", "mqueue", _QUIET),
            _mount("/sys", "sysfs", [*_QUIET, "ro"]),
            _mount("/run", "tmpfs", ["nosuid", "mode=755", "size=65536k"]),
        ],
        "linux": {
            "namespaces": [{"type": name} for name in ("pid", "ipc", "uts", "mount", "network")],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "maskedPaths": _MASKED,
            "readonlyPaths": _READ_ONLY,
        },
    }


def _mount(target: str, kind: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": kind, "options": options}
