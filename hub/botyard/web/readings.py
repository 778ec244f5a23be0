"""What robots measured: history, latest values, aggregates, and telemetry over plain HTTP."""

import asyncio
import re
from typing import Any

import msgspec
from quart import Blueprint, Response, request
from quart_schema import document_querystring, document_request, document_response, tag

from botyard.ingest.committer import Receipt
from botyard.plugin.api import Inbound
from botyard.web.context import the_hub, the_numbering
from botyard.web.models import (
    Aggregate,
    Bucket,
    LatestReading,
    LatestReadings,
    Problem,
    Reading,
    ReadingPage,
    TelemetryResult,
)
from botyard.web.problems import ApiError, bad
from botyard.web.reply import limit_of, read_query, reply, time_of
from botyard.web.robots import record_of
from botyard.web.security import token_of_request
from botyard_schemas import topics

blueprint = Blueprint("readings", __name__, url_prefix="/api/v1")
TAGS = ["Readings"]
MINUTE, HOUR = 60_000_000, 3_600_000_000
MAX_BUCKETS = 10_000
MIN_BUCKET, MAX_BUCKET = 0.001, 366 * 86400.0
DEFAULT_BUCKETS = 300
COMMITTED_WITHIN = 30.0
# Messages of one request, and how many of them are dealt with before others have their turn.
MAX_MESSAGES = 1000
SLICE = 25
MESSAGE_TYPE = re.compile(r"[a-z_]{1,32}")


class ReadingQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which samples. `robot` and `channel` can be repeated; `from` <= time < `to`, each in microseconds since 1970 or
    as RFC 3339."""

    robot: list[str] = []
    channel: list[str] = []
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    limit: int = 1000
    cursor: str | None = None


class LatestQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Whose latest samples; `channel` can be repeated, and means all of them when absent."""

    robot: str
    channel: list[str] = []


class AggregateQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which samples, in buckets of how many seconds. By default the last hour in 300 buckets. When none is
    said, a bucket that is longer than a minute is a whole number of minutes, or of hours, which is answered fastest."""

    robot: str
    channel: str
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    bucket: float | None = None


@blueprint.get("/readings")
@tag(TAGS)
@document_querystring(ReadingQuery)
@document_response(ReadingPage)
@document_response(Problem, 400)
async def list_readings() -> Response:
    """Samples in the order of time, as they were committed."""
    query = read_query(ReadingQuery)
    page = await the_hub().store.samples(
        robots=query.robot or None,
        channels=query.channel or None,
        start=time_of(query.from_, "from"),
        end=time_of(query.to, "to"),
        limit=limit_of(query.limit),
        cursor=query.cursor,
    )
    items = [Reading(robot=row.robot, channel=row.channel, ts=row.ts, value=row.value) for row in page.items]
    return reply(ReadingPage(items=items, next=page.next))


@blueprint.get("/readings/latest")
@tag(TAGS)
@document_querystring(LatestQuery)
@document_response(LatestReadings)
@document_response(Problem, 400)
@document_response(Problem, 404)
async def latest_readings() -> Response:
    """The latest sample of each channel of a robot."""
    query = read_query(LatestQuery)
    record_of(query.robot)
    store = the_hub().store
    known = {row.channel: row for row in await store.channels(query.robot)}
    rows = await store.latest(query.robot, query.channel or None)
    items = [
        LatestReading(
            robot=row.robot,
            channel=row.channel,
            type=known[row.channel].type,
            unit=known[row.channel].unit,
            ts=row.ts,
            value=row.value,
        )
        for row in rows
        if row.channel in known
    ]
    return reply(LatestReadings(items=items))


@blueprint.get("/readings/aggregate")
@tag(TAGS)
@document_querystring(AggregateQuery)
@document_response(Aggregate)
@document_response(Problem, 400)
@document_response(Problem, 404)
async def aggregate_readings() -> Response:
    """Minimum, maximum, mean, count and last value of a numeric channel, by buckets of time."""
    query = read_query(AggregateQuery)
    record_of(query.robot)
    hub = the_hub()
    channel = next((row for row in await hub.store.channels(query.robot) if row.channel == query.channel), None)
    if channel is None:
        raise ApiError(404, f"robot {query.robot!r} has no channel {query.channel!r}", "channel")
    if channel.type not in ("number", "integer", "boolean"):
        bad("channel", f"{query.channel!r} is of type {channel.type}, aggregates need number, integer or boolean")
    begin, until = time_of(query.from_, "from"), time_of(query.to, "to")
    end = hub.clock.now() if until is None else until
    start = end - HOUR if begin is None else begin
    if start >= end:
        bad("from", f"{start} is not before to, {end}")
    bucket = _bucket(query.bucket, end - start)
    rows = await hub.store.aggregate(query.robot, query.channel, start=start, end=end, bucket=bucket)
    return reply(
        Aggregate(
            robot=query.robot,
            channel=query.channel,
            unit=channel.unit,
            bucket=bucket / 1e6,
            items=[
                Bucket(ts=row.ts, count=row.count, min=row.min, max=row.max, mean=row.mean, last=row.last)
                for row in rows
            ],
        )
    )


def _bucket(wanted: float | None, span: int) -> int:
    """The width of a bucket in microseconds, for a span in microseconds. Raises ApiError."""
    if wanted is None:
        usual = min(max(MIN_BUCKET, span / 1e6 / DEFAULT_BUCKETS), MAX_BUCKET)
        if span / 1e6 / usual > MAX_BUCKETS:
            bad("from", f"it is {span / 1e6:g} s before to, which is too long for buckets of at most a year")
        return _whole(round(usual * 1e6))
    if not MIN_BUCKET <= wanted <= MAX_BUCKET:
        bad("bucket", f"{wanted:g} s is not between 0.001 s and a year")
    if span / 1e6 / wanted > MAX_BUCKETS:
        bad("bucket", f"{wanted:g} s makes more than {MAX_BUCKETS} buckets between from and to")
    return round(wanted * 1e6)


def _whole(width: int) -> int:
    """The next whole number of minutes, or of hours, of which there are aggregates; short buckets stay as they are."""
    unit = next((one for one in (HOUR, MINUTE) if width > one), 1)
    return -(-width // unit) * unit


class TelemetryBody(msgspec.Struct, frozen=True, kw_only=True):
    """One envelope of the wire contract (an array of them is taken, too). Without `epoch` and `seq` the hub numbers the
    message itself, and cannot tell when it is sent twice; without `ts` it is stamped on arrival."""

    v: int
    robot: str
    body: dict[str, Any]
    type: str = "telemetry"
    ts: int | None = None
    epoch: str | None = None
    seq: int | None = None


@blueprint.post("/telemetry")
@tag(TAGS)
@document_request(TelemetryBody)
@document_response(TelemetryResult)
@document_response(Problem, 413)
@document_response(TelemetryResult, 422)
@document_response(Problem, 503)
async def post_telemetry() -> Response:
    """Take messages in over plain HTTP, for robots that speak neither MQTT nor WebSocket; at most 1,000 at once.
    Answers when they are committed; 422 when one of them was refused, with the reasons."""
    ingest = the_hub().ingest
    if ingest is None:
        raise ApiError(503, "this process does not take messages in (roles)")
    token = token_of_request()
    messages = _messages_in(await request.get_data())
    receipts: list[Receipt] = []
    try:
        async with asyncio.timeout(COMMITTED_WITHIN):
            for start in range(0, len(messages), SLICE):
                some = messages[start : start + SLICE]
                receipts += [await ingest.receive(_inbound(message), token) for message in some]
                await asyncio.sleep(0)
            for done in {receipt.done for receipt in receipts if receipt.done}:
                await asyncio.shield(done)
    except TimeoutError:
        raise ApiError(503, "not committed yet; send the messages again with the same epoch and seq") from None
    return _result(receipts)


def _messages_in(content: bytes | str) -> list[bytes]:
    """Each message as JSON. What is no JSON at all is one message, of which ingest says what is wrong with it.

    Raises ApiError when there are too many.
    """
    payload = content.encode() if isinstance(content, str) else content  # Quart says that it may be either
    try:
        messages = msgspec.json.decode(payload, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [payload]
    if len(messages) > MAX_MESSAGES:
        raise ApiError(413, f"{len(messages)} messages in one request, at most {MAX_MESSAGES} are taken")
    return [bytes(message) for message in messages]


def _inbound(payload: bytes) -> Inbound:
    """The message as if it had come over the broker: numbered, stamped, and with a topic."""
    now = the_hub().clock.now()
    topic = ""
    try:
        raw = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raw = None
    if isinstance(raw, dict) and isinstance(robot := raw.get("robot"), str) and topics.ROBOT_ID.fullmatch(robot):
        raw.setdefault("type", "telemetry")
        raw.setdefault("ts", now)
        if "epoch" not in raw and "seq" not in raw:
            raw["epoch"], raw["seq"] = the_numbering().next(robot)
        kind = raw["type"]
        if isinstance(kind, str) and MESSAGE_TYPE.fullmatch(kind):
            topic = topics.up(robot, kind)
        payload = msgspec.json.encode(raw)
    return Inbound(topic, payload, now, "http", request.remote_addr)


def _result(receipts: list[Receipt]) -> Response:
    outcomes = [receipt.outcome for receipt in receipts]
    result = TelemetryResult(
        committed=outcomes.count("committed"),
        duplicates=outcomes.count("duplicate"),
        quarantined=outcomes.count("quarantined"),
        problems=[receipt.problem for receipt in receipts if receipt.problem][:100],
    )
    return reply(result, 422 if result.quarantined else 200)
