"""Samples out of blocks, chunks and rollups, whatever database they are in.

A `Source` reads rows; what they mean is said here once. Its methods are coroutines, since asyncpg's are; SQLite's never
wait. Imported by the helper processes, so: standard library and msgspec only.
"""

import heapq
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple, Protocol

import msgspec

from botyard.store import hot, rollups
from botyard.store.chunks import Decoded
from botyard.store.hot import SHARDS, Runs, shard_of
from botyard.store.rollups import HOUR, MINUTE, Bucket

_names = msgspec.json.Decoder(list[str])
_value = msgspec.json.Decoder().decode


class ChunkRow(NamedTuple):
    """A chunk as it is read."""

    robot: str
    start: int
    channels: str
    data: bytes


class SeriesRow(NamedTuple):
    """A series as it is read; `value` is JSON."""

    channel: str
    type: str
    unit: str | None
    ts: int
    value: str


class Source(Protocol):
    """Reads from one moment of a database. All times are µs since 1970; `end` is not included."""

    async def blocks(self, shards: list[int] | None, start: int, end: int) -> list[bytes]:
        """Blocks that may hold samples of that time, in the order of their commit."""

    def chunks(self, robots: list[str] | None, start: int, end: int) -> AsyncIterator[ChunkRow]:
        """Chunks that may hold samples of that time, in the order of (start, id)."""

    async def rollups(self, robot: str, width: int, start: int, end: int) -> list[bytes]:
        """Rollups of `width` whose `start` is in that time, in the order of their commit."""

    async def series(self, robot: str) -> list[SeriesRow]:
        """What is known of a robot's channels from what is compacted."""

    async def breathe(self) -> None:
        """Called between pieces of work of about a millisecond: let others run, or raise when it takes too long."""


class Wanted(NamedTuple):
    """Which samples; None means any."""

    robots: list[str] | None
    channels: list[str] | None
    start: int
    end: int

    @property
    def shards(self) -> list[int] | None:
        """Where the robots' blocks are."""
        return None if self.robots is None else sorted({shard_of(robot) for robot in self.robots})


class Found(NamedTuple):
    """A sample, and which one it is among those of the same time, robot and channel."""

    ts: int
    robot: str
    channel: str
    nth: int
    value: Any


# Time, robot, channel, where it is from, its place there, value: unique before the value, which may not be comparable.
_Entry = tuple[int, str, str, int, int, Any]
_HOT = 1 << 62  # blocks come after all chunks: they arrived later


async def samples(source: Source, wanted: Wanted, after: tuple[int, str, str, int] | None, limit: int) -> list[Found]:
    """At most `limit` samples behind the key `after`, in the order of time, robot and channel."""
    if wanted.robots == [] or wanted.channels == []:
        return []
    if after is not None:
        wanted = wanted._replace(start=max(wanted.start, after[0]))
    found: list[Found] = []
    place, nth = (0, "", ""), -1
    async for ts, robot, channel, _, _, value in _merged(source, wanted):
        nth = nth + 1 if (ts, robot, channel) == place else 0
        place = (ts, robot, channel)
        if after is not None and (*place, nth) <= after:
            continue
        found.append(Found(*place, nth, value))
        if len(found) == limit:
            break
    return found


async def _merged(source: Source, wanted: Wanted) -> AsyncIterator[_Entry]:
    """All samples in their order. A chunk is opened when its first row's turn comes."""
    heap: list[tuple[_Entry, Iterator[_Entry]]] = []
    runs = await _hot(source, wanted)
    for robot, of_robot in runs.items():
        for channel, run in of_robot.items():
            _push(heap, _of_run(run, robot, channel, wanted))
    waiting = source.chunks(wanted.robots, wanted.start, wanted.end)
    number = 0
    upcoming = await anext(waiting, None)
    while heap or upcoming is not None:
        while upcoming is not None and (not heap or upcoming.start <= heap[0][0][0]):
            number += 1
            _push(heap, _of_chunk(upcoming, number, wanted))
            await source.breathe()
            upcoming = await anext(waiting, None)
        if heap:
            entry, rest = heap[0]
            yield entry
            following = next(rest, None)
            if following is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (following, rest))


def _push(heap: list[tuple[_Entry, Iterator[_Entry]]], entries: Iterator[_Entry]) -> None:
    if (first := next(entries, None)) is not None:
        heapq.heappush(heap, (first, entries))


def _of_run(run: hot.Run, robot: str, channel: str, wanted: Wanted) -> Iterator[_Entry]:
    times = run.times
    for at in range(bisect_left(times, wanted.start), bisect_left(times, wanted.end)):
        yield times[at], robot, channel, _HOT, at, run.values[at]


