"""Wherry: a daemon of the benchmark's own, its command line, and its native API over one connection."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import wherry
from bench import rounds
from bench.stage import Stage, UnusableError
from wherry import errors
from wherry.client.client import Client
from wherry.model import request as req

T = TypeVar("T")

_START = 30.0


class Daemon:
    """A wherryd with directories of its own. Calls of the API are made from this process."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.work = stage.make_directory("wd")
        self.state_dir = stage.make_directory("wd", volatile=True)
        self.socket_path = self.state_dir / "wherry.sock"
        self.environment = {**os.environ, "WHERRY_ADDRESS": f"unix://{self.socket_path}"}
        self._runner = asyncio.Runner()
        self._connection = AsyncExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        stage.stack.callback(self.close)
        self.boot()

    @property
    def pid(self) -> int:
        """The process id of the daemon."""
        assert self._process is not None
        return self._process.pid

    @property
    def client(self) -> Client:
        """The connected client."""
        return self._client

    def boot(self) -> tuple[float, float]:
        """Start the daemon; return the seconds until it first answered a call, and until it had recovered."""
        start = time.perf_counter()
        argv = [sys.executable, "-m", "wherry.daemon.main", "--state-dir", str(self.state_dir)]
        with (self.work / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*argv, "--root-dir", str(self.work / "root"), "--log-level", "warning"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_socket(start + _START)
        self.call(self._connect())
        self.call(self.client.version())
        answered = time.perf_counter() - start
        self.call(self._wait_recovered())
        return answered, time.perf_counter() - start

    def _wait_socket(self, deadline: float) -> None:
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(self.socket_path))
                    return
                except OSError:
                    assert self._process is not None
                    if time.perf_counter() > deadline or self._process.poll() is not None:
                        words = (self.work / "log").read_text(errors="replace")[-500:]
                        raise UnusableError(f"wherryd does not start: {words}") from None
            time.sleep(0.001)

    async def _connect(self) -> None:
        await self._connection.aclose()
        self._client = await self._connection.enter_async_context(wherry.connect(f"unix://{self.socket_path}"))

    async def _wait_recovered(self) -> None:
        while (await self._client.info()).recovering:
            await asyncio.sleep(0.001)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` gives, run in the loop of the client. Raises UnusableError for Wherry's errors."""
        try:
            return self._runner.run(work)
        except errors.WherryError as error:
            raise UnusableError(f"wherry: {error.message}") from error

    def kill(self) -> None:
        """Kill the daemon; its shims and containers go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End the daemon and the connection."""
        if self._process is None:
            return
        try:
            if self._process.poll() is None:
                self.delete_all()
        except UnusableError as error:
            self._stage.say(str(error))
        self._runner.run(self._connection.aclose())
        self._runner.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    # -- the command line ---------------------------------------------------------------------------------------------

    def argv(self, *arguments: str) -> list[str]:
        """Return a command of `wherry`."""
        script = Path(sys.executable).parent / "wherry"
        return [str(script), *arguments] if script.exists() else [sys.executable, "-m", "wherry.cli", *arguments]

    def cli(self, *arguments: str) -> None:
        """Run a command of `wherry`."""
        rounds.run(self.argv(*arguments), env=self.environment)

    def run_argv(self, runtime: str, source: str, *args: str) -> list[str]:
        """Return the command that runs a container to its end and removes it."""
        options = ("--rm", "--runtime", runtime, "--name", self._stage.make_id())
        return self.argv("run", *options, *(["--rootfs-rw"] if source.startswith("rootfs:") else []), source, *args)

    def run(self, runtime: str, source: str, *args: str) -> None:
        """Run a container to its end with the command line."""
        rounds.run(self.run_argv(runtime, source, *args), env=self.environment)

    # -- the API ------------------------------------------------------------------------------------------------------

    def request(self, runtime: str, source: str, *args: str, **options: Any) -> req.CreateRequest:
        """Return the request for a container."""
        return self.client.request(source, *args, id=self._stage.make_id(), runtime=runtime, **options)

    def make_id(self) -> str:
        """Return an id for a container."""
        return self._stage.make_id()

    async def cycle(self, runtime: str, bundle: Path) -> None:
        """Run a container to its end and delete it, through the API."""
        await cycle(self.client, self.request(runtime, f"bundle:{bundle}"))

    def start(self, runtime: str, bundle: Path, count: int = 1, **options: Any) -> list[str]:
        """Leave `count` containers running and return their ids."""
        return self.call(self._start(runtime, bundle, count, options))

    async def _start(self, runtime: str, bundle: Path, count: int, options: dict[str, Any]) -> list[str]:
        requests = [self.request(runtime, f"bundle:{bundle}", **options) for _ in range(count)]
        # A few at once, as a sensible caller does; all at once would measure the queue of the daemon.
        await each(requests, self.client.service.run, 10)
        return [request.id for request in requests]

    def shims(self) -> list[int]:
        """Return the shims of all containers' own processes."""
        return [int(path.read_text()) for path in self.state_dir.glob("default/*/init/shim.pid")]

    def delete_all(self) -> None:
        """Kill and delete every container."""
        self.call(self._delete_all())

    async def _delete_all(self) -> None:
        ids = [item.id for item in await self.client.containers()]
        await each(ids, lambda id: self.client.container(id).delete(force=True), 10)

    def batches(
        self, work: Callable[[], Awaitable[object]], inside: AbstractAsyncContextManager[object] | None = None
    ) -> rounds.Worker:
        """Return a Worker that awaits `work` in the loop of the client, `inside` entered once for each batch."""

        async def surround(count: int, concurrency: int) -> rounds.Batch:
            async with inside or nullcontext():
                return await measure(count, concurrency)

        async def measure(count: int, concurrency: int) -> rounds.Batch:
            latencies: list[float] = []

            async def one(_: int) -> None:
                begin = time.perf_counter()
                await work()
                latencies.append(time.perf_counter() - begin)

            start = time.perf_counter()
            await each(range(count), one, concurrency)
            return rounds.Batch(tuple(latencies), time.perf_counter() - start)

        return lambda count, concurrency: self.call(surround(count, concurrency))

    def timed(self, work: Callable[[], Awaitable[object]]) -> float:
        """Return the seconds that awaiting `work` takes, the loop already turning."""
        return self.batches(work)(1, 1).latencies[0]


async def cycle(client: Client, request: req.CreateRequest) -> None:
    """Run a container to its end and delete it. Raises Internal unless it ended with 0."""
    await client.service.run(request)
    record = await client.service.wait(req.ProcessRef(id=request.id, namespace=request.namespace))
    if record.status:
        raise errors.Internal(f"cannot measure container {request.id}: it ended with {record.status}")
    await client.service.delete(req.DeleteRequest(id=request.id, namespace=request.namespace))


async def each(items: Any, work: Callable[[Any], Awaitable[object]], concurrency: int) -> None:
    """Await `work` for each item, `concurrency` at once; the first error ends it all."""
    waiting = iter(items)

    async def go_on() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(go_on())
    except ExceptionGroup as found:
        raise found.exceptions[0] from None
