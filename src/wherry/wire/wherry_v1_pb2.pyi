from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Source(_message.Message):
    __slots__ = ("kind", "path", "here", "writable")
    KIND_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    HERE_FIELD_NUMBER: _ClassVar[int]
    WRITABLE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    path: str
    here: str
    writable: bool
    def __init__(self, kind: _Optional[str] = ..., path: _Optional[str] = ..., here: _Optional[str] = ..., writable: _Optional[bool] = ...) -> None: ...

class Mount(_message.Message):
    __slots__ = ("target", "source", "type", "read_only", "options")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    target: str
    source: str
    type: str
    read_only: bool
    options: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, target: _Optional[str] = ..., source: _Optional[str] = ..., type: _Optional[str] = ..., read_only: _Optional[bool] = ..., options: _Optional[_Iterable[str]] = ...) -> None: ...

class Ulimit(_message.Message):
    __slots__ = ("name", "soft", "hard")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    HARD_FIELD_NUMBER: _ClassVar[int]
    name: str
    soft: int
    hard: int
    def __init__(self, name: _Optional[str] = ..., soft: _Optional[int] = ..., hard: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("memory_bytes", "cpus", "pids", "memory_reservation_bytes", "memory_swap_bytes", "cpu_shares", "cpu_quota_us", "cpu_period_us", "cpuset_cpus", "cpuset_mems", "blkio_weight")
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    PIDS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_RESERVATION_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_SWAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_SHARES_FIELD_NUMBER: _ClassVar[int]
    CPU_QUOTA_US_FIELD_NUMBER: _ClassVar[int]
    CPU_PERIOD_US_FIELD_NUMBER: _ClassVar[int]
    CPUSET_CPUS_FIELD_NUMBER: _ClassVar[int]
    CPUSET_MEMS_FIELD_NUMBER: _ClassVar[int]
    BLKIO_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    memory_bytes: int
    cpus: float
    pids: int
    memory_reservation_bytes: int
    memory_swap_bytes: int
    cpu_shares: int
    cpu_quota_us: int
    cpu_period_us: int
    cpuset_cpus: str
    cpuset_mems: str
    blkio_weight: int
    def __init__(self, memory_bytes: _Optional[int] = ..., cpus: _Optional[float] = ..., pids: _Optional[int] = ..., memory_reservation_bytes: _Optional[int] = ..., memory_swap_bytes: _Optional[int] = ..., cpu_shares: _Optional[int] = ..., cpu_quota_us: _Optional[int] = ..., cpu_period_us: _Optional[int] = ..., cpuset_cpus: _Optional[str] = ..., cpuset_mems: _Optional[str] = ..., blkio_weight: _Optional[int] = ...) -> None: ...

class RestartPolicy(_message.Message):
    __slots__ = ("name", "max_retries", "delay", "factor", "max_delay", "reset_after")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    DELAY_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    MAX_DELAY_FIELD_NUMBER: _ClassVar[int]
    RESET_AFTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    max_retries: int
    delay: float
    factor: float
    max_delay: float
    reset_after: float
    def __init__(self, name: _Optional[str] = ..., max_retries: _Optional[int] = ..., delay: _Optional[float] = ..., factor: _Optional[float] = ..., max_delay: _Optional[float] = ..., reset_after: _Optional[float] = ...) -> None: ...

class HealthCheck(_message.Message):
    __slots__ = ("args", "interval", "timeout", "retries", "start_period", "on_unhealthy")
    ARGS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    START_PERIOD_FIELD_NUMBER: _ClassVar[int]
    ON_UNHEALTHY_FIELD_NUMBER: _ClassVar[int]
    args: _containers.RepeatedScalarFieldContainer[str]
    interval: float
    timeout: float
    retries: int
    start_period: float
    on_unhealthy: str
    def __init__(self, args: _Optional[_Iterable[str]] = ..., interval: _Optional[float] = ..., timeout: _Optional[float] = ..., retries: _Optional[int] = ..., start_period: _Optional[float] = ..., on_unhealthy: _Optional[str] = ...) -> None: ...

class Stdio(_message.Message):
    __slots__ = ("mode", "stdin_open", "stdin", "stdout", "stderr", "log_max_bytes", "log_max_files", "terminal", "width", "height")
    MODE_FIELD_NUMBER: _ClassVar[int]
    STDIN_OPEN_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    STDOUT_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    LOG_MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOG_MAX_FILES_FIELD_NUMBER: _ClassVar[int]
    TERMINAL_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    mode: str
    stdin_open: bool
    stdin: str
    stdout: str
    stderr: str
    log_max_bytes: int
    log_max_files: int
    terminal: bool
    width: int
    height: int
    def __init__(self, mode: _Optional[str] = ..., stdin_open: _Optional[bool] = ..., stdin: _Optional[str] = ..., stdout: _Optional[str] = ..., stderr: _Optional[str] = ..., log_max_bytes: _Optional[int] = ..., log_max_files: _Optional[int] = ..., terminal: _Optional[bool] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class CreateRequest(_message.Message):
    __slots__ = ("id", "namespace", "source", "args", "env", "workdir", "user", "hostname", "labels", "mounts", "read_only", "limits", "network", "cap_add", "cap_drop", "privileged", "ulimits", "runtime", "stop_signal", "stdio", "auto_remove", "ttl", "restart", "health", "runtime_args", "no_pivot")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    WORKDIR_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MOUNTS_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    CAP_ADD_FIELD_NUMBER: _ClassVar[int]
    CAP_DROP_FIELD_NUMBER: _ClassVar[int]
    PRIVILEGED_FIELD_NUMBER: _ClassVar[int]
    ULIMITS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    STOP_SIGNAL_FIELD_NUMBER: _ClassVar[int]
    STDIO_FIELD_NUMBER: _ClassVar[int]
    AUTO_REMOVE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ARGS_FIELD_NUMBER: _ClassVar[int]
    NO_PIVOT_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    source: Source
    args: _containers.RepeatedScalarFieldContainer[str]
    env: _containers.RepeatedScalarFieldContainer[str]
    workdir: str
    user: str
    hostname: str
    labels: _containers.ScalarMap[str, str]
    mounts: _containers.RepeatedCompositeFieldContainer[Mount]
    read_only: bool
    limits: Limits
    network: str
    cap_add: _containers.RepeatedScalarFieldContainer[str]
    cap_drop: _containers.RepeatedScalarFieldContainer[str]
    privileged: bool
    ulimits: _containers.RepeatedCompositeFieldContainer[Ulimit]
    runtime: str
    stop_signal: str
    stdio: Stdio
    auto_remove: bool
    ttl: float
    restart: RestartPolicy
    health: HealthCheck
    runtime_args: _containers.RepeatedScalarFieldContainer[str]
    no_pivot: bool
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., args: _Optional[_Iterable[str]] = ..., env: _Optional[_Iterable[str]] = ..., workdir: _Optional[str] = ..., user: _Optional[str] = ..., hostname: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., mounts: _Optional[_Iterable[_Union[Mount, _Mapping]]] = ..., read_only: _Optional[bool] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., network: _Optional[str] = ..., cap_add: _Optional[_Iterable[str]] = ..., cap_drop: _Optional[_Iterable[str]] = ..., privileged: _Optional[bool] = ..., ulimits: _Optional[_Iterable[_Union[Ulimit, _Mapping]]] = ..., runtime: _Optional[str] = ..., stop_signal: _Optional[str] = ..., stdio: _Optional[_Union[Stdio, _Mapping]] = ..., auto_remove: _Optional[bool] = ..., ttl: _Optional[float] = ..., restart: _Optional[_Union[RestartPolicy, _Mapping]] = ..., health: _Optional[_Union[HealthCheck, _Mapping]] = ..., runtime_args: _Optional[_Iterable[str]] = ..., no_pivot: _Optional[bool] = ...) -> None: ...

class ContainerRef(_message.Message):
    __slots__ = ("id", "namespace")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class ProcessRef(_message.Message):
    __slots__ = ("id", "namespace", "process")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    process: str
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., process: _Optional[str] = ...) -> None: ...

