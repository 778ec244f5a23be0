"""Aggregates of numeric channels per minute and hour, so that a month's chart reads thousands of rows, not millions.

A rollup is a row for a robot and an hour (of minutes) or a day (of hours), with a column for each channel. Aggregates
of parts can be put together: late samples make another part, and parts that have gathered are merged into one. Each
sample is in exactly one part, since a part is committed together with the chunk that its samples go to.

Imported by the helper processes, so: standard library and msgspec only.
"""

import zlib
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from botyard.store import columns

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000  # µs
# The width of the buckets, and how much time one row covers.
SPANS = {MINUTE: HOUR, HOUR: DAY}

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
_SCALE = 2.0**-64  # sums of huge numbers would overflow; scaling by a power of two loses no digit


class Bucket(NamedTuple):
    """Aggregate of the samples from `ts` (µs) on. `last` was measured at `last_ts`."""

    ts: int
    samples: int
    min: float
    max: float
    mean: float
    last_ts: int
    last: float


def numbers(times: list[int], values: list[Any]) -> tuple[list[int], list[float]]:
    """The samples that can be aggregated, as floats: numbers, integers that a float comes near, booleans as 0 and 1."""
    if set(map(type, values)) == {float}:
        return times, values
    kept = [(t, f) for t, v in zip(times, values, strict=True) if (f := number(v)) is not None]
    return [t for t, _ in kept], [f for _, f in kept]


def number(value: Any) -> float | None:
    """The value as a float; None when it is no number."""
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def buckets(times: list[int], values: list[float], width: int) -> list[Bucket]:
    """Samples in the order of time by buckets that are aligned to multiples of `width` µs since 1970."""
    found = []
    at, count = 0, len(times)
    while at < count:
        ts = times[at] // width * width
        end = bisect_left(times, ts + width, at)
        some = values[at:end]
        found.append(Bucket(ts, end - at, min(some), max(some), _mean(some), times[end - 1], some[-1]))
        at = end
    return found


def _mean(values: list[float]) -> float:
    total = sum(values)
    if abs(total) < 1e300:
        return total / len(values)
    mean = sum(v * _SCALE for v in values) / len(values) / _SCALE
    return min(max(mean, min(values)), max(values))


def merged(found: Iterable[Bucket], width: int) -> list[Bucket]:
    """One bucket for each multiple of `width` µs, in the order of time."""
    by_time: dict[int, Bucket] = {}
    for one in found:
        ts = one.ts // width * width
        other = by_time.get(ts)
        by_time[ts] = one._replace(ts=ts) if other is None else _both(other, one)
    return [by_time[ts] for ts in sorted(by_time)]


def _both(a: Bucket, b: Bucket) -> Bucket:
    count = a.samples + b.samples
    mean = a.mean * (a.samples / count) + b.mean * (b.samples / count)
    low, high = min(a.min, b.min), max(a.max, b.max)
    last_ts, last = (b.last_ts, b.last) if b.last_ts >= a.last_ts else (a.last_ts, a.last)
    return Bucket(a.ts, count, low, high, min(max(mean, low), high), last_ts, last)


def encode(by_channel: dict[str, list[Bucket]]) -> bytes:
    """Each channel's buckets, deflated apart, so that reading one does not take all."""
    return _pack({name: _deflated(found) for name, found in by_channel.items()})


def _deflated(found: list[Bucket]) -> bytes:
    ts, counts, lows, highs, means, last_ts, lasts = map(list, zip(*found, strict=True))
    late = [last - start for last, start in zip(last_ts, ts, strict=True)]
    packed = [columns.encode_times(ts), *map(columns.encode, (counts, lows, highs, means, late, lasts))]
    return zlib.compress(_pack(packed), 6)


def decode(data: bytes, channels: Iterable[str] | None = None) -> dict[str, list[Bucket]]:
    """What `encode` got, of these channels or of all."""
    packed: dict[str, bytes] = _unpack(data)
    wanted = packed if channels is None else [name for name in channels if name in packed]
    return {name: _inflated(packed[name]) for name in wanted}


def _inflated(data: bytes) -> list[Bucket]:
    ts, counts, lows, highs, means, late, lasts = map(columns.decode, _unpack(zlib.decompress(data)))
    last_ts = [start + more for start, more in zip(ts, late, strict=True)]
    return list(map(Bucket, ts, counts, lows, highs, means, last_ts, lasts))
