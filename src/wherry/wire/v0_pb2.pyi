import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetServerVersionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerVersionResponse(_message.Message):
    __slots__ = ("major", "minor", "patch", "revision")
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    PATCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    major: int
    minor: int
    patch: int
    revision: str
    def __init__(self, major: _Optional[int] = ..., minor: _Optional[int] = ..., patch: _Optional[int] = ..., revision: _Optional[str] = ...) -> None: ...

class UpdateProcessRequest(_message.Message):
    __slots__ = ("id", "pid", "closeStdin", "width", "height")
    ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    CLOSESTDIN_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    id: str
    pid: str
    closeStdin: bool
    width: int
    height: int
    def __init__(self, id: _Optional[str] = ..., pid: _Optional[str] = ..., closeStdin: _Optional[bool] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class UpdateProcessResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateContainerRequest(_message.Message):
    __slots__ = ("id", "bundlePath", "checkpoint", "stdin", "stdout", "stderr", "labels", "noPivotRoot", "runtime", "runtimeArgs", "checkpointDir")
    ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLEPATH_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    STDOUT_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NOPIVOTROOT_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    RUNTIMEARGS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTDIR_FIELD_NUMBER: _ClassVar[int]
    id: str
    bundlePath: str
    checkpoint: str
    stdin: str
    stdout: str
    stderr: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    noPivotRoot: bool
    runtime: str
    runtimeArgs: _containers.RepeatedScalarFieldContainer[str]
    checkpointDir: str
    def __init__(self, id: _Optional[str] = ..., bundlePath: _Optional[str] = ..., checkpoint: _Optional[str] = ..., stdin: _Optional[str] = ..., stdout: _Optional[str] = ..., stderr: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., noPivotRoot: _Optional[bool] = ..., runtime: _Optional[str] = ..., runtimeArgs: _Optional[_Iterable[str]] = ..., checkpointDir: _Optional[str] = ...) -> None: ...

class CreateContainerResponse(_message.Message):
    __slots__ = ("container",)
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    container: Container
    def __init__(self, container: _Optional[_Union[Container, _Mapping]] = ...) -> None: ...

class SignalRequest(_message.Message):
    __slots__ = ("id", "pid", "signal")
    ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    id: str
    pid: str
    signal: int
    def __init__(self, id: _Optional[str] = ..., pid: _Optional[str] = ..., signal: _Optional[int] = ...) -> None: ...

class SignalResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AddProcessRequest(_message.Message):
    __slots__ = ("id", "terminal", "user", "args", "env", "cwd", "pid", "stdin", "stdout", "stderr", "capabilities", "apparmorProfile", "selinuxLabel", "noNewPrivileges", "rlimits")
    ID_FIELD_NUMBER: _ClassVar[int]
    TERMINAL_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    CWD_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    STDOUT_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    APPARMORPROFILE_FIELD_NUMBER: _ClassVar[int]
    SELINUXLABEL_FIELD_NUMBER: _ClassVar[int]
    NONEWPRIVILEGES_FIELD_NUMBER: _ClassVar[int]
    RLIMITS_FIELD_NUMBER: _ClassVar[int]
    id: str
    terminal: bool
    user: User
    args: _containers.RepeatedScalarFieldContainer[str]
    env: _containers.RepeatedScalarFieldContainer[str]
    cwd: str
    pid: str
    stdin: str
    stdout: str
    stderr: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    apparmorProfile: str
    selinuxLabel: str
    noNewPrivileges: bool
    rlimits: _containers.RepeatedCompositeFieldContainer[Rlimit]
    def __init__(self, id: _Optional[str] = ..., terminal: _Optional[bool] = ..., user: _Optional[_Union[User, _Mapping]] = ..., args: _Optional[_Iterable[str]] = ..., env: _Optional[_Iterable[str]] = ..., cwd: _Optional[str] = ..., pid: _Optional[str] = ..., stdin: _Optional[str] = ..., stdout: _Optional[str] = ..., stderr: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., apparmorProfile: _Optional[str] = ..., selinuxLabel: _Optional[str] = ..., noNewPrivileges: _Optional[bool] = ..., rlimits: _Optional[_Iterable[_Union[Rlimit, _Mapping]]] = ...) -> None: ...

class Rlimit(_message.Message):
    __slots__ = ("type", "soft", "hard")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    HARD_FIELD_NUMBER: _ClassVar[int]
    type: str
    soft: int
    hard: int
    def __init__(self, type: _Optional[str] = ..., soft: _Optional[int] = ..., hard: _Optional[int] = ...) -> None: ...

class User(_message.Message):
    __slots__ = ("uid", "gid", "additionalGids")
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    ADDITIONALGIDS_FIELD_NUMBER: _ClassVar[int]
    uid: int
    gid: int
    additionalGids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, uid: _Optional[int] = ..., gid: _Optional[int] = ..., additionalGids: _Optional[_Iterable[int]] = ...) -> None: ...

