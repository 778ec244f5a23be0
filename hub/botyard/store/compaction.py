"""From blocks to chunks and rollups, and from small ones to larger ones: what is to change, as a plan.

Everything here is a function of what it is given. The plan is carried out by the store's writer in one transaction, so
that each sample is in the blocks or in a chunk, and in the rollups or not, and never in between.

Imported by the helper processes, so: standard library and msgspec only.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import msgspec

from botyard.store import chunks, hot, rollups
from botyard.store.chunks import Chunk, Decoded
from botyard.store.hot import Run
from botyard.store.rollups import SPANS, Bucket

FAR = 1 << 62  # µs: beyond it the beginning of a rollup might be no 64-bit number

_json = msgspec.json.Encoder().encode
_names = msgspec.json.Decoder(list[str])


class Rollup(msgspec.Struct, frozen=True, array_like=True):
    """One row of the table `rollup`: buckets of `width` µs from `start` on. A `part` waits to be merged with others."""

    robot: str
    width: int
    start: int
    buckets: int
    part: bool
    data: bytes


class Newest(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a series: the type and unit that were said last, and its latest sample (`value` as JSON)."""

    robot: str
    channel: str
    type: str
    unit: str | None
    ts: int
    value: str


class Plan(msgspec.Struct, array_like=True):
    """Rows that go, by id, and rows that come instead."""

    blocks: list[int] = []
    old_chunks: list[int] = []
    old_rollups: list[int] = []
    chunks: list[Chunk] = []
    rollups: list[Rollup] = []
    newest: list[Newest] = []


class Work(msgspec.Struct, array_like=True):
    """What a plan is made of: rows of the tables, each after its id."""

    blocks: list[tuple[int, bytes]] = []
    chunks: list[tuple[int, Chunk]] = []
    rollups: list[tuple[int, Rollup]] = []


def plan(work: Work) -> Plan:
    """Take blocks apart, and put together the chunks and rollups that belong together."""
    made = Plan([n for n, _ in work.blocks], [n for n, _ in work.chunks], [n for n, _ in work.rollups])
    for robot, runs in hot.runs(data for _, data in work.blocks).items():
        runs = {name: run for name, run in runs.items() if run.times}
        made.chunks += chunks.of_runs(robot, runs)
        made.rollups += _rollups(robot, runs)
        made.newest += [
            Newest(robot, name, run.type, run.unit, run.times[-1], _json(run.values[-1]).decode())
            for name, run in runs.items()
        ]
    made.chunks += _merged_chunks(work.chunks)
    made.rollups += _merged_rollups(work.rollups)
    return made


def _rollups(robot: str, runs: dict[str, Run]) -> Iterator[Rollup]:
    rows: dict[tuple[int, int], dict[str, list[Bucket]]] = {}
    for name, run in runs.items():
        at, to = bisect_left(run.times, -FAR), bisect_left(run.times, FAR)
        found = rollups.buckets(*rollups.numbers(run.times[at:to], run.values[at:to]), rollups.MINUTE)
        for width, span in SPANS.items():
            if width != rollups.MINUTE:
                found = rollups.merged(found, width)
            for start, some in groupby(found, lambda bucket: bucket.ts // span * span):  # noqa: B023 - used at once
                rows.setdefault((width, start), {})[name] = list(some)
    for (width, start), by_channel in rows.items():
        count = sum(map(len, by_channel.values()))
        yield Rollup(robot, width, start, count, True, rollups.encode(by_channel))


def _merged_rollups(rows: Iterable[tuple[int, Rollup]]) -> Iterator[Rollup]:
    ordered = sorted(rows, key=lambda row: (row[1].robot, row[1].width, row[1].start, row[0]))
    for (robot, width, start), some in groupby(ordered, lambda row: (row[1].robot, row[1].width, row[1].start)):
        gathered: dict[str, list[Bucket]] = {}
        for _, row in some:
            for name, found in rollups.decode(row.data).items():
                gathered.setdefault(name, []).extend(found)
        by_channel = {name: rollups.merged(found, width) for name, found in gathered.items()}
        count = sum(map(len, by_channel.values()))
        yield Rollup(robot, width, start, count, False, rollups.encode(by_channel))


def _merged_chunks(rows: Iterable[tuple[int, Chunk]]) -> Iterator[Chunk]:
    ordered = sorted(rows, key=lambda row: (row[1].robot, row[1].channels, row[0]))
    for (robot, channels), some in groupby(ordered, lambda row: (row[1].robot, row[1].channels)):
        names = _names.decode(channels)
        times: list[int] = []
        columns: list[list[Any]] = [[] for _ in names]
        for _, row in some:
            decoded = Decoded(row.data)
            times += decoded.times
            for index, column in enumerate(columns):
                column += decoded.column(index)
        order = sorted(range(len(times)), key=times.__getitem__)
        yield from chunks.encode(
            robot, names, [times[i] for i in order], [[column[i] for i in order] for column in columns]
        )
