"""Robots: list, describe, accept, remove."""

from typing import Any, Literal

import msgspec
from quart import Blueprint, Response
from quart_schema import document_querystring, document_request, document_response, tag

from botyard.fleet.record import RobotRecord
from botyard.store.base import RobotRow
from botyard.web.context import the_actor, the_hub
from botyard.web.models import (
    ChannelInfo,
    ChannelList,
    Problem,
    RawMessage,
    RawMessages,
    Registration,
    Robot,
    RobotCreate,
    RobotPage,
    RobotPatch,
    StateView,
)
from botyard.web.openapi import plain_response
from botyard.web.problems import ApiError, bad, missing
from botyard.web.reply import limit_of, read_body, read_query, reply
from botyard.web.views import robot_view
from botyard_schemas import topics

blueprint = Blueprint("robots", __name__, url_prefix="/api/v1/robots")
TAGS = ["Robots"]
TEXT_LIMITS = {"name": 128, "type": 64, "group": 64, "notes": 65536}
MAX_TAGS = 64
SHOWN_MESSAGES = 50


class RobotQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which robots; every filter that is given has to match. Retired ones are listed for `registration=retired` and
    `registration=any` only."""

    group: str | None = None
    tag: str | None = None
    type: str | None = None
    registration: Registration | Literal["any"] | None = None
    limit: int = 1000
    cursor: str | None = None


def record_of(robot: str) -> RobotRecord:
    """The robot's record. Raises ApiError 404."""
    record = the_hub().fleet.get(robot)
    if record is None:
        missing("robot", robot)
    return record


@blueprint.get("")
@tag(TAGS)
@document_querystring(RobotQuery)
@document_response(RobotPage)
@document_response(Problem, 400)
async def list_robots() -> Response:
    """List robots by id."""
    query = read_query(RobotQuery)
    limit = limit_of(query.limit)
    found = [
        record
        for record in the_hub().fleet.all(retired=True)
        if (query.cursor is None or record.row.id > query.cursor)
        and (query.group is None or record.row.group == query.group)
        and (query.tag is None or query.tag in record.row.tags)
        and (query.type is None or record.row.type == query.type)
        and _is_registered(record, query.registration)
    ]
    page = found[:limit]
    return reply(
        RobotPage(items=[robot_view(record) for record in page], next=page[-1].row.id if len(found) > limit else None)
    )


def _is_registered(record: RobotRecord, wanted: str | None) -> bool:
    if record.retired:
        return wanted in ("retired", "any")
    return wanted in (None, "any", "accepted" if record.row.accepted else "pending")


@blueprint.post("")
@tag(TAGS)
@document_request(RobotCreate)
@document_response(Robot, 201)
@document_response(Problem, 400)
@document_response(Problem, 409)
async def create_robot() -> Response:
    """Register a robot before it is first seen. It is accepted at once."""
    body = await read_body(RobotCreate)
    if not topics.ROBOT_ID.fullmatch(body.id):
        bad("id", f"{body.id!r} is not a robot id, expected 1 to 64 of A-Z, a-z, 0-9, _ and -")
    row = RobotRow(
        id=body.id,
        created=the_hub().clock.now(),
        name=body.name or body.id,
        type=body.type or "",
        group=body.group or None,
        tags=tuple(dict.fromkeys(body.tags)),
        notes=body.notes,
    )
    check_texts(row)
    try:
        record = await the_hub().fleet.create(row, the_actor())
    except KeyError:
        known = the_hub().fleet.get(body.id)
        retired = " (retired; it can be returned)" if known is not None and known.retired else ""
        raise ApiError(409, f"id: there is a robot {body.id!r} already{retired}", "id") from None
    return reply(robot_view(record), 201)


@blueprint.get("/<robot>")
@tag(TAGS)
@document_response(Robot)
@document_response(Problem, 404)
async def get_robot(robot: str) -> Response:
    """One robot: what people say of it and what has been observed."""
    return reply(robot_view(record_of(robot)))


@blueprint.patch("/<robot>")
@tag(TAGS)
@document_request(RobotPatch)
@document_response(Robot)
@document_response(Problem, 400)
@document_response(Problem, 404)
async def change_robot(robot: str) -> Response:
    """Change what people say of a robot."""
    body = await read_body(RobotPatch)
    changes = {field: value for field in body.__struct_fields__ if (value := getattr(body, field)) is not msgspec.UNSET}
    if "tags" in changes:
        changes["tags"] = tuple(dict.fromkeys(changes["tags"]))
    if changes.get("group") == "":
        changes["group"] = None
    check_texts(msgspec.structs.replace(record_of(robot).row, **changes))
    return reply(robot_view(await _changed(robot, changes)))


