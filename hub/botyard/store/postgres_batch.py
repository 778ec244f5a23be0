"""A batch on its way into PostgreSQL: telemetry by COPY, everything else by one statement for each table."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from botyard.store.base import Batch, StateRow, StoreError
from botyard.store.frames import EPOCHS_AT_ONCE, KEPT_EPOCHS
from botyard.store.postgres_ledger import Ledger
from botyard.store.postgres_server import Connection, escaped

FOLD_AFTER = 128  # commits: a position is written to its own place this much less often than it changes

INSERT_PROGRESS = "INSERT INTO progress (data) VALUES ($1)"
FOLD = "DELETE FROM progress RETURNING id, data"
INSERT_EVENTS = """INSERT INTO event (ts, robot, actor, name, severity, message, data, cause, epoch, seq)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::text[], $9::text[], $10::bigint[])"""
INSERT_REPORTS = """INSERT INTO report (ts, robot, command, status, body, epoch, seq)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])"""
UPSERT_STATES = """INSERT INTO robot_state (robot, ts, body)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
    ON CONFLICT (robot) DO UPDATE SET ts = excluded.ts, body = excluded.body"""
INSERT_QUARANTINE = """INSERT INTO quarantine (received, robot, topic, reason, detail, size, payload)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[])"""
TRIM_QUARANTINE = """robot = $1 AND id <=
    (SELECT id FROM quarantine WHERE robot = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)"""
TRIM_NOBODY = """robot IS NULL AND id <=
    (SELECT id FROM quarantine WHERE robot IS NULL ORDER BY id DESC LIMIT 1 OFFSET $1)"""
# The ids of a robot's epochs are in the order of their last use, also of one that comes back after others.
UPSERT_POSITIONS = """INSERT INTO position (robot, epoch, seq, beyond)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])
    ON CONFLICT (robot, epoch) DO UPDATE SET seq = excluded.seq, beyond = excluded.beyond, id = CASE
        WHEN EXISTS (SELECT 1 FROM position AS other WHERE other.robot = position.robot AND other.id > position.id)
        THEN nextval(pg_get_serial_sequence('position', 'id')) ELSE position.id END"""

EPOCHS = "SELECT id, epoch FROM position WHERE robot = $1 ORDER BY id DESC OFFSET $2"

BLOCK_COLUMNS = ("shard", "start", "end", "messages", "data")

_json = msgspec.json.Encoder().encode


class Prepared(msgspec.Struct, frozen=True):
    """What a batch's statements take: rows of blocks, columns of the other tables."""

    blocks: list[Sequence[Any]]
    events: list[Sequence[Any]]
    reports: list[Sequence[Any]]
    states: list[Sequence[Any]]
    quarantine: list[Sequence[Any]]
    progress: str
    refused: set[str | None]  # robots whose quarantine grows


def prepared(batch: Batch) -> Prepared:
    """The batch, checked as far as that needs no database. Raises StoreError."""
    astuple = msgspec.structs.astuple
    try:
        progress = [(p.robot, p.epoch, p.seq, p.beyond) for p in batch.positions]
        return Prepared(
            blocks=list(map(astuple, batch.blocks)),
            events=turned([(*(row := astuple(event))[:6], _json(event.data), *row[7:]) for event in batch.events]),
            reports=turned(map(astuple, batch.reports)),
            states=turned(map(astuple, _newest(batch.states))),
            quarantine=turned(map(astuple, batch.quarantine)),
            progress=_json(progress).decode() if progress else "",
            refused={row.robot for row in batch.quarantine},
        )
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise StoreError(f"the batch holds a value that is no JSON: {error}") from error


class Positions:
    """Counts how many commits' positions wait for their place. Used by one task at a time."""

    def __init__(self) -> None:
        self.waiting = 0

    async def note(self, connection: Connection, progress: str) -> None:
        """Write the positions of a commit down, and bring all to their place when there are many."""
        await connection.execute(INSERT_PROGRESS, progress)
        self.waiting += 1
        if self.waiting < FOLD_AFTER:
            return
        latest: dict[tuple[str, str], tuple[str, str, int, bytes]] = {}
        for row in sorted(await connection.fetch(FOLD)):
            for robot, epoch, seq, beyond in msgspec.json.decode(row["data"]):
                latest.pop((robot, epoch), None)  # those that were used last come last
                latest[robot, epoch] = robot, epoch, seq, _json(beyond)
        before = await connection.fetchval("SELECT coalesce(max(id), 0) FROM position")
        await connection.execute(UPSERT_POSITIONS, *turned(latest.values()))
        self.waiting = 0
        for (robot,) in await connection.fetch("SELECT DISTINCT robot FROM position WHERE id > $1", before):
            rows = await connection.fetch(EPOCHS, robot, KEPT_EPOCHS)
            old = [row["id"] for row in rows if (robot, row["epoch"]) not in latest]
            if old:
                await connection.execute("DELETE FROM position WHERE id = ANY($1::bigint[])", old[-EPOCHS_AT_ONCE:])


async def write(connection: Connection, batch: Prepared, positions: Positions, quarantine_limit: int) -> list[int]:
    """Everything of a batch, in the transaction that is open; gives the ids of its events."""
    if batch.blocks:
        await connection.copy_records_to_table("block", records=batch.blocks, columns=BLOCK_COLUMNS)
    if batch.progress:
        await positions.note(connection, batch.progress)
    ledger = Ledger(connection)
    if batch.reports:
        await ledger.insert("report", INSERT_REPORTS, batch.reports)
    if batch.states:
        await connection.execute(UPSERT_STATES, *batch.states)
    if batch.quarantine:
        await ledger.insert("quarantine", INSERT_QUARANTINE, batch.quarantine)
    for robot in batch.refused:
        if robot is None:
            await ledger.delete("quarantine", TRIM_NOBODY, quarantine_limit)
        else:
            await ledger.delete("quarantine", TRIM_QUARANTINE, robot, quarantine_limit)
    ids = await ledger.insert("event", INSERT_EVENTS, batch.events) if batch.events else []
    await ledger.settle()
    return ids


def turned(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """Columns of the rows, fit for arrays: texts escaped, bytes as text."""
    return [[_fit(value) for value in column] for column in zip(*rows, strict=True)]


def _fit(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode()
    return escaped(value) if isinstance(value, str) else value


def _newest(states: list[StateRow]) -> Iterable[StateRow]:
    """One state for each robot, the last one, as one statement can write a row only once."""
    return {state.robot: state for state in states}.values()
