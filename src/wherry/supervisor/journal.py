"""The event journal: append-only segments of JSON lines, sequence numbers that never repeat.

A segment is named after the first sequence number it may hold and begins with a head line that names the boot. An event
is written before anybody is told, so a SIGKILL loses none; a power cut may lose the last SYNC_INTERVAL. Since a number
may have been seen that was then lost, numbers leap by LEAP when the boot has changed.

A subscriber has a position, not a queue: it reads what follows from memory, or from disk when it is slow. So it costs
nothing to be slow, and it ends only when retention has removed what it needs.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from wherry import errors
from wherry.linux import failpoint, proc
from wherry.model import codec
from wherry.model import status as st

_logger = logging.getLogger(__name__)

SEGMENT_EVENTS = 4096
#: Events kept in memory for subscribers that keep up.
RECENT = 1024
LEAP = 1_000_000
#: A number beyond this is not ours; it must leave room within the int64 of the protocol.
MAX_SEQ = 2**62
SYNC_INTERVAL = 0.2
#: Seconds more behind a sync that failed.
SYNC_RETRY = 1.0
#: Events handed to a subscriber at a time, and bytes of those from disk: he holds them for as long as he is slow.
_BATCH = 64
_BATCH_BYTES = 16384
#: A segment, and a byte in it.
_Place: TypeAlias = tuple[int, int]


class Journal:
    """All events of one root directory. `retention` events at least, and none older than `retention_age` seconds."""

    def __init__(self, directory: Path, *, retention: int = 100_000, retention_age: float = 30 * 86400.0) -> None:
        self._directory = directory
        self._retention = retention
        self._retention_age = retention_age
        self._segments: list[int] = []
        self._counts: dict[int, int] = {}
        self._fd = -1
        self._size = 0
        #: The file ends in a part of a line that could not be cut off.
        self._is_torn = False
        self._recent: deque[st.Event] = deque(maxlen=RECENT)
        self._newest: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._segments_begin = 0
        self._grown = asyncio.Event()
        self._dirty = asyncio.Event()
        self._closed = False
        #: The sequence number of the newest event, or where the count begins.
        self.last_seq = 0
        #: The last event, type and time, by (generation, process), for recovery: what has been told already.
        self.told: dict[tuple[int, str], tuple[str, int]] = {}
        #: The count of the last `oom` by generation, since the last `restart`, for recovery as well.
        self.ooms: dict[int, int] = {}
        #: The last `health` by generation, status and time, for recovery too.
        self.healths: dict[int, tuple[str, int]] = {}
        #: When the oldest kept event was told, Unix nanoseconds; 0 while none was ever removed.
        self.oldest_ns = 0
        #: The last generation by (namespace, container), for those that lost their own record.
        self.generations: dict[tuple[str, str], int] = {}

    def open(self) -> None:
        """Read what is there and begin a new segment. A torn end is cut off; a foreign file is passed over."""
        try:
            failpoint.hit("journal.mkdir")
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise errors.from_os("open the journal", error) from error
        boot = proc.read_boot_id()
        boot_before = boot
        for path in sorted(self._directory.glob("*.jsonl")):
            if not _is_segment(path):
                continue
            first = int(path.stem)
            self._segments_begin = self._segments_begin or first
            count = 0
            boot_before = ""  # a segment without its head line lost it in a power cut
            for entry in _read_entries(path):
                if "boot" in entry:
                    boot_before = str(entry["boot"])
                else:
                    count += self._note(entry)
            self.last_seq = max(self.last_seq, first - 1)
            self._segments.append(first)
            self._counts[first] = count
        if boot != boot_before:
            self.last_seq += LEAP
        self._recent.extend(filter(None, map(_to_event, self._newest)))
        self._newest.clear()
        self._begin_segment(boot)
        self._retire()

    def _note(self, entry: dict[str, Any]) -> bool:
        """Take note of an event that is read at the start; a hundred thousand of them are not made into objects."""
        number, generation, kind = entry.get("seq"), entry.get("generation"), entry.get("type")
        if not isinstance(number, int) or not 0 < number < MAX_SEQ or not isinstance(kind, str):
            return False
        time_ns = entry.get("time_ns") if isinstance(entry.get("time_ns"), int) else 0
        if not self.last_seq and self._segments_begin > 1:
            self.oldest_ns = time_ns or 0
        self.last_seq = max(self.last_seq, number)
        if isinstance(generation, int):
            self.told[generation, str(entry.get("process", ""))] = (kind, time_ns or 0)
            self.generations[str(entry.get("namespace")), str(entry.get("container"))] = generation
            self._note_oom(kind, generation, entry.get("count"))
            if kind == "health":
                self.healths[generation] = (str(entry.get("reason", "")), time_ns or 0)
        self._newest.append(entry)
        return True

    def _note_oom(self, kind: str, generation: int, count: object) -> None:
        if kind == "oom":
            self.ooms[generation] = count if isinstance(count, int) else 1
        elif kind in ("restart", "restore"):  # in a new cgroup, which counts from zero
            self.ooms.pop(generation, None)

    def find_told(self, generation: int, process: str, made_ns: int) -> str | None:
        """Return the last event type told of a process made at `made_ns`; what is older is of another of its id."""
        kind, time_ns = self.told.get((generation, process), ("", 0))
        return kind if kind and time_ns >= made_ns else None

    def is_forgotten(self, time_ns: int) -> bool:
        """Tell whether events of that time may have been told and removed since."""
        return 0 < time_ns < self.oldest_ns

    def _begin_segment(self, boot: str) -> None:
        while os.path.lexists(self._path(self.last_seq + 1)) and not _is_segment(self._path(self.last_seq + 1)):
            self.last_seq += 1  # the name is taken by what is no file
        first = self.last_seq + 1
        path = self._path(first)
        try:
            failpoint.hit("journal.open")
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise errors.ResourceExhausted(f"cannot begin the journal's {path}: {error.strerror}") from error
        self._end_segment()
        self._fd = fd
        self._size = 0
        self._is_torn = False
        if first not in self._counts:
            self._segments.append(first)
        self._counts[first] = 0
        try:
            self._write({"first": first, "boot": boot})
        except errors.ResourceExhausted as error:
            _logger.error("%s", error)  # a full disk must not keep anybody from his containers

    def _end_segment(self) -> None:
        """Sync and close the segment that is written. What could not be synced is told and read all the same."""
        if self._fd < 0:
            return
        try:
            _sync(self._fd)
        except OSError as error:
            _logger.error("cannot sync the journal in %s: %s", self._directory, error.strerror)
        finally:
            os.close(self._fd)
            self._fd = -1

    def _path(self, first: int) -> Path:
        return self._directory / f"{first:020d}.jsonl"

    def _write(self, entry: dict[str, Any]) -> None:
        line = (json.dumps(entry, separators=(",", ":")) + "\n").encode()
        if self._is_torn:
            line = b"\n" + line
        written = 0
        try:
            failpoint.hit("journal.write")
            written = os.write(self._fd, line)
            if written != len(line):
                raise OSError(28, "No space left on device")
        except OSError as error:
            self._cut_off(written)
            raise errors.ResourceExhausted(
                f"cannot write the journal in {self._directory}: {error.strerror}"
            ) from error
        self._size += len(line)
        self._is_torn = False
        self._dirty.set()

    def _cut_off(self, written: int) -> None:
        """Take back a part of a line; one that stays must not become part of the next event."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError as error:  # a disk with errors that the kernel has made read-only, for one
            _logger.error("cannot cut off what is torn in %s: %s", self._directory, error.strerror)
            self._size += written
            self._is_torn = True

    def append(self, type: str, *, namespace: str, container: str, generation: int, **fields: Any) -> st.Event:
        """Write one event and wake the subscribers. Raises ResourceExhausted when it cannot be written."""
        event = st.Event(
            seq=self.last_seq + 1,
            time_ns=time.time_ns(),
            type=type,
            namespace=namespace,
            container=container,
            generation=generation,
            **fields,
        )
        try:
            if self._counts[self._segments[-1]] >= SEGMENT_EVENTS:
                self._begin_segment(proc.read_boot_id())
                self._retire()
            self._write(codec.to_plain(event))
        except OSError as error:  # no descriptor is left to read the boot id, for one
            what = f"cannot write the journal in {self._directory}: {error.strerror}"
            raise errors.ResourceExhausted(what) from error
        self._counts[self._segments[-1]] += 1
        self.last_seq = event.seq
        if type in ("restart", "restore"):
            self.ooms.pop(generation, None)
        self._recent.append(event)
        self._grown.set()
        self._grown = asyncio.Event()
        return event

    def _retire(self) -> None:
        """Remove the oldest segments that neither count nor age keeps; the newest always stays."""
        horizon = time.time_ns() - int(self._retention_age * 1e9)
        while len(self._segments) > 1:
            first = self._segments[0]
            left = sum(self._counts.values()) - self._counts[first]
            path = self._path(first)
            try:
                is_old = path.exists() and path.stat().st_mtime_ns < horizon
                if left < self._retention and not is_old:
                    return
                path.unlink(missing_ok=True)
            except OSError as error:
                _logger.error("cannot remove %s, which is tried again: %s", path, error.strerror)
                return
            del self._segments[0], self._counts[first]

    @property
    def first_seq(self) -> int:
        """The sequence number from which on events are kept."""
        return self._segments[0] if self._segments else 1

    async def find_position(self, time_ns: int) -> int:
        """Return a sequence number at or before which nothing is later than `time_ns`: that of the start of a segment.

        What is no longer kept is passed over.
        """
        if self._recent and self._recent[0].time_ns <= time_ns:
            return self._recent[0].seq - 1
        segments = list(self._segments)
        return await asyncio.to_thread(self._find_segment, time_ns, segments) if segments else self.last_seq

    def _find_segment(self, time_ns: int, segments: list[int]) -> int:
        for first in reversed(segments):
            event = next(filter(None, map(_to_event, _read_entries(self._path(first)))), None)
            if event is not None and event.time_ns <= time_ns:
                return first - 1
        return segments[0] - 1

    async def subscribe(self, after: int, *, follow: bool) -> AsyncIterator[st.Event]:
        """Yield events above `after` (-1: only new ones), then, with `follow`, each further one.

        Raises OutOfRange when retention has removed what follows `after`, or when `after` is yet to come.
        """
        if after < -1:
            raise errors.InvalidArgument(f"cannot subscribe after {after}: sequence numbers begin at 1")
        if after > self.last_seq:
            raise errors.OutOfRange(f"cannot subscribe after {after}: the last event is {self.last_seq}")
        position = self.last_seq if after == -1 else after
        stop = self.last_seq
        place = (0, 0)
        while not self._closed:
            grown = self._grown
            events, place = await self._read_after(position, place)
            for event in events:
                if event.seq <= position:  # of a segment that somebody has mixed up: never one twice
                    continue
                yield event
                position = event.seq
                if not follow and position >= stop:
                    return
            if not events:
                if not follow:
                    return
                await grown.wait()

    async def _read_after(self, position: int, place: _Place) -> tuple[list[st.Event], _Place]:
        """Return some of what follows `position`, and the place behind it if that was read from disk."""
        kept = self.first_seq - 1
        if position < kept:
            raise errors.OutOfRange(
                f"cannot subscribe after {position}: events up to {kept} are no longer kept; resume after {kept}"
            )
        if self._recent and self._recent[0].seq <= position + 1:
            return [event for event in self._recent if event.seq > position][:_BATCH], place
        if position >= self.last_seq:
            return [], place
        # A segment may be tens of megabytes of JSON, all of which has to be read at first: not on the loop.
        return await asyncio.to_thread(self._read_batch, list(self._segments), position, place)

    def _read_batch(self, segments: list[int], position: int, place: _Place) -> tuple[list[st.Event], _Place]:
        """Return some of what follows `position` in the first segment that has something, and the place behind it.

        `place` is where to begin in its segment: what is in front of it is known to be no later than `position`.
        """
        found: list[st.Event] = []
        index = max(bisect.bisect_right(segments, position + 1) - 1, 0)
        for first in segments[index:]:
            limit = 0
            for end, entry in _scan(self._path(first), place[1] if place[0] == first else 0):
                place = first, end
                event = _to_event(entry)
                if event is None or event.seq <= position:
                    continue
                found.append(event)
                limit = limit or end + _BATCH_BYTES
                if len(found) >= _BATCH or end >= limit:
                    break
            if found:
                break
        return found, place

    async def keep_synced(self) -> None:
        """Bring what was written to the disk, SYNC_INTERVAL seconds later, until cancelled; sleeps without events."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(SYNC_INTERVAL)
            self._dirty.clear()
            try:
                await self._sync_now()
            except OSError as error:
                # The kernel may have dropped what it could not write (fsync(2)); what comes is to be kept all the same.
                _logger.error("cannot sync the journal in %s: %s", self._directory, error.strerror)
                self._dirty.set()
                await asyncio.sleep(SYNC_RETRY)

    async def _sync_now(self) -> None:
        fd = os.dup(self._fd)  # a new segment may begin meanwhile
        try:
            await asyncio.to_thread(_sync, fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Sync and close; subscribers end."""
        self._closed = True
        self._grown.set()
        self._end_segment()


