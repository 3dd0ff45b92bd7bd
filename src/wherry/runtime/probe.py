"""Which OCI runtimes work on this host: found out by running a container with each, not by guessing."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import Any

from wherry import errors
from wherry.linux import cgroup
from wherry.model import floors
from wherry.model import status as st
from wherry.runtime import driver, record, spawn

#: In this order of preference: crun takes a third of the time of runc (tools/seccomp_cost.py shows both).
NAMES = ("crun", "runc")
TIMEOUT = 20.0


async def find(wanted: str, scratch: Path) -> tuple[st.RuntimeInfo, ...]:
    """Return the runtimes on PATH, probed; the default is `wanted`, or the first that works."""
    names = [wanted] if wanted else [name for name in NAMES if shutil.which(name)]
    found = list(await asyncio.gather(*(probe(name, scratch) for name in names)))
    for index, item in enumerate(found):
        if not item.problem or wanted:
            found[index] = dataclasses.replace(item, default=True)
            break
    return tuple(found)


async def probe(name: str, scratch: Path) -> st.RuntimeInfo:
    """Run `true` in a container below the directory `scratch` and say how it went."""
    path = shutil.which(name)
    if path is None:
        return st.RuntimeInfo(name=name, path="", problem="not found on PATH")
    try:
        version = "".join((await spawn.run([path, "--version"], timeout=TIMEOUT)).output.splitlines()[:1])
        problem = await _try(path, scratch)
    except errors.WherryError as error:
        return st.RuntimeInfo(name=name, path=path, problem=error.message)
    except OSError as error:  # a full state directory, for one: that is no reason to stop here
        return st.RuntimeInfo(name=name, path=path, problem=errors.from_os(f"try {name}", error).message)
    warning = floors.find_warning(version)
    return st.RuntimeInfo(name=name, path=path, version=version, problem=problem, warning=warning)


async def _try(path: str, scratch: Path) -> str:
    bundle = Path(tempfile.mkdtemp(prefix=".probe-", dir=scratch))
    name = f"wherry{bundle.name.replace('.', '-')}"
    try:
        (bundle / "rootfs" / "dev").mkdir(parents=True)
        record.write_json(bundle / "config.json", _config(f"/{name}"))
        base = [path, "--root", str(bundle / "state"), "--log", str(bundle / "log"), "--log-format", "json"]
        result = await spawn.run([*base, "run", "--bundle", str(bundle), name], timeout=TIMEOUT)
        if result.status == 0:
            return ""
        await spawn.run([*base, "delete", "--force", name], timeout=TIMEOUT)
        said = driver.words(driver.read_log(bundle / "log"), result.output)
        return said or f"it ended with status {result.status} and gave no reason"
    finally:
        cgroup.remove(name)
        shutil.rmtree(bundle, ignore_errors=True)


def _config(cgroups_path: str) -> dict[str, Any]:
    """The least that runs `true` from this machine's own files, shown read-only."""
    shown = [directory for directory in ("/bin", "/lib", "/lib64", "/usr", "/nix") if Path(directory).is_dir()]
    binds = [{"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]} for path in shown]
    empty: list[str] = []
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": [shutil.which("true") or "/bin/true"],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "inheritable", "permitted"), empty),
            "noNewPrivileges": True,
        },
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, *binds],
        "linux": {
            "cgroupsPath": cgroups_path,
            "namespaces": [{"type": name} for name in ("pid", "ipc", "uts", "mount", "network")],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        },
    }
