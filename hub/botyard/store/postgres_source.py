"""Telemetry out of PostgreSQL, for `reading`."""

import asyncio
from collections.abc import AsyncIterator

from botyard.store.chunks import SPAN
from botyard.store.frames import LOWEST
from botyard.store.postgres_server import Connection, escaped
from botyard.store.reading import ChunkRow, SeriesRow

AHEAD = 8  # chunks that are fetched at once: some hundred kilobytes each

BLOCKS = """SELECT data FROM block WHERE ($1::smallint[] IS NULL OR shard = ANY($1)) AND "end" >= $2 AND start < $3
    ORDER BY id"""
# No chunk is longer than SPAN, so what begins earlier cannot reach into the time that is asked for.
CHUNKS = """SELECT robot, start, channels, data FROM chunk
    WHERE ($1::text[] IS NULL OR robot = ANY($1)) AND start >= $2 AND start < $3 AND "end" >= $4 ORDER BY start, id"""
ROLLUPS = "SELECT data FROM rollup WHERE robot = $1 AND width = $2 AND start >= $3 AND start < $4 ORDER BY start, id"
SERIES = "SELECT channel, type, unit, last_ts, last_value FROM series WHERE robot = $1"


class PostgresSource:
    """`reading.Source` on a connection that is inside of a transaction with one view of the data."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def blocks(self, shards: list[int] | None, start: int, end: int) -> list[bytes]:
        """As `Source.blocks`."""
        return [row["data"] for row in await self._connection.fetch(BLOCKS, shards, start, end)]

    async def chunks(self, robots: list[str] | None, start: int, end: int) -> AsyncIterator[ChunkRow]:
        """As `Source.chunks`."""
        names = None if robots is None else [escaped(robot) for robot in robots]
        earliest = max(LOWEST, start - SPAN)
        async for row in self._connection.cursor(CHUNKS, names, earliest, end, start, prefetch=AHEAD):
            yield ChunkRow(*row)

    async def rollups(self, robot: str, width: int, start: int, end: int) -> list[bytes]:
        """As `Source.rollups`."""
        return [row["data"] for row in await self._connection.fetch(ROLLUPS, robot, width, start, end)]

    async def series(self, robot: str) -> list[SeriesRow]:
        """As `Source.series`."""
        return [SeriesRow(*row) for row in await self._connection.fetch(SERIES, robot)]

    async def breathe(self) -> None:
        """As `Source.breathe`."""
        await asyncio.sleep(0)
