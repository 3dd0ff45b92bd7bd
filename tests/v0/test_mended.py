"""What was still wrong with the original, as far as a client sees it; the numbers are those of v0-system 9.3."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support import leaks
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.fake_runtime import FakeRuntime
from tests.v0.client import ZERO, Client
from wherry.wire import v0_pb2 as pb

Code = grpc.StatusCode
START = ("start-container", "", 0)


def now() -> Timestamp:
    """Return this instant."""
    stamp = Timestamp()
    stamp.FromNanoseconds(time.time_ns())
    return stamp


def shim_of(client: Client, container: str, pid: str = "init") -> int:
    """Return the number of the shim of a process."""
    return int((client.daemon.state_dir / "default" / container / pid / "shim.pid").read_text())


def test_1_an_exit_is_not_lost_with_daemon_and_shim(v0_alone: Client) -> None:
    client = v0_alone
    client.start("top", "top")
    before = now()
    shim = shim_of(client, "top")
    client.daemon.kill()
    os.kill(shim, signal.SIGKILL)
    client.daemon.start()
    client.reconnect()
    assert client.events(timestamp=before).wait_exit("top") == 137
    client.start("top", "top")


@pytest.mark.parametrize("verb", ["exec", "pause", "create,run"])
def test_2_one_slow_container_holds_up_nobody(
    make_daemon: Callable[..., Daemon], fake_runtime: FakeRuntime, tmp_path: Path, busybox_rootfs: Path, verb: str
) -> None:
    client = Client(make_daemon("--start-timeout", "6"), tmp_path, busybox_rootfs, fake_runtime.path.name[5:])
    try:
        events = client.events()
        client.start("slow", "top", runtime=str(fake_runtime))
        client.start("other", "top")
        fake_runtime.set(verb, "hang")
        if verb == "exec":
            call = client.start_call("AddProcess", id="slow", pid="e", args=["ls"], cwd="/")
        elif verb == "pause":
            call = client.start_call("UpdateContainer", id="slow", status="paused")
        else:
            wanted = {"id": "third", "bundlePath": client.bundle("ls"), "runtime": str(fake_runtime)}
            call = client.start_call("CreateContainer", **wanted)
        assert {item.id for item in client.state()} >= {"slow", "other"}
        client.exec("other", "e1", "true")
        client.call("UpdateContainer", id="other", status="paused")
        client.signal("other")
        assert events.wait_exit("other") == 137
        assert not call.done(), "the slow call was over before the others"
        assert call.exception() is not None
        fake_runtime.reset()
    finally:
        client.close()


def test_3_state_does_not_fail_for_one_that_ends(v0: Client) -> None:
    events = v0.events()
    names = [f"c{number}" for number in range(12)]
    for name in names:
        v0.start(name, "sleep", "1000")
    failures: list[grpc.RpcError] = []
    seen: list[int] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                seen.append(len(v0.state()))
            except grpc.RpcError as error:
                failures.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for name in names:
            v0.signal(name)
        for name in names:
            events.wait_exit(name)
            assert name not in [item.id for item in v0.state()], "it has been told that this one is gone"
    finally:
        is_over.set()
        asker.join()
    assert not failures
    assert len(seen) > 1


def test_4a_an_exec_without_a_user_does_not_end_the_daemon(v0: Client) -> None:
    events, fifos = v0.events(), v0.fifos()
    v0.start("top", "top")
    v0.call("AddProcess", id="top", pid="e", args=["id", "-u"], cwd="/", env=["PATH=/bin"], **fifos.paths)
    assert events.wait_exit("top", "e") == 0
    assert fifos.read() == b"0\n"


def test_4b_a_checkpoint_without_a_checkpoint_does_not_end_the_daemon(v0: Client) -> None:
    v0.start("top", "top")
    assert v0.fail("CreateCheckpoint", id="top") == (Code.INVALID_ARGUMENT, "checkpoint cannot be empty")
    assert v0.state("top")[0].status == "running"


def test_4c_an_exec_in_a_creation_does_not_end_the_daemon(
    make_daemon: Callable[..., Daemon], fake_runtime: FakeRuntime, tmp_path: Path, busybox_rootfs: Path
) -> None:
    client = Client(make_daemon(), tmp_path, busybox_rootfs, str(fake_runtime))
    try:
        fake_runtime.set("create,run", "delay", 1.5)
        call = client.start_call(
            "CreateContainer", id="top", bundlePath=client.bundle("top"), runtime=str(fake_runtime)
        )
        eventually((client.daemon.state_dir / "default" / "top" / "init").exists)
        assert client.fail("AddProcess", id="top", pid="e", args=["ls"], cwd="/")[0] == Code.FAILED_PRECONDITION
        assert client.fail("Signal", id="top", pid="init", signal=9)[0] in (Code.FAILED_PRECONDITION, Code.NOT_FOUND)
        assert call.result().container.status == "running"
        assert client.exec("top", "e", "true") > 0
    finally:
        client.close()


def test_4d_a_configuration_without_capabilities_does_not_end_the_daemon(v0: Client) -> None:
    bundle = Path(v0.bundle("top"))
    config = json.loads((bundle / "config.json").read_text())
    del config["process"]["capabilities"]
    (bundle / "config.json").write_text(json.dumps(config))
    v0.start("top", bundle=str(bundle))
    assert list(v0.state("top")[0].processes[0].capabilities) == []


def test_6_events_outlive_restarts_and_a_torn_journal(v0_alone: Client) -> None:
    client = v0_alone
    before = now()
    events = client.events()
    client.start("one", "true")
    events.wait_exit("one")
    for torn in (b"", b"\0" * 500, b'{"seq":'):
        client.daemon.kill()
        last = max((client.daemon.root_dir / "journal").glob("*.jsonl"))
        with last.open("ab") as file:
            file.write(torn)
        client.daemon.start()
    client.reconnect()
    assert [event.type for event in client.stored(before)] == ["start-container", "exit"]


def test_6_a_time_before_everything_begins_with_the_oldest_that_is_kept(v0: Client) -> None:
    events = v0.events()
    v0.start("one", "true")
    events.wait_exit("one")
    assert [event.id for event in v0.stored(Timestamp(seconds=ZERO.seconds, nanos=1))][-2:] == ["one", "one"]


def test_6_events_are_told_once_from_replay_to_live(v0: Client) -> None:
    """Streams begin at any instant while containers come and go; each has every later event once, and in order."""
    before, live = now(), v0.events()
    streams = []
    for number in range(10):
        v0.start(f"c{number}", "true")
        streams.append(v0.events(timestamp=before))
    for number in range(10):
        live.wait_exit(f"c{number}")
    for stream in streams:
        stream.wait_exit("c9")
        eventually(lambda stream=stream: len(stream.found) == 20)  # type: ignore[misc]
        assert list(stream.found) == list(live.found)


def test_6_replay_is_strictly_later(v0: Client) -> None:
    before, live = now(), v0.events()
    v0.start("one", "true")
    live.wait_exit("one")
    first, second = v0.stored(before)
    assert [event.type for event in v0.stored(first.timestamp)] == ["exit"]
    assert v0.stored(second.timestamp) == []


def test_7_paused_is_shown_and_kept_over_a_restart(v0_alone: Client) -> None:
    client = v0_alone
    client.start("top", "top")
    client.call("UpdateContainer", id="top", status="paused")
    assert client.state("top")[0].status == "paused"
    client.daemon.restart()
    client.reconnect()
    assert client.state("top")[0].status == "paused"
    events = client.events()
    client.signal("top")
    assert events.wait_exit("top") == 137


def test_7_a_container_that_was_never_started_is_not_running_after_a_restart(v0_alone: Client) -> None:
    client = v0_alone
    client.daemon.restart(failpoints="create.saved")
    client.reconnect()
    with pytest.raises(grpc.RpcError):
        client.start("top", "top")
    client.daemon.wait_end()
    client.daemon.start(failpoints="")
    client.reconnect()
    # What was begun is finished: it really runs.
    eventually(lambda: [item.status for item in client.state()] == ["running"])
    assert Path(f"/proc/{client.state('top')[0].processes[0].systemPid}/cmdline").read_bytes() == b"top\0"


def test_8_a_container_that_cannot_be_understood_is_not_forgotten(v0_alone: Client) -> None:
    client = v0_alone
    client.start("bad", "top")
    client.start("good", "top")
    number = client.state("bad")[0].processes[0].systemPid
    client.daemon.kill()
    (client.daemon.state_dir / "default" / "bad" / "state.json").write_text("nonsense")
    client.daemon.start()
    client.reconnect()
    assert {item.id: item.status for item in client.state()} == {"bad": "unknown", "good": "running"}
    assert client.fail("CreateContainer", id="bad", bundlePath=client.bundle("ls"))[0] == Code.ALREADY_EXISTS
    client.daemon.wherry("rm", "-f", "bad")
    eventually(lambda: not Path(f"/proc/{number}").exists() or "Z" in Path(f"/proc/{number}/stat").read_text())
    client.start("bad", "top")


def test_9_exit_codes_of_execs_are_exact_when_the_container_goes_first(v0: Client) -> None:
    events = v0.events()
    v0.start("top", "top")
    v0.exec("top", "e1", "top")
    v0.exec("top", "e2", "sh", "-c", "exit 42")
    os.kill(shim_of(v0, "top"), signal.SIGKILL)
    assert events.wait_exit("top") == 137
    found = {pid: status for kind, pid, status in events.of("top") if kind == "exit"}
    assert found == {"e1": 137, "e2": 42, "init": 137}
    assert events.of("top")[-1][1] == "init"


@pytest.mark.parametrize(
    "name", ["../evil", "../../evil", "/tmp/evil", "a/../../evil", ".hidden", "x" * 200, "a\nb", "a\0b"]
)
def test_10_no_id_leads_out_of_the_state_directory(v0: Client, name: str) -> None:
    v0.start("top", "top")
    before = set(v0.work.rglob("*")) | set(v0.daemon.work.rglob("*evil*"))
    bundle = v0.bundle("ls")
    assert v0.fail("CreateContainer", id=name, bundlePath=bundle)[0] in (Code.INVALID_ARGUMENT, Code.NOT_FOUND)
    assert v0.fail("AddProcess", id="top", pid=name, args=["ls"], cwd="/")[0] == Code.INVALID_ARGUMENT
    assert v0.fail("DeleteCheckpoint", id="top", name=name)[0] == Code.INVALID_ARGUMENT
    assert v0.fail("State", id=name)[0] == Code.NOT_FOUND
    left = (set(v0.work.rglob("*")) | set(v0.daemon.work.rglob("*evil*"))) - before
    assert {path.parent for path in left} <= {v0.work, Path(bundle)}
    assert not Path("/tmp/evil").exists()


def test_13_quotes_in_an_error_come_through(v0: Client) -> None:
    path = v0.work / 'say "hello"'
    expected = (Code.NOT_FOUND, f"shim error: stat {path}: no such file or directory")
    assert (
        v0.fail("CreateContainer", id="x", bundlePath=v0.bundle("ls"), runtime=v0.runtime, stdout=str(path)) == expected
    )


def test_17_an_id_is_free_as_soon_as_its_exit_is_told(v0: Client) -> None:
    events = v0.events()
    expected = []
    for number in range(8):
        v0.start("same", "sh", "-c", f"exit {number}")
        expected += [START, ("exit", "init", number)]
        events.wait("same", *expected)


def test_17_two_creations_of_one_id_give_one_container(v0: Client) -> None:
    bundle = v0.bundle("top")
    calls = [v0.start_call("CreateContainer", id="same", bundlePath=bundle, runtime=v0.runtime) for _ in range(40)]
    errors = [call.exception() for call in calls]
    assert [error for error in errors if error is None] == [None]
    assert {error.code() for error in errors if error is not None} == {Code.ALREADY_EXISTS}


def test_18_start_is_told_before_the_exit_of_the_shortest_container(v0: Client) -> None:
    events = v0.events()
    for number in range(15):
        v0.start(f"c{number}", "true")
    for number in range(15):
        events.wait(f"c{number}", START, ("exit", "init", 0))


def test_19_network_and_huge_pages_are_told(v0: Client) -> None:
    v0.start("top", bundle=v0.bundle("top"))
    found = v0.call("Stats", id="top")
    assert [network.name for network in found.network_stats] == ["lo"]
    sizes = {path.name.split(".")[1] for path in Path("/sys/fs/cgroup/hugetlb").glob("hugetlb.*.max_usage_in_bytes")}
    assert set(found.cgroup_stats.hugetlb_stats) >= {size for size in sizes if size != "rsvd"}


def test_21_a_terminated_daemon_ends_with_status_0_and_leaves_all_running(v0_alone: Client) -> None:
    client = v0_alone
    client.start("top", "top")
    stream = client.events()
    client.daemon.stop()
    assert stream.of("top") == []
    client.daemon.start()
    client.reconnect()
    assert client.state("top")[0].status == "running"


def test_23_a_leaked_writer_does_not_hold_the_exit_for_ever(v0: Client) -> None:
    events, fifos = v0.events(), v0.fifos()
    v0.start("leak", "sh", "-c", "sleep 1000 & exit 6", fifos=fifos)
    assert events.wait_exit("leak") == 6


def test_a_client_that_leaves_its_stream_leaves_nothing(
    make_daemon: Callable[..., Daemon], tmp_path: Path, busybox_rootfs: Path
) -> None:
    daemon = make_daemon("--idle-exit", "3")
    client = Client(daemon, tmp_path, busybox_rootfs, "")
    streams = [client.events(timestamp=Timestamp(seconds=1)) for _ in range(10)]
    streams += [client.events() for _ in range(10)]
    assert daemon.is_running()
    client.close()
    assert [stream.found for stream in streams] == [[]] * 20
    assert daemon.wait_end() == 0, "a call that is still under way would keep it"


def test_messages_of_the_first_version_are_survived(v0: Client) -> None:
    """The ancestor's messages have other types at the same numbers; nothing of it may harm."""
    call = v0._channel.unary_unary("/types.API/State", bytes, pb.StateResponse.FromString)
    assert call(b"\x52\x03abc", timeout=10).machine.cpus == os.cpu_count()


