"""Whether containers can be written down here: criu, a runtime that uses it, and what the kernel lacks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from wherry.cli.doctor import finding
from wherry.cli.doctor.finding import OK, WARN, Finding, Places

#: Where tools/criu.sh puts one that the daemon finds.
FALLBACK = "/opt/wherry/criu/criu"
_GET = "install criu 4.2 or newer; on Debian tools/criu.sh of the sources gets one"


def check(_places: Places) -> Iterator[Finding]:
    """Yield what stands in the way of checkpoints, one finding each."""
    yield _check_criu()
    yield _check_runtime()


def _check_criu() -> Finding:
    paths = [path for path in map(shutil.which, ("criu", FALLBACK)) if path]
    if not paths:
        return Finding("criu", OK, "not on PATH; only wherry checkpoint, restore and clone need it", _GET)
    if os.geteuid() != 0:
        return Finding("criu", WARN, f"{paths[0]}: not tried, only root can", "run wherry doctor as root")
    problems = []
    for path in paths:
        version = finding.try_program([path, "--version"]).words.split(" / ")[0]
        checked = finding.try_program([path, "check"])
        if checked.status == 0:
            return _check_memory(path, version)
        problems.append(f"{version} at {path} does not suit this kernel: {checked.words}")
    return Finding("criu", WARN, "; ".join(problems), _GET)


def _check_memory(path: str, version: str) -> Finding:
    shown = f"{version} at {path} suits this kernel"
    if finding.try_program([path, "check", "--feature", "mem_dirty_track"]).status == 0:
        return Finding("criu", OK, shown)
    detail = f"{shown}, which does not track written memory (CONFIG_MEM_SOFT_DIRTY): --pre-copy is refused"
    return Finding("criu", OK, detail)


def _check_runtime() -> Finding:
    """Find a runtime that hands containers to criu: every runc, and a crun that says so."""
    if shutil.which("runc"):
        return Finding("criu, runtime", OK, "runc uses it: wherry run --runtime runc")
    crun = shutil.which("crun")
    if crun and "CRIU" in finding.try_program([crun, "--version"]).words:
        return Finding("criu, runtime", OK, "crun uses it")
    return Finding("criu, runtime", WARN, "no runtime here uses criu: crun is built without it", "apt-get install runc")
