"""What was read, as `Store` gives it."""

from typing import cast

from botyard.store import reading
from botyard.store.base import BucketRow, ChannelRow, Page, Sample
from botyard.store.cursors import encode_sample
from botyard.store.holdings import Engine, Holdings, Inventory, totals_of
from botyard.store.reading import Found, SeriesRow
from botyard.store.rollups import Bucket
from botyard_schemas.messages import ValueType


def samples(found: list[Found], limit: int) -> Page[Sample]:
    """The first `limit` of what was found, and where to go on when there is more."""
    last = found[limit - 1] if len(found) > limit else None
    following = None if last is None else encode_sample((last.ts, last.robot, last.channel, last.nth))
    return Page([Sample(one.robot, one.channel, one.ts, one.value) for one in found[:limit]], following)


def channels(robot: str, rows: list[SeriesRow]) -> list[ChannelRow]:
    """The channels of a robot."""
    return [
        ChannelRow(robot=robot, channel=row.channel, type=cast("ValueType", row.type), unit=row.unit) for row in rows
    ]


def latest(robot: str, wanted: list[str] | None, rows: list[SeriesRow]) -> list[Sample]:
    """The latest samples of these channels, or of all."""
    return [
        Sample(robot, row.channel, row.ts, reading.value_of(row))
        for row in rows
        if wanted is None or row.channel in wanted
    ]


def buckets(found: list[Bucket]) -> list[BucketRow]:
    """Aggregates."""
    return [BucketRow(one.ts, one.samples, one.min, one.max, one.mean, one.last) for one in found]


def holdings(engine: Engine, address: str, found: Inventory, limit: int | None, waiting: tuple[int, int]) -> Holdings:
    """What the store holds; `waiting` are messages and bytes that are not compacted."""
    return Holdings(
        engine=engine,
        address=address,
        bytes=found.bytes,
        free_bytes=found.free_bytes,
        limit_bytes=limit,
        messages=waiting[0],
        message_bytes=waiting[1],
        totals=totals_of(found),
        sizes=found.sizes,
    )