def test_a_creation_that_nobody_waits_for_leaves_nothing_whenever_that_is(v0: Client) -> None:
    """The shim was killed in the middle, and what the runtime had made went on, known to nobody."""
    bundles = [v0.bundle("sleep", "3000", cgroup=None if number % 2 else "") for number in range(40)]
    names = [f"{v0.runtime}-{number}" for number in range(40)]
    for number, name in enumerate(names):
        call = v0.start_call("CreateContainer", id=name, bundlePath=bundles[number], runtime=v0.runtime)
        with contextlib.suppress(grpc.FutureTimeoutError):
            call.result(timeout=0.002 * number)
        call.cancel()
    # Those that were made in time are there; all others are gone, and their ids are free.
    for name in names:
        with contextlib.suppress(grpc.RpcError):
            v0.signal(name)
    # One that is still being made, or taken back, has a directory and is not in the answer of State.
    eventually(lambda: not [name for name in names if (v0.daemon.state_dir / "default" / name).exists()])
    assert not v0.state()
    eventually(lambda: not _sleepers("sleep\03000\0"))


def _sleepers(command: str) -> list[int]:
    found = []
    for pid in leaks.descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_text() == command:
                found.append(pid)
    return found


def test_a_container_that_ends_at_once_leaves_no_cgroup_that_its_runtime_chose(v0: Client) -> None:
    name = f"brief-{os.getpid()}"
    events = v0.events()
    bundle = v0.bundle("true", cgroup="")
    for number in range(5):
        v0.start(f"{name}-{number}", bundle=bundle)
        assert events.wait_exit(f"{name}-{number}") == 0
    eventually(lambda: not [path for path, _, _ in os.walk("/sys/fs/cgroup") if name in path])


