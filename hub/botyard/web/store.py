"""What the store holds, how it grows, and when there is no room left."""

import asyncio

from quart import Blueprint, Response
from quart_schema import document_response, tag

from botyard.store import forecast
from botyard.store.holdings import Size
from botyard.web.context import the_hub
from botyard.web.models import Problem, StoreClass, StoreSize, StoreView, StoreWaiting
from botyard.web.reply import reply

blueprint = Blueprint("store", __name__, url_prefix="/api/v1")
TAGS = ["Hub"]
COMPACTED_WITHIN = 30.0  # seconds


@blueprint.get("/store")
@tag(TAGS)
@document_response(StoreView)
@document_response(Problem, 503)
async def get_store() -> Response:
    """The store: its size and growth, what it is made of, and when its disk is full."""
    return reply(await _view())


@blueprint.post("/store/compact")
@tag(TAGS)
@document_response(StoreView)
@document_response(StoreView, 202)
@document_response(Problem, 503)
async def compact_store() -> Response:
    """Bring all telemetry into its final form now, which happens by itself some minutes after it came. Answers when
    that is done, and with 202 when it takes longer than half a minute and goes on."""
    try:
        async with asyncio.timeout(COMPACTED_WITHIN):
            await the_hub().store.compact()
    except TimeoutError:
        return reply(await _view(), 202)
    return reply(await _view())


async def _view() -> StoreView:
    hub = the_hub()
    found, now = await hub.retention.holdings(), hub.clock.now()
    sizes = [size for size in found.sizes if size.ts < now]
    growth = forecast.growth([*sizes, Size(now, found.bytes)])
    room = forecast.room(found.bytes, found.free_bytes, found.limit_bytes)
    return StoreView(
        engine=found.engine,
        address=found.address,
        bytes=found.bytes,
        free_bytes=found.free_bytes,
        limit_bytes=found.limit_bytes,
        waiting=StoreWaiting(messages=found.messages, bytes=found.message_bytes),
        classes=[
            StoreClass(
                name=total.name,
                count=total.count,
                bytes=total.bytes,
                oldest=total.oldest,
                newest=total.newest,
                keep_days=hub.retention.keep(total.name).days,
                keep_bytes=hub.retention.keep(total.name).bytes,
            )
            for total in found.totals.values()
        ],
        bytes_per_sample=found.bytes_per_sample,
        growth_bytes_per_day=growth,
        history=[StoreSize(ts=size.ts, bytes=size.bytes) for size in sizes],
        full_at=forecast.full_at(now, room, growth),
    )
