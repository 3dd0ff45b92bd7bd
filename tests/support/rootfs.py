"""A root filesystem of busybox, and the least OCI bundle round it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any


def make_busybox_rootfs(root: Path) -> Path:
    """Make a root filesystem with busybox and its applets at `root`. Raises FileNotFoundError without busybox."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox is not on PATH")
    for name in ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy(busybox, root / "bin" / "busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (root / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\nvideo:x:44:nobody\n")
    return root


def make_config(*args: str, rootfs: str = "rootfs", cgroup: str = "") -> dict[str, Any]:
    """Return an OCI config.json that runs `args` as root in its own namespaces."""
    linux: dict[str, Any] = {"namespaces": [{"type": name} for name in ("pid", "ipc", "uts", "mount", "network")]}
    if cgroup:
        linux["cgroupsPath"] = cgroup
    return {
        "ociVersion": "1.0.2",
        "root": {"path": rootfs},
        "process": {"user": {"uid": 0, "gid": 0}, "args": list(args), "env": ["PATH=/bin"], "cwd": "/"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": linux,
    }


def make_bundle(directory: Path, rootfs: Path, *args: str) -> Path:
    """Write an OCI bundle at `directory` that runs `args` in `rootfs`; return the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(make_config(*args, rootfs=str(rootfs))))
    return directory
