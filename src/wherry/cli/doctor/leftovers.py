"""What is left of containers and daemons that are gone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from wherry.cli.doctor import finding
from wherry.cli.doctor.finding import OK, WARN, Finding, Places

_CONNECT_SECONDS = 3.0
#: So many names are shown, the others counted.
_SHOWN = 5


def check(places: Places) -> Iterator[Finding]:
    """Yield what was found about the daemon and about what outlived its owner."""
    if os.geteuid() != 0:
        yield Finding("leftovers", WARN, "not examined: only root can see them", "run wherry doctor as root")
        return
    answers = does_answer(places.run / "wherry.sock")
    containers = find_containers(places.run)
    yield _check_daemon(places, answers)
    yield _check_orphans(containers, answers)
    yield _check_quarantine(places.run)
    shims = find_shims(places.proc)
    yield _check_shims(shims)
    yield _check_cgroups(places, {path.parent.name for path in shims.values()} | {_id(each) for each in containers})
    yield _check_earlier_boot(places, containers)


def does_answer(path: Path) -> bool:
    """Return whether somebody accepts connections on the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_SECONDS)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def find_containers(directory: Path) -> set[str]:
    """Return NAMESPACE/ID of every container that has a directory below `directory`."""
    return {
        f"{namespace.name}/{container.name}"
        for namespace in _directories(directory)
        if namespace.name != "quarantine"
        for container in _directories(namespace)
    }


def _directories(path: Path) -> list[Path]:
    try:
        return sorted(
            each for each in path.iterdir() if each.is_dir() and not each.is_symlink() and not each.name.startswith(".")
        )
    except OSError:
        return []


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _check_daemon(places: Places, answers: bool) -> Finding:
    path = places.run / "wherry.sock"
    if answers:
        return Finding("daemon", OK, f"answers at {path}")
    if path.exists():
        return Finding(
            "daemon",
            WARN,
            f"{path} is there and nobody answers",
            "start wherryd, or any wherry command as root: it is replaced",
        )
    return Finding("daemon", OK, f"none at {path}; wherry starts one when root needs it")


def _check_orphans(containers: set[str], answers: bool) -> Finding:
    if answers or not containers:
        return Finding("state", OK, f"{len(containers)} containers" if containers else "no containers")
    return Finding(
        "state",
        WARN,
        f"no daemon looks after {_shorten(sorted(containers))}",
        "start wherryd, or any wherry command as root: they run on, and are adopted",
    )


def _check_quarantine(run: Path) -> Finding:
    names = [each.name for each in _directories(run / "quarantine")]
    if not names:
        return Finding("quarantine", OK, "empty")
    return Finding(
        "quarantine",
        WARN,
        f"could not be understood and was moved aside: {_shorten(names)}",
        f"look at it, then rm -r {run / 'quarantine'}",
    )


def find_shims(proc: Path) -> dict[int, Path]:
    """Return every shim of this host and its working directory, which is the state directory of its process.

    That of a deleted one ends in " (deleted)" (proc(5)).
    """
    found = {}
    for entry in proc.iterdir():
        if entry.name.isdecimal() and finding.read_text(entry / "comm").strip() == "wherry-shim":
            try:
                found[int(entry.name)] = Path(os.readlink(entry / "cwd"))
            except OSError:
                continue
    return found


def _check_shims(shims: dict[int, Path]) -> Finding:
    lost = [f"pid {pid} ({path})" for pid, path in sorted(shims.items()) if path.name.endswith(" (deleted)")]
    if not lost:
        return Finding("shims", OK, f"{len(shims)}, each with its state directory" if shims else "none")
    return Finding("shims", WARN, f"without a state directory: {_shorten(lost)}", "kill -9 these pids")


def _id(container: str) -> str:
    return container.partition("/")[2]


def _check_cgroups(places: Places, known: set[str]) -> Finding:
    """A container's group is wherry~ID~NUMBER; the shims also tell those of another daemon's state directory."""
    names = {path.name for path in _find_groups(places.cgroup)}
    lost = sorted(name for name in names if not known.intersection(name.split("~")[1:]))
    if not lost:
        return Finding("cgroups of containers", OK, f"{len(names)}, each with its container" if names else "none")
    return Finding(
        "cgroups of containers",
        WARN,
        f"without a container: {_shorten(lost)}",
        f"when no process is in them: find {places.cgroup} -depth -path '*/{lost[0]}*' -type d -exec rmdir {{}} \\;",
    )


def _find_groups(cgroup: Path) -> Iterator[Path]:
    for pattern in ("wherry~*", "*/wherry~*", "wherry/wherry~*", "*/wherry/wherry~*"):
        yield from cgroup.glob(pattern)


def _check_earlier_boot(places: Places, containers: set[str]) -> Finding:
    kept = find_containers(places.root / "containers")
    lost = sorted(kept - containers)
    if not lost:
        return Finding("logs and layers", OK, f"of {len(kept)} containers" if kept else "none")
    return Finding(
        "logs and layers",
        WARN,
        f"of containers that are no longer known (an earlier boot?): {_shorten(lost)}",
        f"keep what you need, then rm -r below {places.root / 'containers'}",
    )
