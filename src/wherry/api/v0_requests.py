"""Requests of `types.API` as requests of ours, checked."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from wherry import errors
from wherry.api import v0_texts
from wherry.model import ids
from wherry.model import request as req
from wherry.supervisor.core import find_executable
from wherry.wire import v0_pb2 as pb

#: A label of ours that holds all of a client's, as JSON, when they are not NAME=VALUE each with a NAME of its own.
LABELS = "containerd.v0.labels"
#: What every `ctr` asks for, whatever its user wants.
_USUAL_RUNTIME = "runc"
#: Zero in Go: 0001-01-01T00:00:00Z.
ZERO_TIME = -62_135_596_800
#: 10000-01-01T00:00:00Z, from which on Go has no times.
END_TIME = 253_402_300_800


def check_id(container_id: str, directory: Path) -> None:
    """Raise for an id that cannot be a container's what the original's mkdir(2) and runtime said to it."""
    if ids.PATTERN.fullmatch(container_id):
        return
    if container_id in ("", ".", ".."):
        raise errors.AlreadyExists(f"mkdir {os.path.normpath(directory / container_id)}: file exists")
    parts = container_id.split("/")
    if len(parts) > 1 and ".." not in parts and ids.PATTERN.fullmatch(parts[0]) and not (directory / parts[0]).exists():
        raise errors.NotFound(f"mkdir {directory / container_id}: no such file or directory")
    raise errors.InvalidArgument("oci runtime error: runc create failed: invalid container ID format")


def check_checkpoint(name: str, directory: str) -> None:
    """Raise InvalidArgument for a checkpoint that could lie anywhere but in its directory."""
    if not name:
        raise errors.InvalidArgument("checkpoint name cannot be empty")
    ids.check("checkpoint name", name)
    if directory and (not directory.startswith("/") or ".." in directory.split("/") or not directory.isprintable()):
        raise errors.InvalidArgument(
            f"checkpoint directory {directory[:100]!r} is not valid: an absolute path is expected"
        )


def find_runtime(name: str) -> str:
    """Return what to ask the supervisor for: "" is its default. Raises NotFound and InvalidArgument."""
    if not name or (name == _USUAL_RUNTIME and shutil.which(name) is None):
        return ""
    try:
        find_executable(name)
    except errors.NotFound as error:
        text = f"fork/exec {name}: no such file or directory" if "/" in name else f"{name} not installed on system"
        raise v0_texts.again(error, f"shim error: {text}") from None
    return name


def to_create(message: pb.CreateContainerRequest, config: dict[str, Any], runtime: str) -> req.CreateRequest:
    """Return the request for a container of the bundle with `config`; it is forgotten when it has ended."""
    return req.CreateRequest(
        id=message.id,
        source=req.Source(kind="bundle", path=message.bundlePath),
        stdio=_fifos(message, bool(config["process"].get("terminal"))),
        labels=to_labels(tuple(message.labels)),
        runtime=runtime,
        runtime_args=tuple(message.runtimeArgs),
        no_pivot=message.noPivotRoot,
        auto_remove=True,
    )


def _fifos(message: pb.CreateContainerRequest | pb.AddProcessRequest, terminal: bool) -> req.Stdio:
    return req.Stdio(mode="fifo", stdin=message.stdin, stdout=message.stdout, stderr=message.stderr, terminal=terminal)


def to_labels(texts: tuple[str, ...]) -> dict[str, str]:
    """Return labels from which `from_labels` makes these very texts again."""
    labels = dict(text.split("=", 1) for text in texts if text.find("=") > 0)
    return labels if from_labels(labels) == list(texts) else labels | {LABELS: json.dumps(texts)}


def from_labels(labels: Any) -> list[str]:
    """Return labels as the texts that a client of v0 gave, or NAME=VALUE."""
    try:
        found = [str(text) for text in json.loads(labels[LABELS])]
        "".join(found).encode()  # an escaped half of a surrogate pair is no text
        return found
    except (KeyError, ValueError, TypeError, RecursionError):
        return [f"{name}={value}" for name, value in labels.items()]


def to_exec(message: pb.AddProcessRequest, own: dict[str, Any]) -> req.ExecRequest:
    """Return the request for a process in a container whose own is `own`. Raises InvalidArgument."""
    if not message.args:
        raise errors.InvalidArgument("oci runtime error: exec failed: args must not be empty")
    if not message.cwd:
        raise errors.InvalidArgument("oci runtime error: exec failed: Cwd property must not be empty")
    if not message.cwd.startswith("/"):
        raise errors.InvalidArgument("oci runtime error: exec failed: Cwd must be an absolute path")
    user: dict[str, Any] = {"uid": message.user.uid, "gid": message.user.gid}
    if message.user.additionalGids:
        user["additionalGids"] = list(message.user.additionalGids)
    process: dict[str, Any] = {
        "terminal": message.terminal,
        "user": user,
        "args": list(message.args),
        "env": list(message.env),
        "cwd": message.cwd,
        "noNewPrivileges": message.noNewPrivileges,
        "rlimits": [{"type": limit.type, "soft": limit.soft, "hard": limit.hard} for limit in message.rlimits],
    }
    if message.apparmorProfile:
        process["apparmorProfile"] = message.apparmorProfile
    if message.selinuxLabel:
        process["selinuxLabel"] = message.selinuxLabel
    if message.capabilities:
        sets = ("bounding", "effective", "inheritable", "permitted")
        process["capabilities"] = {name: list(message.capabilities) for name in sets}
    elif own.get("capabilities"):
        process["capabilities"] = own["capabilities"]
    return req.ExecRequest(
        id=message.id, process=message.pid, stdio=_fifos(message, message.terminal), oci_process=json.dumps(process)
    )


#: Limits that nothing applies: the original took them and did nothing (12 to 17), or the kernel has them no more.
_UNSUPPORTED = (
    "kernelMemoryLimit",
    "kernelTCPMemoryLimit",
    "blkioLeafWeight",
    "blkioWeightDevice",
    "blkioThrottleReadBpsDevice",
    "blkioThrottleWriteBpsDevice",
    "blkioThrottleReadIopsDevice",
    "blkioThrottleWriteIopsDevice",
)


def to_limits(container_id: str, resources: pb.UpdateResource) -> req.Limits:
    """Return the limits to change. Raises Unimplemented for one that could only be ignored."""
    for name in _UNSUPPORTED:
        if getattr(resources, name):
            raise errors.Unimplemented(f"cannot update container {container_id}: {name} is not supported")
    return req.Limits(
        memory_bytes=_number(resources.memoryLimit),
        memory_reservation_bytes=_number(resources.memoryReservation),
        memory_swap_bytes=_number(resources.memorySwap),
        pids=_number(resources.pidsLimit),
        cpu_shares=_number(resources.cpuShares),
        cpu_quota_us=_number(resources.cpuQuota),
        cpu_period_us=_number(resources.cpuPeriod),
        cpuset_cpus=resources.cpusetCpus,
        cpuset_mems=resources.cpusetMems,
        blkio_weight=_number(resources.blkioWeight),
    )


def _number(value: int) -> int | None:
    """Return a limit; 0 leaves it, and the largest numbers are negative ones of a client in Go (20ff2f2)."""
    return (value if value < 2**63 else value - 2**64) or None


def to_time_ns(message: pb.EventsRequest) -> int | None:
    """Return the Unix time after which events are wanted again, None for no such events. Raises InvalidArgument."""
    stamp = message.timestamp
    if message.HasField("timestamp") and not (stamp.seconds == ZERO_TIME and stamp.nanos == 0):
        shown = f"seconds:{stamp.seconds}" + (f" nanos:{stamp.nanos}" if stamp.nanos else "")
        if stamp.seconds < ZERO_TIME:
            raise errors.InvalidArgument(f"timestamp: {shown} before 0001-01-01")
        if stamp.seconds >= END_TIME:
            raise errors.InvalidArgument(f"timestamp: {shown} after 10000-01-01")
        if not 0 <= stamp.nanos < 1_000_000_000:
            raise errors.InvalidArgument(f"timestamp: {shown}: nanos not in range [0, 1e9)")
        return int(stamp.seconds) * 1_000_000_000 + stamp.nanos
    if message.storedOnly:
        text = "invalid parameter: StoredOnly cannot be specified without setting a valid Timestamp"
        raise errors.InvalidArgument(text)
    return None
