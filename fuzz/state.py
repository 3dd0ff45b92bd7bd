"""What is read back from the state and root directories: journal, containers, processes, checkpoints, migrations."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from fuzz.pieces import Pieces, as_text, shape
from fuzz.target import empty, make_directory, target
from wherry import errors
from wherry.model import checkpoint as cp
from wherry.model import codec
from wherry.model import request as req
from wherry.model import status as st
from wherry.model.lifecycle import State
from wherry.runtime import checkpoint as disk
from wherry.runtime.container import Container, Directories, Record
from wherry.runtime.process import Process
from wherry.supervisor import arrival
from wherry.supervisor.journal import MAX_SEQ, Journal
from wherry.supervisor.live import LiveContainer, LiveProcess
from wherry.wire import convert

_TOKEN = "0123456789abcdef"


def _json(value: Any) -> bytes:
    return json.dumps(codec.to_plain(value)).encode()


def _event(seq: int, **fields: Any) -> dict[str, Any]:
    event = st.Event(seq=seq, time_ns=1, type="start", namespace="default", container="a", generation=1, **fields)
    plain: dict[str, Any] = codec.to_plain(event)
    return plain


def _journals() -> Mapping[str, bytes]:
    lines: list[dict[str, Any]] = [{"first": 1, "boot": "b"}, _event(1, labels={"k": "v"}), _event(2, status=7)]
    whole = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return {"whole": whole, "torn": whole[:-20], "nuls": whole + bytes(64), "shaped": b"\x01" * 64 + bytes(range(128))}


async def _read_journal(path: Any) -> None:
    journal = Journal(path)
    journal.open()
    try:
        assert 0 < journal.last_seq < 2 * MAX_SEQ
        before = 0
        async with asyncio.timeout(5):
            async for event in journal.subscribe(max(journal.first_seq - 1, 0), follow=False):
                assert event.seq > before, "events come in order, each once"
                before = event.seq
                convert.to_message(event)
        await journal.find_position(5)
        told = journal.append("exit", namespace="default", container="a", generation=1)
        assert [event async for event in journal.subscribe(told.seq - 1, follow=False)] == [told]
    finally:
        journal.close()


@target("journal", _journals)
def run_journal(data: bytes) -> None:
    """Let a journal begin with a segment of these bytes: it opens, tells each event once, and takes more."""
    if data[:1] != b"{":
        pieces = Pieces(data)
        lines: list[bytes] = []
        while not pieces.is_empty and len(lines) < 64:
            lines.append(shape(pieces.take(24), st.Event, _event(len(lines) + 1)))
        data = b"\n".join(lines)
    directory = empty(_journal)
    (directory / f"{1:020d}.jsonl").write_bytes(data)
    asyncio.run(_read_journal(directory))


_journal = make_directory()
_trees = Directories(state=make_directory(), root=make_directory())


def _records() -> Mapping[str, bytes]:
    request = req.CreateRequest(id="a", args=("true",), labels={"a": "b"}, limits=req.Limits(cpus=0.5))
    exited = st.ExitRecord(status=137, signal=9)
    full = Record(generation=1, request=request, state="stopped", last_exit=exited, mounts=("a", "b"))
    return {"made": _json(Record(generation=1, request=request)), "ended": _json(full), "shaped": bytes(range(256))}


@target("state", _records)
def run_state(data: bytes) -> None:
    """Load a container of this state.json: what is taken can be shown to a client and be written again."""
    container = Container(_trees, "default", "a")
    container.directory.mkdir(parents=True, exist_ok=True)
    (container.directory / "state.json").write_bytes(shape(data, Record, {"state": "running"}))
    try:
        saved = container.load()
    except errors.DataLoss:
        return
    assert container.process_ids() == []
    convert.to_message(LiveContainer(container, saved).info())
    container.save(saved)
    assert as_text(container.load()) == as_text(saved)


_FILES = ("process.json", "exit.json", "exitStatus", "pid", "shim.pid", "starttime", "shim.log")


def _processes() -> Mapping[str, bytes]:
    spec = {"args": ["sh"], "user": {"uid": 0, "gid": 0}, "terminal": False, "wherry": {"created_at_ns": 1}}
    found = {f"number{index}": bytes([index]) + b"12" for index in range(2, 6)}
    exited = _json(st.ExitRecord(status=1, reason="oom"))
    return {"spec": b"\x00" + json.dumps(spec).encode(), "exit": b"\x01" + exited, "words": b"\x06no", **found}


@target("process", _processes)
def run_process(data: bytes) -> None:
    """Load a process of which one file, which the first byte chooses, has the bytes that follow."""
    name, data = _FILES[data[0] % len(_FILES) if data else 0], data[1:]
    directory = empty(_process)
    made = Process.create(directory / "init", {"args": ["true"]})
    made.close()
    content = shape(data, st.ExitRecord) if name == "exit.json" else data
    (directory / "init" / name).write_bytes(content)
    try:
        process = Process.load(directory / "init")
    except errors.DataLoss:
        assert name == "process.json"
        return
    try:
        assert 0 <= process.pid < 2**22 > process.shim_pid >= 0
        assert isinstance(process.starttime, int | None)
        assert isinstance(process.words(), str)
        _show(process)
    finally:
        process.close()


def _show(process: Process) -> None:
    exited = process.exit_record()
    live = LiveProcess("init", process.spec, State.STOPPED)
    live.settle(exited)
    convert.to_message(live.info("/log"))


_process = make_directory()


def _facts() -> Mapping[str, bytes]:
    info = cp.CheckpointInfo(id="a", namespace="default", name="c", generation=1, created_at_ns=1)
    plain = {"version": 1, "outside": {"streams": ["", "file[1:2]"]}, "files": {"image/a.img": 4}}
    whole = json.dumps(plain | codec.to_plain(info)).encode()
    return {"whole": b"\x00" + whole, "v0": b'\x01{"tcp": true, "emptyNS": ["network"]}', "shaped": bytes(range(200))}


@target("checkpoint", _facts)
def run_checkpoint(data: bytes) -> None:
    """Load a checkpoint with these facts, in our layout or in the original's: what is taken can be shown."""
    directory = empty(_checkpoint) / "c"
    (directory / disk.IMAGE).mkdir(parents=True)
    base = {"version": 1, "outside": {}}
    name = disk.V0_FILE if data[:1] == b"\x01" else disk.FILE
    (directory / name).write_bytes(shape(data[1:], cp.CheckpointInfo, base))
    with contextlib.suppress(errors.DataLoss):
        info, _ = disk.load(directory)
        convert.to_message(info)
        disk.check_image(directory)


_checkpoint = make_directory()


def _entries() -> Mapping[str, bytes]:
    entry = arrival.Entry(token=_TOKEN, id="a", namespace="default", at_ns=1)
    return {"received": _json(entry), "shaped": bytes(range(64))}


@target("ledger", _entries)
def run_ledger(data: bytes) -> None:
    """Read a migration's entry of these bytes: what is taken names a checkpoint, and has an age."""
    state = empty(_ledger)
    (state / ".migrations").mkdir()
    base = {"token": _TOKEN, "id": "a", "namespace": "default"}
    (state / ".migrations" / _TOKEN).write_bytes(shape(data, arrival.Entry, base))
    ledger = arrival.Ledger(state)
    checkpoints = disk.Checkpoints(state / "root")
    for entry in ledger.list():
        assert entry.token == _TOKEN
        assert isinstance(entry.at_ns / 1e9, float)
        path = checkpoints.path(entry.namespace, entry.id, f"{disk.MOVING}{entry.token}")
        assert len(path.relative_to(checkpoints.root).parts) == 3
        ledger.save(entry)
        ledger.remove(entry.token)
        assert ledger.load(_TOKEN) is None


_ledger = make_directory()
