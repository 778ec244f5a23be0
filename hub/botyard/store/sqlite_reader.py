"""The process that reads from SQLite: `python -m botyard.store.sqlite_reader <database>`.

A process for the same reason as the writer: in a thread beside a busy event loop a page of samples takes seconds, as
each row takes the interpreter lock back. Answers are JSON, so that documents pass through without being taken apart.
"""

import heapq
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from botyard.store import frames
from botyard.store.frames import Answer, Request
from botyard.store.samples import value_of
from botyard.store.sqlite_process import REFUSALS, Refused, arguments, connect, sentence, serve

# The series that can be on the page, with their first rows: each has at least one sample on it, so that a page touches
# no more series than it has rows, however many there are.
_HEADS = """
    WITH head AS (
        SELECT id AS series, robot, channel, (
            SELECT x.id FROM sample x
            WHERE x.series_id = series.id AND (x.ts, x.id) > (:ts, :id) AND x.ts < :end
            ORDER BY x.ts, x.id LIMIT 1
        ) AS first
        FROM series WHERE {robots} AND {channels}
    )
    SELECT head.series, head.robot, head.channel, sample.ts, sample.id
    FROM head JOIN sample ON sample.id = head.first
    ORDER BY sample.ts, sample.id LIMIT :limit"""
# One statement for each way to ask, since a condition with an OR in it would not use the index.
HEADS = {
    (robots, channels): _HEADS.format(
        robots="robot IN (SELECT value FROM json_each(:robots))" if robots else "TRUE",
        channels="channel IN (SELECT value FROM json_each(:channels))" if channels else "TRUE",
    )
    for robots in (True, False)
    for channels in (True, False)
}
ROWS = """
    SELECT ts, id, kind, num, doc FROM sample
    WHERE series_id = ? AND (ts, id) >= (?, ?) AND ts < ? ORDER BY ts, id LIMIT ?"""
LATEST = """
    SELECT series.robot, series.channel, sample.ts, sample.kind, sample.num, sample.doc
    FROM series JOIN sample ON sample.id = (
        SELECT x.id FROM sample x WHERE x.series_id = series.id ORDER BY x.ts DESC, x.id DESC LIMIT 1
    )
    WHERE series.robot = :robot
      AND (:channels IS NULL OR series.channel IN (SELECT value FROM json_each(:channels)))
    ORDER BY series.channel"""
# Sums of huge numbers would overflow, so the mean is taken of numbers scaled by 2^-64, which loses no digit.
BUCKETS = """
    SELECT ts - ((ts % :bucket) + :bucket) % :bucket AS slot, count(num), min(num), max(num),
        avg(num * 5.421010862427522e-20)
    FROM sample
    WHERE series_id = (SELECT id FROM series WHERE robot = :robot AND channel = :channel)
      AND ts >= :start AND ts < :end AND num IS NOT NULL
    GROUP BY slot ORDER BY slot"""


THREADS = 3  # so that a chart of a month does not hold up everything else
NICE = 5  # reading gives way to taking in


class Options(msgspec.Struct, frozen=True):
    """`patience` is how many seconds one request may take."""

    patience: float = 30.0


class Row(msgspec.Struct, frozen=True):
    """A sample on its way out."""

    robot: str
    channel: str
    ts: int
    value: Any


class Reader:
    """A connection for each thread, opened when it is first needed: the database may not be made yet."""

    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self._options = options
        self._mine = threading.local()
        self._ops: dict[str, Callable[[sqlite3.Connection, Any], Any]] = {
            "ping": lambda _db, _query: None,
            "query": query_rows,
            "samples": samples,
            "latest": latest,
            "aggregate": aggregate,
        }

    def greet(self) -> bytes:
        """There is nothing to say."""
        os.nice(NICE)
        return b""

    def answer(self, request: Request) -> Answer:
        """Read what is asked for."""
        self._mine.deadline = time.monotonic() + self._options.patience
        try:
            db = self._connection()
            db.execute("BEGIN")  # several statements, one view of the data
            try:
                found = self._ops[request.op](db, msgspec.msgpack.decode(request.body) if request.body else None)
            finally:
                db.execute("ROLLBACK")
            return Answer(request.n, frames.OK, msgspec.json.encode(found))
        except Refused as refused:
            return Answer(request.n, frames.FAILED, str(refused).encode(errors="replace"))
        except REFUSALS as error:
            return Answer(request.n, frames.FAILED, sentence(self._path, error).encode(errors="replace"))

    def _connection(self) -> sqlite3.Connection:
        mine = self._mine
        if not hasattr(mine, "db"):
            mine.db = connect(self._path, busy_timeout=10_000, query_only="ON")
            mine.db.set_progress_handler(lambda: time.monotonic() > mine.deadline, 10_000)
        db: sqlite3.Connection = mine.db
        return db


def query_rows(db: sqlite3.Connection, query: tuple[str, list[Any]]) -> list[dict[str, Any]]:
    """The rows of a statement that Tortoise made, by column."""
    found = db.execute(*query)
    names = [name for name, *_ in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def samples(db: sqlite3.Connection, query: dict[str, Any]) -> tuple[list[Row], tuple[int, int] | None]:
    """The rows after (ts, id) and before `end`, and the key of the last one when there are more."""
    if query["robots"] == [] or query["channels"] == []:
        return [], None
    names = {key: msgspec.json.encode(query[key]).decode() for key in ("robots", "channels")}
    statement = HEADS[query["robots"] is not None, query["channels"] is not None]
    limit = query["limit"]
    heads = db.execute(statement, {**query, **names, "limit": limit + 1}).fetchall()
    found = list(islice(_merge(db, heads, query["end"], limit + 1), limit + 1))
    last = found[limit - 1] if len(found) > limit else None
    return [row for _, _, row in found[:limit]], (last[0], last[1]) if last else None


def _merge(db: sqlite3.Connection, heads: list[Any], end: int, limit: int) -> Iterator[tuple[int, int, Row]]:
    """Rows in the order of time. A series is opened when its first row's turn comes, and read row by row."""
    waiting = [(ts, key, series, robot, channel, None) for series, robot, channel, ts, key in heads]
    heap: list[Any] = waiting  # sorted already; ids are unique, so nothing after them is ever compared
    while heap:
        ts, key, series, robot, channel, rows = heap[0]
        if rows is None:
            rows = db.execute(ROWS, (series, ts, key, end, limit))
            current = rows.fetchone()
        else:
            current = rows[1]
            rows = rows[0]
        yield current[0], current[1], Row(robot, channel, current[0], value_of(*current[2:]))
        following = rows.fetchone()
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following[0], following[1], series, robot, channel, (rows, following)))


def latest(db: sqlite3.Connection, query: dict[str, Any]) -> list[Row]:
    """The newest row of each series of a robot."""
    channels = query["channels"]
    names = None if channels is None else msgspec.json.encode(channels).decode()
    found = db.execute(LATEST, {"robot": query["robot"], "channels": names})
    return [Row(robot, channel, ts, value_of(*rest)) for robot, channel, ts, *rest in found]


def aggregate(db: sqlite3.Connection, query: dict[str, Any]) -> list[dict[str, Any]]:
    """Buckets of a series."""
    return [
        {"ts": ts, "count": count, "min": low, "max": high, "mean": min(max(scaled * 2.0**64, low), high)}
        for ts, count, low, high, scaled in db.execute(BUCKETS, query)
    ]


def main() -> None:
    path, options = arguments()
    reader = Reader(path, msgspec.json.decode(options, type=Options))
    serve(reader.answer, reader.greet, THREADS)


if __name__ == "__main__":
    main()