def _of_chunk(row: ChunkRow, number: int, wanted: Wanted) -> Iterator[_Entry]:
    names = _names.decode(row.channels)
    indices = [i for i, name in enumerate(names) if wanted.channels is None or name in wanted.channels]
    if not indices:
        return
    chunk = Decoded(row.data)
    first, end = bisect_left(chunk.times, wanted.start), bisect_left(chunk.times, wanted.end)
    if first == end:
        return
    columns = [(names[i], chunk.column(i)) for i in sorted(indices, key=names.__getitem__)]
    at = first
    while at < end:
        ts, after = chunk.times[at], at + 1
        while after < end and chunk.times[after] == ts:
            after += 1
        for name, column in columns:
            for place in range(at, after):
                if column[place] is not None:
                    yield ts, row.robot, name, number, place, column[place]
        at = after


async def _hot(source: Source, wanted: Wanted) -> Runs:
    """What is not compacted yet."""
    robots = None if wanted.robots is None else set(wanted.robots)
    channels = None if wanted.channels is None else set(wanted.channels)
    found: Runs = {}
    for block in await source.blocks(wanted.shards, wanted.start, wanted.end):
        hot.gather(block, found, robots, channels)  # a block is a batch at most, which is some milliseconds of work
        await source.breathe()
    return hot.in_order(found)


async def series(source: Source, robot: str, lowest: int, highest: int) -> list[SeriesRow]:
    """The channels of a robot, by name, with their latest samples; times between `lowest` and `highest`."""
    known = {row.channel: row for row in await source.series(robot)}
    runs = await _hot(source, Wanted([robot], None, lowest, highest))
    for name, run in runs.get(robot, {}).items():
        newest = run.times[-1], msgspec.json.encode(run.values[-1]).decode()
        before = known.get(name)
        if before is not None and before.ts > newest[0]:
            newest = before.ts, before.value
        known[name] = SeriesRow(name, run.type, run.unit, *newest)
    return [known[name] for name in sorted(known)]


async def aggregate(source: Source, robot: str, channel: str, start: int, end: int, width: int) -> list[Bucket]:
    """Buckets of `width` µs, aligned to multiples of it, of the numeric samples with `start` <= time < `end`."""
    fine = next((one for one in (HOUR, MINUTE) if width % one == 0), None)
    first, last = (-(-start // fine) * fine, end // fine * fine) if fine else (end, end)
    if fine is None or first >= last:
        return rollups.merged(await _raw(source, robot, channel, start, end, width), width)
    span = rollups.SPANS[fine]
    found = await _raw(source, robot, channel, start, first, width)
    for data in await source.rollups(robot, fine, first // span * span, last):
        of_channel = rollups.decode(data, [channel]).get(channel, [])
        found += [bucket for bucket in of_channel if first <= bucket.ts < last]
    found += await _raw_hot(source, robot, channel, first, last, width)
    found += await _raw(source, robot, channel, last, end, width)
    return rollups.merged(found, width)


async def _raw(source: Source, robot: str, channel: str, start: int, end: int, width: int) -> list[Bucket]:
    found: list[Bucket] = []
    if start >= end:
        return found
    async for row in source.chunks([robot], start, end):
        names = _names.decode(row.channels)
        if channel in names:
            chunk = Decoded(row.data)
            found += _buckets(chunk.times, chunk.column(names.index(channel)), start, end, width)
            await source.breathe()
    return found + await _raw_hot(source, robot, channel, start, end, width)


async def _raw_hot(source: Source, robot: str, channel: str, start: int, end: int, width: int) -> list[Bucket]:
    runs = await _hot(source, Wanted([robot], [channel], start, end))
    run = runs.get(robot, {}).get(channel)
    return [] if run is None else _buckets(run.times, run.values, start, end, width)


def _buckets(times: list[int], values: list[Any], start: int, end: int, width: int) -> list[Bucket]:
    at, to = bisect_left(times, start), bisect_left(times, end)
    return rollups.buckets(*rollups.numbers(times[at:to], values[at:to]), width)


async def counts(source: Source, start: int, end: int) -> list[tuple[str, str, int]]:
    """How many samples there are of each robot and channel with `start` <= time < `end`."""
    found: dict[tuple[str, str], int] = {}
    for shard in range(SHARDS):
        gathered: Runs = {}
        for block in await source.blocks([shard], start, end):
            hot.gather(block, gathered)
            await source.breathe()
        for robot, of_robot in hot.in_order(gathered).items():
            for channel, run in of_robot.items():
                found[robot, channel] = bisect_left(run.times, end) - bisect_left(run.times, start)
    async for row in source.chunks(None, start, end):
        chunk = Decoded(row.data)
        first, last = bisect_left(chunk.times, start), bisect_left(chunk.times, end)
        for index, name in enumerate(_names.decode(row.channels)):
            column = chunk.column(index)[first:last]
            found[row.robot, name] = found.get((row.robot, name), 0) + len(column) - column.count(None)
        await source.breathe()
    return [(*key, count) for key, count in found.items() if count]


def value_of(row: SeriesRow) -> Any:
    """The latest value itself."""
    return _value(row.value)
