"""What is known of a container: the answers of the native API as values. Times are Unix nanoseconds, 0 is "not yet"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from wherry.model.request import CreateRequest, Limits
from wherry.model.value import dataclass


def _no_map() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitRecord:
    """How a process ended, as its shim wrote it to `exit.json`.

    `status` is the exit code, or 128 + `signal`. `reason` is "" for an ordinary end, `oom`, `timeout`, `ttl`,
    `unhealthy`, `checkpoint`, `shim-lost` or `unknown`. CPU times in microseconds and `max_rss_bytes` are those of
    wait4(2). `dropped_bytes` could not be logged.
    """

    status: int
    signal: int = 0
    exited_at_ns: int = 0
    oom: bool = False
    reason: str = ""
    user_cpu_us: int = 0
    system_cpu_us: int = 0
    max_rss_bytes: int = 0
    dropped_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessInfo:
    """One process of a container: `init` or an exec. `pid` is the host's, 0 when there is none."""

    id: str
    state: str
    pid: int = 0
    args: tuple[str, ...] = ()
    user: str = ""
    terminal: bool = False
    created_at_ns: int = 0
    started_at_ns: int = 0
    exit: ExitRecord | None = None
    log_path: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How well a container is by its health check: `status` is "" (no check), `starting`, `healthy` or `unhealthy`.

    `failures` in a row so far; `exit_status` and `output` (its last 4096 bytes) are those of the last check, which
    ended at `checked_at_ns`.
    """

    status: str = ""
    failures: int = 0
    exit_status: int = 0
    output: str = ""
    checked_at_ns: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerInfo:
    """A container and its processes, `init` first. `problem` says why a container is `unknown`, or was not restarted.

    `restarts` counts the times it was started again, the next time is `restart_at_ns` (0: none is due). `limits` are
    those in force, read from its cgroup (Get only).
    """

    id: str
    namespace: str
    generation: int
    state: str
    problem: str = ""
    pid: int = 0
    created_at_ns: int = 0
    started_at_ns: int = 0
    exit: ExitRecord | None = None
    runtime: str = ""
    bundle: str = ""
    cgroup: str = ""
    layer: str = ""
    request: CreateRequest = CreateRequest()
    processes: tuple[ProcessInfo, ...] = ()
    restarts: int = 0
    restart_at_ns: int = 0
    limits: Limits = Limits()
    health: Health = Health()


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerList:
    """The containers asked for, oldest first."""

    containers: tuple[ContainerInfo, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class HostProcess:
    """A process in the container's cgroup, with the host's numbers (proc(5)).

    `process` is the id of the `init` or exec that it is or descends from, "" for one that has lost its parents. `state`
    is the letter of proc(5), `cpu_us` user and system time, `command` its arguments.
    """

    pid: int
    parent: int = 0
    process: str = ""
    uid: int = 0
    state: str = ""
    threads: int = 0
    cpu_us: int = 0
    rss_bytes: int = 0
    started_at_ns: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class HostProcessList:
    """The processes of a container, by pid."""

    processes: tuple[HostProcess, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LogChunk:
    """A piece of a managed log: what came from `stream` (`stdout`, `stderr`) at one time, line ends included."""

    stream: str
    time_ns: int
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """Bytes of an attached process. `offset` is where the next ones begin in the log; `dropped_bytes` were lost."""

    stream: str = ""
    data: bytes = b""
    offset: int = 0
    dropped_bytes: int = 0


EVENT_TYPES = (
    *("create", "restore", "start", "pause", "resume", "update", "checkpoint", "migrate", "health", "oom", "exit"),
    *("restart", "delete"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened, with a sequence number that never repeats.

    `type` is one of EVENT_TYPES; `process` is `init` or an exec's id; `pid` the host's, `status`, `signal` and `reason`
    those of the exit record. The `reason` of `health` is the new status, that of `checkpoint` and `restore` the
    checkpoint's name, that of a `restart` which no policy wanted `by-hand`; `count` numbers the restarts of the
    container, and says of an `oom` how many processes have been killed for memory since the start.
    """

    seq: int
    time_ns: int
    type: str
    namespace: str
    container: str
    generation: int
    process: str = ""
    pid: int = 0
    status: int = 0
    signal: int = 0
    reason: str = ""
    labels: Mapping[str, str] = field(default_factory=_no_map)
    count: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What answers."""

    version: str
    api: str
    python: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeInfo:
    """An OCI runtime on this host: `problem` is "" when a container was run with it; `warning` is of its version."""

    name: str
    path: str
    version: str = ""
    problem: str = ""
    default: bool = False
    warning: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Info:
    """The daemon and its host."""

    version: str
    pid: int
    state_dir: str
    root_dir: str
    cgroup_mode: str
    kernel: str
    recovering: bool
    containers: int
    running: int
    last_seq: int
    zygote_pid: int
    runtimes: tuple[RuntimeInfo, ...] = ()
