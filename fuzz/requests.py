"""What clients send: model values, protobuf messages, requests of the older API, filters, bundles."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fuzz.pieces import Pieces, as_text, shape
from fuzz.target import empty, make_directory, target
from wherry import errors
from wherry.api import status, v0_requests, v0_state
from wherry.model import codec, signals
from wherry.model import request as req
from wherry.model import status as st
from wherry.oci import bundle, config
from wherry.runtime import driver
from wherry.supervisor import filters
from wherry.wire import convert, methods, v0_pb2
from wherry.wire import wherry_v1_pb2 as pb

_REQUESTS: tuple[Any, ...] = tuple(dict.fromkeys(method.request for method in methods.METHODS.values()))
_ANSWERS: tuple[Any, ...] = tuple(dict.fromkeys(method.response for method in methods.METHODS.values()))
_CLASSES = tuple(dict.fromkeys((*_REQUESTS, *_ANSWERS)))


def _is_number(value: Any) -> bool:
    """Tell whether there is no NaN in a plain value: it is equal to nothing."""
    if isinstance(value, dict):
        return all(map(_is_number, value.values()))
    if isinstance(value, list):
        return all(map(_is_number, value))
    return not (isinstance(value, float) and math.isnan(value))


def _plains() -> Mapping[str, bytes]:
    return {cls.__name__: bytes([number]) + bytes(range(96)) for number, cls in enumerate(_CLASSES)}


@target("plain", _plains)
def run_plain(data: bytes) -> None:
    """Make a request of nearly the right shape: what is taken fits the wire, and is written as the same."""
    cls = _CLASSES[(data[0] if data else 0) % len(_CLASSES)]
    try:
        value = codec.from_plain(cls, json.loads(shape(data[1:], cls)))
    except (ValueError, RecursionError):
        return
    plain = json.loads(json.dumps(codec.to_plain(value)))
    if _is_number(plain):
        assert codec.from_plain(cls, plain) == value
    with contextlib.suppress(errors.InvalidArgument):  # a number that no field holds is the sender's mistake
        message = convert.to_message(value)
        convert.from_message(cls, message)
    if isinstance(value, req.CreateRequest):
        with contextlib.suppress(errors.InvalidArgument):
            bundle.validate(value)
            convert.to_message(value)


def _messages() -> Mapping[str, bytes]:
    request = req.CreateRequest(id="a", args=("sh", "-c", "true"), labels={"a": "b"}, limits=req.Limits(cpus=0.5))
    made = {"CreateRequest": convert.to_message(request).SerializeToString()}
    return {cls.__name__: bytes([number]) + made.get(cls.__name__, b"") for number, cls in enumerate(_CLASSES)}


@target("messages", _messages)
def run_messages(data: bytes) -> None:
    """Read a message of each kind: what protobuf understands becomes a value, or is refused, and can be sent on."""
    cls, data = _CLASSES[(data[0] if data else 0) % len(_CLASSES)], data[1:]
    with contextlib.suppress(errors.InvalidArgument):
        value = convert.from_message(cls, status.read_message(convert.message_of(cls), data))
        again = convert.from_message(cls, convert.to_message(value))
        assert as_text(again) == as_text(value)
        if isinstance(value, req.CreateRequest):
            bundle.validate(value)


def _v0() -> Mapping[str, bytes]:
    create = v0_pb2.CreateContainerRequest(id="a", bundlePath="/b", labels=["a=b", "a"])
    added = v0_pb2.AddProcessRequest(id="a", pid="p", args=["sh"], cwd="/", user=v0_pb2.User(uid=1))
    limits = v0_pb2.UpdateResource(memoryLimit=1 << 20, pidsLimit=2**64 - 1)
    labels = json.dumps(["a", "b=c"]).encode()
    made = (create.SerializeToString(), added.SerializeToString(), limits.SerializeToString(), b"", labels)
    return {f"kind{number}": bytes([number]) + data for number, data in enumerate(made)}


def _read_v0(kind: int, data: bytes) -> None:
    if kind == 0:
        created = status.read_message(v0_pb2.CreateContainerRequest, data)
        v0_requests.check_id(created.id, Path("/nonexistent"))
        v0_requests.check_checkpoint(created.checkpoint, created.checkpointDir)
        made = v0_requests.to_create(created, {"process": {}}, "")
        assert v0_requests.from_labels(made.labels) == list(created.labels)
        convert.to_message(made)
    elif kind == 1:
        added = v0_requests.to_exec(status.read_message(v0_pb2.AddProcessRequest, data), {"capabilities": {}})
        config.parse_process(added.oci_process)
    elif kind == 2:
        found = v0_requests.to_limits("a", status.read_message(v0_pb2.UpdateResource, data))
        convert.to_message(found)
    elif kind == 3:
        moment = v0_requests.to_time_ns(status.read_message(v0_pb2.EventsRequest, data))
        assert moment is None or v0_state.timestamp(moment).ToNanoseconds() == moment
    else:  # a label that anybody can set through the other API
        texts = v0_requests.from_labels({v0_requests.LABELS: data.decode("utf-8", "replace"), "a": "b"})
        v0_pb2.Container(labels=texts)


@target("v0", _v0)
def run_v0(data: bytes) -> None:
    """Read a request of the older API; its kind is in the first byte."""
    with contextlib.suppress(errors.WherryError):
        _read_v0((data[0] if data else 0) % 5, data[1:])


def _filters() -> Mapping[str, bytes]:
    return {"type": b"type=exit\0type=oom", "label": b"label.a=b\0container=c", "none": b"", "bad": b"label.=\0x"}


@target("filters", _filters)
def run_filters(data: bytes) -> None:
    """Read filters of events, separated by NULs, and a signal's name."""
    texts = data.decode("utf-8", "replace").split("\0")
    with contextlib.suppress(errors.InvalidArgument):
        assert 1 <= signals.parse(texts[0]) <= 64
    event = st.Event(seq=1, time_ns=1, type="exit", namespace="n", container="c", generation=1, labels={"a": "b"})
    with contextlib.suppress(errors.InvalidArgument):
        assert filters.parse(texts)(event) in (True, False)


