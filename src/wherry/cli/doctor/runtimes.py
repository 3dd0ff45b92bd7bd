"""Which OCI runtimes are here, and whether each really runs a container on this host, now."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wherry.cli.doctor import cgroups, finding
from wherry.cli.doctor.finding import FAIL, OK, WARN, Finding, Places
from wherry.model import floors

KNOWN = ("crun", "runc")
#: What the probe container sees of this host, read-only: enough to run `true`.
_SHOWN = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")


def check(places: Places) -> Iterator[Finding]:
    """Yield one finding per runtime, and one on whether any of them works."""
    found = [check_one(name, places) for name in KNOWN]
    working = [each.name.removeprefix("runtime ") for each in found if each.status == OK]
    yield from found
    yield from filter(None, map(check_version, KNOWN))
    if working:
        yield Finding("runtimes", OK, f"{' and '.join(working)} can be used")
    elif os.geteuid() != 0:
        yield Finding("runtimes", WARN, "not tried: only root can", "run wherry doctor as root")
    else:
        yield Finding("runtimes", FAIL, "no OCI runtime works here", "apt-get install runc, or see the findings above")


def check_one(name: str, places: Places) -> Finding:
    """Return whether the runtime `name` runs a container here, with its own words when it does not."""
    title = f"runtime {name}"
    path = shutil.which(name)
    if path is None:
        return Finding(title, WARN, f"{name} is not on PATH", f"apt-get install {name} (one runtime is enough)")
    version = _read_version(path)
    if os.geteuid() != 0:
        return Finding(title, WARN, f"{version} at {path}: not tried, only root can", "run wherry doctor as root")
    outcome = run_container(path)
    if outcome.status == 0:
        return Finding(title, OK, f"{version} at {path} runs a container")
    detail = f"{version} at {path} cannot run a container: {outcome.words or f'status {outcome.status}'}"
    return Finding(title, WARN, detail, _advise(name, places))


def check_version(name: str) -> Finding | None:
    """Return a warning about a runtime whose version has a public hole."""
    path = shutil.which(name)
    warning = floors.find_warning(_read_version(path)) if path else ""
    return Finding(f"version of {name}", WARN, warning, f"a newer {name}") if warning else None


def _read_version(path: str) -> str:
    return finding.try_program([path, "--version"]).words.split(" / ")[0]


def _advise(name: str, places: Places) -> str:
    leftover = cgroups.read_leftover(places.cgroup) if cgroups.read_mode(places.cgroup) == "hybrid" else []
    if name == "crun" and leftover:
        return f"use runc, or mount the leftover controllers: {cgroups.advise_leftover(places.cgroup, leftover)}"
    return "another runtime may work; what it says above is the cause"


def run_container(runtime: str) -> finding.Outcome:
    """Run `true` in a container with the runtime at path `runtime`; nothing is left behind."""
    with tempfile.TemporaryDirectory(prefix="wherry-doctor-", ignore_cleanup_errors=True) as directory:
        bundle, id = Path(directory, "bundle"), Path(directory).name
        _write_bundle(bundle, id)
        general = [runtime, "--root", os.path.join(directory, "state")]
        outcome = finding.try_program([*general, "run", "--bundle", str(bundle), id])
        # Whether it ran, failed half-way or hung: it must be gone.
        finding.try_program([*general, "delete", "--force", id])
        return outcome


def _write_bundle(bundle: Path, id: str) -> None:
    rootfs = bundle / "rootfs"
    rootfs.mkdir(parents=True)
    shown = []
    for name in _SHOWN:
        inside = rootfs / name[1:]
        if os.path.islink(name):
            inside.symlink_to(os.readlink(name))
        elif os.path.isdir(name):
            inside.mkdir()
            shown.append(name)
    for name in ("proc", "dev"):
        (rootfs / name).mkdir()
    config = json.dumps(make_config(id, shown, shutil.which("true") or "/bin/true"))
    (bundle / "config.json").write_text(config, encoding="utf-8")


def make_config(id: str, shown: list[str], command: str) -> dict[str, Any]:
    """Return a minimal runtime-spec config that runs `command`, which lies below one of the `shown` directories."""
    binds = [
        {"destination": name, "type": "bind", "source": name, "options": ["rbind", "ro", "nosuid"]} for name in shown
    ]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": [command],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "doctor",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
            *binds,
        ],
        "linux": {
            "cgroupsPath": f"/{id}",
            "resources": {"pids": {"limit": 64}},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
        },
    }
