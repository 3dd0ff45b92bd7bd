"""Wherry: run OCI containers and keep hold of them, whatever dies.

`wherry.connect()` talks to a daemon, `wherry.supervise()` needs none, `wherry.Sync` is the face for scripts and
notebooks. Everything is imported on first use: the shim's zygote imports this package too.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # `typing` has no place in the zygote
if TYPE_CHECKING:  # the same names for type checkers
    from wherry import errors as errors
    from wherry.client.client import Client as Client
    from wherry.client.connection import connect as connect
    from wherry.client.container import Container as Container
    from wherry.client.container import Process as Process
    from wherry.client.service import Attachment as Attachment
    from wherry.client.sync import Sync as Sync
    from wherry.client.tls import Tls as Tls
    from wherry.embed.supervise import supervise as supervise
    from wherry.model.checkpoint import CheckpointInfo as CheckpointInfo
    from wherry.model.request import HealthCheck as HealthCheck
    from wherry.model.request import Limits as Limits
    from wherry.model.request import Mount as Mount
    from wherry.model.request import RestartPolicy as RestartPolicy
    from wherry.model.request import Source as Source
    from wherry.model.request import Stdio as Stdio
    from wherry.model.request import Ulimit as Ulimit
    from wherry.model.stats import Stats as Stats
    from wherry.model.status import ContainerInfo as ContainerInfo
    from wherry.model.status import Event as Event
    from wherry.model.status import ExitRecord as ExitRecord
    from wherry.model.status import Health as Health
    from wherry.model.status import HostProcess as HostProcess
    from wherry.model.status import Info as Info
    from wherry.model.status import LogChunk as LogChunk
    from wherry.model.status import Output as Output
    from wherry.model.status import ProcessInfo as ProcessInfo
    from wherry.model.status import Version as Version

_HOME = {
    "connect": "wherry.client.connection",
    "Client": "wherry.client.client",
    "Container": "wherry.client.container",
    "Process": "wherry.client.container",
    "Attachment": "wherry.client.service",
    "supervise": "wherry.embed.supervise",
    "Sync": "wherry.client.sync",
    "Tls": "wherry.client.tls",
    "errors": "",
}
_VALUES = {
    "request": ("Source", "Mount", "Ulimit", "Limits", "Stdio", "RestartPolicy", "HealthCheck"),
    "status": (
        "ExitRecord",
        "ProcessInfo",
        "ContainerInfo",
        "Health",
        "HostProcess",
        "LogChunk",
        "Output",
        "Event",
        "Version",
        "Info",
    ),
    "stats": ("Stats",),
    "checkpoint": ("CheckpointInfo",),
}

for _module, _names in _VALUES.items():
    for _name in _names:
        _HOME[_name] = "wherry.model." + _module

__all__ = sorted([*_HOME, "__version__"])  # noqa: PLE0605 - lazy names, see __getattr__


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'wherry' has no attribute {name!r}")
    import importlib

    if not _HOME[name]:
        return importlib.import_module(f"wherry.{name}")
    value: object = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
