"""The specification that Wherry writes for `host` and `rootfs`: a pure function of what was found out before."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from wherry.model.request import CreateRequest, Stdio
from wherry.oci import capabilities, environment, limits, mounts, rules, seccomp, users

VERSION = "1.0.2"

# Kernel state that has no namespace: it tells about others, or (interrupts, powercap) what they compute.
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What a specification needs to know of the machine and of the container's place on it.

    `root` is the directory the runtime takes for /, `held` the daemon's own capabilities, `mounts` the OCI mounts asked
    for, `masked` further paths to hide.
    """

    root: str
    workdir: str
    account: users.Account
    held: frozenset[str]
    mounts: tuple[dict[str, Any], ...]
    masked: tuple[str, ...]
    cgroups_path: str
    cgroup_namespace: bool


def compose(request: CreateRequest, findings: Findings) -> dict[str, Any]:
    """Return the config.json for `request`, new down to its last list. Raises PermissionDenied.

    That is for capabilities and limits that the daemon cannot give because it lacks what they need.
    """
    chosen = capabilities.choose(request.cap_add, request.cap_drop, privileged=request.privileged, held=findings.held)
    hostname = request.hostname or request.id[: rules.MAX_HOSTNAME]
    return {
        "ociVersion": VERSION,
        "root": {"path": findings.root, "readonly": request.read_only},
        "hostname": hostname,
        "process": _process(request, findings, chosen, hostname),
        "mounts": [*mounts.compose_system(privileged=request.privileged), *findings.mounts],
        "linux": _linux(request, findings, chosen),
    }


def _process(request: CreateRequest, findings: Findings, chosen: tuple[str, ...], hostname: str) -> dict[str, Any]:
    term = ("TERM=xterm",) if request.stdio.terminal else ()
    own = (f"PATH={environment.PATH}", f"HOSTNAME={hostname}", f"HOME={findings.account.home}", *term)
    return {
        "terminal": request.stdio.terminal,
        **console_size(request.stdio),
        "user": findings.account.as_user(),
        "args": list(request.args),
        "env": environment.overlay(own, request.env),
        "cwd": findings.workdir,
        "capabilities": capabilities.sets(chosen, findings.account.uid),
        "rlimits": limits.rlimits(request.ulimits, findings.held),
        "noNewPrivileges": not request.privileged,
    }


def console_size(stdio: Stdio) -> dict[str, dict[str, int]]:
    """Return the terminal's first size as the specification has it: an exec runs before anybody could set it later."""
    if not (stdio.terminal and stdio.width and stdio.height):
        return {}
    return {"consoleSize": {"height": stdio.height, "width": stdio.width}}


def _linux(request: CreateRequest, findings: Findings, chosen: tuple[str, ...]) -> dict[str, Any]:
    namespaces = ["pid", "ipc", "uts", "mount"]
    if findings.cgroup_namespace:
        namespaces.append("cgroup")
    if request.network == "none":
        namespaces.append("network")
    # What a container needs of /dev the runtime makes, and allows after this.
    devices = [{"allow": request.privileged, "access": "rwm"}]
    # The weight of block I/O is given to the cgroup that was made (supervisor/update.py, reapply).
    resources = limits.resources(dataclasses.replace(request.limits, blkio_weight=None))
    found: dict[str, Any] = {
        "namespaces": [{"type": name} for name in namespaces],
        "resources": {"devices": devices, **resources},
    }
    if findings.cgroups_path:
        found["cgroupsPath"] = findings.cgroups_path
    if not request.privileged:
        found["maskedPaths"] = [*_MASKED, *findings.masked]
        found["readonlyPaths"] = list(_READ_ONLY)
        found["seccomp"] = seccomp.profile(chosen)
    return found