def _configs() -> Mapping[str, bytes]:
    process = {"args": ["sh"], "cwd": "/", "env": ["A=b"], "user": {"uid": 1, "gid": 1, "additionalGids": [2]}}
    linux = {
        "namespaces": [{"type": "pid"}, {"type": "user", "path": "/p"}],
        "uidMappings": [{"containerID": 0, "hostID": 5, "size": 9}],
        "cgroupsPath": "/a/./b",
    }
    capable = {**process, "capabilities": {"bounding": ["CAP_KILL"]}, "terminal": False, "rlimits": []}
    whole = {"ociVersion": "1.0.2", "root": {"path": "r"}, "process": capable, "linux": linux, "hooks": {}}
    small = {"root": {"path": "r"}, "process": process}
    return {"whole": json.dumps(whole).encode(), "small": json.dumps(small).encode(), "shaped": bytes(range(256))}


_KEYS = (
    "ociVersion",
    "root",
    "path",
    "process",
    "args",
    "env",
    "cwd",
    "user",
    "uid",
    "gid",
    "additionalGids",
    "terminal",
    "rlimits",
    "capabilities",
    "bounding",
    "linux",
    "namespaces",
    "type",
    "uidMappings",
    "gidMappings",
    "containerID",
    "hostID",
    "size",
    "cgroupsPath",
    "hooks",
    "intelRdt",
    "consoleSize",
    "umask",
)


def _mutate(pieces: Pieces, value: Any) -> Any:
    """Return a configuration with something else here and there."""
    if pieces.below(24) == 23:
        return pieces.any(2)
    if isinstance(value, dict):
        more = {pieces.pick(_KEYS): pieces.any(2)} if pieces.below(16) == 15 else {}
        return {key: _mutate(pieces, item) for key, item in value.items()} | more
    if isinstance(value, list):
        return [_mutate(pieces, item) for item in value]
    return value


def _processes(found: bundle.Prepared) -> Iterator[dict[str, Any]]:
    execs = (
        req.ExecRequest(id="a", args=("true",), env=("A=c",)),
        req.ExecRequest(id="a", args=("true",), user="1:2", workdir="/w"),
        req.ExecRequest(id="a", oci_process=json.dumps(found.process)),
    )
    yield found.process
    for request in execs:
        with contextlib.suppress(errors.InvalidArgument):
            yield bundle.exec_process(found.process, request, "/nonexistent")


@target("bundle", _configs)
def run_bundle(data: bytes) -> None:
    """Take a bundle with this config.json: of what is taken all can be shown to clients of both APIs."""
    directory = empty(_bundle)
    if data[:1] != b"{":
        data = json.dumps(_mutate(Pieces(data), json.loads(_configs()["whole"]))).encode()
    (directory / "config.json").write_bytes(data)
    request = req.CreateRequest(id="a", source=req.Source(kind="bundle", path=str(directory)))
    with contextlib.suppress(errors.WherryError):
        found = bundle.prepare(request, directory, cgroups_path="", hidden=())
        assert min(found.root_uid, found.root_gid) >= 0
        for process in _processes(found):
            v0_state.process("init", process, 1)
            convert.to_message(st.ProcessInfo(id="a", state="running", args=tuple(process["args"])))


_bundle = make_directory()


def _words() -> Mapping[str, bytes]:
    crun = b'{"msg":"cannot open `/x`: No such file or directory","level":"error","time":"2026-01-31T12:00:00Z"}\n'
    return {"crun": crun, "text": b"exec failed: permission denied\n", "list": b"[]\n5\n\xff\n"}


@target("runtime-words", _words)
def run_runtime_words(data: bytes) -> None:
    """Read the log of a runtime: whatever it holds, an error of ours comes of it that can be told."""
    said = driver.words(data, "output")
    error = driver.failure("create container a", 1, said)
    assert isinstance(error, errors.WherryError)
    status.fit(error.message).encode()
    pb.Health(output=said.encode("utf-8", "replace").decode())
