"""What can be asked of a container: the requests of the native API as values.

Field names are those of `wire/wherry_v1.proto`; `wire/convert.py` maps one to the other by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from wherry.model import ids
from wherry.model.value import dataclass


def _no_map() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a root filesystem comes from.

    `kind` is `host`, `rootfs` or `bundle`; `path` the absolute directory of the latter two; `here` an absolute
    directory to show copy-on-write at its own path and as the working directory (not for `bundle`); `writable`
    uses a `rootfs` directory as it is instead of copy-on-write.
    """

    kind: str = "host"
    path: str = ""
    here: str = ""
    writable: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """One mount in the container: `type` is `bind` (source: absolute host path) or `tmpfs`."""

    target: str
    source: str = ""
    type: str = "bind"
    read_only: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ulimit:
    """A resource limit as in setrlimit(2): `name` without the RLIMIT_ prefix, lower case (`nofile`)."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Cgroup limits; None (and "") leaves one unset, in an update as it is. -1 is no limit.

    `cpus` is a number of processors (0.5 is half of one), another way to say `cpu_quota_us` per `cpu_period_us`, both
    microseconds. `memory_swap_bytes` is memory and swap together, as in the specification (config-linux.md, Memory).
    `cpu_shares` is the weight of cgroup version 1 (2 to 262144, 1024 is everybody's), `blkio_weight` 10 to 1000;
    `cpuset_cpus` and `cpuset_mems` are lists as in cpuset(7): `0-2,7`.
    """

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None
    memory_reservation_bytes: int | None = None
    memory_swap_bytes: int | None = None
    cpu_shares: int | None = None
    cpu_quota_us: int | None = None
    cpu_period_us: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    blkio_weight: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RestartPolicy:
    """When a container that has ended is started again, and after how long.

    `name` is `no`, `on-failure` (a status other than 0, at most `max_retries` times in a row; 0: any number), `always`
    or `unless-stopped`. Stopped by hand none of them starts it, but `always` when the daemon starts. The first wait is
    `delay` seconds, each further one `factor` times longer up to `max_delay`, each with up to a tenth added by chance;
    a run of `reset_after` seconds makes the next wait and the count of retries begin anew.
    """

    name: str = "no"
    max_retries: int = 0
    delay: float = 0.1
    factor: float = 2.0
    max_delay: float = 60.0
    reset_after: float = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthCheck:
    """A command that tells by its status 0 that a container is well; no `args`: none.

    It is run every `interval` seconds and killed after `timeout` seconds; `retries` failures in a row make the
    container unhealthy, those of the first `start_period` seconds not counted until one check has succeeded.
    `on_unhealthy` is `none`, `kill` or `restart`, the latter whatever the restart policy.
    """

    args: tuple[str, ...] = ()
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    on_unhealthy: str = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stdio:
    """How a process's standard streams are carried.

    `mode` is `managed` (log and attach socket), `fifo` (the paths below, made by the client; "" is /dev/null) or
    `null`. A FIFO stdin ends when CloseStdin is called, not when its writer leaves. `stdin_open` keeps a managed stdin
    open for attach; without it stdin is /dev/null. The log is rotated before it passes `log_max_bytes` (0: the
    default, 16 MiB), `log_max_files` files are kept (0: the default, 4).
    `terminal` gives the process a pseudo-terminal of `width` columns and `height` rows (0: the kernel's 0). On FIFOs it
    is copied from `stdin` and to `stdout`, `stderr` is not opened, and CloseStdin does nothing.
    """

    mode: str = "managed"
    stdin_open: bool = False
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    log_max_bytes: int = 0
    log_max_files: int = 0
    terminal: bool = False
    width: int = 0
    height: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateRequest:
    """Everything that makes a container. Equal requests for one id are the same container (Create is idempotent).

    `env` holds NAME=VALUE strings; `user` is `NAME|UID[:NAME|GID]`; `network` is `none` or `host`; `stop_signal` a
    name or number ("" is SIGTERM); `runtime` a name on PATH or a path ("" is the daemon's choice); `auto_remove`
    deletes the container when it has ended; `ttl` seconds after its start it is killed, with reason `ttl` (0: never).
    `runtime_args` are global options for each call of the runtime; `no_pivot` lets it change the root without
    pivot_root(2).
    """

    id: str = ""
    namespace: str = ids.DEFAULT_NAMESPACE
    source: Source = Source()
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    labels: Mapping[str, str] = field(default_factory=_no_map)
    mounts: tuple[Mount, ...] = ()
    read_only: bool = False
    limits: Limits = Limits()
    network: str = "none"
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    ulimits: tuple[Ulimit, ...] = ()
    runtime: str = ""
    stop_signal: str = ""
    stdio: Stdio = Stdio()
    auto_remove: bool = False
    ttl: float = 0.0
    restart: RestartPolicy = RestartPolicy()
    health: HealthCheck = HealthCheck()
    runtime_args: tuple[str, ...] = ()
    no_pivot: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerRef:
    """Names a container."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessRef:
    """Names a process of a container; `process` is `init` or an exec's id."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    process: str = ids.INIT


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecRequest:
    """A further process in a running container; unset fields are taken from the container's own process.

    `timeout` seconds after its start it is killed, with reason `timeout` in its exit record (0: never). `oci_process`
    is the JSON of a whole process (runtime-spec config.md, Process) instead of `args`, `env`, `workdir` and `user`.
    """

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    process: str = ""
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    stdio: Stdio = Stdio()
    timeout: float = 0.0
    oci_process: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateRequest:
    """Change the limits of a running container; what `limits` leaves unset stays as it is."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    limits: Limits = Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class KillRequest:
    """Send `signal` (1 to 64) to one process, through its pidfd, or to `all` processes of the container."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    process: str = ids.INIT
    signal: int = 15
    all: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ResizeRequest:
    """Set the size of a process's terminal, 1 to 65535 columns and rows."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    process: str = ids.INIT
    width: int = 0
    height: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StopRequest:
    """Send the stop signal, wait `timeout` seconds, then SIGKILL."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    timeout: float = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteRequest:
    """Delete a container that has ended; `force` kills it first."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    force: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ListRequest:
    """List containers; `namespace` "" means every namespace; `labels` must all match."""

    namespace: str = ids.DEFAULT_NAMESPACE
    labels: Mapping[str, str] = field(default_factory=_no_map)


@dataclass(frozen=True, kw_only=True, slots=True)
class StatsRequest:
    """What a container uses, once or every `interval` seconds (0.05 to 3600)."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    interval: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LogsRequest:
    """Read a managed log: from `since_ns` (Unix time in nanoseconds; 0: all), the last `tail` lines (-1: all)."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    process: str = ids.INIT
    follow: bool = False
    since_ns: int = 0
    tail: int = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class AttachRequest:
    """Attach to managed stdio from `offset` in the log: 0 is the beginning, -1 is now."""

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    process: str = ids.INIT
    offset: int = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class SubscribeRequest:
    """Events with a sequence number above `after` (-1: only new ones).

    `filters` are alternatives per key and must hold for every key: `type`, `namespace`, `container`, `process`,
    `label.NAME`, written KEY=VALUE.
    """

    after: int = -1
    follow: bool = True
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Empty:
    """Nothing asked, or nothing to answer."""
