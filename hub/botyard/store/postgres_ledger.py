"""Keeps the table `total` of PostgreSQL right, and deletes what is too old or too much."""

import time
from typing import Any

import msgspec

from botyard.store.chunks import Chunk
from botyard.store.compaction import Rollup
from botyard.store.holdings import (
    BOUNDS,
    KINDS,
    ROW,
    SIZES,
    TOTALS,
    ClassName,
    Counted,
    Expired,
    Inventory,
    Size,
    Tally,
    counted,
    everything,
)
from botyard.store.postgres_server import Connection, escaped
from botyard.store.rollups import MINUTE

SLICE = 0.015  # seconds that a slice of expiry may take, so that commits never wait long
STEP = {"chunk": 10, "rollup": 25}  # rows that are deleted between two looks at the clock
ROWS = 200  # the same of other tables, whose rows are small

SETTLE = "UPDATE total SET count = count + $1, bytes = bytes + $2 WHERE name = $3"
NOTE_SIZE = "INSERT INTO size (ts, bytes) VALUES ($1, $2) ON CONFLICT (ts) DO UPDATE SET bytes = excluded.bytes"
FORGET_SIZES = "DELETE FROM size WHERE ts < $1 OR ts > $2"  # the clock may have been ahead
DATABASE_SIZE = "SELECT pg_database_size(current_database())"


class Ledger:
    """For one transaction on the writer's connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tally = Tally()

    async def insert(self, table: str, statement: str, columns: Any) -> list[int]:
        """Insert rows by the statement, which is for this table; gives their ids in their order."""
        query = f"{statement} RETURNING {counted(table, 'postgresql')}, id"
        rows = await self._connection.fetch(query, *columns)
        self._tally.add(tuple(row)[:3] for row in rows)
        return sorted(row["id"] for row in rows)

    def came(self, rows: list[Chunk] | list[Rollup]) -> None:
        """These were copied into their table."""
        self._tally.add(map(_counted, rows))

    async def delete(self, table: str, where: str, *values: Any) -> int:
        """Delete the rows for which it is true; gives how many there were."""
        query = f"DELETE FROM {table} WHERE {where} RETURNING {counted(table, 'postgresql')}"  # noqa: S608 - constants
        return self._tally.add(map(tuple, await self._connection.fetch(query, *values)), -1)

    async def settle(self) -> None:
        """Bring the changes to the table `total`."""
        for change in self._tally.take():
            await self._connection.execute(SETTLE, *change)

    async def count(self) -> None:
        """Count everything anew."""
        await self._connection.execute("DELETE FROM total")
        for name in KINDS:
            await self._connection.execute("INSERT INTO total (name, count, bytes) VALUES ($1, 0, 0)", name)
        for table in dict.fromkeys(kind.table for kind in KINDS.values()):
            rows = await self._connection.fetch(everything(table, "postgresql"))
            self._tally.add((name, int(count), int(size)) for name, count, size in rows)
        await self.settle()

    async def expire(self, name: ClassName, before: int | None, most: int | None) -> Expired:
        """As `Store.expire`."""
        give_up = time.monotonic() + SLICE
        size = await self._connection.fetchval("SELECT bytes FROM total WHERE name = $1", name)
        table, more = KINDS[name].table, True
        while more and time.monotonic() < give_up:
            left = size + self._tally.of(name)[1]
            rows = await self._too_old(name, before) or await self._too_much(name, 0 if most is None else left - most)
            if more := bool(rows):
                ids, starts = map(list, zip(*rows, strict=True))
                if table == "chunk":  # its parts are told by the start
                    await self.delete(table, "id = ANY($1::bigint[]) AND start = ANY($2::bigint[])", ids, starts)
                else:
                    await self.delete(table, "id = ANY($1::bigint[])", ids)
        changed, grown = self._tally.of(name)
        await self.settle()
        return Expired(-changed, -grown, more)

    async def _too_old(self, name: ClassName, before: int | None) -> list[tuple[int, int]]:
        if before is None:
            return []
        table, only, age, span = KINDS[name]
        query = f"SELECT id, {_start(table)} FROM {table} WHERE {only} AND {age} < $1 ORDER BY {age} LIMIT $2"  # noqa: S608
        rows = await self._connection.fetch(query, before - span, STEP.get(table, ROWS))
        return [(row[0], row[1]) for row in rows]

    async def _too_much(self, name: ClassName, excess: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        if excess <= 0:
            return found
        table, only, age, _ = KINDS[name]
        columns = f"{counted(table, 'postgresql')}, id, {_start(table)}"
        query = f"SELECT {columns} FROM {table} WHERE {only} ORDER BY {age} LIMIT $1"  # noqa: S608
        for _, _, size, n, start in await self._connection.fetch(query, STEP.get(table, ROWS)):
            found.append((n, start))
            excess -= size
            if excess <= 0:
                break
        return found


def _start(table: str) -> str:
    return "start" if table == "chunk" else "id"


def _counted(row: Chunk | Rollup) -> Counted:
    """As `holdings.counted`, of a row that is not in the database yet."""
    if isinstance(row, Chunk):
        channels = len(escaped(row.channels).encode())
        return "telemetry", row.samples, ROW + len(row.data) + channels + 3 * len(row.robot)
    name: ClassName = "rollups_minute" if row.width == MINUTE else "rollups_hour"
    return name, row.buckets, ROW + len(row.data) + 4 * len(row.robot)


async def note_size(connection: Connection, size: Size, oldest: int) -> None:
    """As `Store.note_size`."""
    await connection.execute(NOTE_SIZE, *msgspec.structs.astuple(size))
    await connection.execute(FORGET_SIZES, oldest, size.ts)


async def inventory(connection: Connection) -> Inventory:
    """What the database holds. Its disk is not seen from here."""
    return Inventory(
        bytes=await connection.fetchval(DATABASE_SIZE),
        free_bytes=None,
        totals=[tuple(row) for row in await connection.fetch(TOTALS)],
        bounds=[tuple(row) for row in await connection.fetch(BOUNDS)],
        sizes=[Size(*row) for row in await connection.fetch(SIZES)],
    )
