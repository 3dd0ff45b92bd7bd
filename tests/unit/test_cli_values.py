"""The values that options take."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wherry import errors
from wherry.cli import values
from wherry.model.request import Mount, Source, Ulimit


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("4096", 4096),
        ("20M", 20 << 20),
        ("20mb", 20 << 20),
        ("1GiB", 1 << 30),
        ("1.5K", 1536),
        ("8191P", 8191 << 50),
    ],
)
def test_size(text: str, size: int) -> None:
    assert values.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0.1", "-1", "M", "1X", "1e9", "1" + "0" * 30, "8192P", "½", "٣", "1 M"])
def test_size_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"^cannot (read|use) size "):
        values.parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 10.0), ("0", 0.0), ("1.5", 1.5), ("250ms", 0.25), ("10m", 600.0), ("1h30m", 5400.0), ("2d", 172800.0)],
)
def test_duration(text: str, seconds: float) -> None:
    assert values.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "-1", "1x", "m", "1m2", "inf", "nan", "1" + "0" * 15, "m1"])
def test_duration_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        values.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10s", 90 * 10**9),
        ("1000d", 1),
        ("1700000000", 1_700_000_000 * 10**9),
        ("1700000000.5", 1_700_000_000_500_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000 * 10**9),
        ("2023-11-14T22:13:20.000000001Z", 1_700_000_000_000_000_001),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000 * 10**9),
        ("2023-11-14", 1_699_920_000 * 10**9),
    ],
)
def test_since(text: str, moment: int) -> None:
    assert values.parse_since(text, 100 * 10**9) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2023-13-01", "2023-11-14T25:00:00Z", "1969-01-01", "9" * 20])
def test_since_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"^cannot (read|use) time "):
        values.parse_since(text, 10**18)


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("type=bind,src=/a,dst=/b", Mount(source="/a", target="/b")),
        ("source=a,target=/b,ro", Mount(source="/here/a", target="/b", read_only=True)),
        ("src=../x,dst=/b,nosuid,noexec", Mount(source="/x", target="/b", options=("nosuid", "noexec"))),
        ("type=tmpfs,dst=/t,size=64m", Mount(type="tmpfs", target="/t", options=("size=64m",))),
    ],
)
def test_mount(text: str, mount: Mount) -> None:
    assert values.parse_mount(text, "/here") == mount


@pytest.mark.parametrize(
    "text", ["", "type=bind,dst=/b", "src=/a", "src=/a,dst=b", "type=nfs,src=/a,dst=/b", "type=tmpfs,src=/a,dst=/b"]
)
def test_mount_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"^cannot mount "):
        values.parse_mount(text, "/here")


def test_volume() -> None:
    assert values.parse_volume("/a:/b", "/here") == Mount(source="/a", target="/b")
    assert values.parse_volume("a:/b:ro", "/here") == Mount(source="/here/a", target="/b", read_only=True)


@pytest.mark.parametrize("text", ["", "/a", "/a:b", ":/b", "/a:/b:rx", "/a:/b:ro:z"])
def test_volume_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"^cannot mount "):
        values.parse_volume(text, "/here")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("nofile=1024", Ulimit(name="nofile", soft=1024, hard=1024)),
        ("NOFILE=1024:2048", Ulimit(name="nofile", soft=1024, hard=2048)),
        ("RLIMIT_CORE=0:unlimited", Ulimit(name="core", soft=0, hard=-1)),
    ],
)
def test_ulimit(text: str, limit: Ulimit) -> None:
    assert values.parse_ulimit(text) == limit


@pytest.mark.parametrize(
    "text",
    ["", "nofile", "nofile=", "nofile=x", "nofile=2:1", "nofile=-2", "files=1", "nofile=unlimited:1", f"core={10**30}"],
)
def test_ulimit_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        values.parse_ulimit(text)


def test_env_takes_a_bare_name_from_here() -> None:
    assert values.parse_env("A=", {}) == "A="
    assert values.parse_env("A=b=c", {}) == "A=b=c"
    assert values.parse_env("A", {"A": "x"}) == "A=x"


@pytest.mark.parametrize(("text", "here"), [("", {}), ("=x", {}), ("A", {}), ("A", {"A": "\udcff"})])
def test_env_refused(text: str, here: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidArgument):
        values.parse_env(text, here)


def test_source_is_absolute() -> None:
    assert values.parse_source("host", "/here") == Source(kind="host")
    assert values.parse_source("host", "/here", here=True) == Source(kind="host", here="/here")
    assert values.parse_source("rootfs:a", "/here", writable=True) == Source(
        kind="rootfs", path="/here/a", writable=True
    )
    assert values.parse_source("bundle:/b/../c", "/here") == Source(kind="bundle", path="/c")


@pytest.mark.parametrize(
    ("text", "here", "writable"),
    [
        ("", False, False),
        ("host:", False, False),
        ("host:/x", False, False),
        ("rootfs", False, False),
        ("rootfs:", False, False),
        ("alpine", False, False),
        ("bundle:/b", True, False),
        ("bundle:/b", False, True),
        ("host", False, True),
    ],
)
def test_source_refused(text: str, here: bool, writable: bool) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"^cannot use source "):
        values.parse_source(text, "/here", here=here, writable=writable)


def test_address() -> None:
    assert values.parse_address("unix:///a/b") == values.parse_address("/a/b") == "unix:///a/b"
    assert values.parse_address("tcp://1.2.3.4:5") == "tcp://1.2.3.4:5"
    for text in ("", "unix://", "a/b", "tcp://1.2.3.4", "tcp:///a", "https://a:1"):
        with pytest.raises(errors.InvalidArgument):
            values.parse_address(text)


@pytest.mark.parametrize(("text", "cpus"), [("0.5", 0.5), ("2", 2.0), ("0.01", 0.01)])
def test_cpus(text: str, cpus: float) -> None:
    assert values.parse_cpus(text) == cpus


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e3", "", "9" * 19])
def test_cpus_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        values.parse_cpus(text)


def test_none_is_one_more_value_and_means_no_limit() -> None:
    parse = values.or_none(values.parse_pids)
    assert (parse("none"), parse("7")) == (-1, 7)
    with pytest.raises(errors.InvalidArgument):
        parse("-1")


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("no", ("no", 0)),
        ("on-failure", ("on-failure", 0)),
        ("on-failure:3", ("on-failure", 3)),
        ("always", ("always", 0)),
        ("unless-stopped", ("unless-stopped", 0)),
    ],
)
def test_restart_policy(text: str, policy: tuple[str, int]) -> None:
    assert values.parse_restart(text) == policy


@pytest.mark.parametrize("text", ["", "Always", "always:1", "no:", "on-failure:", "on-failure:0", "on-failure:x", ":3"])
def test_restart_policy_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        values.parse_restart(text)


@pytest.mark.parametrize(
    ("parse", "good", "bad"),
    [
        (values.parse_shares, "2", "1"),
        (values.parse_shares, "262144", "262145"),
        (values.parse_quota, "1000", "999"),
        (values.parse_period, "1000000", "1000001"),
        (values.parse_weight, "10", "9"),
        (values.parse_retries, "1000", "1001"),
        (values.parse_factor, "1.5", "0.99"),
        (values.parse_factor, "100", "nan"),
        (values.parse_time, "1ms", "0"),
        (values.parse_cpuset, "0-2,7", "0-2,"),
        (values.parse_cpuset, "0", "a"),
        (values.parse_command, "x y", "  "),
    ],
)
def test_what_limits_and_policies_take(parse: Callable[[str], object], good: str, bad: str) -> None:
    assert str(parse(good)) in (good, "0.001", "100.0")
    with pytest.raises(errors.InvalidArgument):
        parse(bad)
