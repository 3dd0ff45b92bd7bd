"""How the command line is cut, and what the options make of it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.unit.test_cli_fake import FakeService, install, wherry_main
from wherry.cli import command, limits, options
from wherry.cli.commands import exec as exec_commands
from wherry.cli.commands import run as run_commands
from wherry.cli.commands import update as update_commands
from wherry.model import request as req

HELP_IMPORTS_NOT = ("asyncio", "grpc", "rich", "google.protobuf", "dataclasses", "wherry.client.client")


def read_run(*words: str) -> req.CreateRequest:
    args, trailing = run_commands.make_run_parser("wherry run").parse_leading(words)
    args.trailing = trailing
    return options.make_create_request(args, "default", {"HOME": "/h"}, "/here")


def test_every_option_of_run_reaches_the_request() -> None:
    words = """--name c1 --rm -i --here -e A=1 --env HOME -w /w -u 1:2 --hostname h -l a=b --label c=d=e
        --mount type=tmpfs,dst=/t,size=1m -v src:/dst:ro --read-only -m 20M --cpus 0.5 --pids 7 --network host
        --cap-add NET_RAW --cap-drop ALL --privileged --ulimit nofile=1:2 --runtime runc --stop-signal INT
        --log-max-size 1M --log-max-files 2 --ttl 10m --memory-reservation 10M --memory-swap 40M --cpu-shares 512
        --cpuset-cpus 0-1 --cpuset-mems 0 --blkio-weight 300 --health-cmd true --health-interval 5s --health-timeout 2s
        --health-retries 4 --health-start-period 1m --on-unhealthy kill host -- sh -c true"""
    assert read_run(*words.split()) == req.CreateRequest(
        id="c1",
        source=req.Source(kind="host", here="/here"),
        args=("sh", "-c", "true"),
        env=("A=1", "HOME=/h"),
        workdir="/w",
        user="1:2",
        hostname="h",
        labels={"a": "b", "c": "d=e"},
        mounts=(
            req.Mount(type="tmpfs", target="/t", options=("size=1m",)),
            req.Mount(source="/here/src", target="/dst", read_only=True),
        ),
        read_only=True,
        limits=req.Limits(
            memory_bytes=20 << 20,
            memory_reservation_bytes=10 << 20,
            memory_swap_bytes=40 << 20,
            cpus=0.5,
            cpu_shares=512,
            cpuset_cpus="0-1",
            cpuset_mems="0",
            pids=7,
            blkio_weight=300,
        ),
        network="host",
        cap_add=("NET_RAW",),
        cap_drop=("ALL",),
        privileged=True,
        ulimits=(req.Ulimit(name="nofile", soft=1, hard=2),),
        runtime="runc",
        stop_signal="INT",
        stdio=req.Stdio(stdin_open=True, log_max_bytes=1 << 20, log_max_files=2),
        auto_remove=True,
        ttl=600.0,
        health=req.HealthCheck(
            args=("/bin/sh", "-c", "true"),
            interval=5.0,
            timeout=2.0,
            retries=4,
            start_period=60.0,
            on_unhealthy="kill",
        ),
    )


def test_every_option_of_a_restart_reaches_the_request() -> None:
    words = "--restart on-failure:3 --restart-delay 1s --restart-factor 1.5 --restart-max-delay 2m --restart-reset 0"
    assert read_run(*words.split(), "host", "true").restart == req.RestartPolicy(
        name="on-failure", max_retries=3, delay=1.0, factor=1.5, max_delay=120.0, reset_after=0.0
    )
    assert read_run("--restart", "always", "host", "true").restart == req.RestartPolicy(name="always")
    made = read_run("--health-cmd", "x y", "--on-unhealthy", "restart", "--restart-delay", "2", "host", "true")
    assert made.restart == req.RestartPolicy(delay=2.0)
    assert made.health.args == ("/bin/sh", "-c", "x y")
    assert read_run("--rm", "--restart", "no", "host", "true").auto_remove


def test_every_limit_can_be_changed_and_those_that_are_none_are_lifted() -> None:
    parser = update_commands.make_update_parser("wherry update")
    words = "c1 c2 -m 1G --memory-reservation none --memory-swap none --cpu-quota 5000 --cpu-period 10000 --pids 5"
    args = parser.parse_args(words.split())
    assert args.ids == ["c1", "c2"]
    assert limits.make(args) == req.Limits(
        memory_bytes=1 << 30,
        memory_reservation_bytes=-1,
        memory_swap_bytes=-1,
        cpu_quota_us=5000,
        cpu_period_us=10000,
        pids=5,
    )
    lifted = parser.parse_args(["--cpus=none", "--memory=none", "--cpu-quota=none", "--pids=none", "c1"])
    assert limits.make(lifted) == req.Limits(cpus=-1, memory_bytes=-1, cpu_quota_us=-1, pids=-1)


def test_without_options_the_request_is_the_default_one() -> None:
    made = read_run("host", "true")
    assert made == req.CreateRequest(id=made.id, args=("true",))
    assert len(made.id) == 12


def test_no_default_is_shared_between_requests() -> None:
    read_run("-e", "A=1", "-l", "a=b", "--cap-add", "X", "host", "true")
    assert read_run("--name", "x", "host", "true") == req.CreateRequest(id="x", args=("true",))


@pytest.mark.parametrize(
    ("words", "args"),
    [
        (("host", "sh", "-c", "x"), ("sh", "-c", "x")),
        (("host", "--", "sh", "-c", "x"), ("sh", "-c", "x")),
        (("--", "host", "sh"), ("sh",)),
        (
            ("-ie", "A=1", "host", "ls", "-d", "--rm", "--name", "y", "--help"),
            ("ls", "-d", "--rm", "--name", "y", "--help"),
        ),
        (("--env=A=1", "host", "--", "--", "x"), ("--", "x")),
        (("-eA=1", "host", "--me", "--m=3"), ("--me", "--m=3")),
        (("-e", "--", "host", "x"), None),
        (("-v", "/a:/b", "-v/c:/d", "host", "-x"), ("-x",)),
    ],
)
def test_options_end_at_the_source(words: tuple[str, ...], args: tuple[str, ...] | None) -> None:
    if args is None:
        with pytest.raises(SystemExit):
            read_run(*words)
    else:
        made = read_run(*words)
        assert made.args == args
        assert not made.auto_remove


@given(
    tail=some.lists(some.text(alphabet=some.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1)
)
def test_no_word_of_the_command_is_eaten(tail: list[str]) -> None:
    assert read_run("--rm", "host", "--", *tail).args == tuple(tail)
    if tail[0] != "--":
        assert read_run("--rm", "host", *tail).args == tuple(tail)


def test_every_option_of_exec_reaches_the_request() -> None:
    parser = exec_commands.make_exec_parser("wherry exec")
    args, trailing = parser.parse_leading(["-i", "-e", "A=1", "-w", "/w", "-u", "1", "c1", "sh", "-c", "x"])
    args.trailing = trailing
    made = options.make_exec_request(args, "ns", {})
    assert made == req.ExecRequest(
        id="c1",
        namespace="ns",
        process=made.process,
        args=("sh", "-c", "x"),
        env=("A=1",),
        workdir="/w",
        user="1",
        stdio=req.Stdio(stdin_open=True),
    )


MISUSES = {
    "run": [
        [],
        ["host"],
        ["--nope", "host", "x"],
        ["--memory", "0", "host", "x"],
        ["--name", "a/b", "host", "x"],
        ["alpine", "x"],
        ["--memory-swap", "lots", "host", "x"],
        ["--cpu-shares", "1", "host", "x"],
        ["--cpu-quota", "999", "host", "x"],
        ["--cpu-period", "0", "host", "x"],
        ["--cpuset-cpus", "one", "host", "x"],
        ["--cpuset-mems", "0-", "host", "x"],
        ["--blkio-weight", "1001", "host", "x"],
        ["--restart", "often", "host", "x"],
        ["--restart", "always:3", "host", "x"],
        ["--restart", "on-failure:", "host", "x"],
        ["--restart", "on-failure:0", "host", "x"],
        ["--restart", "always", "--restart-delay", "0", "host", "x"],
        ["--restart", "always", "--restart-factor", "0.5", "host", "x"],
        ["--restart", "always", "--restart-factor", "nan", "host", "x"],
        ["--restart-delay", "1s", "host", "x"],
        ["--restart", "no", "--restart-max-delay", "1s", "host", "x"],
        ["--rm", "--restart", "always", "host", "x"],
        ["--rm", "--health-cmd", "true", "--on-unhealthy", "restart", "host", "x"],
        ["--health-interval", "1s", "host", "x"],
        ["--on-unhealthy", "kill", "host", "x"],
        ["--health-cmd", " ", "host", "x"],
        ["--health-cmd", "true", "--health-interval", "0", "host", "x"],
        ["--health-cmd", "true", "--health-retries", "0", "host", "x"],
        ["--health-cmd", "true", "--on-unhealthy", "cry", "host", "x"],
    ],
    "create": [["host"], ["--cpus", "0", "host", "x"], ["--rm", "host", "x"], ["--name", "", "host", "x"]],
    "exec": [[], ["c1"], ["--memory", "1M", "c1", "x"], ["a\nb", "x"]],
    "attach": [[], ["c1", "c2"], ["--process", "..", "c1"]],
    "start": [[], ["../x"], ["-x", "c1"]],
    "stop": [[], ["-t", "-1", "c1"], ["-t", "soon", "c1"]],
    "restart": [[], ["-t", "soon", "c1"], ["a/b"]],
    "kill": [[], ["-s", "NOPE", "c1"], ["-s", "0", "c1"], ["-s", "65", "c1"]],
    "wait": [[], ["x" * 200], ["--json", "c1"]],
    "rm": [[], [""], ["--all", "c1"]],
    "ps": [["c1"], ["--filter", "x"], ["--filter", "label=a"]],
    "inspect": [[], ["--yaml", "c1"], ["c 1"]],
    "logs": [[], ["--tail", "-5", "c1"], ["--since", "yesterday", "c1"], ["--stream", "stdin", "c1"]],
    "pause": [[], ["a/b"], ["--bogus", "a"]],
    "resume": [[], ["a/b"], ["--bogus", "a"]],
    "update": [
        [],
        ["c1"],
        ["--pids", "5"],
        ["--pids", "0", "c1"],
        ["--memory", "-1", "c1"],
        ["--cpus", "nan", "c1"],
        ["--cpu-shares", "none", "c1"],
        ["--ulimit", "nofile=1", "c1"],
        ["--pids", "5", "../x"],
    ],
    "stats": [["--interval", "x"], ["--interval", "-1"], ["--bogus"]],
    "top": [["--interval", "x"], ["--interval", "1ms"], ["--bogus"]],
    "processes": [[], ["a", "b"], ["a/b"], ["--bogus", "a"]],
    "events": [["x"], ["--after", "-2"], ["--filter", "color=red"], ["--filter", "label.=x"]],
    "checkpoint create": [
        ["c1"],
        ["c1", "a/b"],
        ["--exit", "--leave-running", "c1", "x"],
        ["--pre-copy", "17", "c1", "x"],
    ],
    "checkpoint list": [["c1", "x"], ["--yaml"], ["--json=1"]],
    "checkpoint inspect": [["c1"], ["c1", ".."], ["--yaml", "c1", "x"]],
    "checkpoint export": [["c1", "x"], ["c1", "..", "file"], ["--as", "x", "c1", "x", "file"]],
    "checkpoint import": [[], ["--as", "a/b", "file"], ["a", "b"]],
    "checkpoint rm": [["c1"], ["c1", ""], ["--all", "c1", "x"]],
    "restore": [["c1"], ["c1", "x", "y"], ["c1", "../x"]],
    "migrate": [[], ["--to"], ["--to", "unix:///x", "--pre-copy", "x", "c1"], ["--to", "unix:///x", "c1", "c2"]],
    "clone": [["c1"], ["c1@", "x"], ["c1", "a/b"]],
    "info": [["x"], ["--yaml"], ["--json=1"]],
    "version": [["x"], ["--yaml"], ["--json=1"]],
    "doctor": [["x"], ["--yaml"], ["--json=1"]],
}


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, lines in MISUSES.items() for words in lines])
def test_misuse_is_one_line_and_reaches_no_daemon(
    name: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = install(monkeypatch, FakeService())
    status = wherry_main(*name.split(), *words)
    assert status == 125 if name in ("run", "exec", "attach") else status in (2, 125)
    err = capsys.readouterr().err
    assert err.startswith("wherry")
    assert "cannot " in err
    assert err.count("\n") == 1
    assert asked == []


def test_every_command_has_misuses_and_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(MISUSES) == set(command.INDEX)
    for name in command.INDEX:
        assert wherry_main(*name.split(), "--help") == 0
        out = capsys.readouterr().out
        assert out.startswith(f"usage: wherry {name} ")
        assert f"example:\n  wherry {name}" in out or f"\n  wherry {name} " in out or f" | wherry {name}" in out
        assert max(map(len, out.splitlines())) <= 120


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nope"],
        ["--nope"],
        ["--address", "tcp://x", "ps"],
        ["--address", "tcp://x:1", "ps"],
        ["--address", "tcp://x:1", "--tls-cert", "c", "--tls-key", "k", "ps"],
        ["--tls-ca", "a", "ps"],
        ["--namespace", "../x", "ps"],
        ["--address"],
    ],
)
def test_misuse_of_the_top_level(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = install(monkeypatch, FakeService())
    assert wherry_main(*words) == 2
    assert capsys.readouterr().err
    assert asked == []


def test_words_that_are_not_text_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, FakeService())
    assert wherry_main("run", "host", "\udcff") == 125
    assert wherry_main("--address", "/\udcff", "ps") == 2
    assert "not valid UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "environment", "address"),
    [
        (["ps"], {}, "unix:///run/wherry/wherry.sock"),
        (["ps"], {"WHERRY_ADDRESS": "unix:///e.sock"}, "unix:///e.sock"),
        (["--address", "/a.sock", "ps"], {"WHERRY_ADDRESS": "unix:///e.sock"}, "unix:///a.sock"),
        (["--address", "/a.sock", "ps", "--address", "/b.sock"], {}, "unix:///b.sock"),
    ],
)
def test_where_the_address_comes_from(
    words: list[str], environment: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = install(monkeypatch, FakeService())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wherry_main(*words) == 0
    assert asked == [address]


def test_where_the_namespace_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeService()
    install(monkeypatch, fake)
    monkeypatch.setenv("WHERRY_NAMESPACE", "env")
    wherry_main("ps")
    wherry_main("--namespace", "top", "ps")
    wherry_main("ps", "--namespace", "own")
    assert [call.namespace for call in fake.calls if isinstance(call, req.ListRequest)] == ["env", "top", "own"]


def test_help_imports_next_to_nothing() -> None:
    code = f"""
import sys
from wherry.cli import main
assert main.main(["--help"]) == 0
print([name for name in {HELP_IMPORTS_NOT!r} if name in sys.modules], file=sys.stderr)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr.strip() == "[]"


def test_arguments_of_commands_do_not_hide_the_connection() -> None:
    parser = run_commands.make_run_parser("x")
    assert isinstance(parser, argparse.ArgumentParser)
