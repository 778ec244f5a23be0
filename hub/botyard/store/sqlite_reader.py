"""The process that reads from SQLite: `python -m botyard.store.sqlite_reader <database>`.

A process for the same reason as the writer: in a thread beside a busy event loop a page of samples takes seconds, as
each row takes the interpreter lock back. Answers are JSON, so that documents pass through without being taken apart.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from botyard.store import frames, reading, rollups
from botyard.store.chunks import SPAN, Chunk
from botyard.store.compaction import Rollup, Work
from botyard.store.frames import HIGHEST, LOWEST, Answer, Request
from botyard.store.holdings import BOUNDS, SIZES, TOTALS, Inventory, Size
from botyard.store.sqlite_process import REFUSALS, Refused, arguments, connect, sentence, serve
from botyard.store.sqlite_source import SqliteSource, at_once

THREADS = 3  # so that a chart of a month does not hold up everything else
NICE = 5  # reading gives way to taking in

pack = msgspec.msgpack.Encoder().encode


MERGEABLE_CHUNKS = """SELECT robot, channels, start / ? FROM chunk WHERE small
    GROUP BY robot, channels, 3 HAVING count(*) >= ? LIMIT ?"""
CHUNKS_OF = """SELECT id, robot, start, "end", rows, samples, small, channels, data FROM chunk
    WHERE small AND robot = ? AND channels = ? AND start / ? = ? ORDER BY id LIMIT 64"""
MERGEABLE_ROLLUPS = """SELECT robot, width, start FROM rollup WHERE part
    GROUP BY robot, width, start HAVING count(*) >= ? OR start + width * 60 < ? LIMIT ?"""
ROLLUPS_OF = """SELECT id, robot, width, start, buckets, part, data FROM rollup
    WHERE robot = ? AND width = ? AND start = ? ORDER BY id LIMIT 64"""


class Packed(bytes):
    """An answer that is msgpack already."""


class Options(msgspec.Struct, frozen=True):
    """`patience` is how many seconds one request may take."""

    patience: float = 30.0


class Reader:
    """A connection for each thread, opened when it is first needed: the database may not be made yet."""

    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self._options = options
        self._mine = threading.local()
        self._ops: dict[str, Callable[[SqliteSource, Any], Any]] = {
            "ping": lambda _source, _query: None,
            "query": query_rows,
            "samples": samples,
            "series": series,
            "aggregate": aggregate,
            "counts": counts,
            "hot": hot_work,
            "mergeable": mergeable_work,
            "waiting": waiting,
            "inventory": inventory,
        }

    def greet(self) -> bytes:
        """There is nothing to say."""
        os.nice(NICE)
        return b""

    def open(self) -> None:
        """Connections are opened when they are needed."""

    def close(self) -> None:
        """Close this thread's connection."""
        if hasattr(self._mine, "db"):
            self._mine.db.close()

    def answer(self, request: Request) -> Answer:
        """Read what is asked for."""
        self._mine.deadline = time.monotonic() + self._options.patience
        try:
            db = self._connection()
            db.execute("BEGIN")  # several statements, one view of the data
            try:
                query = msgspec.msgpack.decode(request.body) if request.body else None
                found = self._ops[request.op](SqliteSource(db, self._mine.deadline), query)
            finally:
                db.execute("ROLLBACK")
            body = bytes(found) if isinstance(found, Packed) else msgspec.json.encode(found)
            return Answer(request.n, frames.OK, body)
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


def query_rows(source: SqliteSource, query: tuple[str, list[Any]]) -> list[dict[str, Any]]:
    """The rows of a statement that Tortoise made, by column."""
    found = source.db.execute(*query)
    names = [name for name, *_ in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def samples(source: SqliteSource, query: dict[str, Any]) -> list[reading.Found]:
    """A page of samples."""
    wanted = reading.Wanted(query["robots"], query["channels"], query["start"], query["end"])
    after = None if query["after"] is None else tuple(query["after"])
    return at_once(reading.samples(source, wanted, after, query["limit"]))


def series(source: SqliteSource, robot: str) -> list[reading.SeriesRow]:
    """The channels of a robot and their latest samples."""
    return at_once(reading.series(source, robot, LOWEST, HIGHEST))


def aggregate(source: SqliteSource, query: dict[str, Any]) -> list[rollups.Bucket]:
    """Buckets of a channel."""
    return at_once(reading.aggregate(source, **query))


def counts(source: SqliteSource, _query: None) -> list[tuple[str, str, int]]:
    """How many samples each channel of each robot has."""
    return at_once(reading.counts(source, LOWEST, HIGHEST))


def hot_work(source: SqliteSource, query: tuple[int, int]) -> Packed:
    """The oldest blocks of a shard, up to some bytes, for the compactor."""
    shard, most = query
    blocks, size = [], 0
    for row in source.db.execute("SELECT id, data FROM block WHERE shard = ? ORDER BY id", (shard,)):
        blocks.append(row)
        size += len(row[1])
        if size >= most:
            break
    return Packed(pack(Work(blocks=blocks)) if blocks else b"")


def mergeable_work(source: SqliteSource, query: tuple[int, int, int]) -> Packed:
    """Small chunks and parts of rollups that have gathered, for the compactor."""
    gathered, settled, most = query
    db, work = source.db, Work()
    for key in db.execute(MERGEABLE_CHUNKS, (SPAN, gathered, most)).fetchall():
        rows = db.execute(CHUNKS_OF, (*key[:2], SPAN, key[2])).fetchall()
        work.chunks += [(row[0], msgspec.convert(row[1:], Chunk, strict=False)) for row in rows]
    for key in db.execute(MERGEABLE_ROLLUPS, (gathered, settled, most)).fetchall():
        rows = db.execute(ROLLUPS_OF, key).fetchall()
        work.rollups += [(row[0], msgspec.convert(row[1:], Rollup, strict=False)) for row in rows]
    return Packed(pack(work) if work.chunks or work.rollups else b"")


def waiting(source: SqliteSource, _query: None) -> list[tuple[int, int, int]]:
    """Messages and bytes by shard that are not compacted."""
    return source.db.execute("SELECT shard, sum(messages), sum(length(data)) FROM block GROUP BY shard").fetchall()


def inventory(source: SqliteSource, path: str) -> Inventory:
    """What the database in the file `path` holds, and how much there is left on its disk."""
    db, disk = source.db, os.statvfs(Path(path).parent)
    page, pages = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_size", "page_count"))
    log = Path(f"{path}-wal")
    return Inventory(
        bytes=page * pages + (log.stat().st_size if log.exists() else 0),
        free_bytes=disk.f_bavail * disk.f_frsize,
        totals=db.execute(TOTALS).fetchall(),
        bounds=db.execute(BOUNDS).fetchall(),
        sizes=[Size(*row) for row in db.execute(SIZES)],
    )


def main() -> None:
    path, options = arguments()
    reader = Reader(path, msgspec.json.decode(options, type=Options))
    serve(reader.answer, reader.greet, THREADS)


if __name__ == "__main__":
    main()