class ExecRequest(_message.Message):
    __slots__ = ("id", "namespace", "process", "args", "env", "workdir", "user", "stdio", "timeout", "oci_process")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    WORKDIR_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    STDIO_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    OCI_PROCESS_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    process: str
    args: _containers.RepeatedScalarFieldContainer[str]
    env: _containers.RepeatedScalarFieldContainer[str]
    workdir: str
    user: str
    stdio: Stdio
    timeout: float
    oci_process: str
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., process: _Optional[str] = ..., args: _Optional[_Iterable[str]] = ..., env: _Optional[_Iterable[str]] = ..., workdir: _Optional[str] = ..., user: _Optional[str] = ..., stdio: _Optional[_Union[Stdio, _Mapping]] = ..., timeout: _Optional[float] = ..., oci_process: _Optional[str] = ...) -> None: ...

class UpdateRequest(_message.Message):
    __slots__ = ("id", "namespace", "limits")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    limits: Limits
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ...) -> None: ...

class KillRequest(_message.Message):
    __slots__ = ("id", "namespace", "process", "signal", "all")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    process: str
    signal: int
    all: bool
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., process: _Optional[str] = ..., signal: _Optional[int] = ..., all: _Optional[bool] = ...) -> None: ...

class ResizeRequest(_message.Message):
    __slots__ = ("id", "namespace", "process", "width", "height")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    process: str
    width: int
    height: int
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., process: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class StopRequest(_message.Message):
    __slots__ = ("id", "namespace", "timeout")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    timeout: float
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., timeout: _Optional[float] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("id", "namespace", "force")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    force: bool
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("namespace", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, namespace: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class LogsRequest(_message.Message):
    __slots__ = ("id", "namespace", "process", "follow", "since_ns", "tail")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    SINCE_NS_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    process: str
    follow: bool
    since_ns: int
    tail: int
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., process: _Optional[str] = ..., follow: _Optional[bool] = ..., since_ns: _Optional[int] = ..., tail: _Optional[int] = ...) -> None: ...

