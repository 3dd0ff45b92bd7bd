from __future__ import annotations
import asyncio, os, subprocess, pytest
from tests.support.daemon import Daemon
from tests.support.eventually import eventually, eventually_async

def test_run(daemon: Daemon) -> None:
    assert daemon.wherry("run","--rm","host","--","echo","hi") == "hi\n"

def test_each(make_daemon, runtime, busybox_rootfs) -> None:
    d = make_daemon(runtime=runtime)
    d.wherry("run","-d","--name","c",f"rootfs:{busybox_rootfs}","--","sh","-c","sleep 1; exit 3")
    d.kill()
    d.restart()
    assert d.wherry("wait","c") == "3\n"
    assert [e["status"] for e in d.read("events","--after","0") if e["type"]=="exit"] == [3]

def test_left_running(make_daemon, busybox_rootfs) -> None:
    d = make_daemon()
    d.wherry("run","-d","--name","c",f"rootfs:{busybox_rootfs}","--","sleep","100")
    d.kill()

def test_fake(make_daemon, fake_runtime, busybox_rootfs) -> None:
    fake_runtime.set("create", "silent")
    d = make_daemon(runtime=str(fake_runtime))
    r = d.cli("run","--rm",f"rootfs:{busybox_rootfs}","--","true")
    print(r)
    assert r.returncode == 125
    fake_runtime.reset()
    assert d.cli("run","--rm",f"rootfs:{busybox_rootfs}","--","true").returncode == 0

@pytest.mark.requires("criu")
def test_criu() -> None: pass

def test_leak_fd() -> None: os.open("/dev/null", 0)
def test_leak_child() -> None: subprocess.Popen(["sleep","100"]).returncode = 0
def test_leak_cgroup() -> None: os.mkdir("/sys/fs/cgroup/pids/wherry~zz")
async def test_leak_task() -> None: test_leak_task.t = asyncio.create_task(asyncio.sleep(100))
async def test_async() -> None: await eventually_async(lambda: True)
