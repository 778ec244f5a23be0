"""Reading samples from PostgreSQL, in slices that leave the event loop to others in between."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import msgspec

from botyard.store.base import BucketRow, Sample
from botyard.store.postgres_server import Connection, escaped
from botyard.store.samples import value_of

T = TypeVar("T")

_decoded = msgspec.json.Decoder().decode

SLICE = 2000  # rows that are converted before others on the event loop get their turn: some 2 ms

# The series that can be on the page, with their first rows: each has at least one sample on it, so that a page touches
# no more series than it has rows, however many there are.
_HEADS = """SELECT series.id, series.robot, series.channel, head.ts, head.id AS head
    FROM series CROSS JOIN LATERAL (
        SELECT x.ts, x.id FROM sample x
        WHERE x.series_id = series.id AND x.ts >= $1 AND (x.ts, x.id) > ($1, $2) AND x.ts < $3
        ORDER BY x.ts, x.id LIMIT 1
    ) head
    WHERE {robots} AND {channels} ORDER BY head.ts, head.id LIMIT $4"""
# One statement for each way to ask, since a condition with an OR in it would not use the index.
HEADS = {
    (robots, channels): _HEADS.format(
        robots="series.robot = ANY($5::text[])" if robots else "$5::text[] IS NULL",
        channels="series.channel = ANY($6::text[])" if channels else "$6::text[] IS NULL",
    )
    for robots in (True, False)
    for channels in (True, False)
}
ROWS = """SELECT x.ts, x.id, x.series_id, x.kind, x.num, x.doc
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS after(series, ts, id) CROSS JOIN LATERAL (
        SELECT * FROM sample
        WHERE series_id = after.series AND sample.ts >= after.ts AND (sample.ts, sample.id) > (after.ts, after.id)
            AND sample.ts < $4
        ORDER BY sample.ts, sample.id LIMIT $5
    ) x"""
LATEST = """SELECT series.robot, series.channel, x.ts, x.kind, x.num, x.doc
    FROM series CROSS JOIN LATERAL (
        SELECT * FROM sample WHERE series_id = series.id ORDER BY sample.ts DESC, sample.id DESC LIMIT 1
    ) x
    WHERE series.robot = $1 AND ($2::text[] IS NULL OR series.channel = ANY($2)) ORDER BY series.channel"""
# Sums of huge numbers would overflow, so those are scaled by 2^-64 and summed apart.
BUCKETS = """SELECT ts - CASE WHEN ts % $5 < 0 THEN ts % $5 + $5 ELSE ts % $5 END AS slot,
        count(*) AS count, min(num) AS min, max(num) AS max,
        coalesce(sum(num) FILTER (WHERE abs(num) < 1e280), 0) AS sum,
        coalesce(sum(num * 5.421010862427522e-20) FILTER (WHERE abs(num) >= 1e280), 0) AS scaled
    FROM sample
    WHERE series_id = (SELECT id FROM series WHERE robot = $1 AND channel = $2)
        AND ts >= $3 AND ts < $4 AND num IS NOT NULL
    GROUP BY slot ORDER BY slot"""


class Wanted(NamedTuple):
    """Which samples are wanted: those after the key (ts, id) and before `end`; None is any robot or channel."""

    robots: list[str] | None
    channels: list[str] | None
    end: int


Key = tuple[int, int]
Row = tuple[int, int, int, int, float | None, str | None]  # ts, id, series, kind, num, doc


async def samples(connection: Connection, wanted: Wanted, after: Key, limit: int) -> tuple[list[Sample], Key | None]:
    """The samples in the order of time, and the key of the last one when there are more."""
    found: list[Sample] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        while True:
            want = min(SLICE, limit - len(found))
            names, rows = await _merged(connection, wanted, after, want + 1)
            found += [Sample(*names[row[2]], row[0], _value(*row[3:])) for row in rows[:want]]
            if len(rows) <= want:
                return found, None
            after = rows[want - 1][:2]
            if len(found) == limit:
                return found, after


async def _merged(
    connection: Connection, wanted: Wanted, after: Key, count: int
) -> tuple[dict[int, tuple[str, str]], list[Row]]:
    """The first `count` rows of all series together, and the names of the series.

    Each series is asked for its share, and those whose rows end before the page does are asked again for twice as much,
    until none does. All that is read in one round is at most twice the page.
    """
    statement = HEADS[wanted.robots is not None, wanted.channels is not None]
    heads = await connection.fetch(statement, *after, wanted.end, count, _names(wanted.robots), _names(wanted.channels))
    found: list[Row] = []
    open_ends = {head["id"]: (head["ts"], head["head"] - 1) for head in heads}
    end = wanted.end if len(heads) < count else min(wanted.end, heads[-1]["ts"] + 1)
    share = 2 * count // max(1, len(heads)) + 1
    while open_ends:
        keys = [(series, *key) for series, key in open_ends.items()]
        rows = await connection.fetch(ROWS, *map(list, zip(*keys, strict=True)), end, min(share, count))
        open_ends = _last_of_full(rows, min(share, count))
        found = sorted([*found, *map(tuple, rows)], key=_key)[:count]
        if len(found) == count:
            last = found[-1]
            end = min(end, last[0] + 1)
            open_ends = {series: key for series, key in open_ends.items() if key < last[:2]}
        share *= 2
    return {head["id"]: (head["robot"], head["channel"]) for head in heads}, found


def _last_of_full(rows: Iterable[Any], share: int) -> dict[int, Key]:
    """The last key of each series that has given as many rows as it was asked for."""
    counts: dict[int, int] = {}
    last: dict[int, Key] = {}
    for row in rows:
        series = row[2]
        counts[series] = counts.get(series, 0) + 1
        last[series] = (row[0], row[1])
    return {series: key for series, key in last.items() if counts[series] == share}


def _value(kind: int, num: float | None, doc: str | None) -> Any:
    value = value_of(kind, num, doc)
    return _decoded(value) if isinstance(value, msgspec.Raw) else value


def _key(row: Row) -> Key:
    return row[:2]


async def latest(connection: Connection, robot: str, channels: list[str] | None) -> list[Sample]:
    """The newest sample of each series of a robot, by channel."""
    rows = await connection.fetch(LATEST, robot, _names(channels))
    return await converted(rows, lambda row: Sample(row[0], row[1], row[2], _value(*tuple(row)[3:])))


async def aggregate(
    connection: Connection, robot: str, channel: str, start: int, end: int, bucket: int
) -> list[BucketRow]:
    """Buckets of a series."""
    return await converted(await connection.fetch(BUCKETS, robot, channel, start, end, bucket), _bucket)


def _bucket(row: Any) -> BucketRow:
    count, low, high = row["count"], row["min"], row["max"]
    mean = row["sum"] / count + row["scaled"] / count * 2.0**64
    return BucketRow(row["slot"], count, low, high, min(max(mean, low), high))


async def converted(rows: Iterable[Any], convert: Callable[[Any], T]) -> list[T]:
    """Each row converted."""
    found: list[T] = []
    async for some in _slices(rows):
        found += map(convert, some)
    return found


async def _slices(rows: Iterable[Any]) -> AsyncIterator[list[Any]]:
    left = iter(rows)
    while some := list(islice(left, SLICE)):
        yield some
        await asyncio.sleep(0)


def _names(names: list[str] | None) -> list[str] | None:
    return None if names is None else [escaped(name) for name in names]
