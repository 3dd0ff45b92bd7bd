"""A service in memory, for the tests of the command line, and what keeps it honest."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import types
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

import wherry.client
from wherry import errors
from wherry.cli import main
from wherry.client.client import Client
from wherry.client.service import Service
from wherry.client.tls import Tls
from wherry.model import checkpoint as cp
from wherry.model import migration as mg
from wherry.model import request as req
from wherry.model import status as st
from wherry.model.stats import CpuStats, MemoryStats, Stats

T = TypeVar("T")

NOW_NS = 1_700_000_000_000_000_000


class FakeAttachment:
    """Delivers what the fake's script says once the container is started."""

    def __init__(self, fake: FakeService, request: req.AttachRequest) -> None:
        self._fake = fake
        self._offset = max(request.offset, 0)

    async def __aiter__(self) -> AsyncIterator[st.Output]:
        await self._fake.started.wait()
        position = 0
        for stream, data in self._fake.script:
            position += len(data)
            if position <= self._offset:
                continue
            if self._fake.lost_at == position:
                self._fake.lost_at = -1
                self._fake.lost.set()
                raise errors.Unavailable("cannot read: connection closed")
            yield st.Output(stream=stream, data=data, offset=position)
        if self._fake.ends_on_stdin:
            await self._fake.stdin_closed.wait()

    async def write(self, data: bytes) -> None:
        self._fake.stdin += data

    async def close_stdin(self) -> None:
        self._fake.stdin_closed.set()


