"""The ways output takes: each starts one writer that waits, lets it write, and tells how fast it was."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from bench.kernel import read_cpu
from bench.stage import UnusableError
from bench.subjects.world import World
from wherry.client.service import Attachment
from wherry.model import request as req

_LINE = b"123456789 " * 9 + b"123456789\n"
#: Seconds for a reader to have what was written before the writer was done.
_CATCH_UP = 5.0
_TIMEOUT = 120.0
_SCRIPT = (
    "read x <{root}/go; a=$EPOCHREALTIME; dd if={root}/lines bs={block} count={count} 2>/dev/null;"
    " b=$EPOCHREALTIME; echo $a $b >{root}/done; sleep 100000"
)


@dataclass(frozen=True, slots=True)
class Flow:
    """One write through: MB a second, processor seconds of the supervisor for each GB, the share a reader lost."""

    rate: float
    cpu: float
    lost: float = 0.0


@dataclass(frozen=True, slots=True)
class _Writer:
    """A writer that waits: how to find the supervisor's processes, and the container to attach to ("": none)."""

    find_pids: Callable[[], Sequence[int]] = tuple
    attach: str = ""


class Yard:
    """Where writers wait and tell their times: FIFOs and the file they write, in the root filesystem."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._root = world.bundles.rootfs
        for name in ("go", "done"):
            os.mkfifo(self._root / name)
        self._size = world.level.megabytes << 20
        with (self._root / "lines").open("wb") as file:
            for _ in range(world.level.megabytes):
                file.write((_LINE * (1 + (1 << 20) // len(_LINE)))[: 1 << 20])
        self.ways: dict[str, Callable[[int], AbstractContextManager[_Writer]]] = {
            "bare pipe": self._pipe,
            "wherry FIFO, read": self._fifo,
            "wherry managed, unread": lambda block: self._managed(block, is_read=False),
            "wherry managed, attached": lambda block: self._managed(block, is_read=True),
            "wherry terminal, unread": lambda block: self._managed(block, is_read=False, terminal=True),
            "wherry terminal, attached": lambda block: self._managed(block, is_read=True, terminal=True),
        }
        if world.containerd:
            self.ways["ctr run"] = self._ctr
        if world.conmon:
            self.ways["conmon, log"] = self._conmon

    def _count(self, block: int) -> int:
        # Small writes are slow, terminals too; what matters is that it takes a tenth of a second at least.
        return max(1, (self._size // 8 if block < 4096 else self._size) // block)

    def _script(self, block: int, root: str = "") -> tuple[str, ...]:
        return ("sh", "-c", _SCRIPT.format(root=root, block=block, count=self._count(block)))

    def flow(self, name: str, block: int) -> Flow:
        """Let one writer write with blocks of that size. Raises UnusableError."""
        with self.ways[name](block) as writer:
            return self._world.daemon.call(self._let_go(writer, block))

    async def _let_go(self, writer: _Writer, block: int) -> Flow:
        go = await self._wait_writer()
        done = os.open(self._root / "done", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        loop = asyncio.get_running_loop()
        told: asyncio.Future[bytes] = loop.create_future()
        loop.add_reader(done, _take, done, told)
        try:
            pids = writer.find_pids()
            before = read_cpu(pids)
            own = time.process_time()
            os.write(go, b"go\n")
            lost = await self._follow(writer.attach, told, block * self._count(block))
            begin, end = (float(word) for word in told.result().split())
            # A reader may still be behind; what it costs to catch up is part of the price.
            cpu = read_cpu(pids) - before + (time.process_time() - own if writer.attach else 0)
        finally:
            loop.remove_reader(done)
            os.close(done)
            os.close(go)
        size = block * self._count(block)
        return Flow(size / (end - begin) / 1e6, cpu / size * 1e9, lost / size)

    async def _wait_writer(self) -> int:
        """Return the FIFO at which the writer waits; nobody can open it before."""
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                return os.open(self._root / "go", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                if time.monotonic() > deadline:
                    raise UnusableError("the writer did not start") from None
                await asyncio.sleep(0.005)

    async def _follow(self, id: str, told: asyncio.Future[bytes], size: int) -> int:
        """Read the `size` bytes of container `id` ("": nobody reads) and wait for its times; return the bytes lost."""
        lost = 0
        async with asyncio.timeout(_TIMEOUT):
            if id:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None) as limit:
                        loop = asyncio.get_running_loop()
                        told.add_done_callback(lambda _: limit.reschedule(loop.time() + _CATCH_UP))
                        async with self._world.daemon.client.container(id).attach() as attachment:
                            lost = await _read(attachment, size)
            await told
        return lost

    # -- the ways -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _pipe(self, block: int) -> Iterator[_Writer]:
        path = {"PATH": str(self._root / "bin")}
        shell = [str(self._root / "bin" / "busybox"), *self._script(block, str(self._root))]
        with _reader(subprocess.PIPE) as (_, entry):
            writer = subprocess.Popen(shell, stdin=subprocess.DEVNULL, stdout=entry, env=path, start_new_session=True)
            try:
                yield _Writer()
            finally:
                os.killpg(writer.pid, 9)
                writer.wait()

    @contextmanager
    def _fifo(self, block: int) -> Iterator[_Writer]:
        out = self._world.stage.directory / "out"
        out.unlink(missing_ok=True)
        os.mkfifo(out)
        # Read-write: it needs no writer to open.
        entry = os.open(out, os.O_RDWR | os.O_CLOEXEC)
        with _reader(entry):
            os.close(entry)
            with self._container(block, req.Stdio(mode="fifo", stdout=str(out))):
                yield _Writer(self._own)

    @contextmanager
    def _managed(self, block: int, *, is_read: bool, terminal: bool = False) -> Iterator[_Writer]:
        with self._container(block, req.Stdio(terminal=terminal)) as id:
            yield _Writer(self._own, id if is_read else "")

    def _own(self) -> list[int]:
        return [*self._world.daemon.shims(), self._world.daemon.pid]

    @contextmanager
    def _container(self, block: int, stdio: req.Stdio) -> Iterator[str]:
        daemon = self._world.daemon
        bundle = self._world.bundles.get(*self._script(block), terminal=stdio.terminal)
        [id] = daemon.start(self._world.runtime, bundle, stdio=stdio)
        try:
            yield id
        finally:
            daemon.delete_all()

    @contextmanager
    def _ctr(self, block: int) -> Iterator[_Writer]:
        ctr = self._world.containerd
        assert ctr is not None
        argv = ctr.run_argv(self._world.runtime, self._world.bundles.get(*self._script(block)))
        with _reader(subprocess.PIPE) as (_, entry):
            command = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=entry, stderr=subprocess.DEVNULL)
            try:
                yield _Writer(lambda: [*ctr.shims(), ctr.pid, command.pid])
            finally:
                kill = ctr.call_argv("tasks", "kill", "--signal", "SIGKILL", argv[-1])
                subprocess.run(kill, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                with suppress(subprocess.TimeoutExpired):
                    command.wait(20)
                command.kill()
                command.wait()

    @contextmanager
    def _conmon(self, block: int) -> Iterator[_Writer]:
        conmon = self._world.conmon
        assert conmon is not None
        try:
            conmon.start(self._world.bundles.get(*self._script(block)))
            yield _Writer(conmon.shims)
        finally:
            conmon.delete_all()


async def _read(attachment: Attachment, size: int) -> int:
    """Read `size` bytes or what is left of them; return how many were lost."""
    lost = read = 0
    async for output in attachment:
        read += len(output.data)
        lost += output.dropped_bytes
        if read + lost >= size:
            break
    return lost


def _take(fd: int, told: asyncio.Future[bytes]) -> None:
    data = os.read(fd, 4096)
    if not told.done():
        told.set_result(data)


@contextmanager
def _reader(source: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `cat` into nowhere, reading a descriptor or a new pipe; yield it and the pipe's write end."""
    with subprocess.Popen(["cat"], stdin=source, stdout=subprocess.DEVNULL) as process:
        try:
            yield process, process.stdin.fileno() if process.stdin else -1
        finally:
            process.kill()
