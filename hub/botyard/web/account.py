"""What the store holds of what robots sent, for whoever checks that nothing was lost or doubled on the way."""

import msgspec
from quart import Blueprint, Response
from quart_schema import document_querystring, document_response, tag

from botyard.web.context import the_hub
from botyard.web.models import Problem, SampleCount, SampleCounts, StreamPosition, StreamPositions
from botyard.web.reply import read_query, reply

blueprint = Blueprint("account", __name__, url_prefix="/api/v1")


class OfRobots(msgspec.Struct, frozen=True, kw_only=True):
    """Whose; `robot` can be repeated, and means all of them when absent."""

    robot: list[str] = []


@blueprint.get("/readings/counts")
@tag(["Readings"])
@document_querystring(OfRobots)
@document_response(SampleCounts)
@document_response(Problem, 503)
async def count_readings() -> Response:
    """How many samples there are of each channel. It looks at all of them, so it takes its time on a large store."""
    wanted = frozenset(read_query(OfRobots).robot)
    counts = await the_hub().store.counts()
    items = [
        SampleCount(robot=robot, channel=channel, count=count)
        for (robot, channel), count in sorted(counts.items())
        if not wanted or robot in wanted
    ]
    return reply(SampleCounts(items=items))


@blueprint.get("/streams")
@tag(["Robots"])
@document_querystring(OfRobots)
@document_response(StreamPositions)
@document_response(Problem, 503)
async def list_streams() -> Response:
    """How far the hub has got with the messages of each robot's outbox, life by life."""
    wanted = frozenset(read_query(OfRobots).robot)
    items = [
        StreamPosition(robot=one.robot, epoch=one.epoch, seq=one.seq, beyond=list(one.beyond))
        for one in await the_hub().store.positions()
        if not wanted or one.robot in wanted
    ]
    return reply(StreamPositions(items=items))
