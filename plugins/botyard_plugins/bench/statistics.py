"""Percentiles of many durations, in bounded memory."""

import math
from array import array
from collections.abc import Iterable, Sequence

import msgspec


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Of so many durations, in milliseconds, by nearest rank."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


class Durations:
    """Keeps durations in microseconds; when there are too many, every second, fourth, ... of them. The largest stays
    exact."""

    def __init__(self, limit: int = 500_000) -> None:
        self._limit = limit
        self._kept = array("q")
        self._every = 1
        self._left = 0  # how many more to pass over before one is kept
        self.count = 0
        self.max = 0

    def add(self, durations: Sequence[int]) -> None:
        """Take durations in, microseconds each."""
        if not durations:
            return
        self.count += len(durations)
        self.max = max(self.max, max(durations))
        self._kept.extend(durations[self._left :: self._every])
        self._left = (self._left - len(durations)) % self._every
        if len(self._kept) > self._limit:
            self._kept = self._kept[::2]
            self._every *= 2

    def thinned(self, limit: int = 20_000) -> list[int]:
        """At most about so many of them, evenly chosen in the order of size, the largest among them."""
        ordered = sorted(self._kept)
        step = max(1, -(-len(ordered) // limit))
        chosen = ordered[step - 1 :: step]
        return [*chosen[:-1], self.max] if chosen else []


def percentiles(durations: Iterable[int], count: int | None = None) -> Percentiles | None:
    """Of durations in microseconds, None of none; `count` when they stand for more than they are."""
    ordered = sorted(durations)
    if not ordered:
        return None

    def rank(share: float) -> float:
        at = math.ceil(round(share * len(ordered), 6)) - 1
        return round(ordered[max(0, at)] / 1e3, 2)

    return Percentiles(
        count=len(ordered) if count is None else count,
        p50=rank(0.50),
        p95=rank(0.95),
        p99=rank(0.99),
        max=round(ordered[-1] / 1e3, 2),
    )
