"""Reading the relational tables through the models, of the database whose `TortoiseContext` is current."""

from typing import Any, NamedTuple, cast

import msgspec
from tortoise.expressions import Q

from botyard.store import models
from botyard.store.base import (
    CommandRow,
    CommandStatus,
    Page,
    Position,
    ReportRow,
    RobotRow,
    StateRow,
    StoredEvent,
    StoredQuarantine,
)
from botyard.store.cursors import decode, encode
from botyard_schemas.messages import Severity

_beyond = msgspec.json.Decoder(tuple[tuple[int, int], ...])
_progress = msgspec.json.Decoder(list[tuple[str, str, int, tuple[tuple[int, int], ...]]])
_tags = msgspec.json.Decoder(tuple[str, ...])
_data = msgspec.json.Decoder(dict[str, Any])


class EventFilter(NamedTuple):
    """Which events are wanted, None meaning any. `start` <= ts < `end`."""

    robot: str | None
    severities: list[str] | None
    name: str | None
    start: int
    end: int


async def positions() -> list[Position]:
    """All positions; those of a robot in the order of their last use."""
    found = {
        (row.robot, row.epoch): Position(row.robot, row.epoch, row.seq, _beyond.decode(row.beyond))
        for row in await models.Position.all().order_by("id")
    }
    for progress in await models.Progress.all().order_by("id"):
        for position in _progress.decode(progress.data):
            found.pop((position[0], position[1]), None)
            found[position[0], position[1]] = Position(*position)
    return list(found.values())


async def states() -> list[StateRow]:
    """The latest state of each robot, by robot."""
    rows = await models.RobotState.all().order_by("robot")
    return [StateRow(robot=row.robot, ts=row.ts, body=row.body.encode()) for row in rows]


async def robots() -> list[RobotRow]:
    """All robots, by id."""
    return [
        RobotRow(
            id=row.id,
            created=row.created,
            name=row.name,
            type=row.type,
            group=row.group,
            tags=_tags.decode(row.tags),
            notes=row.notes,
            accepted=row.accepted,
            retired=row.retired,
        )
        for row in await models.Robot.all().order_by("id")
    ]


async def events(wanted: EventFilter, limit: int, cursor: str | None) -> Page[StoredEvent]:
    """Events from new to old. Raises InvalidCursorError."""
    query = models.Event.all().filter(ts__gte=wanted.start, ts__lt=wanted.end)
    if wanted.robot is not None:
        query = query.filter(robot=wanted.robot)
    if wanted.severities is not None:
        query = query.filter(severity__in=wanted.severities)
    if wanted.name is not None:  # itself or below it: between "name." and the character after the dot
        query = query.filter(Q(name=wanted.name) | Q(name__gte=f"{wanted.name}.", name__lt=f"{wanted.name}/"))
    if cursor is not None:
        ts, key = decode(cursor, "events", 2)
        query = query.filter(ts__lte=ts).filter(Q(ts__lt=ts) | Q(id__lt=key))
    rows = await query.order_by("-ts", "-id").limit(limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        [
            StoredEvent(
                id=row.id,
                ts=row.ts,
                robot=row.robot,
                actor=row.actor,
                name=row.name,
                severity=cast("Severity", row.severity),
                message=row.message,
                data=_data.decode(row.data),
                cause=row.cause,
                epoch=row.epoch,
                seq=row.seq,
            )
            for row in rows[:limit]
        ],
        None if last is None else encode("events", last.ts, last.id),
    )


async def quarantined(robot: str | None, reason: str | None, limit: int, cursor: str | None) -> Page[StoredQuarantine]:
    """Refused messages, the last one first. Raises InvalidCursorError."""
    query = models.Quarantine.all()
    if robot is not None:
        query = query.filter(robot=robot)
    if reason is not None:
        query = query.filter(reason=reason)
    if cursor is not None:
        (key,) = decode(cursor, "quarantine", 1)
        query = query.filter(id__lt=key)
    rows = await query.order_by("-id").limit(limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        [
            StoredQuarantine(
                id=row.id,
                received=row.received,
                robot=row.robot,
                topic=row.topic,
                reason=row.reason,
                detail=row.detail,
                size=row.size,
                payload=row.payload,
            )
            for row in rows[:limit]
        ],
        None if last is None else encode("quarantine", last.id),
    )


# What has not ended; the rest of the statuses are final.
OPEN = ("queued", "sent", "accepted", "running")
# How a command may end that was executed all the same; and what is executed has come to one of these ends.
NOT_EXECUTED = ("expired", "cancelled", "rejected")
EXECUTED = ("succeeded", "failed", "cancelled")
GIVEN_UP_LOOKED_AT = 1000
LONGEST_ID = 64


async def command(command_id: str) -> CommandRow | None:
    """The command with this id; whatever is no id names none."""
    if len(command_id) > LONGEST_ID:  # the model would raise
        return None
    row = await models.Command.get_or_none(command=command_id)
    return None if row is None else _command(row)


async def commands(robot: str, limit: int, cursor: str | None) -> Page[CommandRow]:
    """The commands of a robot, the last one first. Raises InvalidCursorError."""
    query = models.Command.filter(robot=robot)
    if cursor is not None:
        (key,) = decode(cursor, "commands", 1)
        query = query.filter(id__lt=key)
    rows = await query.order_by("-id").limit(limit + 1)
    following = encode("commands", rows[limit - 1].id) if len(rows) > limit else None
    return Page([_command(row) for row in rows[:limit]], following)


async def open_commands(robot: str | None) -> list[CommandRow]:
    """As `Store.open_commands`; of those that were not executed, as it seems, the latest ones are looked at."""
    of = {} if robot is None else {"robot": robot}
    rows = await models.Command.filter(status__in=OPEN, **of).order_by("id")
    ended = models.Command.filter(status__in=NOT_EXECUTED, **of).order_by("-id")
    by_id = {row.command: row for row in await ended.limit(GIVEN_UP_LOOKED_AT)}
    if by_id:
        unanswered = [row.command for row in by_id.values() if row.answered is None]
        refused = [row.command for row in by_id.values() if row.answered is not None and row.status != "cancelled"]
        late = Q(command__in=unanswered) | Q(command__in=refused, status__in=EXECUTED)
        found = await models.Report.filter(late).distinct().values("command")
        rows += [by_id[row["command"]] for row in found]
    return [_command(row) for row in rows]


async def reports(command_id: str, limit: int) -> list[ReportRow]:
    """As `Store.reports`."""
    rows = await models.Report.filter(command=command_id).order_by("-id").limit(limit)
    return [
        ReportRow(
            ts=row.ts,
            robot=row.robot,
            command=row.command,
            status=row.status,
            body=row.body.encode(),
            epoch=row.epoch,
            seq=row.seq,
        )
        for row in reversed(rows)
    ]


def _command(row: models.Command) -> CommandRow:
    return CommandRow(
        id=row.command,
        robot=row.robot,
        name=row.name,
        args=_data.decode(row.args),
        created=row.created,
        expires=row.expires,
        actor=row.actor,
        status=cast("CommandStatus", row.status),
        changed=row.changed,
        reason=row.reason,
        progress=row.progress,
        sent=row.sent,
        answered=row.answered,
        late=bool(row.late),
    )
