"""A batch on its way into PostgreSQL: samples by COPY, everything else by one statement for each table."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec

from botyard.store.base import Batch, Column, StateRow, StoreError
from botyard.store.postgres_server import Connection, escaped
from botyard.store.samples import Cells, cells

SLICE = 4000  # samples that are encoded before others on the event loop get their turn: some 3 ms

SeriesIds = dict[tuple[str, str], tuple[int, str, str | None]]

UPSERT_SERIES = """INSERT INTO series (robot, channel, type, unit)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
    ON CONFLICT (robot, channel) DO UPDATE SET type = excluded.type, unit = excluded.unit
    RETURNING id, robot, channel, type, unit"""
INSERT_EVENTS = """INSERT INTO event (ts, robot, actor, name, severity, message, data, cause, epoch, seq)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::text[], $9::text[], $10::bigint[])
    RETURNING id"""
INSERT_REPORTS = """INSERT INTO report (ts, robot, command, status, body, epoch, seq)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])"""
UPSERT_STATES = """INSERT INTO robot_state (robot, ts, body)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
    ON CONFLICT (robot) DO UPDATE SET ts = excluded.ts, body = excluded.body"""
INSERT_QUARANTINE = """INSERT INTO quarantine (received, robot, topic, reason, detail, size, payload)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[])"""
TRIM_QUARANTINE = """DELETE FROM quarantine WHERE robot = $1 AND id <=
    (SELECT id FROM quarantine WHERE robot = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)"""
TRIM_NOBODY = """DELETE FROM quarantine WHERE robot IS NULL AND id <=
    (SELECT id FROM quarantine WHERE robot IS NULL ORDER BY id DESC LIMIT 1 OFFSET $1)"""
UPSERT_POSITIONS = """INSERT INTO position (robot, epoch, seq, beyond)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])
    ON CONFLICT (robot, epoch) DO UPDATE SET seq = excluded.seq, beyond = excluded.beyond"""

SAMPLE_COLUMNS = ("series_id", "ts", "kind", "num", "doc")
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = struct.pack(">h", -1)
# Five fields, each with its length before it; a length of -1 is NULL.
_NUMBER = struct.Struct(">hiqiqihidi").pack
_KEYS = struct.Struct(">hiqiqih").pack
_DOUBLE = struct.Struct(">id").pack
_LENGTH = struct.Struct(">i").pack

_json = msgspec.json.Encoder().encode


class Prepared(msgspec.Struct, frozen=True):
    """What a batch's statements take: columns of each table."""

    columns: list[Column]
    events: list[Sequence[Any]]
    reports: list[Sequence[Any]]
    states: list[Sequence[Any]]
    quarantine: list[Sequence[Any]]
    positions: list[Sequence[Any]]
    refused: set[str | None]  # robots whose quarantine grows


def prepared(batch: Batch) -> Prepared:
    """The batch, checked as far as that needs no database. Raises StoreError."""
    astuple = msgspec.structs.astuple
    for column in batch.columns:
        if len(column.ts) != len(column.values):
            lengths = f"{len(column.values)} values for {len(column.ts)} times"
            raise StoreError(f"{column.robot}: channel {column.channel!r} has {lengths}")
    try:
        positions = {(p.robot, p.epoch): (p.robot, p.epoch, p.seq, _json(p.beyond)) for p in batch.positions}
        return Prepared(
            columns=batch.columns,
            events=_turned([(*(row := astuple(event))[:6], _json(event.data), *row[7:]) for event in batch.events]),
            reports=_turned(map(astuple, batch.reports)),
            states=_turned(map(astuple, _newest(batch.states))),
            quarantine=_turned(map(astuple, batch.quarantine)),
            positions=_turned(positions.values()),
            refused={row.robot for row in batch.quarantine},
        )
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise StoreError(f"the batch holds a value that is no JSON: {error}") from error


