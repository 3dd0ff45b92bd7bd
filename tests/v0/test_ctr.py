"""What `ctr` does, in its order: events first, then the container with its FIFOs, a resize, the end of stdin."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.fake_runtime import FakeRuntime
from tests.v0.client import ZERO, Client
from wherry.linux import cgroup
from wherry.wire import v0_pb2 as pb

Code = grpc.StatusCode


def wait_state(client: Client, container: str, *pids: str) -> None:
    """Wait until a container has just these processes."""
    eventually(lambda: [process.pid for process in client.state(container)[0].processes] == list(pids))


def test_version(v0: Client) -> None:
    found = v0.call("GetServerVersion")
    assert (found.major, found.minor, found.patch) == (0, 2, 3)
    assert found.revision.startswith("wherry-")


def test_health_knows_the_service(v0: Client) -> None:
    from wherry.wire import health_v1_pb2 as health

    check = v0._channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health.HealthCheckRequest.SerializeToString,
        health.HealthCheckResponse.FromString,
    )
    for service in ("", "types.API"):
        answer = check(health.HealthCheckRequest(service=service), timeout=10)
        assert answer.status == health.HealthCheckResponse.SERVING


def test_start_attached_and_end_of_stdin(v0: Client) -> None:
    events, fifos = v0.events(timestamp=ZERO), v0.fifos()
    v0.start("cat", "cat", fifos=fifos)
    fifos.write(b"one\n")
    fifos.wait(b"one\n")
    fifos.write(b"x" * 60_000)  # still in the FIFO when its end is asked for
    v0.call("UpdateProcess", id="cat", pid="init", closeStdin=True)
    v0.call("UpdateProcess", id="cat", pid="init", closeStdin=True)
    fifos.close_stdin()
    eventually(lambda: len(fifos.read()) == 60_004)
    assert events.wait_exit("cat") == 0
    assert len(fifos.read()) == 60_004


def test_stdin_stays_open_while_clients_come_and_go(v0: Client) -> None:
    fifos, later = v0.fifos(), v0.events()
    v0.start("cat", "cat", fifos=fifos)
    for word in (b"one\n", b"two\n"):
        fifos.write(word)
        fifos.wait(word)
        fifos.close()
        fifos.open()
    later.wait("cat", ("start-container", "", 0))
    assert v0.state("cat")[0].status == "running"


def test_start_detached_and_attach_later(v0: Client) -> None:
    """The original fails after 15 s: nobody has opened the FIFOs (9.3, 5)."""
    events, fifos, exec_fifos = v0.events(), v0.fifos(is_open=False), v0.fifos(is_open=False)
    v0.start("yes", "sh", "-c", "yes | head -c 300000; echo done", fifos=fifos)
    v0.exec("yes", "e1", "sh", "-c", "echo exec; cat", fifos=exec_fifos)
    exec_fifos.open()
    exec_fifos.wait(b"exec\n")
    fifos.open()
    fifos.wait(b"done\n")
    assert len(fifos.read()) == 300_005
    assert events.wait_exit("yes") == 0


def test_both_streams_on_one_path_and_on_a_file(v0: Client) -> None:
    events, fifos = v0.events(), v0.fifos()
    script = "echo out; echo err >&2; head -c 100000 /dev/zero"
    v0.start("both", "sh", "-c", script, stdout=fifos.paths["stdout"], stderr=fifos.paths["stdout"])
    fifos.wait(b"out\nerr\n")
    eventually(lambda: len(fifos.read()) == 100_008)
    assert events.wait_exit("both") == 0
    file = v0.work / "file"
    file.write_text("before\n")
    v0.start("file", "sh", "-c", script, stdout=str(file))
    assert events.wait_exit("file") == 0
    assert file.read_bytes()[:11] == b"before\nout\n"


def test_terminal_with_its_size(v0: Client) -> None:
    events, fifos = v0.events(), v0.fifos()
    v0.start("tty", bundle=v0.bundle("sh", terminal=True), fifos=fifos)
    assert v0.state("tty")[0].processes[0].terminal
    v0.call("UpdateProcess", id="tty", pid="init", width=123, height=45)
    fifos.write(b"stty size; tty\n")
    fifos.wait(b"45 123\r\n")
    fifos.wait(b"/dev/pts/0")
    v0.call("UpdateProcess", id="tty", pid="init", closeStdin=True)
    fifos.write(b"exit 7\n")
    assert events.wait_exit("tty") == 7


def test_terminal_of_an_exec(v0: Client) -> None:
    events, fifos = v0.events(), v0.fifos()
    v0.start("top", "top")
    v0.exec("top", "sh", "sh", terminal=True, fifos=fifos)
    # `ctr` resizes init whatever it has started, and that has no terminal here.
    v0.call("UpdateProcess", id="top", pid="init", width=80, height=24)
    v0.call("UpdateProcess", id="top", pid="sh", width=80, height=24)
    fifos.write(b"stty size\n")
    fifos.wait(b"24 80\r\n")
    fifos.write(b"exit 3\n")
    assert events.wait_exit("top", "sh") == 3


@pytest.mark.parametrize(("width", "height"), [(70000, 1), (1, 2**32 - 1), (0, 5)])
def test_sizes_that_are_none(v0: Client, width: int, height: int) -> None:
    v0.start("tty", bundle=v0.bundle("sh", terminal=True))
    assert v0.fail("UpdateProcess", id="tty", pid="init", width=width, height=height)[0] == Code.INVALID_ARGUMENT
    v0.call("UpdateProcess", id="tty", pid="init", width=0, height=0)
    assert v0.state("tty")[0].status == "running"


def test_exec_is_as_it_was_asked_for(v0: Client) -> None:
    events, fifos = v0.events(), v0.fifos()
    v0.start("top", "top")
    script = (
        "grep -E '^(Uid|Gid|Groups|CapEff|NoNewPrivs)' /proc/self/status; grep pending /proc/self/limits; pwd; echo $A"
    )
    v0.exec(
        "top",
        "e1",
        "sh",
        "-c",
        script,
        fifos=fifos,
        user=pb.User(uid=1000, gid=1001, additionalGids=[5, 6]),
        env=["PATH=/bin", "A=b=c"],
        cwd="/tmp",
        capabilities=["CAP_KILL"],
        noNewPrivileges=True,
        rlimits=[pb.Rlimit(type="RLIMIT_SIGPENDING", soft=77, hard=88)],
    )
    assert events.wait_exit("top", "e1") == 0
    words = [line.split() for line in fifos.read().decode().splitlines()]
    assert words[0] == ["Uid:", *["1000"] * 4]
    assert words[1] == ["Gid:", *["1001"] * 4]
    assert words[2][:3] == ["Groups:", "5", "6"]
    limit = ["Max", "pending", "signals", "77", "88", "signals"]
    assert words[4:] == [["NoNewPrivs:", "1"], limit, ["/tmp"], ["b=c"]]


def test_state_tells_all_of_a_process(v0: Client) -> None:
    fifos = v0.fifos()
    labels = ["a=b", "plain", "a=c", "=x", ""]
    answer = v0.start("top", "top", fifos=fifos, labels=labels)
    user = pb.User(uid=65534, gid=65534, additionalGids=[7])
    rlimits = [pb.Rlimit(type="RLIMIT_NOFILE", soft=100, hard=200)]
    number = v0.exec("top", "e1", "top", user=user, rlimits=rlimits, capabilities=["CAP_KILL"], fifos=fifos)
    response = v0.call("State")
    [found] = response.containers
    assert list(found.labels) == list(answer.labels) == labels
    assert found.runtime == v0.runtime
    init, process = found.processes
    assert (init.pid, list(init.args), init.cwd, init.noNewPrivileges) == ("init", ["top"], "/", True)
    assert list(init.capabilities) == ["CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_AUDIT_WRITE"]
    assert answer.processes[0] == init
    wanted = pb.Process(
        pid="e1",
        user=user,
        args=["top"],
        env=["PATH=/bin"],
        cwd="/",
        systemPid=number,
        capabilities=["CAP_KILL"],
        rlimits=rlimits,
        stdin=fifos.paths["stdin"],
        stdout=fifos.paths["stdout"],
        stderr=fifos.paths["stderr"],
    )
    assert process == wanted
    assert response.machine.cpus == os.cpu_count()
    total = re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())
    assert total is not None
    assert abs(response.machine.memory - int(total[1]) // 1024) <= 1


def test_an_exec_id_is_free_once_its_exit_is_told(v0: Client) -> None:
    events = v0.events()
    v0.start("top", "top")
    expected = [("start-container", "", 0)]
    for number in range(1, 6):
        v0.exec("top", "same", "sh", "-c", f"exit {number}")
        expected += [("start-process", "same", 0), ("exit", "same", number)]
        events.wait("top", *expected)
    wait_state(v0, "top", "init")


def test_signal_0_asks_whether_a_process_is_there(v0: Client) -> None:
    events = v0.events()
    v0.start("top", "top")
    v0.exec("top", "e1", "true")
    v0.signal("top", 0)
    events.wait_exit("top", "e1")
    assert v0.fail("Signal", id="top", pid="e1", signal=0)[0] == Code.NOT_FOUND
    v0.signal("top")
    events.wait_exit("top")
    code, text = v0.fail("Signal", id="top", pid="init", signal=0)
    assert (code, text) == (Code.NOT_FOUND, "containerd: container not found")


def test_stats_have_numbers(v0: Client) -> None:
    v0.start("top", bundle=v0.bundle("sh", "-c", "while :; do :; done"))

    def is_used() -> bool:
        found = v0.call("Stats", id="top")
        group = found.cgroup_stats
        return (
            group.cpu_stats.cpu_usage.total_usage > 0
            and group.cpu_stats.system_usage > group.cpu_stats.cpu_usage.total_usage
            and group.memory_stats.usage.usage > 0
            and group.memory_stats.usage.limit > 0
            and len(group.memory_stats.stats) > 5
            and group.pids_stats.current == 1
            and [network.name for network in found.network_stats] == ["lo"]
            and found.timestamp.seconds > 0
        )

    eventually(is_used)


def test_limits_are_changed(v0: Client) -> None:
    v0.start("top", bundle=v0.bundle("top"))
    resources = pb.UpdateResource(pidsLimit=77, memoryLimit=64 << 20, cpuShares=512)
    v0.call("UpdateContainer", id="top", pid="init", resources=resources)
    found = v0.call("Stats", id="top").cgroup_stats
    assert found.pids_stats.limit == 77
    assert found.memory_stats.usage.limit == 64 << 20
    v0.call("UpdateContainer", id="top", resources=pb.UpdateResource())
    v0.call("UpdateContainer", id="top", resources=pb.UpdateResource(pidsLimit=2**64 - 1))
    found = v0.call("Stats", id="top").cgroup_stats
    assert (found.pids_stats.limit, found.memory_stats.usage.limit) == (0, 64 << 20)
    for refused in (
        pb.UpdateResource(kernelMemoryLimit=1 << 20),
        pb.UpdateResource(blkioLeafWeight=5),
        pb.UpdateResource(blkioWeightDevice=[pb.WeightDevice()]),
    ):
        code, text = v0.fail("UpdateContainer", id="top", resources=refused)
        assert code == Code.UNIMPLEMENTED
        assert refused.ListFields()[0][0].name in text
    for bad in (
        pb.UpdateResource(memoryLimit=2**63 + 5),
        pb.UpdateResource(cpusetCpus="nonsense"),
        pb.UpdateResource(cpuPeriod=5),
    ):
        assert v0.fail("UpdateContainer", id="top", resources=bad)[0] == Code.INVALID_ARGUMENT


def test_status_comes_before_resources(v0: Client) -> None:
    v0.start("top", "top")
    v0.call("UpdateContainer", id="top", status="paused", resources=pb.UpdateResource(blkioLeafWeight=5))
    assert v0.state("top")[0].status == "paused"


def make_witness(client: Client) -> tuple[Path, Path]:
    """Return a runtime that writes down how it is called, and the file where."""
    real = shutil.which(client.runtime)
    log, program = client.work / "calls", client.work / "witness"
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {real} "$@"\n')
    program.chmod(0o755)
    return program, log


def test_runtime_arguments_and_no_pivot_reach_the_runtime(v0: Client) -> None:
    events = v0.events()
    program, log = make_witness(v0)
    v0.start("top", "top", runtime=str(program), runtimeArgs=["--debug"], noPivotRoot=True)
    v0.exec("top", "e1", "true")
    events.wait_exit("top", "e1")
    v0.call("UpdateContainer", id="top", status="paused")
    v0.signal("top")
    events.wait_exit("top")
    eventually(lambda: v0.state() == [])
    calls = [line.split() for line in log.read_text().splitlines()]
    creating = {"create", "run"}  # a runtime may be asked for both at once
    verbs = {verb for call in calls for verb in call if verb in creating | {"start", "exec", "pause"}}
    assert verbs >= {"exec", "pause"}
    assert verbs & creating
    for call in calls:
        assert "--debug" in call
        assert ("--no-pivot" in call) == bool(creating & set(call))
        assert not [verb for verb in verbs if verb in call and call.index(verb) < call.index("--debug")]
    assert v0.fail("CreateContainer", id="x", bundlePath=v0.bundle("ls"), runtimeArgs=["--root=/x"])[0] == (
        Code.INVALID_ARGUMENT
    )


def test_runc_that_is_not_there_is_the_default_runtime(
    make_daemon: Callable[..., Daemon], runtime: str, tmp_path: Path, busybox_rootfs: Path
) -> None:
    """`ctr` always asks for runc."""
    programs = tmp_path / "programs"
    programs.mkdir()
    real = shutil.which(runtime)
    assert real is not None
    (programs / "some-runtime").symlink_to(real)
    daemon = make_daemon(runtime="some-runtime", env={"PATH": str(programs)})
    client = Client(daemon, tmp_path, busybox_rootfs, "runc")
    try:
        client.start("top", "top")
        assert client.state("top")[0].runtime in ("some-runtime", runtime)
    finally:
        client.close()


@pytest.mark.parametrize("mode", ["hang", "delay"])
def test_a_client_that_leaves_takes_its_creation_along(
    make_daemon: Callable[..., Daemon], fake_runtime: FakeRuntime, tmp_path: Path, busybox_rootfs: Path, mode: str
) -> None:
    client = Client(make_daemon(), tmp_path, busybox_rootfs, str(fake_runtime))
    try:
        fake_runtime.set("create,run", mode, 1)
        call = client.start_call(
            "CreateContainer", id="new", bundlePath=client.bundle("top"), runtime=str(fake_runtime)
        )
        directory = client.daemon.state_dir / "default" / "new" / "init"
        eventually((directory / "shim.pid").exists)
        call.cancel()
        eventually(lambda: not directory.exists(), 20)
        fake_runtime.reset()
        client.start("new", "top")
    finally:
        client.close()


def test_a_client_that_leaves_takes_its_exec_along(
    make_daemon: Callable[..., Daemon], fake_runtime: FakeRuntime, tmp_path: Path, busybox_rootfs: Path
) -> None:
    client = Client(make_daemon(), tmp_path, busybox_rootfs, str(fake_runtime))
    try:
        events = client.events()
        client.start("top", "top")
        fake_runtime.set("exec", "hang")
        call = client.start_call("AddProcess", id="top", pid="e1", args=["top"], cwd="/")
        directory = client.daemon.state_dir / "default" / "top" / "e1"
        eventually((directory / "shim.pid").exists)
        call.cancel()
        eventually(lambda: not directory.exists())
        fake_runtime.reset()
        client.exec("top", "e1", "true")
        assert events.wait_exit("top", "e1") == 0
        assert len(events.of("top")) == 3
    finally:
        client.close()


def test_a_deadline_is_the_clients_end(
    make_daemon: Callable[..., Daemon], fake_runtime: FakeRuntime, tmp_path: Path, busybox_rootfs: Path
) -> None:
    client = Client(make_daemon(), tmp_path, busybox_rootfs, str(fake_runtime))
    try:
        fake_runtime.set("create,run", "hang")
        method = client._channel.unary_unary(
            "/types.API/CreateContainer",
            pb.CreateContainerRequest.SerializeToString,
            pb.CreateContainerResponse.FromString,
        )
        wanted = pb.CreateContainerRequest(id="new", bundlePath=client.bundle("top"), runtime=str(fake_runtime))
        with pytest.raises(grpc.RpcError) as caught:
            method(wanted, timeout=1)
        assert caught.value.code() == Code.DEADLINE_EXCEEDED
        eventually(lambda: not (client.daemon.state_dir / "default" / "new").exists(), 20)
    finally:
        client.close()


def test_a_bundle_without_a_cgroup_of_its_own_can_be_seen(v0: Client) -> None:
    name = f"alone-{os.getpid()}"
    v0.start(name, bundle=v0.bundle("top", cgroup=""))
    [found] = v0.state(name)
    assert list(found.pids) == [found.processes[0].systemPid]
    assert cgroup.read_path(found.pids[0])
