"""Requests that can succeed nowhere."""

from __future__ import annotations

import contextlib
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck as Suppressed
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry import errors
from wherry.model.request import (
    CreateRequest,
    ExecRequest,
    HealthCheck,
    Limits,
    Mount,
    RestartPolicy,
    Source,
    Stdio,
    Ulimit,
)
from wherry.oci import bundle, rules

HOST = CreateRequest(id="one", args=("true",))
BUNDLE = CreateRequest(id="one", source=Source(kind="bundle", path="/b"))


def test_plain_requests_pass() -> None:
    bundle.validate(HOST)
    bundle.validate(BUNDLE)
    bundle.validate(replace(HOST, id="", source=Source(kind="rootfs", path="/r", writable=True, here="/home/a/src")))
    bundle.validate(
        replace(
            HOST,
            env=("A=", "B=x=y"),
            workdir="/srv//x/.",
            user="1:2",
            hostname="a.b-c_d",
            labels={"a.b/c": ""},
            mounts=(Mount(target="/mnt", source="/usr", options=("nosuid",)), Mount(target="/t", type="tmpfs")),
            network="host",
            cap_add=("net_raw",),
            stop_signal="SIGQUIT",
            stdio=Stdio(log_max_bytes=65536, log_max_files=2),
        )
    )


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"id": "../x"}, "container id"),
        ({"namespace": ""}, "namespace"),
        ({"source": Source(kind="image")}, "the sources are host, rootfs, bundle"),
        ({"source": Source(kind="rootfs", path="relative")}, "not an absolute path"),
        ({"source": Source(kind="rootfs", path="")}, "not an absolute path"),
        ({"source": Source(path="/x")}, "source host has none"),
        ({"source": Source(writable=True)}, "only rootfs has it"),
        ({"source": Source(here="src")}, "not an absolute path"),
        ({"source": Source(here="/")}, "cannot show / "),
        ({"source": Source(here="/etc")}, "secrets below /etc"),
        ({"source": Source(here="/usr")}, "secrets below /usr/local/etc"),
        ({"source": Source(here="/proc/1")}, "/proc is the system's own"),
        ({"args": ()}, "no command given"),
        ({"args": ("",)}, "command ''"),
        ({"args": ("a\0b",)}, "NUL"),
        ({"args": ("\ud800",)}, "not Unicode"),
        ({"args": ("x" * 131072,)}, "the limit is 131071"),
        ({"args": ("x" * 100000,) * 30}, "together more than"),
        ({"env": ("NAME",)}, "must be NAME=VALUE"),
        ({"env": ("=x",)}, "must be NAME=VALUE"),
        ({"env": ("A=\0",)}, "NUL"),
        ({"workdir": "x"}, "not an absolute path"),
        ({"workdir": "/a\x1fb"}, "control character"),
        ({"workdir": "/a/../b"}, "'..'"),
        ({"workdir": "/proc/self/fd/7"}, "lead out"),
        ({"workdir": "//proc/./self/cwd"}, "lead out"),
        ({"workdir": "/dev/fd/7"}, "lead out"),
        ({"user": "-1"}, "user"),
        ({"user": "4294967296"}, "ids are 0 to"),
        ({"hostname": "a" * 65}, "hostname"),
        ({"hostname": "a\nb"}, "hostname"),
        ({"hostname": "-a"}, "hostname"),
        ({"labels": {"": "x"}}, "needs a name"),
        ({"labels": {"a=b": "x"}}, "needs a name"),
        ({"labels": {"a\nb": "x"}}, "control character"),
        ({"labels": {"a": "x\ny"}}, "control character"),
        ({"labels": {"a": "x" * 4096}}, "the limit is 4095"),
        ({"labels": {str(number): "" for number in range(257)}}, "the limit is 256"),
        ({"mounts": (Mount(target="/", source="/x"),)}, "root filesystem"),
        ({"mounts": (Mount(target="x", source="/x"),)}, "not an absolute path"),
        ({"mounts": (Mount(target="/a/../b", source="/x"),)}, "'..'"),
        ({"mounts": (Mount(target="/proc/sys", source="/x"),)}, "belongs to the runtime"),
        ({"mounts": (Mount(target="/a", source="x"),)}, "mount source"),
        ({"mounts": (Mount(target="/a", source="/x", type="nfs"),)}, "bind and tmpfs"),
        ({"mounts": (Mount(target="/a", source="/x", type="tmpfs"),)}, "a tmpfs has none"),
        ({"mounts": (Mount(target="/a", source="/x", options=("rshared",)),)}, "mount option"),
        ({"mounts": (Mount(target="/a", source="/x", options=("ro,remount",)),)}, "mount option"),
        ({"mounts": (Mount(target="/a", type="tmpfs", options=("size=1m,uid=0",)),)}, "mount option"),
        ({"mounts": (Mount(target="/a", type="tmpfs"), Mount(target="/a/", type="tmpfs"))}, "twice"),
        ({"network": "bridge"}, "none and host"),
        ({"cap_add": ("FLY",)}, "'FLY'"),
        ({"cap_add": ("KILL",), "cap_drop": ("CAP_KILL",)}, "both"),
        ({"limits": Limits(memory_bytes=10**30)}, "memory limit"),
        ({"ulimits": (Ulimit(name="files", soft=1, hard=1),)}, "ulimit"),
        ({"stop_signal": "SIGNOPE"}, "signal"),
        ({"runtime": "a\nb"}, "runtime"),
        ({"stdio": Stdio(mode="pipe")}, "the modes are"),
        ({"stdio": Stdio(mode="fifo", stdout="out")}, "stdout"),
        ({"stdio": Stdio(stdout="/out")}, "only stdio mode fifo"),
        ({"stdio": Stdio(mode="null", stdin_open=True)}, "stdin_open"),
        ({"stdio": Stdio(log_max_bytes=1)}, "log_max_bytes"),
        ({"stdio": Stdio(log_max_bytes=-1)}, "log_max_bytes"),
        ({"stdio": Stdio(log_max_files=1)}, "log_max_files"),
        ({"restart": RestartPolicy(name="sometimes")}, "the policies are no, on-failure, always, unless-stopped"),
        ({"restart": RestartPolicy(name="always", max_retries=3)}, "only on-failure has it"),
        ({"restart": RestartPolicy(name="on-failure", max_retries=-1)}, "max_retries"),
        ({"restart": RestartPolicy(name="always", delay=0)}, "delay of restart 0"),
        ({"restart": RestartPolicy(name="always", delay=float("nan"))}, "delay of restart nan"),
        ({"restart": RestartPolicy(name="always", delay=2, max_delay=1)}, "below the delay"),
        ({"restart": RestartPolicy(name="always", max_delay=float("inf"))}, "max_delay of restart inf"),
        ({"restart": RestartPolicy(name="always", factor=0.5)}, "factor of restart 0.5"),
        ({"restart": RestartPolicy(name="always", factor=101)}, "factor of restart 101"),
        ({"restart": RestartPolicy(name="always", reset_after=-1)}, "reset_after"),
        ({"restart": RestartPolicy(name="no", delay=5)}, "policy no has no delays"),
        ({"restart": RestartPolicy(name="always"), "auto_remove": True}, "auto_remove is not valid"),
        ({"health": HealthCheck(args=("x",), on_unhealthy="restart"), "auto_remove": True}, "auto_remove is not valid"),
        ({"health": HealthCheck(interval=1)}, "no command"),
        ({"health": HealthCheck(on_unhealthy="kill")}, "no command"),
        ({"health": HealthCheck(args=("",))}, "the command is empty"),
        ({"health": HealthCheck(args=("a", "b\0"))}, "NUL"),
        ({"health": HealthCheck(args=("x",), interval=0)}, "interval of health 0"),
        ({"health": HealthCheck(args=("x",), timeout=float("inf"))}, "timeout of health inf"),
        ({"health": HealthCheck(args=("x",), retries=0)}, "retries of health 0"),
        ({"health": HealthCheck(args=("x",), retries=1001)}, "retries of health 1001"),
        ({"health": HealthCheck(args=("x",), start_period=-0.1)}, "start_period"),
        ({"health": HealthCheck(args=("x",), on_unhealthy="cry")}, "none, kill, restart"),
        ({"runtime_args": ("debug",)}, "an option is expected"),
        ({"runtime_args": ("",)}, "an option is expected"),
        ({"runtime_args": ("--",)}, "an option is expected"),
        ({"runtime_args": ("--debug\n",)}, "control character"),
        ({"runtime_args": ("--debug",) * 65}, "the limit is 64"),
    ],
)
def test_an_impossible_request_is_refused(changes: dict[str, Any], cause: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=cause) as raised:
        bundle.validate(replace(HOST, **changes))
    assert len(raised.value.message) < 500
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {"args": ("true",)},
        {"env": ("A=b",)},
        {"limits": Limits(pids=3)},
        {"privileged": True},
        {"network": "host"},
        {"source": Source(kind="bundle", path="/b", here="/home")},
    ],
)
def test_a_bundle_takes_no_option_of_a_generated_one(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"its config\.json is taken as it is"):
        bundle.validate(replace(BUNDLE, **changes))


