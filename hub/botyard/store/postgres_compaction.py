"""What compaction reads and writes in PostgreSQL; see `compaction` for what it means."""

import msgspec

from botyard.store.chunks import SPAN, Chunk
from botyard.store.compaction import Plan, Rollup, Work
from botyard.store.postgres_batch import turned
from botyard.store.postgres_ledger import Ledger
from botyard.store.postgres_server import Connection

HOT = "SELECT id, data FROM block WHERE shard = $1 ORDER BY id"
WAITING = "SELECT shard, sum(messages)::bigint, sum(length(data))::bigint FROM block GROUP BY shard"
MERGEABLE_CHUNKS = """SELECT robot, channels, start / $1 AS day FROM chunk WHERE small
    GROUP BY 1, 2, 3 HAVING count(*) >= $2 LIMIT $3"""
CHUNKS_OF = """SELECT id, robot, start, "end", rows, samples, small, channels, data FROM chunk
    WHERE small AND robot = $1 AND channels = $2 AND start / $3 = $4 ORDER BY id LIMIT 64"""
MERGEABLE_ROLLUPS = """SELECT robot, width, start FROM rollup WHERE part
    GROUP BY 1, 2, 3 HAVING count(*) >= $1 OR start + width * 60 < $2 LIMIT $3"""
ROLLUPS_OF = """SELECT id, robot, width, start, buckets, part, data FROM rollup
    WHERE robot = $1 AND width = $2 AND start = $3 ORDER BY id LIMIT 64"""
UPSERT_SERIES = """INSERT INTO series (robot, channel, type, unit, last_ts, last_value)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])
    ON CONFLICT (robot, channel) DO UPDATE SET type = excluded.type, unit = excluded.unit,
        last_value = CASE WHEN excluded.last_ts >= series.last_ts THEN excluded.last_value ELSE series.last_value END,
        last_ts = greatest(series.last_ts, excluded.last_ts)"""
# The transaction sees nothing of a batch until it is committed, but ids are given before: blocks of a batch that is
# under way stay, since only the ids that were read are deleted.
DROP_BLOCKS = "DELETE FROM block WHERE id = ANY($1::bigint[])"

_pack = msgspec.msgpack.Encoder().encode
_plan = msgspec.msgpack.Decoder(Plan)


async def hot(connection: Connection, shard: int, most: int) -> bytes:
    """As `Shelf.hot`."""
    blocks, size = [], 0
    async for row in connection.cursor(HOT, shard, prefetch=8):
        blocks.append((row["id"], row["data"]))
        size += len(row["data"])
        if size >= most:
            break
    return _pack(Work(blocks=blocks)) if blocks else b""


async def mergeable(connection: Connection, gathered: int, settled: int, most: int) -> bytes:
    """As `Shelf.mergeable`."""
    work = Work()
    for key in await connection.fetch(MERGEABLE_CHUNKS, SPAN, gathered, most):
        rows = await connection.fetch(CHUNKS_OF, key["robot"], key["channels"], SPAN, key["day"])
        work.chunks += [(row[0], Chunk(*tuple(row)[1:])) for row in rows]
    for key in await connection.fetch(MERGEABLE_ROLLUPS, gathered, settled, most):
        rows = await connection.fetch(ROLLUPS_OF, *key)
        work.rollups += [(row[0], Rollup(*tuple(row)[1:])) for row in rows]
    return _pack(work) if work.chunks or work.rollups else b""


async def waiting(connection: Connection) -> list[tuple[int, int, int]]:
    """Shard, messages and bytes of what is not compacted."""
    return [tuple(row) for row in await connection.fetch(WAITING)]


async def carry_out(connection: Connection, packed: bytes) -> None:
    """As `Shelf.carry_out`, in the transaction that is open."""
    plan = _plan.decode(packed)
    if plan.blocks:
        gone = await connection.execute(DROP_BLOCKS, plan.blocks)
        if gone != f"DELETE {len(plan.blocks)}":
            raise KeyError(f"{len(plan.blocks)} blocks were expected: {gone}")
    ledger = Ledger(connection)
    for table, ids in (("chunk", plan.old_chunks), ("rollup", plan.old_rollups)):
        if ids and (found := await ledger.delete(table, "id = ANY($1::bigint[])", ids)) != len(ids):
            raise KeyError(f"{len(ids)} rows of {table} were expected, there are {found}")
    for name, rows, columns in (
        ("chunk", plan.chunks, Chunk.__struct_fields__),
        ("rollup", plan.rollups, Rollup.__struct_fields__),
    ):
        if rows:
            records = list(map(msgspec.structs.astuple, rows))
            await connection.copy_records_to_table(name, records=records, columns=columns)
            ledger.came(rows)
    await ledger.settle()
    if plan.newest:
        await connection.execute(UPSERT_SERIES, *turned(map(msgspec.structs.astuple, plan.newest)))
