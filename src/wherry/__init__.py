"""Wherry: run OCI containers and keep hold of them, whatever dies.

`wherry.connect()` talks to a daemon, `wherry.supervise()` needs none, `wherry.Sync` is the face for scripts and
notebooks. Everything is imported on first use: the shim's zygote imports this package too.
"""

__version__ = "0.1.0"

_HOME = {
    "connect": "wherry.client.connection",
    "Client": "wherry.client.client",
    "Container": "wherry.client.container",
    "Process": "wherry.client.container",
    "Attachment": "wherry.client.service",
    "supervise": "wherry.embed.supervise",
    "Sync": "wherry.client.sync",
    "errors": "",
}
_VALUES = {
    "request": ("Source", "Mount", "Ulimit", "Limits", "Stdio"),
    "status": ("ExitRecord", "ProcessInfo", "ContainerInfo", "LogChunk", "Output", "Event", "Version", "Info"),
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