class AttachRequest(_message.Message):
    __slots__ = ("id", "namespace", "process", "offset")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    process: str
    offset: int
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., process: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class AttachInput(_message.Message):
    __slots__ = ("start", "data", "close_stdin", "detach")
    START_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CLOSE_STDIN_FIELD_NUMBER: _ClassVar[int]
    DETACH_FIELD_NUMBER: _ClassVar[int]
    start: AttachRequest
    data: bytes
    close_stdin: bool
    detach: bool
    def __init__(self, start: _Optional[_Union[AttachRequest, _Mapping]] = ..., data: _Optional[bytes] = ..., close_stdin: _Optional[bool] = ..., detach: _Optional[bool] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("after", "follow", "filters")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    after: int
    follow: bool
    filters: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, after: _Optional[int] = ..., follow: _Optional[bool] = ..., filters: _Optional[_Iterable[str]] = ...) -> None: ...

class ExitRecord(_message.Message):
    __slots__ = ("status", "signal", "exited_at_ns", "oom", "reason", "user_cpu_us", "system_cpu_us", "max_rss_bytes", "dropped_bytes")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    EXITED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    OOM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    USER_CPU_US_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_CPU_US_FIELD_NUMBER: _ClassVar[int]
    MAX_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BYTES_FIELD_NUMBER: _ClassVar[int]
    status: int
    signal: int
    exited_at_ns: int
    oom: bool
    reason: str
    user_cpu_us: int
    system_cpu_us: int
    max_rss_bytes: int
    dropped_bytes: int
    def __init__(self, status: _Optional[int] = ..., signal: _Optional[int] = ..., exited_at_ns: _Optional[int] = ..., oom: _Optional[bool] = ..., reason: _Optional[str] = ..., user_cpu_us: _Optional[int] = ..., system_cpu_us: _Optional[int] = ..., max_rss_bytes: _Optional[int] = ..., dropped_bytes: _Optional[int] = ...) -> None: ...

