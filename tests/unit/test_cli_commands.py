"""What the commands print, ask for and exit with."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from tests.unit.test_cli_fake import NOW_NS, FakeService, install, wherry_main
from wherry import errors
from wherry.cli import table
from wherry.cli.commands import events, logs, show
from wherry.model import request as req
from wherry.model import status as st


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    service = FakeService()
    install(monkeypatch, service)
    return service


def test_create_prints_the_id(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    assert wherry_main("create", "--name", "c1", "host", "true") == 0
    assert capsys.readouterr().out == "c1\n"
    assert not fake.started.is_set()


def test_detached_run_prints_the_id_only(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    assert wherry_main("run", "-d", "--name", "c1", "host", "true") == 0
    assert capsys.readouterr() == ("c1\n", "")


def test_run_does_not_touch_a_container_that_has_the_name(
    fake: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.add("c1")
    for words in (["-d"], ["--rm"], []):
        assert wherry_main("run", *words, "--name", "c1", "host", "true") == 125
    assert "c1" in fake.containers
    assert fake.sent(req.DeleteRequest) == []
    assert capsys.readouterr().err.count("cannot run container c1: it exists already, and is running\n") == 3


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.CommandNotFound("cannot start c1: nope: not found"), 127),
        (errors.CommandNotExecutable("cannot start c1: nope: not executable"), 126),
        (errors.RuntimeFailed("cannot create c1: crun says: no"), 125),
        (errors.PermissionDenied("cannot do it"), 125),
        (errors.DeadlineExceeded("cannot start c1: too slow"), 125),
    ],
)
def test_failures_have_their_exit_code_and_one_line(
    error: errors.WherryError, status: int, fake: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.failures["run"] = error
    assert wherry_main("run", "-d", "host", "nope") == status
    assert capsys.readouterr() == ("", f"wherry: {error.message}\n")


def test_a_stray_exception_is_one_line(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fake, "list", None)
    assert wherry_main("ps") == 125
    err = capsys.readouterr().err
    assert err.startswith("wherry: internal error: TypeError: ")
    assert err.count("\n") == 1
    monkeypatch.setenv("WHERRY_DEBUG", "1")
    assert wherry_main("ps") == 125
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_no_traceback(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted(request: req.ListRequest) -> st.ContainerList:
        raise KeyboardInterrupt

    monkeypatch.setattr(fake, "list", interrupted)
    assert wherry_main("ps") == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["start", "stop", "restart", "kill", "rm", "inspect"])
def test_every_container_is_tried_and_every_failure_printed(
    name: str, fake: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.add("c1")
    fake.add("c2")
    assert wherry_main(name, "no1", "c1", "no2", "c2") == 125
    err = capsys.readouterr().err
    assert err == "".join(f"wherry: cannot find container {id}: no such container\n" for id in ("no1", "no2"))


def test_wait_prints_status_and_exits_0(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.add("c1")
    fake.record = st.ExitRecord(status=7)
    assert wherry_main("wait", "c1") == 0
    assert capsys.readouterr().out == "7\n"


def test_stop_and_kill_ask_for_what_was_said(fake: FakeService) -> None:
    fake.add("c1")
    assert wherry_main("stop", "-t", "1m", "c1") == 0
    assert wherry_main("kill", "-s", "hup", "--process", "e1", "c1") == 0
    assert wherry_main("rm", "-f", "c1") == 0
    assert fake.calls == [
        req.StopRequest(id="c1", timeout=60.0),
        req.KillRequest(id="c1", process="e1", signal=1),
        req.DeleteRequest(id="c1", force=True),
    ]


def test_ps_shows_the_living_unless_asked(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.add("alive", pid=5)
    fake.add("dead", state="stopped", exit=st.ExitRecord(status=3))
    fake.add("odd", state="unknown", problem="cannot read state.json: torn")
    wherry_main("ps", "-q")
    assert capsys.readouterr().out == "alive\nodd\n"
    wherry_main("ps", "-a")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == list(show.COLUMNS)
    assert [line.split()[0] for line in lines[1:]] == ["alive", "dead", "odd"]
    assert "stopped (3)" in lines[2]
    assert "torn" in lines[3]


def test_ps_tells_of_health_and_restarts_where_there_are_any() -> None:
    base = st.ContainerInfo(id="c", namespace="default", generation=1, state="running")
    ended = st.ExitRecord(status=1)
    assert show.format_state(base) == "running"
    assert show.format_state(dataclasses.replace(base, health=st.Health(status="healthy"))) == "running (healthy)"
    assert show.format_state(dataclasses.replace(base, restarts=2)) == "running (restarted 2x)"
    unwell = st.Health(status="unhealthy")
    waiting = dataclasses.replace(base, state="restarting", exit=ended, health=unwell, restarts=3)
    assert show.format_state(waiting) == "restarting (1, unhealthy, restarted 3x)"


def test_update_asks_for_what_was_said_of_each_container(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.add("c1")
    fake.add("c2")
    assert wherry_main("update", "--memory", "64M", "--pids", "none", "c1", "c2") == 0
    asked = req.Limits(memory_bytes=64 << 20, pids=-1)
    assert fake.calls == [req.UpdateRequest(id="c1", limits=asked), req.UpdateRequest(id="c2", limits=asked)]
    assert capsys.readouterr() == ("", "")


def test_an_update_of_nothing_is_refused(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.add("c1")
    assert wherry_main("update", "c1") == 125
    assert "no limit is given" in capsys.readouterr().err
    assert fake.calls == []


def test_ps_filters_by_label(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.add("a", request=req.CreateRequest(labels={"job": "x=y", "n": "1"}))
    fake.add("b", request=req.CreateRequest(labels={"job": "z"}))
    wherry_main("ps", "-q", "--filter", "label=job=x=y", "--filter", "label.n=1")
    assert capsys.readouterr().out == "a\n"


def test_json_has_the_fields_of_the_model(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.add("c1", exit=st.ExitRecord(status=3), request=req.CreateRequest(labels={"a": "b"}, args=("true",)))
    wherry_main("ps", "--json")
    shown = json.loads(capsys.readouterr().out)
    assert isinstance(shown, list)
    assert len(shown) == 1
    assert list(shown[0]) == [field.name for field in dataclasses.fields(st.ContainerInfo)]
    assert shown[0]["exit"]["status"] == 3
    assert shown[0]["request"]["labels"] == {"a": "b"}
    wherry_main("inspect", "c1")
    assert json.loads(capsys.readouterr().out) == shown


def test_lists_are_json_arrays_also_when_empty(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    wherry_main("ps", "--json")
    assert json.loads(capsys.readouterr().out) == []
    assert wherry_main("inspect", "nope") == 125
    assert json.loads(capsys.readouterr().out) == []


def test_a_command_line_cannot_drive_the_terminal(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.add("c1", request=req.CreateRequest(args=("echo", "\x1b[2J\nX")))
    wherry_main("ps")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("\n") == 2


def test_logs_go_to_their_streams(fake: FakeService, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    fake.add("c1")
    fake.chunks = [
        st.LogChunk(stream="stdout", time_ns=NOW_NS, data=b"a\n\xffb\n"),
        st.LogChunk(stream="stderr", time_ns=NOW_NS, data=b"e"),
    ]
    assert wherry_main("logs", "--tail", "5", "--since", "17", "-f", "c1") == 0
    assert capfdbinary.readouterr() == (b"a\n\xffb\n", b"e")
    assert fake.calls == [req.LogsRequest(id="c1", follow=True, since_ns=17 * 10**9, tail=5)]
    wherry_main("logs", "--stream", "stderr", "c1")
    assert capfdbinary.readouterr() == (b"", b"e")
    wherry_main("logs", "--json", "c1")
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["data"] for line in lines] == ["a\n\ufffdb\n", "e"]


def test_times_stand_where_lines_begin() -> None:
    assert logs.prefix_lines(b"a\nb", b"T ", inside=False) == b"T a\nT b"
    assert logs.prefix_lines(b"c\nd\n", b"T ", inside=True) == b"c\nT d\n"
    assert logs.prefix_lines(b"", b"T ", inside=False) == b""
    assert logs.prefix_lines(b"\n", b"T ", inside=False) == b"T \n"


def make_event(seq: int, **fields: object) -> st.Event:
    base = st.Event(
        seq=seq, time_ns=NOW_NS, type="exit", namespace="default", container="c1", generation=1, process="init"
    )
    return dataclasses.replace(base, **fields)  # type: ignore[arg-type]


def test_events_print_what_is_kept(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    fake.events = [make_event(1, type="start", pid=9), make_event(2, status=137, signal=9, reason="oom")]
    assert wherry_main("events", "--filter", "type=exit") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["1", "2023-11-14T22:13:20.000000000Z", "start", "default/c1", "process=init", "pid=9"]
    assert out[1].endswith("process=init status=137 signal=SIGKILL reason=oom")
    assert fake.calls == [req.SubscribeRequest(after=0, follow=False, filters=("type=exit",))]
    wherry_main("events", "--json", "--after", "1")
    assert [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()] == [2]


def test_a_follower_begins_now(fake: FakeService) -> None:
    assert wherry_main("events", "-f") == 0
    assert fake.sent(req.SubscribeRequest) == [req.SubscribeRequest(after=7, follow=True)]
    assert events.COMMANDS["events"].trailing is False


def test_info(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    assert wherry_main("info") == 0
    out = capsys.readouterr().out
    assert "cgroup mode  hybrid" in out
    assert "yes, used by default" in out
    assert wherry_main("info", "--json") == 0
    assert json.loads(capsys.readouterr().out)["runtimes"][0]["name"] == "crun"


def test_version_does_without_a_daemon(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install(monkeypatch, FakeService(), [errors.Unavailable("nobody")] * 2)
    assert wherry_main("version") == 0
    assert capsys.readouterr().out.splitlines()[1] == "no daemon at unix:///run/wherry/wherry.sock"
    assert wherry_main("version", "--json") == 0
    assert json.loads(capsys.readouterr().out)["daemon"] is None
    assert wherry_main("version", "--json") == 0
    assert json.loads(capsys.readouterr().out)["daemon"]["api"] == "wherry.v1"


def test_no_daemon_is_started_at_an_address_that_was_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, FakeService(), [errors.Unavailable("cannot reach a daemon at unix:///x.sock: refused")])
    assert wherry_main("--address", "unix:///x.sock", "ps") == 125
    assert capsys.readouterr().err == "wherry: cannot reach a daemon at unix:///x.sock: refused\n"


def test_who_may_not_open_the_socket_starts_no_daemon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, FakeService(), [errors.PermissionDenied("cannot open /run/wherry/wherry.sock: be root")])
    assert wherry_main("ps") == 125
    assert capsys.readouterr().err == "wherry: cannot open /run/wherry/wherry.sock: be root\n"


def test_only_root_starts_a_daemon(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    install(monkeypatch, FakeService(), [errors.Unavailable("no daemon answers")])
    assert wherry_main("ps") == 125
    assert capsys.readouterr().err == "wherry: no daemon answers; only root can start one\n"


def test_table_formats() -> None:
    assert table.format_plain(("A", "B"), [["aa", "b"], ["a", "bbb"]]) == ["A    B", "aa   b", "a    bbb"]
    assert table.format_age(0, 5) == "-"
    assert [table.format_age(1, 1 + seconds * 10**9) for seconds in (0, 119, 120, 7200, 172800)] == [
        "0s",
        "119s",
        "2m",
        "2h",
        "2d",
    ]
    assert table.format_time(0) == "-"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_traceback(closed: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    line = f"exec {sys.executable} -m wherry.cli --address /nonexistent/wherry.sock ps {closed}"
    done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, text=True, env=environment, timeout=30)
    assert done.returncode == 125
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == (0 if "2>&-" in closed else 1)
