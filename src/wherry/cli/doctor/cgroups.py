"""How this host mounts control groups (cgroups(7))."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wherry.cli.doctor import finding
from wherry.cli.doctor.finding import FAIL, OK, WARN, Finding, Places

#: Controllers without which a limit or a clean end of a container cannot be had.
_WANTED = ("cpu", "memory", "pids", "freezer", "devices")
#: Controllers that have another name in version 1.
_NAMES_V1 = {"io": "blkio"}


def check(places: Places) -> Iterator[Finding]:
    """Yield what was found about control groups."""
    mode = read_mode(places.cgroup)
    if mode == "none":
        advice = f"mount -t cgroup2 cgroup2 {places.cgroup}"
        yield Finding("cgroups", FAIL, f"nothing is mounted at {places.cgroup}", advice)
    elif mode == "v2":
        yield _check_unified(places.cgroup)
    else:
        yield _check_legacy(places.cgroup, mode)
    if mode == "hybrid":
        yield _check_leftover(places.cgroup)


def read_mode(cgroup: Path) -> str:
    """Return `v2`, `hybrid` (version 1, with an empty or leftover version 2 beside it), `v1` or `none`."""
    if (cgroup / "cgroup.controllers").exists():
        return "v2"
    if (cgroup / "unified/cgroup.controllers").exists():
        return "hybrid"
    return "v1" if any(cgroup.glob("*/cgroup.procs")) else "none"


def read_leftover(cgroup: Path) -> list[str]:
    """Return the controllers that the version 2 hierarchy of a hybrid host holds."""
    return finding.read_text(cgroup / "unified/cgroup.controllers").split()


def advise_leftover(cgroup: Path, controllers: list[str]) -> str:
    """Return the commands that mount leftover version 2 controllers as version 1."""
    names = [_NAMES_V1.get(name, name) for name in controllers]
    return "; ".join(f"mkdir -p {cgroup / name} && mount -t cgroup -o {name} cgroup {cgroup / name}" for name in names)


def _check_unified(cgroup: Path) -> Finding:
    controllers = (cgroup / "cgroup.controllers").read_text().split()
    # Freezing and device rules are part of version 2 itself.
    missing = [name for name in _WANTED[:3] if name not in controllers]
    detail = f"version 2 with {', '.join(controllers) or 'no controllers'}"
    if missing:
        return Finding(
            "cgroups", WARN, f"{detail}; not: {', '.join(missing)}", "delegate them to this group (Delegate=yes)"
        )
    return Finding("cgroups", OK, detail)


def _check_legacy(cgroup: Path, mode: str) -> Finding:
    mounted = sorted(path.name for path in cgroup.iterdir() if (path / "cgroup.procs").exists())
    mounted = [name for name in mounted if name not in ("unified", "systemd")]
    present = {part for name in mounted for part in name.split(",")}
    missing = [name for name in _WANTED if name not in present]
    detail = f"{'hybrid: version 1' if mode == 'hybrid' else 'version 1'} with {', '.join(mounted)}"
    if missing:
        return Finding("cgroups", WARN, f"{detail}; not: {', '.join(missing)}", advise_leftover(cgroup, missing))
    return Finding("cgroups", OK, detail)


def _check_leftover(cgroup: Path) -> Finding:
    leftover = read_leftover(cgroup)
    if not leftover:
        return Finding("leftover v2 controllers", OK, "none: both runtimes accept this hybrid host")
    return Finding(
        "leftover v2 controllers",
        WARN,
        f"the version 2 hierarchy at {cgroup / 'unified'} holds {', '.join(leftover)}: crun refuses such a host",
        f"use runc, or mount them as version 1: {advise_leftover(cgroup, leftover)}",
    )
