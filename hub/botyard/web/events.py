"""Events, the quarantine, sites, and the hub itself."""

import msgspec
from quart import Blueprint, Response
from quart_schema import document_querystring, document_response, tag

from botyard.web.context import the_hub
from botyard.web.models import (
    EventPage,
    HubView,
    Problem,
    QuarantinePage,
    Severity,
    SiteList,
)
from botyard.web.reply import limit_of, read_query, reply, time_of
from botyard.web.views import event_view, hub_view, quarantined_view

blueprint = Blueprint("events", __name__, url_prefix="/api/v1")


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events. `severity` can be repeated, `name` matches itself and what is below it, `from` <= time < `to`."""

    robot: str | None = None
    severity: list[Severity] = []
    name: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    limit: int = 100
    cursor: str | None = None


class QuarantineQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which refused messages."""

    robot: str | None = None
    reason: str | None = None
    limit: int = 100
    cursor: str | None = None


@blueprint.get("/events")
@tag(["Events"])
@document_querystring(EventQuery)
@document_response(EventPage)
@document_response(Problem, 400)
async def list_events() -> Response:
    """Events of robots and of the hub, newest first."""
    query = read_query(EventQuery)
    page = await the_hub().store.events(
        robot=query.robot,
        severities=list(query.severity) or None,
        name=query.name,
        start=time_of(query.from_, "from"),
        end=time_of(query.to, "to"),
        limit=limit_of(query.limit),
        cursor=query.cursor,
    )
    return reply(EventPage(items=[event_view(event) for event in page.items], next=page.next))


@blueprint.get("/quarantine")
@tag(["Events"])
@document_querystring(QuarantineQuery)
@document_response(QuarantinePage)
@document_response(Problem, 400)
async def list_quarantine() -> Response:
    """Messages that were refused, with the reason, newest first."""
    query = read_query(QuarantineQuery)
    page = await the_hub().store.quarantined(
        robot=query.robot, reason=query.reason, limit=limit_of(query.limit), cursor=query.cursor
    )
    return reply(QuarantinePage(items=[quarantined_view(row) for row in page.items], next=page.next))


@blueprint.get("/sites")
@tag(["Sites"])
@document_response(SiteList)
async def list_sites() -> Response:
    """The places where robots work, with their plans."""
    return reply(SiteList(items=the_hub().sites))


@blueprint.get("/hub")
@tag(["Hub"])
@document_response(HubView)
async def get_hub() -> Response:
    """The hub itself: version, broker, and what became of the messages since its start."""
    return reply(hub_view(the_hub()))
