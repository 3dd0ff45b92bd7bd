"""What a container and a command cost, counted and not timed: forks, system calls, bytes, modules, blocks of memory.

The bounds are what was measured on Linux 6.18 with Python 3.11 and crun 1.8.1, and a fifth more; a change that needs
more than that has to say why. Private memory of a shim: test_shim_memory.py.
"""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import wherry
from bench.kernel import Watch
from tests.support.daemon import Daemon
from wherry.client.sync import Sync
from wherry.model.request import Source

#: Containers that are counted, after a few that warm everything.
COUNT = 20
#: What the daemon does for one container, from `run` to `delete`.
MAX_WRITES = 40
MAX_READS = 35
MAX_WRITTEN_BYTES = 14_000
#: Blocks of the allocator that are left of one container: its four events, in the cache of the newest.
MAX_BLOCKS = 25
#: Modules that a command has loaded at its end; a bare interpreter has 34.
MAX_MODULES: dict[tuple[str, ...], int] = {("--help",): 105, ("version",): 420}


def _read_io(pid: int) -> dict[str, int]:
    """Return the counters of proc(5), /proc/PID/io."""
    text = Path(f"/proc/{pid}/io").read_text()
    return {name: int(value) for name, value in re.findall(r"^(\w+): (\d+)", text, re.MULTILINE)}


def _cycle(client: Sync, source: Source, count: int) -> None:
    for _ in range(count):
        container = client.run(source, "true", runtime="crun")
        assert container.wait(20).status == 0
        container.delete()


@pytest.mark.requires("crun", "busybox", "procevents")
def test_a_container_costs_the_daemon_so_many_calls_and_no_fork(
    make_daemon: Callable[..., Daemon], busybox_rootfs: Path
) -> None:
    daemon = make_daemon(runtime="crun")
    source = Source(kind="rootfs", path=str(busybox_rootfs))
    with Sync(daemon.address) as client:
        _cycle(client, source, 5)
        zygote = client.info().zygote_pid
        with Watch() as watch:
            before = _read_io(daemon.pid)
            _cycle(client, source, COUNT)
            after = _read_io(daemon.pid)
            forks = [event.parent for event in watch.take() if event.kind == "fork"]
    assert forks.count(daemon.pid) == 0, "the daemon calls no runtime for a container that runs and ends"
    assert forks.count(zygote) == COUNT
    each = {name: (after[name] - before[name]) / COUNT for name in before}
    assert each["syscw"] <= MAX_WRITES, each
    assert each["syscr"] <= MAX_READS, each
    assert each["wchar"] <= MAX_WRITTEN_BYTES, each


@pytest.mark.requires("crun", "busybox")
async def test_nothing_of_a_container_stays_in_memory(tmp_path: Path, busybox_rootfs: Path) -> None:
    source = Source(kind="rootfs", path=str(busybox_rootfs))
    async with wherry.supervise(state_dir=tmp_path / "state", root_dir=tmp_path / "root") as client:

        async def cycle(count: int) -> int:
            for _ in range(count):
                container = await client.run(source, "true", runtime="crun")
                await container.wait()
                await container.delete()
            gc.collect()
            return sys.getallocatedblocks()

        await cycle(20)
        before = await cycle(1)
        assert (await cycle(100) - before) / 100 <= MAX_BLOCKS


@pytest.mark.parametrize("words", sorted(MAX_MODULES))
def test_a_command_loads_so_many_modules(words: tuple[str, ...], make_daemon: Callable[..., Daemon]) -> None:
    script = (
        "import sys\nfrom wherry.cli.main import main\n"
        "try: main(sys.argv[1:])\nfinally: print('modules:', *sys.modules, file=sys.stderr)"
    )
    address = ["--address", make_daemon().address] if words == ("version",) else []
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, *address, *words], capture_output=True, text=True, timeout=30, check=True
    )
    found = set(done.stderr.rpartition("modules:")[2].split())
    assert "wherry.cli.main" in found
    assert not found & {"rich", "inspect.ast", "xml", "email", "unittest", "wherry.supervisor"}
    if words == ("--help",):
        assert not found & {"asyncio", "grpc", "dataclasses", "google"}
    assert len(found) <= MAX_MODULES[words], sorted(found)