def test_a_container_in_the_cgroup_of_another_is_refused_and_harms_nobody(v0: Client) -> None:
    """What ends the one would end the other; one of the two could not be removed."""
    bundle = v0.bundle("sleep", "3000")
    v0.start("first", bundle=bundle)
    path = json.loads(Path(bundle, "config.json").read_text())["linux"]["cgroupsPath"]
    for wanted in (path, f"{path}/below", f"/{path}/", "/"):
        code, text = v0.fail("CreateContainer", id="second", bundlePath=v0.bundle("true", cgroup=wanted))
        assert "its cgroup" in text
        assert code in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)
    assert [container.status for container in v0.state()] == ["running"]
    v0.start("second", bundle=v0.bundle("true", cgroup=f"{path}-beside"))


def test_a_container_whose_cgroup_is_in_use_is_removed_when_it_is_not(v0: Client) -> None:
    """It stayed as it was, ended and not removed, until somebody asked for it."""
    bundle = v0.bundle("sleep", "3000")
    v0.start("used", bundle=bundle)
    path = json.loads(Path(bundle, "config.json").read_text())["linux"]["cgroupsPath"]
    with subprocess.Popen(["sleep", "3000"]) as stranger:
        for directory in Path("/sys/fs/cgroup").glob(f"*{path}"):
            with contextlib.suppress(OSError):
                (directory / "cgroup.procs").write_text(str(stranger.pid))
        v0.signal("used")
        directory = v0.daemon.state_dir / "default" / "used"
        eventually(lambda: '"deleting"' in (directory / "state.json").read_text())
        stranger.kill()
    eventually(lambda: not directory.exists())