class ProcessInfo(_message.Message):
    __slots__ = ("id", "state", "pid", "args", "user", "terminal", "created_at_ns", "started_at_ns", "exit", "log_path")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    TERMINAL_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    EXIT_FIELD_NUMBER: _ClassVar[int]
    LOG_PATH_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: str
    pid: int
    args: _containers.RepeatedScalarFieldContainer[str]
    user: str
    terminal: bool
    created_at_ns: int
    started_at_ns: int
    exit: ExitRecord
    log_path: str
    def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ..., pid: _Optional[int] = ..., args: _Optional[_Iterable[str]] = ..., user: _Optional[str] = ..., terminal: _Optional[bool] = ..., created_at_ns: _Optional[int] = ..., started_at_ns: _Optional[int] = ..., exit: _Optional[_Union[ExitRecord, _Mapping]] = ..., log_path: _Optional[str] = ...) -> None: ...

class Health(_message.Message):
    __slots__ = ("status", "failures", "exit_status", "output", "checked_at_ns")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    EXIT_STATUS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    CHECKED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    status: str
    failures: int
    exit_status: int
    output: str
    checked_at_ns: int
    def __init__(self, status: _Optional[str] = ..., failures: _Optional[int] = ..., exit_status: _Optional[int] = ..., output: _Optional[str] = ..., checked_at_ns: _Optional[int] = ...) -> None: ...

class HostProcess(_message.Message):
    __slots__ = ("pid", "parent", "process", "uid", "state", "threads", "cpu_us", "rss_bytes", "started_at_ns", "command")
    PID_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    CPU_US_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    pid: int
    parent: int
    process: str
    uid: int
    state: str
    threads: int
    cpu_us: int
    rss_bytes: int
    started_at_ns: int
    command: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pid: _Optional[int] = ..., parent: _Optional[int] = ..., process: _Optional[str] = ..., uid: _Optional[int] = ..., state: _Optional[str] = ..., threads: _Optional[int] = ..., cpu_us: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., started_at_ns: _Optional[int] = ..., command: _Optional[_Iterable[str]] = ...) -> None: ...

class HostProcessList(_message.Message):
    __slots__ = ("processes",)
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    processes: _containers.RepeatedCompositeFieldContainer[HostProcess]
    def __init__(self, processes: _Optional[_Iterable[_Union[HostProcess, _Mapping]]] = ...) -> None: ...

class ContainerInfo(_message.Message):
    __slots__ = ("id", "namespace", "generation", "state", "problem", "pid", "created_at_ns", "started_at_ns", "exit", "runtime", "bundle", "cgroup", "layer", "request", "processes", "restarts", "restart_at_ns", "limits", "health")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    EXIT_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    CGROUP_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    RESTART_AT_NS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    generation: int
    state: str
    problem: str
    pid: int
    created_at_ns: int
    started_at_ns: int
    exit: ExitRecord
    runtime: str
    bundle: str
    cgroup: str
    layer: str
    request: CreateRequest
    processes: _containers.RepeatedCompositeFieldContainer[ProcessInfo]
    restarts: int
    restart_at_ns: int
    limits: Limits
    health: Health
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., generation: _Optional[int] = ..., state: _Optional[str] = ..., problem: _Optional[str] = ..., pid: _Optional[int] = ..., created_at_ns: _Optional[int] = ..., started_at_ns: _Optional[int] = ..., exit: _Optional[_Union[ExitRecord, _Mapping]] = ..., runtime: _Optional[str] = ..., bundle: _Optional[str] = ..., cgroup: _Optional[str] = ..., layer: _Optional[str] = ..., request: _Optional[_Union[CreateRequest, _Mapping]] = ..., processes: _Optional[_Iterable[_Union[ProcessInfo, _Mapping]]] = ..., restarts: _Optional[int] = ..., restart_at_ns: _Optional[int] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., health: _Optional[_Union[Health, _Mapping]] = ...) -> None: ...