def test_every_field_that_a_bundle_refuses_exists() -> None:
    for name in rules._GENERATED.split():
        assert hasattr(HOST, name)


@pytest.mark.parametrize(
    "bad",
    ["--root=/x", "--root", "-root=/x", "--roo=/x", "--log=/x", "--lo=/x", "-log", "--log-format=text", "--log-f=t"],
)
def test_the_options_that_are_ours_are_refused_in_every_spelling(bad: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="are ours"):
        bundle.validate(replace(HOST, runtime_args=("--debug", bad)))


def test_policies_are_taken_from_bundles_too() -> None:
    for base in (HOST, BUNDLE):
        for name in ("no", "on-failure", "always", "unless-stopped"):
            bundle.validate(replace(base, restart=RestartPolicy(name=name)))
        bundle.validate(replace(base, restart=RestartPolicy(name="on-failure", max_retries=3, delay=1, max_delay=1)))
        check = HealthCheck(args=("test", "-n", ""), interval=0.01, retries=1000, on_unhealthy="restart")
        bundle.validate(replace(base, health=check))
        bundle.validate(replace(base, health=check, restart=RestartPolicy(delay=5)))
        bundle.validate(replace(base, health=replace(check, on_unhealthy="kill"), auto_remove=True))
        bundle.validate(replace(base, runtime_args=("--debug", "--rootless=false", "--systemd-cgroup"), no_pivot=True))


