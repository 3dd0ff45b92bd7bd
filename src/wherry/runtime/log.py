"""The reader of managed logs (format and file names: `shim/log.py`), across rotation, while they are written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from wherry.model import status as st

#: Somebody may have put a link or a FIFO in the place of a log.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
#: Bytes of log read at a time.
BLOCK = 256 * 1024
#: Bytes in which a runtime has said what it had to.
_END = 8192


def parse_entry(line: bytes) -> tuple[bytes, str, bytes]:
    """Return the time, the stream and the bytes (with their line end, if it is a whole line) of one log entry.

    Raises ValueError for anything else.
    """
    time, stream, tag, data = line.split(b" ", 3)
    if tag not in (b"F", b"P") or stream not in (b"stdout", b"stderr"):
        raise ValueError(f"not a log entry: {line[:64]!r}")
    return time, stream.decode(), data + b"\n" if tag == b"F" else data


def parse_time(time: bytes) -> int:
    """Return an RFC 3339 time with nine digits of fraction as Unix nanoseconds."""
    text = time.decode("ascii")
    seconds = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    found = int(seconds.timestamp()) * 1_000_000_000 + int(text[20:29])
    if not 0 <= found < 2**63:
        raise ValueError(f"no time that a log can have: {text!r}")
    return found


def format_time(time_ns: int) -> bytes:
    """Return Unix nanoseconds as the log writes them; the texts sort as the times do."""
    seconds, rest = divmod(max(time_ns, 0), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z".encode()


def parse_block(block: bytes, since: bytes = b"") -> Iterator[st.LogChunk]:
    """Yield the entries of whole lines, those of one read of the shim (one time and stream) together.

    A line that is not an entry is passed over: somebody else wrote it. Entries before `since` are left out.
    """
    for chunk, _ in parse_spans(block, since):
        yield chunk


def parse_spans(block: bytes, since: bytes = b"") -> Iterator[tuple[st.LogChunk, int]]:
    """Yield what `parse_block` does, each with where the next one begins in the block."""
    current: tuple[bytes, str] | None = None
    pieces: list[bytes] = []
    begin = end = 0
    for line in block.split(b"\n"):
        begin, end = end, end + len(line) + 1
        try:
            time, stream, data = parse_entry(line)
        except ValueError:
            continue
        if time < since:
            continue
        if (time, stream) != current:
            if current is not None:
                yield _chunk(current, pieces), begin
            current, pieces = (time, stream), []
        pieces.append(data)
    if current is not None:
        yield _chunk(current, pieces), len(block)


def _chunk(key: tuple[bytes, str], pieces: list[bytes]) -> st.LogChunk:
    try:
        time_ns = parse_time(key[0])
    except ValueError:
        time_ns = 0
    return st.LogChunk(stream=key[1], time_ns=time_ns, data=b"".join(pieces))


class Reader:
    """Reads one log from a position on. Blocking, but only on local files. Must be closed."""

    def __init__(self, path: Path, position: int = 0) -> None:
        self._path = path
        self.position = position
        #: Bytes of log that were rotated away before they could be read.
        self.lost = 0
        self._fd = -1
        self._start = 0

    def read(self, end: int | None = None) -> bytes:
        """Return whole lines from the position on, at most BLOCK bytes and not beyond `end`; empty: none there now."""
        while True:
            if self._fd < 0 and not self._open():
                return b""
            wanted = BLOCK if end is None else min(BLOCK, end - self.position)
            if wanted <= 0:
                return b""
            block = os.pread(self._fd, wanted, self.position - self._start)
            block = block[: block.rfind(b"\n") + 1]
            if block:
                self.position += len(block)
                return block
            if self._is_current():
                return b""
            # Rotated. What was written between our read and the rotation is read first.
            rest = os.pread(self._fd, BLOCK, self.position - self._start)
            if b"\n" not in rest:
                self.position += len(rest)  # no line of ours; nothing will be added to it
            if not rest:
                self.close()

    def _is_current(self) -> bool:
        try:
            return self._path.stat().st_ino == os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return True  # all of it is being deleted; there is no more

    def _open(self) -> bool:
        """Open the file that holds the position; return whether there is one."""
        while True:
            try:
                current = os.open(self._path, _READ)
            except FileNotFoundError:
                return False
            if not stat.S_ISREG(os.fstat(current).st_mode):
                os.close(current)
                return False
            try:
                rotated = list_rotated(self._path)
            except OSError:  # no descriptor free
                os.close(current)
                raise
            start = 0
            if rotated:
                last_start, last = rotated[-1]
                try:
                    status = last.stat()
                except FileNotFoundError:  # rotated away meanwhile
                    os.close(current)
                    continue
                if status.st_ino == os.fstat(current).st_ino:  # rotated between the two looks
                    os.close(current)
                    continue
                start = last_start + status.st_size
            return self._choose(current, start, rotated)

    def _choose(self, current: int, start: int, rotated: list[tuple[int, Path]]) -> bool:
        self._fd, self._start = current, start
        for file_start, path in rotated:
            try:
                fd = os.open(path, _READ)
            except FileNotFoundError:
                continue
            # The first that reaches beyond the position; in a hole (somebody removed a file) that is a later one.
            if self.position < file_start + os.fstat(fd).st_size:
                os.close(self._fd)
                self._fd, self._start = fd, file_start
                break
            os.close(fd)
        if self.position < self._start:
            self.lost += self._start - self.position
            self.position = self._start
        return True

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_end(path: Path, begin: int) -> str:
    """Return what was written behind `begin`, at most the last 8 KiB of it; "" when the log cannot be read."""
    try:
        with open(os.open(path, _READ), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            # With less in it than there was it is a new one.
            file.seek(max(begin if begin <= size else 0, size - _END))
            block = file.read(_END)
    except OSError:
        return ""
    return b"".join(chunk.data for chunk in parse_block(block)).decode(errors="replace")


def list_rotated(path: Path) -> list[tuple[int, Path]]:
    """Return the rotated files of a log with the position of their first byte, oldest first."""
    found = []
    for item in path.parent.glob(f"{path.name}.*"):
        suffix = item.name[len(path.name) + 1 :]
        if suffix.isascii() and suffix.isdigit():
            found.append((int(suffix), item))
    return sorted(found)


def find_tail(path: Path, lines: int) -> int:
    """Return the position at which the last `lines` lines begin; an unfinished last line counts as one."""
    while True:
        before = list_rotated(path)
        try:
            found = _find_tail(path, before, lines)
        except FileNotFoundError:
            if not path.exists():
                raise
            continue
        if list_rotated(path) == before:  # else the files were others than we took them for
            return found


def _find_tail(path: Path, rotated: list[tuple[int, Path]], lines: int) -> int:
    files = [*rotated, (rotated[-1][0] + rotated[-1][1].stat().st_size if rotated else 0, path)]
    seen = 0
    last = True
    for start, file in reversed(files):
        for begin, line in _read_backwards(file):
            # An F entry ends a line, so all behind it is one line more than the F entries seen.
            if line.split(b" ", 3)[2:3] == [b"F"] or last:
                if seen == lines:
                    return start + begin + len(line)
                seen += 1
            last = False
    return files[0][0]


def _read_backwards(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, with their line end, from the last to the first, each with its position."""
    fd = os.open(file, _READ)
    try:
        end, block = os.fstat(fd).st_size, BLOCK
        while end > 0:
            begin = max(0, end - block)
            data = os.pread(fd, end - begin, begin)
            # What stands before the first line end belongs to a line that begins further ahead.
            cut = data.find(b"\n") + 1 if begin else 0
            if begin and cut in (0, len(data)):
                block *= 2
                continue
            stop = len(data)
            while stop > cut:
                start = data.rfind(b"\n", cut, stop - 1) + 1 or cut
                yield begin + start, data[start:stop]
                stop = start
            end, block = begin + cut, BLOCK
    finally:
        os.close(fd)
