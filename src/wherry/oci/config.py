"""config.json: read with suspicion, written whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from wherry import errors
from wherry.linux import files, paths
from wherry.oci import text, users

FILE = "config.json"
#: Larger than any that is meant seriously.
MAX_BYTES = 4 * 1024 * 1024
#: What a request makes: arguments and environment of 2 MiB (execve(2)), of which a byte becomes six at most.
MAX_OWN_BYTES = 16 * 1024 * 1024

_T = TypeVar("_T")


def load_config(path: Path, limit: int = MAX_BYTES) -> dict[str, Any]:
    """Return the configuration in the file `path`, with the types of all that Wherry itself reads in it checked.

    Raises NotFound when it is not there, InvalidArgument naming the file and the cause when it is anything but an OCI
    configuration of at most `limit` bytes.
    """
    try:
        content = paths.read_regular(str(path), limit)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise errors.NotFound(f"cannot read bundle {path.parent}: no {path.name} there") from error
    except OSError as error:
        raise errors.InvalidArgument(f"cannot read bundle {path.parent}: {path.name}: {error.strerror}") from error
    try:
        found = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
        check(found)
    except RecursionError:
        raise errors.InvalidArgument(f"cannot read bundle {path.parent}: {path.name} is nested too deeply") from None
    except (ValueError, errors.InvalidArgument) as error:
        raise errors.InvalidArgument(f"cannot read bundle {path.parent}: {path.name}: {error}") from error
    config: dict[str, Any] = found
    return config


def write_config(directory: Path, config: dict[str, Any]) -> None:
    """Write `config` as the config.json of `directory`, mode 0600, whole or not at all."""
    # In one string: json.dump to a file does the same in Python instead of C, ten times slower.
    files.write_whole(directory / FILE, json.dumps(config, separators=(",", ":")).encode())


def check(config: object) -> None:
    """Raise InvalidArgument unless all that Wherry reads of `config` has the type that the specification gives it."""
    top = _expect(config, dict, "the configuration")
    if "ociVersion" in top:
        _expect(top["ociVersion"], str, "ociVersion")
    root = _expect(top.get("root"), dict, "root")
    text.check("root.path", _expect(root.get("path"), str, "root.path"), limit=text.MAX_PATH)
    if not root["path"]:
        raise errors.InvalidArgument("root.path is empty")
    _check_process(_expect(top.get("process"), dict, "process"))
    linux = _optional(top, "linux", dict, "linux") or {}
    for number, namespace in enumerate(_optional(linux, "namespaces", list, "linux.namespaces") or []):
        where = f"linux.namespaces[{number}]"
        _expect(_expect(namespace, dict, where).get("type"), str, f"{where}.type")
        _optional(namespace, "path", str, f"{where}.path")
    for name in ("uidMappings", "gidMappings"):
        for number, mapping in enumerate(_optional(linux, name, list, f"linux.{name}") or []):
            where = f"linux.{name}[{number}]"
            _expect(mapping, dict, where)
            for key in ("containerID", "hostID", "size"):
                _check_id(mapping.get(key), f"{where}.{key}")
    # Runtimes and kernel take `..` each in its own way, and nobody would find what is left there.
    if ".." in (_optional(linux, "cgroupsPath", str, "linux.cgroupsPath") or "").split("/"):
        raise errors.InvalidArgument("linux.cgroupsPath has a part ..")


def parse_process(content: str) -> dict[str, Any]:
    """Return the process (runtime-spec config.md, Process) in a JSON text. Raises InvalidArgument naming the cause."""
    try:
        process = _expect(json.loads(content, parse_constant=_refuse_constant), dict, "process")
        _check_process(process)
    except RecursionError:
        raise errors.InvalidArgument("cannot use the process: it is nested too deeply") from None
    except (ValueError, errors.InvalidArgument) as error:
        raise errors.InvalidArgument(f"cannot use the process: {error}") from error
    return process


def _check_process(process: dict[str, Any]) -> None:
    args = _expect(process.get("args"), list, "process.args")
    if not args:
        raise errors.InvalidArgument("process.args is empty")
    for name in ("args", "env"):
        for number, value in enumerate(_optional(process, name, list, f"process.{name}") or []):
            if "\0" in _expect(value, str, f"process.{name}[{number}]"):
                raise errors.InvalidArgument(f"process.{name}[{number}] has a NUL byte")
    if not _expect(process.get("cwd"), str, "process.cwd").startswith("/"):
        raise errors.InvalidArgument("process.cwd is not an absolute path")
    user = _optional(process, "user", dict, "process.user") or {}
    for key in ("uid", "gid"):
        if key in user:
            _check_id(user[key], f"process.user.{key}")
    for number, value in enumerate(_optional(user, "additionalGids", list, "process.user.additionalGids") or []):
        _check_id(value, f"process.user.additionalGids[{number}]")
    _optional(process, "terminal", bool, "process.terminal")
    _optional(process, "rlimits", list, "process.rlimits")
    # Absent is allowed, and means what the runtime takes it to mean.
    sets = _optional(process, "capabilities", dict, "process.capabilities") or {}
    for name in sets:
        for number, value in enumerate(_optional(sets, name, list, f"process.capabilities.{name}") or []):
            _expect(value, str, f"process.capabilities.{name}[{number}]")


_JSON_NAMES: dict[type, str] = {dict: "an object", list: "an array", str: "a string", bool: "true or false"}


def _expect(value: object, kind: type[_T], where: str) -> _T:
    if isinstance(value, kind):
        return value
    raise errors.InvalidArgument(f"{where} is {'missing' if value is None else f'not {_JSON_NAMES[kind]}'}")


def _optional(parent: dict[str, Any], key: str, kind: type[_T], where: str) -> _T | None:
    # A null is as good as absent to the runtimes (both are written in languages that see no difference).
    value = parent.get(key)
    return None if value is None else _expect(value, kind, where)


def _check_id(value: object, where: str) -> None:
    # True is an int to Python, and not to anybody else.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= users.MAX_ID + 1:
        raise errors.InvalidArgument(f"{where} is not a number from 0 to {users.MAX_ID + 1}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def root_ids(config: dict[str, Any]) -> tuple[int, int]:
    """Return the user and group id on the host of the container's root: 0 unless a user namespace maps it elsewhere."""
    linux = config.get("linux") or {}
    if not any(item["type"] == "user" for item in linux.get("namespaces") or []):
        return 0, 0
    return _map_root(linux.get("uidMappings")), _map_root(linux.get("gidMappings"))


def _map_root(mappings: list[dict[str, int]] | None) -> int:
    for mapping in mappings or []:
        if mapping["containerID"] == 0 and mapping["size"] > 0:
            return mapping["hostID"]
    return 0


def is_private_pid(config: dict[str, Any]) -> bool:
    """Return whether the container has a pid namespace of its own, which ends with its first process."""
    namespaces = (config.get("linux") or {}).get("namespaces") or []
    return any(item["type"] == "pid" and not item.get("path") for item in namespaces)