@pytest.mark.parametrize("field", [{"args": ("true",)}, {"env": ("A=b",)}, {"workdir": "/"}, {"user": "1"}])
def test_a_whole_process_takes_nothing_beside_it(field: dict[str, Any]) -> None:
    rules.validate_exec(ExecRequest(id="one", oci_process="{}"))
    with pytest.raises(errors.InvalidArgument, match="beside oci_process"):
        rules.validate_exec(ExecRequest(id="one", oci_process="{}", **field))


def test_an_exec_needs_a_command() -> None:
    rules.validate_exec(ExecRequest(id="one", args=("true",)))
    with pytest.raises(errors.InvalidArgument, match="no command given"):
        rules.validate_exec(ExecRequest(id="one"))


# A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[Suppressed.too_slow])

_WORDS = st.one_of(
    st.text(max_size=12),
    st.text(alphabet=string.printable, max_size=12),
    st.sampled_from(["", "/", "..", "/etc", "/proc", "host", "rootfs", "bundle", "none", "ALL", "-1", "A=b", "x"]),
)
_NUMBERS = st.one_of(st.integers(), st.sampled_from([0, 1, -1, 2**32, 2**63, 10**30]))
_MAYBE = st.one_of(st.none(), _NUMBERS)
_REQUESTS = st.builds(
    CreateRequest,
    id=_WORDS,
    namespace=_WORDS | st.just("default"),
    source=st.builds(Source, kind=_WORDS, path=_WORDS, here=_WORDS, writable=st.booleans()),
    args=st.lists(_WORDS, max_size=3).map(tuple),
    env=st.lists(_WORDS, max_size=3).map(tuple),
    workdir=_WORDS,
    user=_WORDS,
    hostname=_WORDS,
    labels=st.dictionaries(_WORDS, _WORDS, max_size=3),
    mounts=st.lists(
        st.builds(Mount, target=_WORDS, source=_WORDS, type=_WORDS, options=st.lists(_WORDS, max_size=2).map(tuple)),
        max_size=2,
    ).map(tuple),
    limits=st.builds(
        Limits,
        memory_bytes=_MAYBE,
        cpus=st.none() | st.floats(),
        pids=_MAYBE,
        memory_swap_bytes=_MAYBE,
        cpu_quota_us=_MAYBE,
        cpuset_cpus=_WORDS,
    ),
    network=_WORDS,
    cap_add=st.lists(_WORDS, max_size=2).map(tuple),
    cap_drop=st.lists(_WORDS, max_size=2).map(tuple),
    ulimits=st.lists(st.builds(Ulimit, name=_WORDS, soft=_NUMBERS, hard=_NUMBERS), max_size=2).map(tuple),
    runtime=_WORDS,
    stop_signal=_WORDS,
    stdio=st.builds(Stdio, mode=_WORDS, stdin=_WORDS, log_max_bytes=_NUMBERS, log_max_files=_NUMBERS),
    restart=st.builds(
        RestartPolicy, name=_WORDS | st.just("always"), max_retries=_NUMBERS, delay=st.floats(), max_delay=st.floats()
    ),
    health=st.builds(
        HealthCheck, args=st.lists(_WORDS, max_size=2).map(tuple), interval=st.floats() | _NUMBERS, retries=_NUMBERS
    ),
    runtime_args=st.lists(_WORDS, max_size=2).map(tuple),
)


@patient
@given(_REQUESTS)
def test_any_request_passes_or_raises_one_of_ours(request: CreateRequest) -> None:
    with contextlib.suppress(errors.InvalidArgument):
        bundle.validate(request)


# Each field alone in an otherwise good request, where the first bad one does not hide the rest.
@patient
@given(_REQUESTS, st.sampled_from([name for name in CreateRequest.__slots__ if name != "source"]))
def test_any_single_field_passes_or_raises_one_of_ours(request: CreateRequest, name: str) -> None:
    with contextlib.suppress(errors.InvalidArgument):
        bundle.validate(replace(HOST, **{name: getattr(request, name)}))
