"""What a checkpoint from elsewhere may have here: only what is granted by name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from wherry import errors
from wherry.model import codec
from wherry.model.checkpoint import CheckpointInfo, ImportRequest
from wherry.model.request import CreateRequest, Limits, Mount, Source, Stdio
from wherry.runtime.checkpoint import Outside
from wherry.supervisor import grants

INFO = CheckpointInfo(
    id="job",
    namespace="elsewhere",
    name="noon",
    generation=7,
    created_at_ns=5,
    request=CreateRequest(id="job", namespace="elsewhere", args=("true",), labels={"a": "b"}),
    runtime="/odd/place/runc",
)


def tell(info: CheckpointInfo = INFO, outside: Outside = Outside(), **changes: Any) -> dict[str, Any]:
    """Return the facts of an archive whose request has `changes`."""
    request = dataclasses.replace(info.request, **changes)
    info = dataclasses.replace(info, request=request)
    return {"format": 1, "version": 1, "outside": codec.to_plain(outside), **codec.to_plain(info)}


def test_it_becomes_one_of_here() -> None:
    info, outside = grants.adopt(tell(), ImportRequest(id="new", name="other"))
    assert (info.id, info.namespace, info.name, info.generation) == ("new", "default", "other", 0)
    assert (info.request.id, info.request.namespace, info.request.labels) == ("new", "default", {"a": "b"})
    assert info.runtime == "runc", "a path of the other host was kept"
    assert outside == Outside()
    kept, _ = grants.adopt(tell(), ImportRequest())
    assert (kept.id, kept.name) == ("job", "noon")


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({"privileged": True}, ("privileged",)),
        ({"network": "host"}, ("network=host",)),
        ({"cap_add": ("NET_ADMIN", "CAP_SYS_ADMIN")}, ("cap=NET_ADMIN", "cap=SYS_ADMIN")),
        ({"runtime_args": ("--debug",)}, ("runtime-args",)),
        ({"no_pivot": True}, ("no-pivot",)),
        ({"runtime": "halt"}, ("runtime=halt",)),
        ({"source": Source(kind="rootfs", path="/srv/root")}, ("path=/srv/root",)),
        ({"source": Source(here="/srv/here")}, ("path=/srv/here",)),
        ({"mounts": (Mount(target="/d", source="/dev"), Mount(target="/t", type="tmpfs"))}, ("path=/dev",)),
        ({"stdio": Stdio(mode="fifo", stdin="/f/0", stdout="/f/1")}, ("path=/f/0", "path=/f/1")),
    ],
)
def test_what_it_asks_for_has_to_be_granted(changes: dict[str, Any], needed: tuple[str, ...]) -> None:
    with pytest.raises(errors.PermissionDenied) as caught:
        grants.adopt(tell(**changes), ImportRequest())
    for grant in needed:
        assert f"--grant '{grant}'" in caught.value.message
    for given in (needed, ("all",)):
        info, _ = grants.adopt(tell(**changes), ImportRequest(grants=given))
        assert info.request == dataclasses.replace(INFO.request, namespace="default", **changes)
    if len(needed) > 1:
        with pytest.raises(errors.PermissionDenied, match=needed[0]):
            grants.adopt(tell(**changes), ImportRequest(grants=needed[1:]))


def test_a_path_can_be_another_one_here() -> None:
    mounts = (Mount(target="/d", source="/there"), Mount(target="/e", source="/kept"))
    wanted = ImportRequest(grants=("path=/there:/here", "path=/kept"))
    info, _ = grants.adopt(tell(mounts=mounts), wanted)
    assert [mount.source for mount in info.request.mounts] == ["/here", "/kept"]


def test_a_runtime_is_a_name() -> None:
    info, _ = grants.adopt(tell(runtime="/tmp/mine/runc"), ImportRequest())
    assert info.request.runtime == "runc"


def test_a_program_that_is_no_runtime_of_ours_has_to_be_granted() -> None:
    told = tell() | {"runtime": "/usr/sbin/halt"}
    with pytest.raises(errors.PermissionDenied, match="--grant 'runtime=halt'"):
        grants.adopt(told, ImportRequest())
    assert grants.adopt(told, ImportRequest(grants=("runtime=halt",)))[0].runtime == "halt"


@pytest.mark.parametrize(
    "grant", ["", "everything", "path=", "path=relative", "path=/a:b", "cap=", "cap=a", "network=x"]
)
def test_a_grant_that_means_nothing_is_refused(grant: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="is not valid"):
        grants.adopt(tell(), ImportRequest(grants=(grant,)))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "missing"),
        (tell() | {"id": "../x"}, "container id"),
        (tell() | {"name": ".hidden"}, "checkpoint name"),
        (tell() | {"name": 5}, "name: str was expected"),
        (tell() | {"runtime": "/bin/sh\ninherit"}, "control character"),
        (tell() | {"runtime": "/usr/bin/"}, "runtime"),
        (tell() | {"criu_version": "\x1b[31m"}, "control character"),
        (tell() | {"frozen_us": 2**63}, "that 64 bits hold"),
        (tell() | {"pre_copy": 17}, "is not between 0 and 16"),
        (tell() | {"created_at_ns": -1}, "no 63-bit number"),
        (tell() | {"empty_ns": ["network\nx"]}, "empty_ns"),
        (tell(outside=Outside(streams=("file[1:2]\nlog-file /etc/x",))), "streams"),
        (tell(outside=Outside(streams=("", "", "", ""))), "streams"),
        (tell() | {"outside": None}, "outside"),
        (tell(dataclasses.replace(INFO, limits=Limits(memory_bytes=-5))), "memory"),
        (tell(args=()), "no command given"),
        (tell(mounts=(Mount(target="/proc/x", source="/x"),)), "belongs to the runtime"),
        (tell(runtime_args=("--root=/x",)), "are ours"),
    ],
)
def test_facts_that_are_not_valid_are_refused(facts: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=said):
        grants.adopt(facts, ImportRequest(grants=("all",)))
