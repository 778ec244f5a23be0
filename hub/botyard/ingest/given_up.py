"""What a robot's outbox had to give up, as it announces it."""

from collections.abc import Iterator

import msgspec

from botyard.ingest.refusal import MAX_SEQ
from botyard_schemas import Envelope, Event, topics

NAME = "outbox.dropped"
MAX_RANGES = 10_000


def given_up(envelope: Envelope) -> Iterator[tuple[str, int, int]]:
    """Epoch, first and last number of each range that an event says is lost; nothing for any other message.

    The event `outbox.dropped` carries `data: {epoch, ranges: [[first, last], …]}`. What is not of that form is passed
    over: it is an event like any other then.
    """
    if not isinstance(envelope.body, Event) or envelope.body.name != NAME:
        return
    epoch, ranges = envelope.body.data.get("epoch"), envelope.body.data.get("ranges")
    if not isinstance(epoch, str) or not topics.ROBOT_ID.fullmatch(epoch) or not isinstance(ranges, list):
        return
    for span in ranges[:MAX_RANGES]:
        if isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span):
            first, last = span
            if 0 < first <= last <= MAX_SEQ:
                yield epoch, first, last


def restamped(envelope: Envelope, now: int) -> Envelope | None:
    """The same with the time `now`, if it says that something was given up; None for any other message.

    Such a message counts whatever its clock says: without it the hub would wait for ever for what will never come.
    """
    if not isinstance(envelope.body, Event) or not any(given_up(envelope)):
        return None
    return msgspec.structs.replace(envelope, ts=now, body=msgspec.structs.replace(envelope.body, dt=0))
