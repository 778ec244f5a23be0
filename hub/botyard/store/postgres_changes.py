"""What people change: robots, and the forgetting of what they sent."""

from collections.abc import Sequence
from typing import Any

import msgspec

from botyard.store.base import Batch, CommandRow, EventRow, RobotRow, StoreError
from botyard.store.postgres_batch import INSERT_EVENTS, prepared
from botyard.store.postgres_ledger import Ledger
from botyard.store.postgres_server import Connection

SLICE = 5000  # rows that one step of `purge` deletes, so that commits never wait long

INSERT_ROBOT = """INSERT INTO robot (id, created, name, type, "group", tags, notes, accepted, retired)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING id"""
UPDATE_ROBOT = """UPDATE robot SET created = $2, name = $3, type = $4, "group" = $5, tags = $6, notes = $7,
    accepted = $8, retired = $9 WHERE id = $1 RETURNING id"""
# What a robot sent, apart from its blocks, which are compacted before. Events about it that came from elsewhere stay:
# they are the audit trail.
COUNTED_PURGES = {
    "chunk": "id IN (SELECT id FROM chunk WHERE robot = $1 LIMIT $2 / 100)",
    "rollup": "id IN (SELECT id FROM rollup WHERE robot = $1 LIMIT $2 / 10)",
    "event": "id IN (SELECT id FROM event WHERE robot = $1 AND epoch IS NOT NULL LIMIT $2)",
    "report": "id IN (SELECT id FROM report WHERE robot = $1 LIMIT $2)",
    "quarantine": "id IN (SELECT id FROM quarantine WHERE robot = $1 LIMIT $2)",
}
PURGES = (
    "DELETE FROM series WHERE id IN (SELECT id FROM series WHERE robot = $1 LIMIT $2)",
    "DELETE FROM robot_state WHERE robot IN (SELECT robot FROM robot_state WHERE robot = $1 LIMIT $2)",
    "DELETE FROM command WHERE id IN (SELECT id FROM command WHERE robot = $1 LIMIT $2)",
)
INSERT_COMMAND = """INSERT INTO command
    (command, robot, name, args, created, expires, actor, status, changed, reason, progress, sent, answered, late)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING RETURNING command"""
UPDATE_COMMAND = """UPDATE command SET status = $2, changed = $3, reason = $4, progress = $5, sent = $6, answered = $7,
    late = $8
    WHERE command = $1 RETURNING command"""
KEPT_COMMANDS = 1000  # of each robot, beside those that have not ended
TRIM_COMMANDS = """DELETE FROM command WHERE robot = $1 AND status NOT IN ('queued', 'sent', 'accepted', 'running')
    AND id <= (SELECT id FROM command WHERE robot = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)"""

_json = msgspec.json.Encoder().encode


def robot_values(robot: RobotRow) -> tuple[Any, ...]:
    """The columns of the row. Raises StoreError."""
    try:
        *before, tags, notes, accepted, retired = msgspec.structs.astuple(robot)
        return (*before, _json(tags).decode(), notes, accepted, retired)
    except (ValueError, TypeError) as error:
        raise StoreError(f"robot {robot.id!r} cannot be stored: {error}") from error


async def write_robot(connection: Connection, statement: str, values: tuple[Any, ...]) -> None:
    """Insert or replace the row. Raises KeyError when there is one, or none."""
    if await connection.fetchval(statement, *values) is None:
        raise KeyError(values[0])


def command_values(command: CommandRow, event: EventRow | None) -> tuple[tuple[Any, ...], list[Sequence[Any]]]:
    """The columns of the row, and of the table of events what is to be added there. Raises StoreError."""
    try:
        values = tuple({**msgspec.structs.asdict(command), "args": _json(command.args).decode()}.values())
        return values, prepared(Batch(events=[event])).events if event else []
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"command {command.id!r} cannot be stored: {error}") from error


async def add_command(connection: Connection, values: tuple[Any, ...], told: list[Sequence[Any]]) -> list[int]:
    """Insert the row and the event, and let the oldest ones go; gives the event's id. Raises KeyError when there is one
    with this id, or no such robot."""
    if await connection.fetchval("SELECT 1 FROM robot WHERE id = $1", values[1]) is None:
        raise KeyError(values[0])
    if await connection.fetchval(INSERT_COMMAND, *values) is None:
        raise KeyError(values[0])
    await connection.execute(TRIM_COMMANDS, values[1], KEPT_COMMANDS)
    return await _tell(connection, told)


async def change_command(connection: Connection, values: tuple[Any, ...], told: list[Sequence[Any]]) -> list[int]:
    """Replace what changes of the row, and insert the event; gives its id. Raises KeyError when there is none."""
    changing = values[7:]  # status, changed, reason, progress, sent, answered, late
    if await connection.fetchval(UPDATE_COMMAND, values[0], *changing) is None:
        raise KeyError(values[0])
    return await _tell(connection, told)


async def _tell(connection: Connection, told: list[Sequence[Any]]) -> list[int]:
    if not told:
        return []
    ledger = Ledger(connection)
    ids = await ledger.insert("event", INSERT_EVENTS, told)
    await ledger.settle()
    return ids


async def purge(connection: Connection, robot: str) -> bool:
    """Delete a slice of what a robot sent, and at last the robot; True while there is more to do. Raises KeyError."""
    if await connection.fetchval("SELECT 1 FROM robot WHERE id = $1", robot) is None:
        raise KeyError(robot)
    ledger = Ledger(connection)
    for table, which in COUNTED_PURGES.items():
        if await ledger.delete(table, which, robot, SLICE):
            await ledger.settle()
            return True
    for statement in PURGES:
        if await connection.execute(statement, robot, SLICE) != "DELETE 0":
            return True
    await connection.execute("DELETE FROM robot WHERE id = $1", robot)
    return False