class FakeService:
    """The service in memory. `script` is what every process writes, `record` how it ends."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.containers: dict[str, st.ContainerInfo] = {}
        self.script: list[tuple[str, bytes]] = []
        self.record = st.ExitRecord(status=0)
        self.events: list[st.Event] = []
        self.chunks: list[st.LogChunk] = []
        self.failures: dict[str, errors.WherryError] = {}
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.lost = asyncio.Event()
        self.lost_at = -1
        self.ends_on_stdin = False
        self.ends_on_signal = False
        self.stdin = b""
        self.stdin_closed = asyncio.Event()

    def _note(self, name: str, request: object) -> None:
        self.calls.append(request)
        if name in self.failures:
            raise self.failures[name]

    def _find(self, id: str) -> st.ContainerInfo:
        if id not in self.containers:
            raise errors.NotFound(f"cannot find container {id}: no such container")
        return self.containers[id]

    def _set(self, id: str, **changes: object) -> st.ContainerInfo:
        self.containers[id] = dataclasses.replace(self._find(id), **changes)  # type: ignore[arg-type]
        return self.containers[id]

    async def create(self, request: req.CreateRequest) -> st.ContainerInfo:
        self._note("create", request)
        self.containers[request.id] = st.ContainerInfo(
            id=request.id,
            namespace=request.namespace,
            generation=1,
            state="created",
            created_at_ns=NOW_NS,
            runtime="/usr/bin/crun",
            request=request,
        )
        return self.containers[request.id]

    async def start(self, request: req.ContainerRef) -> st.ContainerInfo:
        self._note("start", request)
        info = self._set(request.id, state="running", pid=42)
        self.started.set()
        return info

    async def run(self, request: req.CreateRequest) -> st.ContainerInfo:
        self._note("run", request)
        await self.create(request)
        return await self.start(req.ContainerRef(id=request.id))

    async def exec(self, request: req.ExecRequest) -> st.ProcessInfo:
        self._note("exec", request)
        self._find(request.id)
        self.started.set()
        return st.ProcessInfo(id=request.process, state="running", pid=43)

    async def kill(self, request: req.KillRequest) -> req.Empty:
        self._note("kill", request)
        self._find(request.id)
        if self.ends_on_signal:
            self.record = st.ExitRecord(status=128 + request.signal, signal=request.signal)
            self.ended.set()
        return req.Empty()

    async def restart(self, request: req.StopRequest) -> st.ContainerInfo:
        self._note("restart", request)
        return self._set(request.id, state="running", pid=4712, exit=None)

    async def stop(self, request: req.StopRequest) -> st.ExitRecord:
        self._note("stop", request)
        self._set(request.id, state="stopped", pid=0, exit=self.record)
        return self.record

    async def pause(self, request: req.ContainerRef) -> st.ContainerInfo:
        self._note("pause", request)
        return self._set(request.id, state="paused")

    async def resume(self, request: req.ContainerRef) -> st.ContainerInfo:
        self._note("resume", request)
        return self._set(request.id, state="running")

    async def update(self, request: req.UpdateRequest) -> st.ContainerInfo:
        self._note("update", request)
        return self._set(request.id, limits=request.limits)

    async def processes(self, request: req.ContainerRef) -> st.HostProcessList:
        self._note("processes", request)
        self._find(request.id)
        init = st.HostProcess(pid=42, parent=1, process="init", state="S", threads=1, command=("sleep", "60"))
        return st.HostProcessList(processes=(init,))

    async def resize(self, request: req.ResizeRequest) -> req.Empty:
        self._note("resize", request)
        return req.Empty()

    async def stats(self, request: req.StatsRequest) -> Stats:
        self._note("stats", request)
        self._find(request.id)
        memory = MemoryStats(usage_bytes=1_234_567, limit_bytes=64_000_000)
        return Stats(id=request.id, namespace="default", time_ns=1, cpu=CpuStats(total_ns=1_500_000_000), memory=memory)

    async def watch_stats(self, request: req.StatsRequest) -> AsyncIterator[Stats]:
        for _ in range(2):
            yield await self.stats(request)

    async def wait(self, request: req.ProcessRef) -> st.ExitRecord:
        self._note("wait", request)
        self._find(request.id)
        await self.started.wait()
        if self.lost_at >= 0:
            await self.lost.wait()
            raise errors.Unavailable("cannot wait: connection closed")
        if self.ends_on_signal:
            await self.ended.wait()
        if self.ends_on_stdin:
            await self.stdin_closed.wait()
        return self.record

    async def delete(self, request: req.DeleteRequest) -> req.Empty:
        self._note("delete", request)
        self._find(request.id)
        del self.containers[request.id]
        return req.Empty()

    async def get(self, request: req.ContainerRef) -> st.ContainerInfo:
        self._note("get", request)
        return self._find(request.id)

    async def list(self, request: req.ListRequest) -> st.ContainerList:
        self._note("list", request)
        wanted = request.labels.items()
        return st.ContainerList(
            containers=tuple(info for info in self.containers.values() if wanted <= info.request.labels.items())
        )

    async def close_stdin(self, request: req.ProcessRef) -> req.Empty:
        self._note("close_stdin", request)
        return req.Empty()

    async def version(self, request: req.Empty) -> st.Version:
        return st.Version(version="0.1.0", api="wherry.v1", python="3.11.2")

    async def info(self, request: req.Empty) -> st.Info:
        self._note("info", request)
        return st.Info(
            version="0.1.0",
            pid=1,
            state_dir="/run/wherry",
            root_dir="/var/lib/wherry",
            cgroup_mode="hybrid",
            kernel="6.1",
            recovering=False,
            containers=len(self.containers),
            running=0,
            last_seq=7,
            zygote_pid=2,
            runtimes=(st.RuntimeInfo(name="crun", path="/usr/bin/crun", version="1.8.1", default=True),),
        )

    async def checkpoint(self, request: cp.CheckpointRequest) -> cp.CheckpointInfo:
        self._note("checkpoint", request)
        return self._make_checkpoint(request.id, request.name)

    def _make_checkpoint(self, id: str, name: str) -> cp.CheckpointInfo:
        info = self._find(id)
        return cp.CheckpointInfo(
            id=id, namespace="default", name=name, generation=info.generation, created_at_ns=NOW_NS
        )

    async def list_checkpoints(self, request: cp.ListCheckpointsRequest) -> cp.CheckpointList:
        self._note("list_checkpoints", request)
        return cp.CheckpointList(checkpoints=tuple(self._make_checkpoint(id, "cp") for id in self.containers))

    async def get_checkpoint(self, request: cp.CheckpointRef) -> cp.CheckpointInfo:
        self._note("get_checkpoint", request)
        return self._make_checkpoint(request.id, request.name)

    async def delete_checkpoint(self, request: cp.CheckpointRef) -> req.Empty:
        self._note("delete_checkpoint", request)
        return req.Empty()

    async def restore(self, request: cp.CheckpointRef) -> st.ContainerInfo:
        self._note("restore", request)
        return self._set(request.id, state="running")

    async def export_checkpoint(self, request: cp.CheckpointRef) -> AsyncIterator[cp.CheckpointPiece]:
        self._note("export_checkpoint", request)
        for data in (b"one", b"two"):
            yield cp.CheckpointPiece(data=data)

    async def import_checkpoint(self, request: cp.ImportRequest, data: AsyncIterator[bytes]) -> cp.CheckpointInfo:
        self._note("import_checkpoint", request)
        self.imported = b"".join([piece async for piece in data])
        return self._make_checkpoint(request.id or "job", request.name or "noon")

    async def migrate(self, request: mg.MigrateRequest) -> mg.MigrationInfo:
        self._note("migrate", request)
        self._find(request.id)
        return mg.MigrationInfo(
            id=request.id, namespace=request.namespace, to=request.to, downtime_us=250_400, sent_bytes=1000
        )

    async def clone(self, request: cp.CloneRequest) -> st.ContainerList:
        self._note("clone", request)
        for id in request.new_ids:
            self.add(id)
        return st.ContainerList(containers=tuple(self.containers[id] for id in request.new_ids))

    async def logs(self, request: req.LogsRequest) -> AsyncIterator[st.LogChunk]:
        self._note("logs", request)
        self._find(request.id)
        for chunk in self.chunks:
            yield chunk

    async def subscribe(self, request: req.SubscribeRequest) -> AsyncIterator[st.Event]:
        self._note("subscribe", request)
        for event in self.events:
            if event.seq > request.after:
                yield event

    @asynccontextmanager
    async def attach(self, request: req.AttachRequest) -> AsyncIterator[FakeAttachment]:
        self._note("attach", request)
        self._find(request.id)
        yield FakeAttachment(self, request)

    def add(self, id: str, **fields: object) -> None:
        """Add a container as if it had been made before."""
        base = st.ContainerInfo(id=id, namespace="default", generation=1, state="running", created_at_ns=NOW_NS)
        self.containers[id] = dataclasses.replace(base, **fields)  # type: ignore[arg-type]
        if self.containers[id].state == "running":
            self.started.set()

    def sent(self, kind: type[T]) -> Sequence[T]:
        """Return the requests of one kind, in order."""
        return [call for call in self.calls if isinstance(call, kind)]


def install(
    monkeypatch: pytest.MonkeyPatch, service: Service, refusals: list[errors.WherryError] | None = None
) -> list[str]:
    """Put `service` behind `wherry.client.connection.connect`; return the list of addresses asked for.

    Each of `refusals` is raised by one connect before the next ones succeed.
    """
    refused: Iterator[errors.WherryError] = iter(refusals or [])
    asked: list[str] = []

    @asynccontextmanager
    async def connect(
        address: str | None = None, *, namespace: str = "default", tls: Tls | None = None
    ) -> AsyncIterator[Client]:
        asked.append(address or "")
        for error in refused:
            raise error
        yield Client(service, namespace=namespace)

    module = types.ModuleType("wherry.client.connection")
    module.connect = connect  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wherry.client.connection", module)
    monkeypatch.setattr(wherry.client, "connection", module, raising=False)
    monkeypatch.delenv("WHERRY_ADDRESS", raising=False)
    monkeypatch.delenv("WHERRY_NAMESPACE", raising=False)
    return asked


def wherry_main(*words: str) -> int:
    """Run `wherry` in this process."""
    return main.main(words)


def test_the_fake_is_a_service() -> None:
    service: Service = FakeService()
    assert isinstance(service, FakeService)


def test_every_command_reaches_the_fake_and_none_starts_a_daemon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakeService()
    fake.add("c1")
    asked = install(monkeypatch, fake)
    assert wherry_main("ps", "-q") == 0
    assert capsys.readouterr().out == "c1\n"
    assert asked == ["unix:///run/wherry/wherry.sock"]
