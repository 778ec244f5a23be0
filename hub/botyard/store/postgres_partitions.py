"""The table `chunk` is kept in a part for each week, so that what is old can go without a trace.

The parts have no gap: `chunk_early` takes what is older than all of them, `chunk_late` what is newer, so there is a
place for any time. And they have an order, so that PostgreSQL looks in one part after the other. A part of PostgreSQL's
kind DEFAULT would end that.

Parts are made for the hub's own weeks, never for the times of samples: no robot's clock can make a thousand of them.
"""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from botyard.store.postgres_server import Connection

DAY = 86_400_000_000  # µs
WEEK = 7 * DAY
MONDAY = 4 * DAY  # the first one after 1970-01-01

_LOWER = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = 'chunk_late'::regclass"
_PARTS = """SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class JOIN pg_inherits ON inhrelid = oid
    WHERE inhparent = 'chunk'::regclass"""
_BOUNDS = re.compile(r"FOR VALUES FROM \('?(-?\d+)'?\) TO \('?(-?\d+)'?\)")
_MOVE = """WITH moved AS (DELETE FROM chunk_late WHERE start < $1 RETURNING *) INSERT INTO chunk SELECT * FROM moved"""


def week_of(ts: int) -> int:
    """The beginning of the week, a Monday in UTC."""
    return (ts - MONDAY) // WEEK * WEEK + MONDAY


def due(until: int, now: int) -> bool:
    """Whether this week or the next one has no part of its own yet."""
    return until < week_of(now) + 2 * WEEK


async def bound(connection: Connection) -> int:
    """Until when there are parts."""
    said = await connection.fetchval(_LOWER)
    found = re.fullmatch(r"FOR VALUES FROM \('?(-?\d+)'?\) TO \(MAXVALUE\)", said or "")
    if found is None:
        raise ValueError(f"the table chunk_late is not the last part of chunk: {said}")
    return int(found[1])


async def extend(connection: Connection, now: int, *, patience: float, reading: float) -> int:
    """Make parts for this week and the next one; gives until when there are parts then.

    Waits at most `reading` seconds for those who read just now (raises asyncpg.LockNotAvailableError then, and nothing
    is changed), and `patience` seconds for the rest. After a longer pause of the hub, one part covers all of it.
    """
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {int(reading * 1000)}")
        await connection.execute("LOCK TABLE ONLY chunk IN ACCESS EXCLUSIVE MODE")
        first = await bound(connection)
        edges = sorted({first, *(edge for n in range(3) if (edge := week_of(now) + n * WEEK) > first)})
        await connection.execute("ALTER TABLE chunk DETACH PARTITION chunk_late")
        for start, end in pairwise(edges):
            made = f"CREATE TABLE {_name(start)} PARTITION OF chunk FOR VALUES FROM ({start}) TO ({end})"
            await connection.execute(made)
        await connection.execute(_MOVE, edges[-1], timeout=patience)
        attached = f"ALTER TABLE chunk ATTACH PARTITION chunk_late FOR VALUES FROM ({edges[-1]}) TO (MAXVALUE)"
        await connection.execute(attached, timeout=patience)
    return edges[-1]


async def divide(connection: Connection, since: int) -> None:
    """Of an empty table: a part for each week since that time, where one part covers all of them now."""
    week = week_of(since)
    for name, said in await connection.fetch(_PARTS):
        found = _BOUNDS.fullmatch(said)
        if found is None or not (first := int(found[1])) <= week < (end := int(found[2])) or end - first <= WEEK:
            continue
        await connection.execute(f'DROP TABLE "{name}"')
        edges = sorted({first, *range(week, end, WEEK), end})
        for start, until in pairwise(edges):
            made = f"CREATE TABLE {_name(start)} PARTITION OF chunk FOR VALUES FROM ({start}) TO ({until})"
            await connection.execute(made)


def _name(start: int) -> str:
    return f"chunk_{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=start):%Y%m%d}"
