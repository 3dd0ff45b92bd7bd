"""Settings of wherryd: what wins, and what is refused by name."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wherry import errors
from wherry.daemon import config


@pytest.fixture(autouse=True)
def no_file_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "DEFAULT_FILE", tmp_path / "default.toml")


def write(tmp_path: Path, text: str) -> str:
    (tmp_path / "given.toml").write_text(text)
    return str(tmp_path / "given.toml")


def test_without_anything_the_defaults_hold_and_pass_their_own_checks() -> None:
    found = config.load([])
    assert found.values == {name: key.default for name, key in config.KEYS.items()}
    for name, key in config.KEYS.items():
        assert config._check(name, key, key.default) == key.default
    assert found.socket == Path("/run/wherry/wherry.sock")


def test_a_flag_beats_the_file_and_the_file_beats_the_default(tmp_path: Path) -> None:
    file = write(tmp_path, 'concurrency = 3\nlog-level = "debug"\nstart-timeout = 2\n')
    found = config.load(["--config", file, "--concurrency", "4"])
    assert (found["concurrency"], found["log-level"], found["event-retention"]) == (4, "debug", 100_000)
    assert found["start-timeout"] == 2.0
    assert isinstance(found["start-timeout"], float)


def test_the_default_file_is_read_only_when_no_other_is_given(tmp_path: Path) -> None:
    config.DEFAULT_FILE.write_text("concurrency = 5\n")
    assert config.load([])["concurrency"] == 5
    assert config.load(["--config", write(tmp_path, "")])["concurrency"] == 10


@pytest.mark.parametrize("name", config.KEYS)
def test_each_key_can_be_given_either_way(tmp_path: Path, name: str) -> None:
    key = config.KEYS[name]
    value = key.choices[-1] if key.choices else "/x" if key.kind is str else key.kind(7)
    if name == "metrics-address":
        value = "127.0.0.1:9323"
    text = f'"{value}"' if key.kind is str else str(value)
    assert config.load([f"--{name}", str(value)])[name] == value
    assert config.load(["--config", write(tmp_path, f"{name} = {text}\n")])[name] == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1", "unknown key 'colour'; known are state-dir"),
        ("state_dir = '/x'", "unknown key 'state_dir'"),
        ("[concurrency]\na = 1", "concurrency: .* is not of type int"),
        ("concurrency = '3'", "concurrency: '3' is not of type int"),
        ("concurrency = 3.0", "concurrency: 3.0 is not of type int"),
        ("concurrency = true", "concurrency: True is not of type int"),
        ("start-timeout = true", "start-timeout: True is not of type float"),
        ("concurrency = 0", "concurrency: 0 is not between 1 and 1000000000"),
        ("concurrency = -1", "is not between"),
        ("concurrency = 1000000001", "is not between"),
        ("start-timeout = nan", "start-timeout: nan is not between"),
        ("start-timeout = inf", "is not between"),
        ("start-timeout = 0.0", "is not between 0.1"),
        ("event-retention = 0", "is not between 1"),
        ("log-level = 'loud'", "log-level: 'loud' is none of debug, info"),
        ("log-level = 3", "is not of type str"),
        ("runtime = ['crun']", "is not of type str"),
        ("concurrency = ", "cannot read .*given.toml: "),
        ("a = " + "[" * 5000, "cannot read .*given.toml: "),
        ("concurrency = 1\nconcurrency = 2", "cannot read .*given.toml: "),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_the_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=words) as raised:
        config.load(["--config", write(tmp_path, text)])
    assert "given.toml" in raised.value.message


def test_a_file_that_is_missing_or_no_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(errors.NotFound, match=f"cannot read {path}: "):
            config.load(["--config", str(path)])
    (tmp_path / "latin").write_bytes(b"runtime = '\xff'")
    with pytest.raises(errors.InvalidArgument, match="cannot read .*latin"):
        config.load(["--config", str(tmp_path / "latin")])


@pytest.mark.parametrize("arguments", [["--concurrency", "0"], ["--start-timeout", "nan"], ["--idle-exit", "-1"]])
def test_a_bad_number_on_the_command_line_is_refused_by_its_flag(arguments: list[str]) -> None:
    with pytest.raises(errors.InvalidArgument, match=f"^{arguments[0]}: "):
        config.load(arguments)


@pytest.mark.parametrize("arguments", [["--concurrency", "x"], ["--log-level", "loud"], ["--colour", "1"], ["extra"]])
def test_a_bad_command_line_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        config.load(arguments)
    assert raised.value.code == 2
    assert "usage: wherryd" in capsys.readouterr().err


@pytest.mark.parametrize("listen", ["http://1.2.3.4:5", "x.sock", "unix://x", "unix:///" + "x" * 107, "/\udcff" * 60])
def test_an_address_that_no_socket_can_have_is_refused(listen: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="listen: .* is not unix:///PATH"):
        _ = config.load(["--listen", listen]).socket


def test_the_socket_is_where_it_was_asked_for() -> None:
    assert config.load(["--listen", "unix:///a/b"]).socket == Path("/a/b")
    assert config.load(["--listen", "/a/b"]).socket == Path("/a/b")
    assert config.load(["--state-dir", "/s"]).socket == Path("/s/wherry.sock")
    assert config.load(["--state-dir", "s"]).state_dir.is_absolute()
    assert config.load(["--listen", "/a/\udcff"]).socket == Path("/a/\udcff")


@pytest.mark.parametrize(
    ("listen", "socket", "hosts"),
    [
        ("", "/s/wherry.sock", []),
        ("tcp://10.0.0.1:7443", "/s/wherry.sock", [("10.0.0.1", 7443)]),
        ("tcp://[::1]:0,tcp://a.example:1", "/s/wherry.sock", [("[::1]", 0), ("a.example", 1)]),
        ("unix:///a/b,tcp://h:1", "/a/b", [("h", 1)]),
        ("tcp://h:1,unix:///a,b", "/a,b", [("h", 1)]),
    ],
)
def test_the_unix_socket_is_always_there_and_tcp_beside_it(
    listen: str, socket: str, hosts: list[tuple[str, int]]
) -> None:
    found = config.load(["--state-dir", "/s", "--listen", listen])
    assert (found.socket, list(found.hosts)) == (Path(socket), hosts)


@pytest.mark.parametrize("listen", ["tcp://", "tcp://h", "tcp://h:65536", "tcp://h:-1", "tcp://::1:5", "tcp://h:1,/a"])
def test_a_tcp_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="^listen: address .* is not valid: tcp://HOST:PORT is expected"):
        _ = config.load(["--listen", listen]).hosts


def test_two_unix_sockets_are_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="there is one unix socket only"):
        _ = config.load(["--listen", "unix:///a,unix:///b"]).socket


@given(some.sampled_from(sorted(config.KEYS)), some.text(max_size=30))
def test_garbage_in_a_file_is_a_named_error_only(tmp_path_factory: pytest.TempPathFactory, key: str, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.toml"
    for content in (text, f"{key} = {text}"):
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(errors.InvalidArgument):
            found = config.read_file(path)
            assert set(found) <= set(config.KEYS)
            assert all(isinstance(value, config.KEYS[name].kind) for name, value in found.items())
