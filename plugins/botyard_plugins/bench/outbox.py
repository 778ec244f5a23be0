"""What a virtual robot remembers: the time stamps of messages that the hub has not acknowledged.

The messages themselves follow from number and time stamp (`messages`), so a robot that was away for ten minutes costs
eight bytes a message. What is sent when is as in the real edge: the oldest in order and within a window, new ones ahead
of a backlog, all of it again after a reconnect or when the hub is silent for too long.
"""

from array import array
from collections.abc import Sequence

# Messages sent ahead of a backlog without a word of the hub: it keeps account of a bounded number of gaps.
AHEAD = 400


class Outbox:
    """Numbers from 1. `acked` is the last one that is acknowledged in order, `issued` the last one there is, `next` the
    one that is sent next in order; those from `ahead` to before `ahead_end` were sent ahead of it, and the hub named
    those to before `named`."""

    __slots__ = ("acked", "ahead", "ahead_end", "issued", "named", "next", "stamps", "window")

    def __init__(self, window: int, stamps: Sequence[int] = ()) -> None:
        self.window = window
        self.stamps = array("q", stamps)
        self.acked = 0
        self.issued = len(self.stamps)
        self.next = 1
        self.ahead = self.ahead_end = self.named = 0

    def add(self, ts: int) -> int:
        """Take a message in; gives its number. `ts` is later than that of the one before."""
        self.stamps.append(ts)
        self.issued += 1
        return self.issued

    def ts(self, seq: int) -> int:
        """Time stamp of a message that is not acknowledged."""
        return self.stamps[seq - self.acked - 1]

    def room(self) -> int:
        """Messages that may be sent in order now; without a look at whether there are so many."""
        return max(0, self.acked + self.window + 1 - self.next)

    @property
    def in_flight(self) -> int:
        """Messages that were sent and wait for the acknowledgement."""
        return self.next - 1 - self.acked + self.ahead_end - self.ahead

    def take(self) -> int:
        """The number to send next in order, 0 when the window is full or nothing is left."""
        if self.next == self.ahead and self.ahead_end > self.ahead:
            self.next = self.ahead_end
            self.ahead = self.ahead_end = self.named = 0
        if self.next > self.issued or self.next > self.acked + self.window:
            return 0
        self.next += 1
        return self.next - 1

    def take_ahead(self) -> int:
        """The newest number, to be sent ahead of those that wait; 0 when it is to wait, too."""
        if self.ahead_end == self.ahead:
            self.ahead = self.ahead_end = self.named = self.issued
        if self.ahead_end != self.issued or self.ahead_end - self.named >= AHEAD:
            return 0
        self.ahead_end += 1
        return self.issued

    def name(self, beyond: Sequence[tuple[int, int]]) -> None:
        """The hub has committed these ranges, too."""
        for first, last in beyond:
            if first <= self.named <= last:
                self.named = min(last + 1, self.ahead_end)

    def ack(self, seq: int) -> "array[int]":
        """Everything up to `seq` is committed; gives the time stamps that were waiting for it, none when it says
        nothing new or what cannot be."""
        if not self.acked < seq <= self.issued:
            return array("q")
        known = self.stamps[: seq - self.acked]
        del self.stamps[: seq - self.acked]
        self.acked = seq
        if self.next <= seq:
            self.next = seq + 1
        if self.ahead_end and self.ahead <= seq:
            self.ahead = min(seq + 1, self.ahead_end)
            self.named = max(self.named, self.ahead)
            if self.ahead == self.ahead_end:
                self.ahead = self.ahead_end = self.named = 0
        return known

    def rewind(self) -> None:
        """Nothing is taken for sent any more."""
        self.next = self.acked + 1
        self.ahead = self.ahead_end = self.named = 0
