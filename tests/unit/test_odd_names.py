"""Names that whoever is in a container may choose: bytes that are no text, and what Python takes for line ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.linux import cgroup, usage
from wherry.shim import record

ODD = b"odd\xff\x0b\x1c:x"
#: Renames an interface, then waits: struct ifreq and SIOCSIFNAME of netdevice(7).
RENAME = """
import fcntl, socket, struct, sys
from wherry.linux import libc
libc.unshare(libc.CLONE_NEWNET)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    fcntl.ioctl(sock, 0x8923, struct.pack("16s16s", b"lo", b"odd\\xff\\x1c\\x1e"))
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def odd_pid() -> Iterator[int]:
    """Give a process in cgroups whose name is no text."""
    process = subprocess.Popen(["sleep", "300"])
    made = [os.path.join(os.fsencode(top), ODD + b"%d" % os.getpid()) for top in cgroup.hierarchies()]
    try:
        for place in made:
            os.mkdir(place)
            if not os.path.exists(place + b"/cpuset.cpus"):  # without processors it takes nobody
                Path(os.fsdecode(place), "cgroup.procs").write_text(str(process.pid))
        yield process.pid
    finally:
        process.kill()
        process.wait()
        for place in made:
            os.rmdir(place)


@pytest.mark.requires("root", "cgroup")
def test_a_cgroup_of_any_name_is_found(odd_pid: int) -> None:
    path = os.fsdecode(b"/" + ODD + b"%d" % os.getpid())
    assert cgroup.read_path(odd_pid) == path
    assert odd_pid in cgroup.find_pids(path)
    assert f"{path}/memory." in record.find_oom_file(odd_pid)


@pytest.mark.requires("root", "netns")
def test_an_interface_of_any_name_is_counted() -> None:
    child = subprocess.Popen([sys.executable, "-c", RENAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert [network.name for network in usage.read_networks(child.pid)] == ["odd\ufffd\x1c\x1e"]
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()


@pytest.mark.requires("root", "mountns")
def test_a_host_without_any_cgroup_has_none_for_anybody() -> None:
    look = (
        "import os; from wherry.linux import cgroup; from wherry.shim import record;"
        "print([cgroup.read_path(os.getpid()), record.find_oom_file(os.getpid())])"
    )
    script = 'mount --bind /dev/null /proc/$$/cgroup && exec "$0" -c "$1"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, sys.executable, look], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['', '']\n", "")