async def write(
    connection: Connection, batch: Prepared, known: SeriesIds, learnt: SeriesIds, quarantine_limit: int
) -> list[int]:
    """Everything of a batch, in the transaction that is open; gives the ids of its events.

    `known` are the series known so far; `learnt` gets what is new, which holds if the transaction succeeds.
    """
    if batch.columns:
        series = await _identified(connection, batch.columns, known, learnt)
        rows = _encoded(series, batch.columns)
        await connection.copy_to_table("sample", source=rows, columns=SAMPLE_COLUMNS, format="binary")
    for statement, columns in (
        (INSERT_REPORTS, batch.reports),
        (UPSERT_STATES, batch.states),
        (UPSERT_POSITIONS, batch.positions),
        (INSERT_QUARANTINE, batch.quarantine),
    ):
        if columns:
            await connection.execute(statement, *columns)
    for robot in batch.refused:
        if robot is None:
            await connection.execute(TRIM_NOBODY, quarantine_limit)
        else:
            await connection.execute(TRIM_QUARANTINE, robot, quarantine_limit)
    if not batch.events:
        return []
    return sorted(row["id"] for row in await connection.fetch(INSERT_EVENTS, *batch.events))


async def _identified(connection: Connection, columns: list[Column], known: SeriesIds, learnt: SeriesIds) -> list[int]:
    """The series of each column, made when there is none, and told the new type or unit when they changed."""
    found = [known.get((column.robot, column.channel)) for column in columns]
    said = [(column.type, column.unit) for column in columns]
    if all(series is not None and series[1:] == words for series, words in zip(found, said, strict=True)):
        return [series[0] for series in found if series is not None]
    # One row for each series, since one statement can write it only once: with what its last column says.
    last = {(column.robot, column.channel): words for column, words in zip(columns, said, strict=True)}
    new = [(*key, *words) for key, words in last.items() if known.get(key, (0,))[1:] != words]
    if new:
        for row in await connection.fetch(UPSERT_SERIES, *_turned(new)):
            learnt[row["robot"], row["channel"]] = (row["id"], row["type"], row["unit"])
    return [(learnt.get(key) or known[key])[0] for key in ((column.robot, column.channel) for column in columns)]


async def _encoded(series: list[int], columns: list[Column]) -> AsyncIterator[bytes]:
    """The samples as COPY takes them, slice by slice."""
    yield _HEADER
    parts: list[bytes] = []  # always fewer than SLICE when a column's turn comes
    for key, column in zip(series, columns, strict=True):
        if not column.values:
            continue
        split = zip(column.ts, cells(column.values, column.type), strict=True)
        if len(parts) + len(column.ts) < SLICE:
            parts += _rows(key, split)
            continue
        while some := list(islice(split, SLICE - len(parts))):
            parts += _rows(key, some)
            if len(parts) == SLICE:
                yield b"".join(parts)
                parts.clear()
                await asyncio.sleep(0)
    yield b"".join(parts) + _END


def _rows(series: int, samples: Iterable[tuple[int, Cells]]) -> list[bytes]:
    try:
        return [
            _NUMBER(5, 8, series, 8, ts, 2, kind, 8, num, -1)
            if doc is None and num is not None
            else _with_document(series, ts, kind, num, doc)
            for ts, (kind, num, doc) in samples
        ]
    except struct.error as error:
        raise ValueError(f"a time is out of range: {error}") from error


def _with_document(series: int, ts: int, kind: int, num: float | None, doc: str | None) -> bytes:
    text = None if doc is None else escaped(doc).encode()
    number = _LENGTH(-1) if num is None else _DOUBLE(8, num)
    return _KEYS(5, 8, series, 8, ts, 2, kind) + number + (_LENGTH(-1) if text is None else _LENGTH(len(text)) + text)


def _turned(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """Columns of the rows, fit for arrays: texts escaped, bytes as text."""
    return [[_fit(value) for value in column] for column in zip(*rows, strict=True)]


def _fit(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode()
    return escaped(value) if isinstance(value, str) else value


def _newest(states: list[StateRow]) -> Iterable[StateRow]:
    """One state for each robot, the last one, as one statement can write a row only once."""
    return {state.robot: state for state in states}.values()
