"""Notices: events that tell the hub which numbers of the epoch will never come, so that it does not wait for them."""

from collections.abc import Iterable, Iterator
from typing import Any

from botyard_edge.outbox import Entry
from botyard_edge.ranges import Span, joined, total
from botyard_schemas import Event, decode

DROPPED = "outbox.dropped"

# The hub remembers only so many separate ranges of an epoch that is not complete, so a notice tells of few at once, and
# the link sends it only when it comes near them.
NOTICE_RANGES = 200

# When there are more notices than this, they are put together to few.
MAX_NOTICES = 32

_SENTENCES = {
    "full": "{} messages were given up, since the outbox was full",
    "expired": "{} messages were given up, since they were too old (outbox.max_age)",
    "memory": "{} messages were given up, since the disk could not be written and the memory was full",
    "unreadable": "{} messages were lost, since the outbox's file could not be read any more",
    "acknowledged before": "{} messages were acknowledged before and are not kept any more",
    "cut off": "the edge ended without warning: what it had not yet written to its disk is lost unless the hub has it",
}


class Notice:
    """One event `outbox.dropped`. It grows while it is `open`: until it is sent, or written to disk."""

    def __init__(self, entry: Entry, reason: str, ranges: Iterable[Span]) -> None:
        self.entry = entry
        self.reason = reason
        self.ranges = joined(ranges)
        self.open = True

    @property
    def first(self) -> int:
        """The first number that it tells of."""
        return self.ranges[0][0]

    def takes(self, reason: str, more: int) -> bool:
        """Whether so many ranges can be added."""
        return self.open and self.reason == reason and len(self.ranges) + more <= NOTICE_RANGES

    def add(self, ranges: Iterable[Span]) -> None:
        """Tell of these, too."""
        self.ranges = joined([*self.ranges, *ranges])

    def body(self, epoch: str) -> Event:
        """The event."""
        count = total(self.ranges)
        data: dict[str, Any] = {"epoch": epoch, "ranges": self.ranges, "count": count, "reason": self.reason}
        quiet = self.reason == "acknowledged before"
        sentence = _SENTENCES.get(self.reason, "{} messages were given up").format(count)
        return Event(DROPPED, "info" if quiet else "warning", sentence, data=data)


def parts(ranges: list[Span]) -> Iterator[list[Span]]:
    """The ranges, as many at once as a notice holds."""
    for at in range(0, len(ranges), NOTICE_RANGES):
        yield ranges[at : at + NOTICE_RANGES]


def read_notice(entry: Entry) -> Notice:
    """A notice that was written before, closed."""
    event = decode(entry.payload).body
    if not isinstance(event, Event):
        raise TypeError(f"message {entry.seq} is marked as a notice, and is a {entry.type}")
    notice = Notice(entry, str(event.data["reason"]), [(first, last) for first, last in event.data["ranges"]])
    notice.open = False
    return notice