class AddProcessResponse(_message.Message):
    __slots__ = ("systemPid",)
    SYSTEMPID_FIELD_NUMBER: _ClassVar[int]
    systemPid: int
    def __init__(self, systemPid: _Optional[int] = ...) -> None: ...

class CreateCheckpointRequest(_message.Message):
    __slots__ = ("id", "checkpoint", "checkpointDir")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTDIR_FIELD_NUMBER: _ClassVar[int]
    id: str
    checkpoint: Checkpoint
    checkpointDir: str
    def __init__(self, id: _Optional[str] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., checkpointDir: _Optional[str] = ...) -> None: ...

class CreateCheckpointResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeleteCheckpointRequest(_message.Message):
    __slots__ = ("id", "name", "checkpointDir")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTDIR_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    checkpointDir: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., checkpointDir: _Optional[str] = ...) -> None: ...

class DeleteCheckpointResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCheckpointRequest(_message.Message):
    __slots__ = ("id", "checkpointDir")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTDIR_FIELD_NUMBER: _ClassVar[int]
    id: str
    checkpointDir: str
    def __init__(self, id: _Optional[str] = ..., checkpointDir: _Optional[str] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("name", "exit", "tcp", "unixSockets", "shell", "emptyNS")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXIT_FIELD_NUMBER: _ClassVar[int]
    TCP_FIELD_NUMBER: _ClassVar[int]
    UNIXSOCKETS_FIELD_NUMBER: _ClassVar[int]
    SHELL_FIELD_NUMBER: _ClassVar[int]
    EMPTYNS_FIELD_NUMBER: _ClassVar[int]
    name: str
    exit: bool
    tcp: bool
    unixSockets: bool
    shell: bool
    emptyNS: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., exit: _Optional[bool] = ..., tcp: _Optional[bool] = ..., unixSockets: _Optional[bool] = ..., shell: _Optional[bool] = ..., emptyNS: _Optional[_Iterable[str]] = ...) -> None: ...

class ListCheckpointResponse(_message.Message):
    __slots__ = ("checkpoints",)
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    checkpoints: _containers.RepeatedCompositeFieldContainer[Checkpoint]
    def __init__(self, checkpoints: _Optional[_Iterable[_Union[Checkpoint, _Mapping]]] = ...) -> None: ...

class StateRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ContainerState(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: str
    def __init__(self, status: _Optional[str] = ...) -> None: ...

class Process(_message.Message):
    __slots__ = ("pid", "terminal", "user", "args", "env", "cwd", "systemPid", "stdin", "stdout", "stderr", "capabilities", "apparmorProfile", "selinuxLabel", "noNewPrivileges", "rlimits")
    PID_FIELD_NUMBER: _ClassVar[int]
    TERMINAL_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    CWD_FIELD_NUMBER: _ClassVar[int]
    SYSTEMPID_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    STDOUT_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    APPARMORPROFILE_FIELD_NUMBER: _ClassVar[int]
    SELINUXLABEL_FIELD_NUMBER: _ClassVar[int]
    NONEWPRIVILEGES_FIELD_NUMBER: _ClassVar[int]
    RLIMITS_FIELD_NUMBER: _ClassVar[int]
    pid: str
    terminal: bool
    user: User
    args: _containers.RepeatedScalarFieldContainer[str]
    env: _containers.RepeatedScalarFieldContainer[str]
    cwd: str
    systemPid: int
    stdin: str
    stdout: str
    stderr: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    apparmorProfile: str
    selinuxLabel: str
    noNewPrivileges: bool
    rlimits: _containers.RepeatedCompositeFieldContainer[Rlimit]
    def __init__(self, pid: _Optional[str] = ..., terminal: _Optional[bool] = ..., user: _Optional[_Union[User, _Mapping]] = ..., args: _Optional[_Iterable[str]] = ..., env: _Optional[_Iterable[str]] = ..., cwd: _Optional[str] = ..., systemPid: _Optional[int] = ..., stdin: _Optional[str] = ..., stdout: _Optional[str] = ..., stderr: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., apparmorProfile: _Optional[str] = ..., selinuxLabel: _Optional[str] = ..., noNewPrivileges: _Optional[bool] = ..., rlimits: _Optional[_Iterable[_Union[Rlimit, _Mapping]]] = ...) -> None: ...

class Container(_message.Message):
    __slots__ = ("id", "bundlePath", "processes", "status", "labels", "pids", "runtime")
    ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLEPATH_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PIDS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    bundlePath: str
    processes: _containers.RepeatedCompositeFieldContainer[Process]
    status: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    pids: _containers.RepeatedScalarFieldContainer[int]
    runtime: str
    def __init__(self, id: _Optional[str] = ..., bundlePath: _Optional[str] = ..., processes: _Optional[_Iterable[_Union[Process, _Mapping]]] = ..., status: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., pids: _Optional[_Iterable[int]] = ..., runtime: _Optional[str] = ...) -> None: ...

class Machine(_message.Message):
    __slots__ = ("cpus", "memory")
    CPUS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    cpus: int
    memory: int
    def __init__(self, cpus: _Optional[int] = ..., memory: _Optional[int] = ...) -> None: ...

class StateResponse(_message.Message):
    __slots__ = ("containers", "machine")
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    containers: _containers.RepeatedCompositeFieldContainer[Container]
    machine: Machine
    def __init__(self, containers: _Optional[_Iterable[_Union[Container, _Mapping]]] = ..., machine: _Optional[_Union[Machine, _Mapping]] = ...) -> None: ...

class UpdateContainerRequest(_message.Message):
    __slots__ = ("id", "pid", "status", "resources")
    ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    id: str
    pid: str
    status: str
    resources: UpdateResource
    def __init__(self, id: _Optional[str] = ..., pid: _Optional[str] = ..., status: _Optional[str] = ..., resources: _Optional[_Union[UpdateResource, _Mapping]] = ...) -> None: ...

class UpdateResource(_message.Message):
    __slots__ = ("blkioWeight", "cpuShares", "cpuPeriod", "cpuQuota", "cpusetCpus", "cpusetMems", "memoryLimit", "memorySwap", "memoryReservation", "kernelMemoryLimit", "kernelTCPMemoryLimit", "blkioLeafWeight", "blkioWeightDevice", "blkioThrottleReadBpsDevice", "blkioThrottleWriteBpsDevice", "blkioThrottleReadIopsDevice", "blkioThrottleWriteIopsDevice", "pidsLimit")
    BLKIOWEIGHT_FIELD_NUMBER: _ClassVar[int]
    CPUSHARES_FIELD_NUMBER: _ClassVar[int]
    CPUPERIOD_FIELD_NUMBER: _ClassVar[int]
    CPUQUOTA_FIELD_NUMBER: _ClassVar[int]
    CPUSETCPUS_FIELD_NUMBER: _ClassVar[int]
    CPUSETMEMS_FIELD_NUMBER: _ClassVar[int]
    MEMORYLIMIT_FIELD_NUMBER: _ClassVar[int]
    MEMORYSWAP_FIELD_NUMBER: _ClassVar[int]
    MEMORYRESERVATION_FIELD_NUMBER: _ClassVar[int]
    KERNELMEMORYLIMIT_FIELD_NUMBER: _ClassVar[int]
    KERNELTCPMEMORYLIMIT_FIELD_NUMBER: _ClassVar[int]
    BLKIOLEAFWEIGHT_FIELD_NUMBER: _ClassVar[int]
    BLKIOWEIGHTDEVICE_FIELD_NUMBER: _ClassVar[int]
    BLKIOTHROTTLEREADBPSDEVICE_FIELD_NUMBER: _ClassVar[int]
    BLKIOTHROTTLEWRITEBPSDEVICE_FIELD_NUMBER: _ClassVar[int]
    BLKIOTHROTTLEREADIOPSDEVICE_FIELD_NUMBER: _ClassVar[int]
    BLKIOTHROTTLEWRITEIOPSDEVICE_FIELD_NUMBER: _ClassVar[int]
    PIDSLIMIT_FIELD_NUMBER: _ClassVar[int]
    blkioWeight: int
    cpuShares: int
    cpuPeriod: int
    cpuQuota: int
    cpusetCpus: str
    cpusetMems: str
    memoryLimit: int
    memorySwap: int
    memoryReservation: int
    kernelMemoryLimit: int
    kernelTCPMemoryLimit: int
    blkioLeafWeight: int
    blkioWeightDevice: _containers.RepeatedCompositeFieldContainer[WeightDevice]
    blkioThrottleReadBpsDevice: _containers.RepeatedCompositeFieldContainer[ThrottleDevice]
    blkioThrottleWriteBpsDevice: _containers.RepeatedCompositeFieldContainer[ThrottleDevice]
    blkioThrottleReadIopsDevice: _containers.RepeatedCompositeFieldContainer[ThrottleDevice]
    blkioThrottleWriteIopsDevice: _containers.RepeatedCompositeFieldContainer[ThrottleDevice]
    pidsLimit: int
    def __init__(self, blkioWeight: _Optional[int] = ..., cpuShares: _Optional[int] = ..., cpuPeriod: _Optional[int] = ..., cpuQuota: _Optional[int] = ..., cpusetCpus: _Optional[str] = ..., cpusetMems: _Optional[str] = ..., memoryLimit: _Optional[int] = ..., memorySwap: _Optional[int] = ..., memoryReservation: _Optional[int] = ..., kernelMemoryLimit: _Optional[int] = ..., kernelTCPMemoryLimit: _Optional[int] = ..., blkioLeafWeight: _Optional[int] = ..., blkioWeightDevice: _Optional[_Iterable[_Union[WeightDevice, _Mapping]]] = ..., blkioThrottleReadBpsDevice: _Optional[_Iterable[_Union[ThrottleDevice, _Mapping]]] = ..., blkioThrottleWriteBpsDevice: _Optional[_Iterable[_Union[ThrottleDevice, _Mapping]]] = ..., blkioThrottleReadIopsDevice: _Optional[_Iterable[_Union[ThrottleDevice, _Mapping]]] = ..., blkioThrottleWriteIopsDevice: _Optional[_Iterable[_Union[ThrottleDevice, _Mapping]]] = ..., pidsLimit: _Optional[int] = ...) -> None: ...

class BlockIODevice(_message.Message):
    __slots__ = ("major", "minor")
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    major: int
    minor: int
    def __init__(self, major: _Optional[int] = ..., minor: _Optional[int] = ...) -> None: ...

class WeightDevice(_message.Message):
    __slots__ = ("blkIODevice", "weight", "leafWeight")
    BLKIODEVICE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    LEAFWEIGHT_FIELD_NUMBER: _ClassVar[int]
    blkIODevice: BlockIODevice
    weight: int
    leafWeight: int
    def __init__(self, blkIODevice: _Optional[_Union[BlockIODevice, _Mapping]] = ..., weight: _Optional[int] = ..., leafWeight: _Optional[int] = ...) -> None: ...

class ThrottleDevice(_message.Message):
    __slots__ = ("blkIODevice", "rate")
    BLKIODEVICE_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    blkIODevice: BlockIODevice
    rate: int
    def __init__(self, blkIODevice: _Optional[_Union[BlockIODevice, _Mapping]] = ..., rate: _Optional[int] = ...) -> None: ...

class UpdateContainerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EventsRequest(_message.Message):
    __slots__ = ("timestamp", "storedOnly", "id")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    STOREDONLY_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    timestamp: _timestamp_pb2.Timestamp
    storedOnly: bool
    id: str
    def __init__(self, timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., storedOnly: _Optional[bool] = ..., id: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("type", "id", "status", "pid", "timestamp")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    type: str
    id: str
    status: int
    pid: str
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, type: _Optional[str] = ..., id: _Optional[str] = ..., status: _Optional[int] = ..., pid: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class NetworkStats(_message.Message):
    __slots__ = ("name", "rx_bytes", "rx_Packets", "Rx_errors", "Rx_dropped", "Tx_bytes", "Tx_packets", "Tx_errors", "Tx_dropped")
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
    rx_Packets: int
    Rx_errors: int
    Rx_dropped: int
    Tx_bytes: int
    Tx_packets: int
    Tx_errors: int
    Tx_dropped: int
    def __init__(self, name: _Optional[str] = ..., rx_bytes: _Optional[int] = ..., rx_Packets: _Optional[int] = ..., Rx_errors: _Optional[int] = ..., Rx_dropped: _Optional[int] = ..., Tx_bytes: _Optional[int] = ..., Tx_packets: _Optional[int] = ..., Tx_errors: _Optional[int] = ..., Tx_dropped: _Optional[int] = ...) -> None: ...

class CpuUsage(_message.Message):
    __slots__ = ("total_usage", "percpu_usage", "usage_in_kernelmode", "usage_in_usermode")
    TOTAL_USAGE_FIELD_NUMBER: _ClassVar[int]
    PERCPU_USAGE_FIELD_NUMBER: _ClassVar[int]
    USAGE_IN_KERNELMODE_FIELD_NUMBER: _ClassVar[int]
    USAGE_IN_USERMODE_FIELD_NUMBER: _ClassVar[int]
    total_usage: int
    percpu_usage: _containers.RepeatedScalarFieldContainer[int]
    usage_in_kernelmode: int
    usage_in_usermode: int
    def __init__(self, total_usage: _Optional[int] = ..., percpu_usage: _Optional[_Iterable[int]] = ..., usage_in_kernelmode: _Optional[int] = ..., usage_in_usermode: _Optional[int] = ...) -> None: ...

class ThrottlingData(_message.Message):
    __slots__ = ("periods", "throttled_periods", "throttled_time")
    PERIODS_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_PERIODS_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_TIME_FIELD_NUMBER: _ClassVar[int]
    periods: int
    throttled_periods: int
    throttled_time: int
    def __init__(self, periods: _Optional[int] = ..., throttled_periods: _Optional[int] = ..., throttled_time: _Optional[int] = ...) -> None: ...

class CpuStats(_message.Message):
    __slots__ = ("cpu_usage", "throttling_data", "system_usage")
    CPU_USAGE_FIELD_NUMBER: _ClassVar[int]
    THROTTLING_DATA_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_USAGE_FIELD_NUMBER: _ClassVar[int]
    cpu_usage: CpuUsage
    throttling_data: ThrottlingData
    system_usage: int
    def __init__(self, cpu_usage: _Optional[_Union[CpuUsage, _Mapping]] = ..., throttling_data: _Optional[_Union[ThrottlingData, _Mapping]] = ..., system_usage: _Optional[int] = ...) -> None: ...

class PidsStats(_message.Message):
    __slots__ = ("current", "limit")
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    current: int
    limit: int
    def __init__(self, current: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class MemoryData(_message.Message):
    __slots__ = ("usage", "max_usage", "failcnt", "limit")
    USAGE_FIELD_NUMBER: _ClassVar[int]
    MAX_USAGE_FIELD_NUMBER: _ClassVar[int]
    FAILCNT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    usage: int
    max_usage: int
    failcnt: int
    limit: int
    def __init__(self, usage: _Optional[int] = ..., max_usage: _Optional[int] = ..., failcnt: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class MemoryStats(_message.Message):
    __slots__ = ("cache", "usage", "swap_usage", "kernel_usage", "stats")
    class StatsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CACHE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    SWAP_USAGE_FIELD_NUMBER: _ClassVar[int]
    KERNEL_USAGE_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    cache: int
    usage: MemoryData
    swap_usage: MemoryData
    kernel_usage: MemoryData
    stats: _containers.ScalarMap[str, int]
    def __init__(self, cache: _Optional[int] = ..., usage: _Optional[_Union[MemoryData, _Mapping]] = ..., swap_usage: _Optional[_Union[MemoryData, _Mapping]] = ..., kernel_usage: _Optional[_Union[MemoryData, _Mapping]] = ..., stats: _Optional[_Mapping[str, int]] = ...) -> None: ...

class BlkioStatsEntry(_message.Message):
    __slots__ = ("major", "minor", "op", "value")
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    major: int
    minor: int
    op: str
    value: int
    def __init__(self, major: _Optional[int] = ..., minor: _Optional[int] = ..., op: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...

class BlkioStats(_message.Message):
    __slots__ = ("io_service_bytes_recursive", "io_serviced_recursive", "io_queued_recursive", "io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive", "io_time_recursive", "sectors_recursive")
    IO_SERVICE_BYTES_RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    IO_SERVICED_RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    IO_QUEUED_RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    IO_SERVICE_TIME_RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    IO_WAIT_TIME_RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    IO_MERGED_RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    IO_TIME_RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    SECTORS_RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    io_service_bytes_recursive: _containers.RepeatedCompositeFieldContainer[BlkioStatsEntry]
    io_serviced_recursive: _containers.RepeatedCompositeFieldContainer[BlkioStatsEntry]
    io_queued_recursive: _containers.RepeatedCompositeFieldContainer[BlkioStatsEntry]
    io_service_time_recursive: _containers.RepeatedCompositeFieldContainer[BlkioStatsEntry]
    io_wait_time_recursive: _containers.RepeatedCompositeFieldContainer[BlkioStatsEntry]
    io_merged_recursive: _containers.RepeatedCompositeFieldContainer[BlkioStatsEntry]
    io_time_recursive: _containers.RepeatedCompositeFieldContainer[BlkioStatsEntry]
    sectors_recursive: _containers.RepeatedCompositeFieldContainer[BlkioStatsEntry]
    def __init__(self, io_service_bytes_recursive: _Optional[_Iterable[_Union[BlkioStatsEntry, _Mapping]]] = ..., io_serviced_recursive: _Optional[_Iterable[_Union[BlkioStatsEntry, _Mapping]]] = ..., io_queued_recursive: _Optional[_Iterable[_Union[BlkioStatsEntry, _Mapping]]] = ..., io_service_time_recursive: _Optional[_Iterable[_Union[BlkioStatsEntry, _Mapping]]] = ..., io_wait_time_recursive: _Optional[_Iterable[_Union[BlkioStatsEntry, _Mapping]]] = ..., io_merged_recursive: _Optional[_Iterable[_Union[BlkioStatsEntry, _Mapping]]] = ..., io_time_recursive: _Optional[_Iterable[_Union[BlkioStatsEntry, _Mapping]]] = ..., sectors_recursive: _Optional[_Iterable[_Union[BlkioStatsEntry, _Mapping]]] = ...) -> None: ...

class HugetlbStats(_message.Message):
    __slots__ = ("usage", "max_usage", "failcnt", "limit")
    USAGE_FIELD_NUMBER: _ClassVar[int]
    MAX_USAGE_FIELD_NUMBER: _ClassVar[int]
    FAILCNT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    usage: int
    max_usage: int
    failcnt: int
    limit: int
    def __init__(self, usage: _Optional[int] = ..., max_usage: _Optional[int] = ..., failcnt: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class CgroupStats(_message.Message):
    __slots__ = ("cpu_stats", "memory_stats", "blkio_stats", "hugetlb_stats", "pids_stats")
    class HugetlbStatsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: HugetlbStats
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[HugetlbStats, _Mapping]] = ...) -> None: ...
    CPU_STATS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_STATS_FIELD_NUMBER: _ClassVar[int]
    BLKIO_STATS_FIELD_NUMBER: _ClassVar[int]
    HUGETLB_STATS_FIELD_NUMBER: _ClassVar[int]
    PIDS_STATS_FIELD_NUMBER: _ClassVar[int]
    cpu_stats: CpuStats
    memory_stats: MemoryStats
    blkio_stats: BlkioStats
    hugetlb_stats: _containers.MessageMap[str, HugetlbStats]
    pids_stats: PidsStats
    def __init__(self, cpu_stats: _Optional[_Union[CpuStats, _Mapping]] = ..., memory_stats: _Optional[_Union[MemoryStats, _Mapping]] = ..., blkio_stats: _Optional[_Union[BlkioStats, _Mapping]] = ..., hugetlb_stats: _Optional[_Mapping[str, HugetlbStats]] = ..., pids_stats: _Optional[_Union[PidsStats, _Mapping]] = ...) -> None: ...

class StatsResponse(_message.Message):
    __slots__ = ("network_stats", "cgroup_stats", "timestamp")
    NETWORK_STATS_FIELD_NUMBER: _ClassVar[int]
    CGROUP_STATS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    network_stats: _containers.RepeatedCompositeFieldContainer[NetworkStats]
    cgroup_stats: CgroupStats
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, network_stats: _Optional[_Iterable[_Union[NetworkStats, _Mapping]]] = ..., cgroup_stats: _Optional[_Union[CgroupStats, _Mapping]] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StatsRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...
