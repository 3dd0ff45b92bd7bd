"""Copying from one descriptor to another, without waiting and without keeping more than one piece.

While there is nothing to write, the source is watched; while the sink is full, the sink is, and nothing is read: so
whoever writes to the source waits for whoever reads from the sink, and nothing is lost in between.
"""

from __future__ import annotations

import os
import select

#: Bytes of one piece: the capacity of a pipe (pipe(7)); a terminal gives 4096 at most.
PIECE = 65536
#: More output than a terminal holds (64 KiB); what is counted at the end is bounded by it.
MAX_LEFT = 131072


class Relay:
    """Copies from `source` to `sink`, both non-blocking and owned by somebody else. At least one can be polled.

    `watched` is the descriptor that is in the epoll now, -1 for none.
    """

    __slots__ = ("_epoll", "_is_paced", "_rest", "_sink", "_source", "dropped_bytes", "has_ended", "watched")

    def __init__(self, epoll: select.epoll, source: int, sink: int) -> None:
        self._epoll = epoll
        self._source = source
        self._sink = sink
        self._rest = b""
        self._is_paced = False
        self.watched = -1
        self.has_ended = False
        #: Bytes that the sink has refused, for another reason than being full.
        self.dropped_bytes = 0

    def start(self) -> None:
        """Begin to copy."""
        try:
            self._watch(self._source, select.EPOLLIN)
        except PermissionError:
            # A file or /dev/null is always ready and cannot be polled: the sink tells when the next piece has room.
            self._is_paced = True
            self._watch(self._sink, select.EPOLLOUT)

    def turn(self) -> int:
        """Copy one piece, or what is left of one; return how many bytes were read and written whole."""
        if self.has_ended or not (self._rest or self._read()):
            return 0
        size = len(self._rest)
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._sink, self._rest) :]
        except BlockingIOError:
            self._watch(self._sink, select.EPOLLOUT)
            return 0
        except OSError:  # a full disk; or a terminal that nobody has open any more
            self.dropped_bytes += len(self._rest)
            self._rest = b""
        if not self._is_paced:
            self._watch(self._source, select.EPOLLIN)
        return size

    def _read(self) -> bool:
        try:
            self._rest = os.read(self._source, PIECE)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody has the terminal open any more (tty_ioctl(4))
            self._rest = b""
        if not self._rest:
            self.end()
        return bool(self._rest)

    def _watch(self, fd: int, mask: int) -> None:
        if fd == self.watched:
            return
        # Never a mask of 0: a hang-up would be told again and again.
        self._unwatch()
        self._epoll.register(fd, mask)
        self.watched = fd

    def _unwatch(self) -> None:
        if self.watched >= 0:
            self._epoll.unregister(self.watched)
            self.watched = -1

    def end(self) -> None:
        """Copy no more."""
        self._unwatch()
        self.has_ended = True

    def give_up(self) -> None:
        """Copy no more, and count as dropped what the sink had no room for and what the source still has."""
        left = len(self._rest)
        while not self.has_ended and left < MAX_LEFT and self._rest and self._read():
            left += len(self._rest)
        self.dropped_bytes += left
        self._rest = b""
        self.end()
