"""What this host can do, found out by doing it: a uid of 0 does not say that a mount succeeds.

`@pytest.mark.requires("overlay")` skips a test where the probe fails. With `--require=overlay` (or
$WHERRY_TEST_REQUIRE) it fails there instead, and so does the whole run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from bench.kernel import Watch
from bench.stage import UnusableError
from tests.support import certificates, rootfs
from wherry.runtime import criu

CGROUP = Path("/sys/fs/cgroup")
_TIMEOUT = 30.0


class Missing(Exception):
    """The host cannot do it; the message says why."""


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT)
    except FileNotFoundError as error:
        raise Missing(f"{error.filename} is not on PATH") from None
    except subprocess.TimeoutExpired:
        raise Missing(f"{argv[0]} does not end") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(words[-1] if words else f"{argv[0]} ended with status {done.returncode}")


def _root() -> None:
    if os.geteuid() != 0:
        raise Missing(f"the tests are run by uid {os.geteuid()}")


def _mountns() -> None:
    _run("unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt")


def _netns() -> None:
    _run("unshare", "--net", "true")


def _veth() -> None:
    _run("unshare", "--net", "ip", "link", "add", "wt0", "type", "veth", "peer", "name", "wt1")


def _openssl() -> None:
    with tempfile.TemporaryDirectory(prefix="wt-") as work:
        try:
            certificates.Authority(Path(work)).issue("probe", "DNS:probe", days=-1)
        except FileNotFoundError as error:
            raise Missing(f"{error.filename} is not on PATH") from None
        except subprocess.CalledProcessError as error:
            raise Missing(f"openssl cannot issue a certificate: {error.stderr.strip()}") from None


def _overlay() -> None:
    with tempfile.TemporaryDirectory(prefix="wt-") as work:
        for name in ("lower", "upper", "work", "merged"):
            os.mkdir(f"{work}/{name}")
        script = (
            f"mount -t tmpfs tmpfs {work}/upper && mkdir {work}/upper/u {work}/upper/w && mount -t overlay overlay"
            f" -o lowerdir={work}/lower,upperdir={work}/upper/u,workdir={work}/upper/w {work}/merged"
        )
        _run("unshare", "--mount", "sh", "-c", script)


def _try_cgroup(parent: Path) -> None:
    directory = parent / f"wt-probe-{os.getpid()}"
    try:
        directory.mkdir()
        directory.rmdir()
    except OSError as error:
        raise Missing(f"cannot make {directory}: {error.strerror}") from None


def _cgroup1() -> None:
    if not (CGROUP / "pids" / "cgroup.procs").exists():
        raise Missing(f"the pids controller is not mounted at {CGROUP}/pids")
    _try_cgroup(CGROUP / "pids")


def _cgroup2() -> None:
    if not (CGROUP / "cgroup.controllers").exists():
        raise Missing(f"{CGROUP} is not cgroup version 2")
    _try_cgroup(CGROUP)


def _cgroup() -> None:
    _any_of("cgroup2", "cgroup1")


def _run_container(runtime: str) -> None:
    with tempfile.TemporaryDirectory(prefix="wt-") as work:
        name = f"wt-probe-{os.getpid()}"
        bundle = Path(work)
        try:
            rootfs.make_busybox_rootfs(bundle / "rootfs")
        except FileNotFoundError as error:
            raise Missing(str(error)) from None
        (bundle / "config.json").write_text(json.dumps(rootfs.make_config("true", cgroup=f"/{name}")))
        _run(runtime, "--root", f"{work}/state", "run", "--bundle", work, name)


def _crun() -> None:
    _run_container("crun")


def _runc() -> None:
    _run_container("runc")


def _runtime() -> None:
    _any_of("crun", "runc")


def _any_of(*names: str) -> None:
    reasons = [reason(name) for name in names]
    if all(reasons):
        raise Missing("; ".join(reasons))


def _busybox() -> None:
    if shutil.which("busybox") is None:
        raise Missing("busybox is not on PATH")
    # A dynamically linked one would need the host's libraries in the root filesystem.
    with tempfile.TemporaryDirectory(prefix="wt-") as work:
        rootfs.make_busybox_rootfs(Path(work, "rootfs"))
        if os.geteuid() == 0:
            _run("chroot", f"{work}/rootfs", "/bin/true")


def _criu() -> None:
    found = shutil.which("criu") or criu.FALLBACK
    _run(found if os.path.exists(found) else "criu", "check")


def _procevents() -> None:
    try:
        with Watch() as watch:
            pid = os.posix_spawn("/bin/true", ["/bin/true"], {})
            os.waitpid(pid, 0)
            if not any(event.pid == pid for event in watch.take()):
                raise Missing("the kernel's process connector told nothing of a fork")
    except UnusableError as error:
        raise Missing(str(error)) from None


PROBES: dict[str, Callable[[], None]] = {
    "root": _root,
    "mountns": _mountns,
    "netns": _netns,
    "veth": _veth,
    "openssl": _openssl,
    "overlay": _overlay,
    "cgroup": _cgroup,
    "cgroup1": _cgroup1,
    "cgroup2": _cgroup2,
    "busybox": _busybox,
    "crun": _crun,
    "runc": _runc,
    "runtime": _runtime,
    "criu": _criu,
    "procevents": _procevents,
}


@cache
def reason(name: str) -> str:
    """Return why this host lacks the capability `name`, "" when it has it. Probed once. Raises KeyError."""
    try:
        PROBES[name]()
    except Missing as error:
        return str(error)
    return ""


def parse(text: str) -> frozenset[str]:
    """Return the names in a comma-separated list. Raises ValueError for one that is not known."""
    names = frozenset(filter(None, text.split(",")))
    if unknown := sorted(names - PROBES.keys()):
        raise ValueError(f"unknown capability {', '.join(unknown)}; known are {', '.join(PROBES)}")
    return names
