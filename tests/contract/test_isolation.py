"""What a container may use, see and change."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.contract.conftest import Box
from tests.support import rootfs
from wherry.model.request import Limits, Source

SHOW = ("cat", "/proc/self/status")


def read_limit(info_cgroup: str, controller: str, *names: str) -> str:
    """Return the content of the first of these files that a cgroup has, in version 1 or 2."""
    for base in (f"/sys/fs/cgroup/{controller}", "/sys/fs/cgroup"):
        for name in names:
            path = Path(f"{base}/{info_cgroup}/{name}")
            if path.exists():
                return path.read_text().strip()
    raise AssertionError(f"no {names} in cgroup {info_cgroup}")


def parse_status(text: str) -> dict[str, str]:
    """Return the fields of /proc/PID/status."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def test_limits_are_in_the_cgroup(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", limits=Limits(memory_bytes=32 << 20, cpus=0.5, pids=20), runtime=runtime)
    cgroup = container.info().cgroup
    assert read_limit(cgroup, "memory", "memory.limit_in_bytes", "memory.max") == str(32 << 20)
    assert read_limit(cgroup, "pids", "pids.max") == "20"
    quota = read_limit(cgroup, "cpu", "cpu.cfs_quota_us", "cpu.max").split()
    period = quota[1] if len(quota) > 1 else read_limit(cgroup, "cpu", "cpu.cfs_period_us")
    assert int(quota[0]) * 2 == int(period)
    container.delete(force=True)
    # os.walk: unlike glob it passes over what goes away meanwhile.
    assert not [parent for parent, names, _ in os.walk("/sys/fs/cgroup") if cgroup.strip("/") in names]


def test_pids_beyond_the_limit_are_refused(box: Box) -> None:
    container = box.run("sh", "-c", "for i in $(seq 1 40); do sleep 5 & done; wait", limits=Limits(pids=10))
    assert container.wait(20).status != 0
    assert b"fork" in container.output()


def test_oom_is_told_before_the_exit(box: Box, runtime: str) -> None:
    container = box.run(
        "python3", "-c", "x=bytearray(10**9)", source="host", limits=Limits(memory_bytes=20 << 20), runtime=runtime
    )
    record = container.wait(20)
    assert (record.status, record.oom) == (137, True)
    events = box.read_events(container)
    assert [event.type for event in events] == ["create", "start", "oom", "exit"]
    assert events[-1].reason == "oom"


def test_a_rootfs_is_written_copy_on_write(box: Box, runtime: str) -> None:
    script = "echo changed > /etc/passwd; rm /bin/ls; echo new > /new; cat /new /etc/passwd"
    assert box.output_of("sh", "-c", script, runtime=runtime) == "new\nchanged\n"
    assert "root" in Path(box.source.path, "etc/passwd").read_text()
    assert os.path.lexists(Path(box.source.path, "bin/ls"))
    assert not Path(box.source.path, "new").exists()


def test_a_writable_rootfs_is_written_as_it_is(box: Box, tmp_path: Path) -> None:
    root = rootfs.make_busybox_rootfs(tmp_path / "rootfs")
    box.output_of("sh", "-c", "echo new > /new", source=Source(kind="rootfs", path=str(root), writable=True))
    assert (root / "new").read_text() == "new\n"


def test_a_read_only_container_cannot_write(box: Box) -> None:
    assert box.run("sh", "-c", "echo x > /new", read_only=True).wait(10).status != 0


