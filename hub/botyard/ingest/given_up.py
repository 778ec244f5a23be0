"""What a robot's outbox had to give up, as it announces it."""

from collections.abc import Iterator

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
