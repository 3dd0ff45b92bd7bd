"""What goes between the daemon and its shims: frames, control lines, failpoints; logs as shims write and all read."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import struct
import time
from collections.abc import Mapping
from typing import Any

from fuzz.pieces import Pieces
from fuzz.target import empty, make_directory, target
from wherry.linux import failpoint
from wherry.model import frame
from wherry.runtime import log
from wherry.shim import log as writer
from wherry.shim import record, shim
from wherry.wire import convert


def _frames() -> Mapping[str, bytes]:
    fields = {"argv": ["crun", "create", ""], "bundle": ["/b"], "mounts": ["a\x1fb"], "x": ["\udcff"]}
    return {"request": frame.format_frame(fields), "empty": b"\x01", "no-value": b"\x01a\0", "version": b"\x02a=b\0"}


@target("frame", _frames)
def run_frame(data: bytes) -> None:
    """Read a zygote's request: what is understood is written as the same."""
    try:
        fields = frame.parse_frame(data)
    except ValueError:
        return
    if len(data) <= frame.MAX_BYTES:
        assert frame.parse_frame(frame.format_frame(fields)) == fields


class _Streams:
    """Streams of a process with a terminal that takes every size that there is."""

    has_ended = False

    def resize(self, width: int, height: int) -> None:
        """Do what the real ones do, up to the system call."""
        struct.pack("4H", height, width, 0, 0)

    def end_input(self) -> None:
        """Do nothing."""

    def handle(self, fd: int) -> None:
        """Do nothing."""


def _make_shim(control: int, wake: int) -> Any:
    made: Any = object.__new__(shim.Shim)
    made._control, made._rest, made._streams = control, b"", _Streams()
    made._phase, made._deadline, made._is_init, made._pid = "running", 0.0, True, 0
    made._epoll = select.epoll()
    made._wake = type("_Wake", (), {"fd": wake})
    made._epoll.register(control, select.EPOLLIN)
    return made


def _controls() -> Mapping[str, bytes]:
    lines = {"stdin": b"0 0 0\n", "resize": b"1 80 24\n1 70000 -1\n1 x\n", "limit": b"2 1500000 0\n2 0 0\n2 a 0\n"}
    return {**lines, "long": b"1 " + b"9" * 90, "month": b"2 3000000000 0\n"}


@target("control", _controls)
def run_control(data: bytes) -> None:
    """Send a shim these lines, cut into pieces: whatever they say, it goes on, and can wait for what comes next."""
    read_end, write_end = os.pipe()
    made = _make_shim(read_end, -1)
    try:
        cut = 1 + (data[0] if data else 0) * 16
        for begin in range(0, len(data), cut):
            os.write(write_end, data[begin : begin + cut])
            made._read_control()
            if not made._deadline or made._deadline > time.monotonic() + 10:  # else its time has come: it would kill
                os.write(write_end, b"x")
                made._turn()
    finally:
        made._epoll.close()
        os.close(read_end)
        os.close(write_end)


def _ignore(text: str) -> None:
    """Stand in for the file that a shim writes its words to."""


record.write_words = _ignore


def _failpoints() -> Mapping[str, bytes]:
    texts = {"kill": "exit.journaled", "terms": "file.write=3*off->1*error(ENOSPC)->off; shim.x=delay(0.5)"}
    return {name: text.encode() for name, text in texts.items()} | {"rest": b"a=exit(3)->panic(x)->print;b=error"}


@target("failpoint", _failpoints)
def run_failpoint(data: bytes) -> None:
    """Read what is to go wrong where: what is understood can happen."""
    try:
        failpoint.arm(data.decode("utf-8", "replace"))
    except ValueError:
        return
    finally:
        armed, failpoint._armed = failpoint._armed, {}
    for terms in armed.values():
        for count, action, argument in terms:
            assert count >= -1
            if action == "error":
                assert isinstance(getattr(errno, argument), int)
            elif action in ("exit", "delay"):
                assert 0 <= float(argument) <= 86400


_LINE = b"2026-01-31T12:00:00.123456789Z stdout F some words\n"


def _logs() -> Mapping[str, bytes]:
    more = _LINE + _LINE.replace(b"F some", b"P more") + b"not ours\n\n" + _LINE.replace(b"stdout", b"stderr")
    return {"lines": b"\x05" + more, "rotated": b"\x81" + more * 3, "torn": b"\x00" + more[:-7]}


@target("log-read", _logs)
def run_log_read(data: bytes) -> None:
    """Read a log of these bytes, in one file or two: every whole line once, and the tail where it should begin."""
    path = empty(_log) / "init.log"
    cut, data = (data[0] if data else 0), data[1:]
    first = data[: cut * 16] if cut & 1 else b""
    if first:
        path.with_name(f"init.log.{0:020d}").write_bytes(first)
    path.write_bytes(data[len(first) :])
    reader = log.Reader(path)
    try:
        blocks = []
        while block := reader.read():
            blocks.append(block)
            assert len(blocks) < 1000
    finally:
        reader.close()
    for chunk in log.parse_block(b"".join(blocks)):
        convert.to_message(chunk)
        log.format_time(chunk.time_ns)
    whole = [part[: part.rfind(b"\n") + 1] for part in (first, data[len(first) :])]
    assert b"".join(blocks) == b"".join(whole)
    positions = [log.find_tail(path, lines) for lines in (0, 1, 2, 1000)]
    assert positions == sorted(positions, reverse=True)
    assert positions[-1] == 0 or data.count(b"\n") > 999


_log = make_directory()


def _pieces() -> Mapping[str, bytes]:
    return {"lines": b"\x08\x02" + b"\x0cone\ntwo\nthr" + b"\x05ee\n\n\n", "bytes": b"\x00\x05" + bytes(range(256))}


@target("log-write", _pieces)
def run_log_write(data: bytes) -> None:
    """Write pieces with rotation, by several writers, and read all back: in order, and nothing lost but old files."""
    pieces = Pieces(data)
    directory = empty(_written)
    max_bytes, max_files = 60 + 8 * pieces.below(64), 2 + pieces.below(6)
    sent = {"stdout": b"", "stderr": b""}
    path = directory / "init.log"
    made = writer.Log(str(path), max_bytes, max_files)
    while not pieces.is_empty:
        kind = pieces.below(16)
        if kind == 15:
            made.close()
            made = writer.Log(str(path), max_bytes, max_files)
        piece = pieces.take(pieces.below(64))
        stream = "stderr" if kind & 1 else "stdout"
        if piece:
            made.write(stream, piece)
            sent[stream] += piece
    made.close()
    reader, got = log.Reader(path), {"stdout": b"", "stderr": b""}
    with contextlib.closing(reader):
        while block := reader.read():
            for chunk in log.parse_block(block):
                got[chunk.stream] += chunk.data
    assert made.dropped_bytes == 0
    assert reader.position == made.end
    for stream, wanted in sent.items():
        assert wanted.endswith(got[stream]) if reader.lost else wanted == got[stream]
    assert len(log.list_rotated(path)) <= max_files - 1
    tail = log.find_tail(path, 1)
    assert reader.lost <= tail <= made.end


_written = make_directory()
