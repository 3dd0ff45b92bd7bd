"""The writer of managed logs: CRI log format, rotated here, at line boundaries.

Format: kubernetes/design-proposals "CRI: Log Management for Container Stdio Streams":
`<RFC 3339 time, nanoseconds> <stdout|stderr> <F|P> <bytes>\\n`, P for a piece without a line end.

Positions are counted over the whole log, rotated files included. The current file is PATH; a rotated one is
PATH.<position of its first byte>, so a listing of the directory tells where everything lies; a writer goes on where an
earlier one has ended.
"""

from __future__ import annotations

import os
import time

from wherry.linux import failpoint

_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class Log:
    """Writes one process's output. Never raises for a full or failing disk: counts what it drops, and says so.

    `fd` is that of another one who has opened the file, and `dropped_bytes` what that had no room for.
    """

    __slots__ = (
        "_max_bytes",
        "_max_files",
        "_path",
        "_second",
        "_second_text",
        "_start",
        "_torn",
        "_unsaid",
        "_why",
        "dropped_bytes",
        "end",
        "fd",
    )

    def __init__(self, path: str, max_bytes: int, max_files: int, fd: int = -1, dropped_bytes: int = 0) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._second = -1
        self._second_text = ""
        self.dropped_bytes = dropped_bytes
        self._unsaid = 0
        self._why = ""
        self._start = 0
        self.end = 0
        self._torn = False
        self.fd = fd if fd >= 0 else os.open(path, _APPEND, 0o600)
        # Two tests instead of a look at everything: it would cost pages of each shim, and most logs are new.
        directory, _, name = path.rpartition("/")
        if os.lseek(self.fd, 0, os.SEEK_END) or f"{name}." in "\n".join(os.listdir(directory)):
            self._go_on()

    def _go_on(self) -> None:
        """Go on where an earlier writer has ended."""
        rotated = self._list_rotated()
        if rotated:
            self._start = rotated[-1][0] + os.stat(f"{self._path}{rotated[-1][1]}").st_size
        size = os.fstat(self.fd).st_size
        self.end = self._start + size
        # A writer that was killed has left a piece of an entry; the next entry must not become a part of it.
        self._torn = size > 0 and os.pread(self.fd, 1, size - 1) != b"\n"

    def write(self, stream: str, data: bytes) -> None:
        """Append what was read from `stream` in one go; `end` moves on by what was written."""
        prefix = self._prefix(stream)
        entries = format_entries(prefix, data)
        if self._unsaid:
            words = f"{self._prefix('stderr')}F wherry: {self._unsaid} bytes of output dropped: {self._why}\n"
            entries = words.encode() + entries
        try:
            self._append(entries)
            self._unsaid = 0
        except OSError as error:
            self.dropped_bytes += len(data)
            self._unsaid += len(data)
            self._why = error.strerror or str(error)

    def close(self) -> None:
        """Close the current file."""
        os.close(self.fd)
        self.fd = -1

    def _prefix(self, stream: str) -> str:
        now = time.time_ns()
        second = now // 1_000_000_000
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{now % 1_000_000_000:09d}Z {stream} "

    def _append(self, entries: bytes) -> None:
        while entries:
            room = self._start + self._max_bytes - self.end
            cut = len(entries) if len(entries) <= room else entries.rfind(b"\n", 0, max(room, 0)) + 1
            if cut == 0 and self.end > self._start:
                self._rotate()
                continue
            if cut == 0:  # one entry longer than a whole file
                cut = entries.index(b"\n") + 1
            self._write_all(entries[:cut])
            entries = entries[cut:]

    def _write_all(self, entries: bytes) -> None:
        if self._torn:
            entries = b"\n" + entries
        rest = memoryview(entries)
        try:
            while rest:
                failpoint.hit("shim.log-write")
                rest = rest[os.write(self.fd, rest) :]
        except OSError:
            # A full disk takes a part of it; what is read back must end at a line.
            os.ftruncate(self.fd, self.end - self._start)
            raise
        self.end += len(entries)
        self._torn = False

    def _rotate(self) -> None:
        try:
            failpoint.hit("shim.log-rename")
            os.rename(self._path, f"{self._path}.{self._start:020d}")
        except FileNotFoundError:
            pass  # an earlier try could not open the new file; or somebody removed it
        failpoint.hit("shim.log-open")
        fd = os.open(self._path, _APPEND, 0o600)
        os.close(self.fd)
        self.fd = fd
        self._start = self.end
        self._torn = False
        rotated = self._list_rotated()
        for _, suffix in rotated[: max(0, len(rotated) - (self._max_files - 1))]:
            os.unlink(self._path + suffix)

    def _list_rotated(self) -> list[tuple[int, str]]:
        """Return the position of the first byte of each rotated file, and what its name adds to the path."""
        directory, name = os.path.split(self._path)
        suffixes = [item[len(name) :] for item in os.listdir(directory) if item.startswith(name + ".")]
        return sorted((int(item[1:]), item) for item in suffixes if item[1:].isascii() and item[1:].isdigit())


def format_entries(prefix: str, data: bytes) -> bytes:
    """Return `data` as log entries, each line behind `prefix` ("TIME STREAM "); the last piece may be partial."""
    full = f"{prefix}F ".encode()
    cut = data.rfind(b"\n")
    entries = b""
    if cut >= 0:
        entries = full + data[:cut].replace(b"\n", b"\n" + full) + b"\n"
    if cut + 1 < len(data):
        entries += f"{prefix}P ".encode() + data[cut + 1 :] + b"\n"
    return entries
