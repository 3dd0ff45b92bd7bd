"""What a container uses over time: rates from samples, and how they look in one line."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from wherry.model.stats import Stats

#: Samples kept for the history.
HISTORY = 60
BLOCKS, PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
BAR, PLAIN_BAR = "█░", "#."


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Use between two samples: `cpu_percent` of one processor, the others in bytes a second."""

    cpu_percent: float = 0.0
    read: float = 0.0
    written: float = 0.0
    received: float = 0.0
    sent: float = 0.0


def compute_rates(before: Stats, after: Stats) -> Rates | None:
    """Return the use between two samples of one container; None when no time has passed, or it was made anew."""
    elapsed = after.time_ns - before.time_ns
    if elapsed <= 0 or after.cpu.total_ns < before.cpu.total_ns:
        return None

    def rate(old: int, new: int) -> float:
        return max(0, new - old) * 1e9 / elapsed

    first, last = _sum_io(before), _sum_io(after)
    return Rates(
        cpu_percent=rate(before.cpu.total_ns, after.cpu.total_ns) / 1e7,
        read=rate(first[0], last[0]),
        written=rate(first[1], last[1]),
        received=rate(first[2], last[2]),
        sent=rate(first[3], last[3]),
    )


def _sum_io(sample: Stats) -> tuple[int, int, int, int]:
    return (
        sum(device.read_bytes for device in sample.block),
        sum(device.write_bytes for device in sample.block),
        sum(net.rx_bytes for net in sample.networks if net.name != "lo"),
        sum(net.tx_bytes for net in sample.networks if net.name != "lo"),
    )


class Meter:
    """One container: its last sample, the rates since the one before, and a little history."""

    def __init__(self) -> None:
        self.last: Stats | None = None
        self.rates: Rates | None = None
        self.cpu: deque[float] = deque(maxlen=HISTORY)
        self.memory: deque[float] = deque(maxlen=HISTORY)

    def add(self, sample: Stats) -> None:
        """Take a sample."""
        rates = compute_rates(self.last, sample) if self.last is not None else None
        self.last, self.rates = sample, rates
        self.memory.append(sample.memory.usage_bytes)
        if rates is not None:
            self.cpu.append(rates.cpu_percent)


def format_spark(values: Sequence[float], width: int, top: float, blocks: str = BLOCKS) -> str:
    """Return the last `width` values as blocks, `top` and more being the highest; right-aligned."""
    shown = list(values)[-width:] if width > 0 else []
    highest = len(blocks) - 1
    levels = (min(highest, int(value / top * highest + 0.5)) if top > 0 else 0 for value in shown)
    return "".join(blocks[max(0, level)] for level in levels).rjust(width)


def format_bar(part: float, whole: float, width: int, blocks: str = BAR) -> str:
    """Return how much `part` is of `whole` as a bar; an empty one when `whole` is 0."""
    filled = min(width, max(0, round(part / whole * width))) if whole > 0 else 0
    return blocks[0] * filled + blocks[1] * (width - filled)