def _sync(fd: int) -> None:
    failpoint.hit("journal.fsync")
    os.fdatasync(fd)


def _read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects in a segment."""
    return (entry for _, entry in _scan(path, 0))


def _scan(path: Path, begin: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects in a segment from byte `begin` on, each with where it ends.

    A torn last line, or a line of NULs after a power cut, is passed over.
    """
    try:
        with path.open("rb") as file:
            file.seek(begin)
            for line in file:
                begin += len(line)
                entry = _parse(path, line.rstrip(b"\n"))
                if isinstance(entry, dict):
                    yield begin, entry
    except OSError as error:
        _logger.error("cannot read %s: %s", path, error)


def _parse(path: Path, line: bytes) -> Any:
    try:
        return json.loads(line) if line else None
    except (ValueError, RecursionError):
        _logger.warning("%s: passed over %d bytes that are no event", path, len(line))
        return None


def _to_event(entry: dict[str, Any]) -> st.Event | None:
    try:
        event = codec.from_plain(st.Event, entry)
    except ValueError:
        return None
    return event if 0 < event.seq < MAX_SEQ else None


def _is_segment(path: Path) -> bool:
    """Tell whether `path` has the name that a segment gets and is a file: a FIFO would hold us up for ever."""
    name = path.stem
    is_number = name.isascii() and name.isdecimal() and len(name) == 20 and 0 < int(name) < MAX_SEQ
    return is_number and path.is_file() and not path.is_symlink()