@blueprint.post("/<robot>/accept")
@tag(TAGS)
@document_response(Robot)
@document_response(Problem, 404)
async def accept_robot(robot: str) -> Response:
    """Let a pending robot take part. What it kept meanwhile it sends again by itself."""
    record = record_of(robot)
    return reply(robot_view(record if record.row.accepted else await _changed(robot, {"accepted": True})))


@blueprint.post("/<robot>/retire")
@tag(TAGS)
@document_response(Robot)
@document_response(Problem, 404)
async def retire_robot(robot: str) -> Response:
    """Let a robot leave the fleet. What it sent stays readable; what it still sends is refused, and stays in its
    outbox."""
    try:
        return reply(robot_view(await the_hub().fleet.retire(robot, the_actor())))
    except KeyError:
        missing("robot", robot)


@blueprint.post("/<robot>/return")
@tag(TAGS)
@document_response(Robot)
@document_response(Problem, 404)
async def return_robot(robot: str) -> Response:
    """Let a retired robot take part again. What it kept meanwhile it sends again by itself."""
    try:
        return reply(robot_view(await the_hub().fleet.bring_back(robot, the_actor())))
    except KeyError:
        missing("robot", robot)


async def _changed(robot: str, changes: dict[str, Any]) -> RobotRecord:
    try:
        return await the_hub().fleet.change(robot, changes, the_actor())
    except KeyError:  # removed in the meantime
        missing("robot", robot)


@blueprint.delete("/<robot>")
@tag(TAGS)
@plain_response(204, "The robot is forgotten.")
@document_response(Problem, 404)
async def remove_robot(robot: str) -> Response:
    """Forget a robot and everything that it sent. If it is still there, it registers again."""
    try:
        await the_hub().fleet.remove(robot, the_actor())
    except KeyError:
        missing("robot", robot)
    return Response(b"", 204)


@blueprint.get("/<robot>/state")
@tag(TAGS)
@document_response(StateView)
@document_response(Problem, 404)
async def get_state(robot: str) -> Response:
    """The latest state that the robot reported."""
    record = record_of(robot)
    if record.state is None or record.state_ts is None:
        raise ApiError(404, f"robot {robot!r} has not reported a state yet")
    return reply(StateView(robot=robot, ts=record.state_ts, state=record.state))


@blueprint.get("/<robot>/channels")
@tag(TAGS)
@document_response(ChannelList)
@document_response(Problem, 404)
async def list_channels(robot: str) -> Response:
    """All channels that the robot has sent."""
    record_of(robot)
    rows = await the_hub().store.channels(robot)
    return reply(
        ChannelList(
            items=[ChannelInfo(robot=row.robot, name=row.channel, type=row.type, unit=row.unit) for row in rows]
        )
    )


@blueprint.get("/<robot>/messages")
@tag(TAGS)
@document_response(RawMessages)
@document_response(Problem, 404)
async def list_messages(robot: str) -> Response:
    """The latest messages as they came in, for people who look for a fault. They are kept in memory only."""
    record_of(robot)
    ingest = the_hub().ingest
    items = []
    for message in reversed(ingest.recent if ingest else ()):
        if (address := topics.parse(message.topic)) and address.robot == robot:
            text = message.payload.decode("utf-8", "replace")
            items.append(RawMessage(received=message.received, topic=message.topic, size=message.size, payload=text))
            if len(items) == SHOWN_MESSAGES:
                break
    return reply(RawMessages(items=items))


def check_texts(row: RobotRow) -> None:
    """Raises ApiError for a text that is too long or empty where it must not be."""
    if not row.name.strip():
        bad("name", "must not be empty")
    for field, limit in TEXT_LIMITS.items():
        if len(getattr(row, field) or "") > limit:
            bad(field, f"has {len(getattr(row, field))} characters, at most {limit} are allowed")
    if len(row.tags) > MAX_TAGS or any(not 0 < len(tag) <= 64 for tag in row.tags):
        bad("tags", f"at most {MAX_TAGS} tags of 1 to 64 characters are allowed")