class ContainerList(_message.Message):
    __slots__ = ("containers",)
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    containers: _containers.RepeatedCompositeFieldContainer[ContainerInfo]
    def __init__(self, containers: _Optional[_Iterable[_Union[ContainerInfo, _Mapping]]] = ...) -> None: ...

class LogChunk(_message.Message):
    __slots__ = ("stream", "time_ns", "data")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    stream: str
    time_ns: int
    data: bytes
    def __init__(self, stream: _Optional[str] = ..., time_ns: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("stream", "data", "offset", "dropped_bytes")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BYTES_FIELD_NUMBER: _ClassVar[int]
    stream: str
    data: bytes
    offset: int
    dropped_bytes: int
    def __init__(self, stream: _Optional[str] = ..., data: _Optional[bytes] = ..., offset: _Optional[int] = ..., dropped_bytes: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("seq", "time_ns", "type", "namespace", "container", "generation", "process", "pid", "status", "signal", "reason", "labels", "count")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    seq: int
    time_ns: int
    type: str
    namespace: str
    container: str
    generation: int
    process: str
    pid: int
    status: int
    signal: int
    reason: str
    labels: _containers.ScalarMap[str, str]
    count: int
    def __init__(self, seq: _Optional[int] = ..., time_ns: _Optional[int] = ..., type: _Optional[str] = ..., namespace: _Optional[str] = ..., container: _Optional[str] = ..., generation: _Optional[int] = ..., process: _Optional[str] = ..., pid: _Optional[int] = ..., status: _Optional[int] = ..., signal: _Optional[int] = ..., reason: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., count: _Optional[int] = ...) -> None: ...

class Version(_message.Message):
    __slots__ = ("version", "api", "python")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    API_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    version: str
    api: str
    python: str
    def __init__(self, version: _Optional[str] = ..., api: _Optional[str] = ..., python: _Optional[str] = ...) -> None: ...

class RuntimeInfo(_message.Message):
    __slots__ = ("name", "path", "version", "problem", "default", "warning")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    version: str
    problem: str
    default: bool
    warning: str
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., version: _Optional[str] = ..., problem: _Optional[str] = ..., default: _Optional[bool] = ..., warning: _Optional[str] = ...) -> None: ...

class Info(_message.Message):
    __slots__ = ("version", "pid", "state_dir", "root_dir", "cgroup_mode", "kernel", "recovering", "containers", "running", "last_seq", "zygote_pid", "runtimes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STATE_DIR_FIELD_NUMBER: _ClassVar[int]
    ROOT_DIR_FIELD_NUMBER: _ClassVar[int]
    CGROUP_MODE_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    RECOVERING_FIELD_NUMBER: _ClassVar[int]
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    ZYGOTE_PID_FIELD_NUMBER: _ClassVar[int]
    RUNTIMES_FIELD_NUMBER: _ClassVar[int]
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
    runtimes: _containers.RepeatedCompositeFieldContainer[RuntimeInfo]
    def __init__(self, version: _Optional[str] = ..., pid: _Optional[int] = ..., state_dir: _Optional[str] = ..., root_dir: _Optional[str] = ..., cgroup_mode: _Optional[str] = ..., kernel: _Optional[str] = ..., recovering: _Optional[bool] = ..., containers: _Optional[int] = ..., running: _Optional[int] = ..., last_seq: _Optional[int] = ..., zygote_pid: _Optional[int] = ..., runtimes: _Optional[_Iterable[_Union[RuntimeInfo, _Mapping]]] = ...) -> None: ...

class StatsRequest(_message.Message):
    __slots__ = ("id", "namespace", "interval")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    interval: float
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., interval: _Optional[float] = ...) -> None: ...

class CpuStats(_message.Message):
    __slots__ = ("total_ns", "user_ns", "system_ns", "percpu_ns", "periods", "throttled_periods", "throttled_ns")
    TOTAL_NS_FIELD_NUMBER: _ClassVar[int]
    USER_NS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_NS_FIELD_NUMBER: _ClassVar[int]
    PERCPU_NS_FIELD_NUMBER: _ClassVar[int]
    PERIODS_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_PERIODS_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_NS_FIELD_NUMBER: _ClassVar[int]
    total_ns: int
    user_ns: int
    system_ns: int
    percpu_ns: _containers.RepeatedScalarFieldContainer[int]
    periods: int
    throttled_periods: int
    throttled_ns: int
    def __init__(self, total_ns: _Optional[int] = ..., user_ns: _Optional[int] = ..., system_ns: _Optional[int] = ..., percpu_ns: _Optional[_Iterable[int]] = ..., periods: _Optional[int] = ..., throttled_periods: _Optional[int] = ..., throttled_ns: _Optional[int] = ...) -> None: ...

class MemoryStats(_message.Message):
    __slots__ = ("usage_bytes", "max_usage_bytes", "limit_bytes", "failcnt", "cache_bytes", "rss_bytes", "swap_bytes", "kernel_bytes", "raw")
    class RawEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    USAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_USAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    FAILCNT_FIELD_NUMBER: _ClassVar[int]
    CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    SWAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    KERNEL_BYTES_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    usage_bytes: int
    max_usage_bytes: int
    limit_bytes: int
    failcnt: int
    cache_bytes: int
    rss_bytes: int
    swap_bytes: int
    kernel_bytes: int
    raw: _containers.ScalarMap[str, int]
    def __init__(self, usage_bytes: _Optional[int] = ..., max_usage_bytes: _Optional[int] = ..., limit_bytes: _Optional[int] = ..., failcnt: _Optional[int] = ..., cache_bytes: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., swap_bytes: _Optional[int] = ..., kernel_bytes: _Optional[int] = ..., raw: _Optional[_Mapping[str, int]] = ...) -> None: ...

class PidsStats(_message.Message):
    __slots__ = ("current", "limit")
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    current: int
    limit: int
    def __init__(self, current: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class BlockStats(_message.Message):
    __slots__ = ("major", "minor", "read_bytes", "write_bytes", "reads", "writes")
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITE_BYTES_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    major: int
    minor: int
    read_bytes: int
    write_bytes: int
    reads: int
    writes: int
    def __init__(self, major: _Optional[int] = ..., minor: _Optional[int] = ..., read_bytes: _Optional[int] = ..., write_bytes: _Optional[int] = ..., reads: _Optional[int] = ..., writes: _Optional[int] = ...) -> None: ...

class HugetlbStats(_message.Message):
    __slots__ = ("size", "usage_bytes", "max_usage_bytes", "limit_bytes", "failcnt")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    USAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_USAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    FAILCNT_FIELD_NUMBER: _ClassVar[int]
    size: str
    usage_bytes: int
    max_usage_bytes: int
    limit_bytes: int
    failcnt: int
    def __init__(self, size: _Optional[str] = ..., usage_bytes: _Optional[int] = ..., max_usage_bytes: _Optional[int] = ..., limit_bytes: _Optional[int] = ..., failcnt: _Optional[int] = ...) -> None: ...

class NetworkStats(_message.Message):
    __slots__ = ("name", "rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RX_BYTES_FIELD_NUMBER: _ClassVar[int]
    RX_PACKETS_FIELD_NUMBER: _ClassVar[int]
    RX_ERRORS_FIELD_NUMBER: _ClassVar[int]
    RX_DROPPED_FIELD_NUMBER: _ClassVar[int]
    TX_BYTES_FIELD_NUMBER: _ClassVar[int]
    TX_PACKETS_FIELD_NUMBER: _ClassVar[int]
    TX_ERRORS_FIELD_NUMBER: _ClassVar[int]
    TX_DROPPED_FIELD_NUMBER: _ClassVar[int]
    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int
    def __init__(self, name: _Optional[str] = ..., rx_bytes: _Optional[int] = ..., rx_packets: _Optional[int] = ..., rx_errors: _Optional[int] = ..., rx_dropped: _Optional[int] = ..., tx_bytes: _Optional[int] = ..., tx_packets: _Optional[int] = ..., tx_errors: _Optional[int] = ..., tx_dropped: _Optional[int] = ...) -> None: ...

class Stats(_message.Message):
    __slots__ = ("id", "namespace", "time_ns", "cpu", "memory", "pids", "block", "hugetlb", "networks")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    PIDS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    HUGETLB_FIELD_NUMBER: _ClassVar[int]
    NETWORKS_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    time_ns: int
    cpu: CpuStats
    memory: MemoryStats
    pids: PidsStats
    block: _containers.RepeatedCompositeFieldContainer[BlockStats]
    hugetlb: _containers.RepeatedCompositeFieldContainer[HugetlbStats]
    networks: _containers.RepeatedCompositeFieldContainer[NetworkStats]
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., time_ns: _Optional[int] = ..., cpu: _Optional[_Union[CpuStats, _Mapping]] = ..., memory: _Optional[_Union[MemoryStats, _Mapping]] = ..., pids: _Optional[_Union[PidsStats, _Mapping]] = ..., block: _Optional[_Iterable[_Union[BlockStats, _Mapping]]] = ..., hugetlb: _Optional[_Iterable[_Union[HugetlbStats, _Mapping]]] = ..., networks: _Optional[_Iterable[_Union[NetworkStats, _Mapping]]] = ...) -> None: ...

class CheckpointRequest(_message.Message):
    __slots__ = ("id", "namespace", "name", "exit", "tcp", "unix_sockets", "shell", "empty_ns", "pre_copy")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXIT_FIELD_NUMBER: _ClassVar[int]
    TCP_FIELD_NUMBER: _ClassVar[int]
    UNIX_SOCKETS_FIELD_NUMBER: _ClassVar[int]
    SHELL_FIELD_NUMBER: _ClassVar[int]
    EMPTY_NS_FIELD_NUMBER: _ClassVar[int]
    PRE_COPY_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    name: str
    exit: bool
    tcp: bool
    unix_sockets: bool
    shell: bool
    empty_ns: _containers.RepeatedScalarFieldContainer[str]
    pre_copy: int
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., exit: _Optional[bool] = ..., tcp: _Optional[bool] = ..., unix_sockets: _Optional[bool] = ..., shell: _Optional[bool] = ..., empty_ns: _Optional[_Iterable[str]] = ..., pre_copy: _Optional[int] = ...) -> None: ...

class CheckpointRef(_message.Message):
    __slots__ = ("id", "namespace", "name")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    name: str
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ListCheckpointsRequest(_message.Message):
    __slots__ = ("id", "namespace")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class CloneRequest(_message.Message):
    __slots__ = ("id", "namespace", "name", "new_ids")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NEW_IDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    name: str
    new_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., new_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class CheckpointInfo(_message.Message):
    __slots__ = ("id", "namespace", "name", "generation", "created_at_ns", "exit", "tcp", "unix_sockets", "shell", "empty_ns", "pre_copy", "request", "limits", "started_at_ns", "frozen_us", "image_bytes", "layer_bytes", "runtime", "runtime_version", "criu_version", "kernel")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    EXIT_FIELD_NUMBER: _ClassVar[int]
    TCP_FIELD_NUMBER: _ClassVar[int]
    UNIX_SOCKETS_FIELD_NUMBER: _ClassVar[int]
    SHELL_FIELD_NUMBER: _ClassVar[int]
    EMPTY_NS_FIELD_NUMBER: _ClassVar[int]
    PRE_COPY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    FROZEN_US_FIELD_NUMBER: _ClassVar[int]
    IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LAYER_BYTES_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_VERSION_FIELD_NUMBER: _ClassVar[int]
    CRIU_VERSION_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    name: str
    generation: int
    created_at_ns: int
    exit: bool
    tcp: bool
    unix_sockets: bool
    shell: bool
    empty_ns: _containers.RepeatedScalarFieldContainer[str]
    pre_copy: int
    request: CreateRequest
    limits: Limits
    started_at_ns: int
    frozen_us: int
    image_bytes: int
    layer_bytes: int
    runtime: str
    runtime_version: str
    criu_version: str
    kernel: str
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., generation: _Optional[int] = ..., created_at_ns: _Optional[int] = ..., exit: _Optional[bool] = ..., tcp: _Optional[bool] = ..., unix_sockets: _Optional[bool] = ..., shell: _Optional[bool] = ..., empty_ns: _Optional[_Iterable[str]] = ..., pre_copy: _Optional[int] = ..., request: _Optional[_Union[CreateRequest, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., started_at_ns: _Optional[int] = ..., frozen_us: _Optional[int] = ..., image_bytes: _Optional[int] = ..., layer_bytes: _Optional[int] = ..., runtime: _Optional[str] = ..., runtime_version: _Optional[str] = ..., criu_version: _Optional[str] = ..., kernel: _Optional[str] = ...) -> None: ...

class CheckpointList(_message.Message):
    __slots__ = ("checkpoints",)
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    checkpoints: _containers.RepeatedCompositeFieldContainer[CheckpointInfo]
    def __init__(self, checkpoints: _Optional[_Iterable[_Union[CheckpointInfo, _Mapping]]] = ...) -> None: ...

class CheckpointPiece(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class ImportInput(_message.Message):
    __slots__ = ("start", "data")
    START_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    start: ImportRequest
    data: bytes
    def __init__(self, start: _Optional[_Union[ImportRequest, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class ImportRequest(_message.Message):
    __slots__ = ("id", "namespace", "name", "grants")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    name: str
    grants: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., grants: _Optional[_Iterable[str]] = ...) -> None: ...

class MigrateRequest(_message.Message):
    __slots__ = ("id", "namespace", "to", "pre_copy", "tcp", "unix_sockets", "shell", "give_up")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    PRE_COPY_FIELD_NUMBER: _ClassVar[int]
    TCP_FIELD_NUMBER: _ClassVar[int]
    UNIX_SOCKETS_FIELD_NUMBER: _ClassVar[int]
    SHELL_FIELD_NUMBER: _ClassVar[int]
    GIVE_UP_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    to: str
    pre_copy: int
    tcp: bool
    unix_sockets: bool
    shell: bool
    give_up: bool
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., to: _Optional[str] = ..., pre_copy: _Optional[int] = ..., tcp: _Optional[bool] = ..., unix_sockets: _Optional[bool] = ..., shell: _Optional[bool] = ..., give_up: _Optional[bool] = ...) -> None: ...

class MigrationInfo(_message.Message):
    __slots__ = ("id", "namespace", "to", "downtime_us", "sent_bytes")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    DOWNTIME_US_FIELD_NUMBER: _ClassVar[int]
    SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    to: str
    downtime_us: int
    sent_bytes: int
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., to: _Optional[str] = ..., downtime_us: _Optional[int] = ..., sent_bytes: _Optional[int] = ...) -> None: ...

class MigrationOffer(_message.Message):
    __slots__ = ("token", "info")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    token: str
    info: CheckpointInfo
    def __init__(self, token: _Optional[str] = ..., info: _Optional[_Union[CheckpointInfo, _Mapping]] = ...) -> None: ...

class ReceiveInput(_message.Message):
    __slots__ = ("start", "data")
    START_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    start: MigrationOffer
    data: bytes
    def __init__(self, start: _Optional[_Union[MigrationOffer, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class MigrationToken(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class Arrival(_message.Message):
    __slots__ = ("state", "problem")
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    state: str
    problem: str
    def __init__(self, state: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...
