"""What the kernel tells of processes: memory, processor time, and each fork, exec and exit with its time."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.stage import UnusableError

# linux/netlink.h, linux/connector.h, linux/cn_proc.h
_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = 1
_LISTEN = 1
_IGNORE = 2
_NAMES = {0x1: "fork", 0x2: "exec", 0x80000000: "exit"}
_HEADERS = 16 + 20  # struct nlmsghdr, struct cn_msg
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h


@dataclass(frozen=True, slots=True)
class Event:
    """Something a process did: `kind` is fork (`pid` is the child, `parent` who forked), exec or exit.

    `time` is in seconds of CLOCK_MONOTONIC, as time.monotonic().
    """

    time: float
    kind: str
    pid: int
    parent: int = 0


class Watch:
    """The process connector: every fork, exec and exit on the machine, told by the kernel without slowing them.

    Raises UnusableError where the kernel has no CONFIG_PROC_EVENTS or we are not root in the first namespaces.
    """

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
            self._socket.bind((0, _CN_IDX_PROC))
            self._tell(_LISTEN)
        except OSError as error:
            raise UnusableError(f"the kernel's process connector cannot be used: {error}") from None

    def _tell(self, what: int) -> None:
        message = struct.pack("=IIIIHHI", _CN_IDX_PROC, 1, 0, 0, 4, 0, what)
        self._socket.send(struct.pack("=IHHII", 16 + len(message), 3, 0, 0, 0) + message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._tell(_IGNORE)
        finally:
            self._socket.close()

    def take(self) -> list[Event]:
        """Return what has been told since the last time. Raises UnusableError when some of it was lost."""
        found: list[Event] = []
        while True:
            try:
                data = self._socket.recv(4096, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except OSError as error:  # ENOBUFS
                raise UnusableError(f"the kernel's process events came too fast: {error}") from None
            if event := parse_event(data):
                found.append(event)


def parse_event(data: bytes) -> Event | None:
    """Return the event in one message of the connector, None for one of a thread or of another kind."""
    if len(data) < _HEADERS + 32:
        return None
    what, _, nanoseconds = struct.unpack_from("=IIQ", data, _HEADERS)
    kind = _NAMES.get(what, "")
    numbers = struct.unpack_from("=IIII", data, _HEADERS + 16)
    pid, group = (numbers[2], numbers[3]) if kind == "fork" else (numbers[0], numbers[1])
    if not kind or pid != group:
        return None
    return Event(nanoseconds / 1e9, kind, pid, numbers[1] if kind == "fork" else 0)


def read_cpu(pids: Iterable[int]) -> float:
    """Return the processor seconds that these processes have used so far; one that is gone counts nothing."""
    total = 0
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(path.read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total / 1e9


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process holds, kB: its share (PSS), what is its alone, and its page tables."""

    pss: int
    private: int
    tables: int


def read_memory(pid: int) -> Memory:
    """Return the memory of a process (proc(5), smaps_rollup and status). Raises OSError when it is gone."""
    rollup = _read_kb(Path(f"/proc/{pid}/smaps_rollup"))
    status = _read_kb(Path(f"/proc/{pid}/status"))
    return Memory(rollup["Pss"], rollup["Private_Clean"] + rollup["Private_Dirty"], status.get("VmPTE", 0))


def read_kernel_kb() -> int:
    """Return the kB that the kernel itself uses on the whole machine for objects, stacks and page tables."""
    found = _read_kb(Path("/proc/meminfo"))
    return sum(found.get(name, 0) for name in ("SUnreclaim", "KernelStack", "PageTables", "Percpu"))


def _read_kb(path: Path) -> dict[str, int]:
    return {name: int(kb) for name, kb in re.findall(r"^(\w+):\s+(\d+) kB", path.read_text(), re.MULTILINE)}


def find_processes(name: str, among: Iterable[int]) -> list[int]:
    """Return those processes whose command name (proc(5), comm) begins with `name`."""
    found = []
    for pid in among:
        try:
            if Path(f"/proc/{pid}/comm").read_text().startswith(name[:15]):
                found.append(pid)
        except OSError:
            continue
    return found


def drop_from_cache(paths: Iterable[Path]) -> None:
    """Let the page cache forget these files, except what is mapped by a running process."""
    for path in paths:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError:
            continue
        finally:
            os.close(fd)
