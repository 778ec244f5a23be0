"""Reading the relational tables through the models, of the database whose `TortoiseContext` is current."""

from typing import Any, NamedTuple, cast

import msgspec
from tortoise.expressions import Q

from botyard.store import models
from botyard.store.base import Page, Position, RobotRow, StateRow, StoredEvent, StoredQuarantine
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
    """All positions, in the order of their making."""
    found = {
        (row.robot, row.epoch): Position(row.robot, row.epoch, row.seq, _beyond.decode(row.beyond))
        for row in await models.Position.all().order_by("id")
    }
    for progress in await models.Progress.all().order_by("id"):
        for position in _progress.decode(progress.data):
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
