"""What a container finds of the host it is on: what was meant for it, and nothing else (SECURITY.md)."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Box
from wherry.client.sync import Sync
from wherry.model.request import Source, Stdio


@pytest.mark.parametrize("stdio", [Stdio(), Stdio(stdin_open=True), Stdio(mode="null")])
def test_a_container_has_three_descriptors(box: Box, runtime: str, stdio: Stdio) -> None:
    container = box.run("sh", "-c", "exec sleep 1000", runtime=runtime, stdio=stdio)
    found = container.exec("sh", "-c", "for fd in /proc/1/fd/*; do echo ${fd##*/}; done")
    found.wait(10)
    assert found.output().split() == [b"0", b"1", b"2"]


def test_an_exec_has_three_descriptors(box: Box, runtime: str) -> None:
    container = box.run("sleep", "1000", runtime=runtime)
    script = "for fd in 0 1 2 3 4 5 6 7 8 9; do test -e /proc/$$/fd/$fd && echo $fd; done"
    process = container.exec("sh", "-c", script)
    process.wait(10)
    assert process.output().split() == [b"0", b"1", b"2"]


def test_a_container_has_no_environment_but_its_own(box: Box, runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERRY_TEST_SECRET", "of the daemon")
    output = box.output_of("env", runtime=runtime, env=("MINE=1",))
    names = {line.partition("=")[0] for line in output.splitlines()}
    assert names <= {"MINE", "PATH", "HOME", "HOSTNAME", "PWD", "SHLVL", "_"}, names
    assert "MINE" in names


def test_a_container_sees_its_own_processes_only(box: Box, runtime: str) -> None:
    output = box.output_of("sh", "-c", "cd /proc && echo [0-9]*", runtime=runtime)
    assert all(int(word) < 10 for word in output.split()), output


def test_a_container_of_the_host_cannot_reach_wherry(box: Box, client: Sync) -> None:
    info = client.info()
    command = f"ls -A {info.state_dir} {info.root_dir} /run/wherry /var/lib/wherry 2>/dev/null | grep -v :$; true"
    assert box.output_of("sh", "-c", command, source=Source()).split() == []


@pytest.mark.parametrize(
    "command",
    [
        "mount -t tmpfs none /mnt",
        "mknod /tmp/sda b 8 0 && head -c 1 /tmp/sda",
        "echo 1 >/proc/sys/kernel/sysrq",
        "echo b >/proc/sysrq-trigger",
        "echo 1 >/sys/kernel/profiling",
        "unshare -U true",
        "dmesg",
        "chroot / true && mount --bind / /mnt",
        "head -c 1 /proc/kcore",
        "ip link add dummy0 type dummy",
        "date -s 2000-01-01; test $(date +%Y) = 2000",  # busybox ends with 0 whatever came of it
    ],
)
def test_root_in_a_container_may_not(box: Box, command: str) -> None:
    container = box.run("sh", "-c", f"{command}; exit $?")
    assert container.wait(10).status != 0, container.output()
