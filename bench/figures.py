"""Statistics of what was measured: medians with their spread, and ratios of things measured in turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """What `count` values have in common: median, quartiles (`low`, `high`), 99th percentile, the extremes."""

    count: int
    median: float
    low: float
    high: float
    p99: float
    minimum: float
    maximum: float


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of them lie, interpolated. Raises ValueError without values."""
    if not values:
        raise ValueError("there is no quantile of nothing")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def summarize(values: Sequence[float]) -> Summary:
    """Return the summary of `values`. Raises ValueError when there are none."""
    return Summary(
        len(values),
        quantile(values, 0.5),
        quantile(values, 0.25),
        quantile(values, 0.75),
        quantile(values, 0.99),
        min(values),
        max(values),
    )


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Return value / base of each round; both were measured in the same rounds. Raises ValueError when not."""
    if len(values) != len(base):
        raise ValueError(f"{len(values)} values were not measured in turn with {len(base)}")
    return [value / other for value, other in zip(values, base, strict=True) if other]


def spread_ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Return each value over the median of `base`: for what cannot be measured in turn, as memory."""
    scale = quantile(base, 0.5)
    return [value / scale for value in values] if scale else []


def rotate(names: Sequence[str], number: int) -> list[str]:
    """Return `names` in another order for each round, so that none always comes behind the same one."""
    shift = number % len(names) if names else 0
    return [*names[shift:], *names[:shift]]


def format_number(value: float) -> str:
    """Return `value` with three figures that matter, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"
