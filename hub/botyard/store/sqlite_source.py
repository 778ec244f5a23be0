"""Telemetry out of an SQLite file, for `reading`.

Imported by the helper processes, so: standard library and msgspec only.
"""

import sqlite3
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import msgspec

from botyard.store.chunks import SPAN
from botyard.store.frames import LOWEST
from botyard.store.reading import ChunkRow, SeriesRow

T = TypeVar("T")

BLOCKS = """SELECT data FROM block WHERE {shards} AND "end" >= ? AND start < ? ORDER BY id"""
# No chunk is longer than SPAN, so what begins earlier cannot reach into the time that is asked for.
CHUNKS = """SELECT robot, start, channels, data FROM chunk
    WHERE {robots} AND start >= ? AND start < ? AND "end" >= ? ORDER BY start, id"""
ROLLUPS = "SELECT data FROM rollup WHERE robot = ? AND width = ? AND start >= ? AND start < ? ORDER BY start, id"
SERIES = "SELECT channel, type, unit, last_ts, last_value FROM series WHERE robot = ?"


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("it waits")


class SqliteSource:
    """`reading.Source` on a connection that is inside of a transaction. Gives up at `deadline` (`time.monotonic`)."""

    def __init__(self, db: sqlite3.Connection, deadline: float) -> None:
        self.db = db
        self._deadline = deadline

    async def blocks(self, shards: list[int] | None, start: int, end: int) -> list[bytes]:
        """As `Source.blocks`."""
        condition = "TRUE" if shards is None else f"shard IN ({','.join('?' * len(shards))})"
        statement = BLOCKS.format(shards=condition)
        return [data for (data,) in self.db.execute(statement, (*(shards or ()), start, end))]

    async def chunks(self, robots: list[str] | None, start: int, end: int) -> AsyncIterator[ChunkRow]:
        """As `Source.chunks`."""
        names = msgspec.json.encode(robots).decode()
        condition = "TRUE" if robots is None else "robot IN (SELECT value FROM json_each(?))"
        if robots is not None and len(robots) == 1:
            condition, names = "robot = ?", robots[0]  # in the order of the index, without sorting
        values = () if robots is None else (names,)
        statement = CHUNKS.format(robots=condition)
        for row in self.db.execute(statement, (*values, max(LOWEST, start - SPAN), end, start)):
            yield ChunkRow(*row)

    async def rollups(self, robot: str, width: int, start: int, end: int) -> list[bytes]:
        """As `Source.rollups`."""
        return [data for (data,) in self.db.execute(ROLLUPS, (robot, width, start, end))]

    async def series(self, robot: str) -> list[SeriesRow]:
        """As `Source.series`."""
        return [SeriesRow(*row) for row in self.db.execute(SERIES, (robot,))]

    async def breathe(self) -> None:
        """As `Source.breathe`: raises sqlite3.OperationalError, as a query does that takes too long."""
        if time.monotonic() > self._deadline:
            error = sqlite3.OperationalError("interrupted")
            error.sqlite_errorname = "SQLITE_INTERRUPT"
            raise error