def test_here_is_the_working_directory_and_unchanged_outside(box: Box, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("outside\n")
    source = Source(kind="host", here=str(tmp_path))
    script = "pwd; cat file; echo inside > file; cat file; echo more > new; rm -f file"
    assert box.output_of("sh", "-c", script, source=source).split() == [str(tmp_path), "outside", "inside"]
    assert (tmp_path / "file").read_text() == "outside\n"
    assert not (tmp_path / "new").exists()


def test_the_hosts_secrets_are_hidden(box: Box) -> None:
    info = box.client.info()
    script = (
        "cat /etc/shadow /etc/gshadow 2>/dev/null; ls -A /root /home; cat /etc/ssh/ssh_host_*_key 2>/dev/null;"
        f" ls -A {info.state_dir} {info.root_dir} 2>/dev/null; true"
    )
    lines = box.output_of("sh", "-c", script, source="host").split()
    assert lines in ([], ["/home:", "/root:"], ["/root:", "/home:"])


def test_the_host_cannot_be_changed(box: Box) -> None:
    box.output_of("sh", "-c", "echo x > /usr/wherry-was-here; echo x > /etc/hostname", source="host")
    assert not Path("/usr/wherry-was-here").exists()


def test_a_bundle_is_taken_as_it_is(box: Box, runtime: str, tmp_path: Path) -> None:
    bundle = rootfs.make_bundle(tmp_path / "bundle", Path(box.source.path), "sh", "-c", "hostname; exit 6")
    config = json.loads((bundle / "config.json").read_text())
    config["hostname"] = "from-bundle"
    (bundle / "config.json").write_text(json.dumps(config))
    before = sorted(path.name for path in bundle.iterdir())
    container = box.run(source=Source(kind="bundle", path=str(bundle)), runtime=runtime)
    assert container.wait(10).status == 6
    assert container.output() == b"from-bundle\n"
    container.delete()
    assert sorted(path.name for path in bundle.iterdir()) == before
    assert json.loads((bundle / "config.json").read_text()) == config


def test_a_user_has_its_supplementary_groups(box: Box, runtime: str) -> None:
    fields = parse_status(box.output_of(*SHOW, user="nobody", runtime=runtime))
    assert fields["Uid"].split() == ["65534"] * 4
    assert fields["Gid"].split() == ["65534"] * 4
    assert set(fields["Groups"].split()) == {"44", "65534"} or fields["Groups"].split() == ["44"]
    assert fields["CapEff"] == fields["CapInh"] == "0" * 16


def test_root_inside_has_few_capabilities(box: Box, runtime: str) -> None:
    fields = parse_status(box.output_of(*SHOW, runtime=runtime))
    assert fields["CapInh"] == "0" * 16
    assert int(fields["CapBnd"], 16) & (1 << 21) == 0, "CAP_SYS_ADMIN"
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


def test_capabilities_are_dropped_and_added(box: Box) -> None:
    none = parse_status(box.output_of(*SHOW, cap_drop=["ALL"]))
    assert none["CapEff"] == none["CapBnd"] == "0" * 16
    one = parse_status(box.output_of(*SHOW, cap_drop=["ALL"], cap_add=["NET_ADMIN"]))
    assert int(one["CapEff"], 16) == 1 << 12


def test_an_exec_is_no_stronger_than_the_container(box: Box, runtime: str) -> None:
    container = box.run("sleep", "60", runtime=runtime)
    process = container.exec(*SHOW)
    process.wait(10)
    fields = parse_status(process.output().decode())
    assert (fields["CapInh"], fields["NoNewPrivs"], fields["Seccomp"]) == ("0" * 16, "1", "2")


@pytest.mark.parametrize(("network", "names"), [("none", {"lo"}), ("host", set(os.listdir("/sys/class/net")))])
def test_the_network_is_the_one_asked_for(box: Box, network: str, names: set[str]) -> None:
    lines = box.output_of("cat", "/proc/net/dev", network=network).splitlines()[2:]
    assert {line.partition(":")[0].strip() for line in lines} <= names | {"bonding_masters"}
    assert lines


def test_a_process_that_is_just_ending_in_the_cgroup_does_not_keep_a_container_from_deletion(box: Box) -> None:
    container = box.run("sleep", "0.5")
    with subprocess.Popen(["sleep", "1"]) as late:
        for directory in Path("/sys/fs/cgroup").glob(f"*/{container.info().cgroup.strip('/')}"):
            (directory / "cgroup.procs").write_text(str(late.pid))
        container.wait(10)
        container.delete()
        assert late.wait(10) == 0, "it is somebody else's"
