"""What robots are asked to do: ask, list, look at one, cancel."""

from typing import Any, NoReturn

import msgspec
from quart import Blueprint, Response
from quart_schema import document_querystring, document_request, document_response, tag

from botyard.commands.commands import Commands
from botyard.commands.request import CommandRefusedError, Wanted
from botyard.store.base import CommandRow, ReportRow
from botyard.web.context import the_actor, the_hub
from botyard.web.models import (
    Command,
    CommandCreate,
    CommandDetail,
    CommandPage,
    CommandProgress,
    CommandSpec,
    Problem,
    ReportView,
)
from botyard.web.problems import ApiError, bad, missing
from botyard.web.reply import limit_of, read_body, read_query, reply
from botyard.web.robots import record_of

blueprint = Blueprint("commands", __name__, url_prefix="/api/v1/robots/<robot>/commands")
TAGS = ["Commands"]


class CommandQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How many at once, and where to go on."""

    limit: int = 100
    cursor: str | None = None


def the_commands() -> Commands:
    """What sends commands. Raises ApiError 503 in a process that talks to no robots."""
    commands = the_hub().commands
    if commands is None:
        raise ApiError(503, "this process of the hub talks to no robots (roles), ask the one that does")
    return commands


@blueprint.post("")
@tag(TAGS)
@document_request(CommandCreate)
@document_response(Command, 202)
@document_response(Problem, 400)
@document_response(Problem, 404)
@document_response(Problem, 409)
@document_response(Problem, 429)
async def request_command(robot: str) -> Response:
    """Ask a robot to do something. The command is kept before it is sent, and sent again until the robot answers or
    the deadline has passed. No command clears an emergency stop, that is done at the robot."""
    record_of(robot)
    body = await read_body(CommandCreate)
    wanted = Wanted(name=body.name, args=body.args, expires_in=body.expires_in, id=body.id)
    try:
        return reply(command_view(await the_commands().request(robot, wanted, the_actor())), 202)
    except KeyError:
        missing("robot", robot)
    except CommandRefusedError as error:
        _refused(error)


@blueprint.get("")
@tag(TAGS)
@document_querystring(CommandQuery)
@document_response(CommandPage)
@document_response(Problem, 400)
@document_response(Problem, 404)
async def list_commands(robot: str) -> Response:
    """The commands of a robot, newest first."""
    record_of(robot)
    query = read_query(CommandQuery)
    page = await the_hub().store.commands(robot, limit=limit_of(query.limit), cursor=query.cursor)
    return reply(CommandPage(items=[command_view(row) for row in page.items], next=page.next))


@blueprint.get("/<command>")
@tag(TAGS)
@document_response(CommandDetail)
@document_response(Problem, 404)
async def get_command(robot: str, command: str) -> Response:
    """One command, with what the robot said of it."""
    row = await the_hub().store.command(command)
    if row is None or row.robot != robot:
        missing("command", command)
    reports = [report_view(one) for one in await the_hub().store.reports(command) if one.robot == robot]
    return reply(CommandDetail(**_fields(row), reports=reports))


@blueprint.post("/<command>/cancel")
@tag(TAGS)
@document_response(Command)
@document_response(Problem, 404)
@document_response(Problem, 409)
async def cancel_command(robot: str, command: str) -> Response:
    """Cancel a command that was not sent yet. One that was sent can only be stopped at the robot, by a command."""
    try:
        return reply(command_view(await the_commands().withdraw(robot, command, the_actor())))
    except KeyError:
        missing("command", command)
    except CommandRefusedError as error:
        _refused(error)


def _refused(error: CommandRefusedError) -> NoReturn:
    if error.kind == "invalid":
        bad(error.field or "body", str(error))
    raise ApiError(409 if error.kind == "conflict" else 429, str(error), error.field) from error


def command_view(row: CommandRow) -> Command:
    """One command."""
    return Command(**_fields(row))


def report_view(row: ReportRow) -> ReportView:
    """What a robot said."""
    return msgspec.convert({**msgspec.json.decode(row.body), "ts": row.ts}, ReportView)


def _fields(row: CommandRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "robot": row.robot,
        "created": row.created,
        "actor": row.actor,
        "spec": CommandSpec(name=row.name, args=row.args, expires=row.expires),
        "status": CommandProgress(
            status=row.status,
            since=row.changed,
            reason=row.reason,
            progress=row.progress,
            sent=row.sent,
            answered=row.answered,
            late=row.late,
        ),
    }
