"""A terminal on FIFOs while daemons come and go: what flows through it flows on, and the next daemon still has it."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios

import pytest

from tests.faults.world import World, eventually_async, scenario
from wherry.model import request as req

_LINES = "".join(f"{number}\n" for number in range(10000, 60000)).encode()


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@scenario
async def test_a_terminal_on_fifos_outlives_the_daemon(world: World, runtime: str) -> None:
    world.runtime = runtime
    paths = [str(world.base / name) for name in ("in", "out")]
    for path in paths:
        os.mkfifo(path)
    stdio = req.Stdio(mode="fifo", stdin=paths[0], stdout=paths[1], terminal=True, width=80, height=25)
    script = "stty -echo -onlcr; seq 10000 59999; read x; stty size; exit 9"
    keyboard, screen = (os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in paths)
    try:
        world.start()
        async with world.client() as client:
            await client.service.run(world.request("a", "sh", "-c", script, stdio=stdio))
        await eventually_async("the FIFO is full", lambda: not select.select([], [screen], [], 0)[1])
        world.kill()
        found = await _read(screen, len(_LINES))
        assert found == _LINES, "without a daemon, too"
        world.start()
        async with world.client() as client:
            assert (await client.service.get(world.ref("a"))).state == "running"
            await client.service.resize(req.ResizeRequest(id=world.id("a"), width=132, height=50))
            terminal = f"/proc/{(await client.service.get(world.ref('a'))).processes[0].pid}/fd/0"
            await eventually_async("the size is the new one", lambda: _size(terminal) == (50, 132))
            os.write(keyboard, b"go\n")
            assert await _read(screen, 7) == b"50 132\n"
            assert (await client.service.wait(world.process_ref("a"))).status == 9
    finally:
        os.close(keyboard)
        os.close(screen)


def _size(terminal: str) -> tuple[int, int]:
    fd = os.open(terminal, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
        return rows, columns
    finally:
        os.close(fd)


async def _read(fd: int, size: int) -> bytes:
    """Read until there are `size` bytes."""
    found = b""

    def more() -> bool:
        nonlocal found
        try:
            found += os.read(fd, 1 << 16)
        except BlockingIOError:
            pass
        return len(found) >= size

    await eventually_async(f"{size} bytes", more)
    return found
