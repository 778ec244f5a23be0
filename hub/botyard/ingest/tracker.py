"""Which messages of a robot have been seen: the duplicate check, and how far an epoch is complete."""

import bisect
import enum
from collections.abc import Iterable

from botyard.store.base import Position

# Gaps that are remembered in one epoch. A robot without an outbox never fills its gaps; past this many the older half
# is given up: what still arrives for it counts as a duplicate. That is said in an event, since the robot is told that
# everything up to there is dealt with. An outbox with a window smaller than this never comes here.
MAX_GAPS = 1024
# Epochs that are remembered of one robot. An older one that comes back is read as new.
MAX_EPOCHS = 8


class Seen(enum.Enum):
    """What a sequence number turned out to be."""

    NEW = "new"
    OUT_OF_ORDER = "out_of_order"
    DUPLICATE = "duplicate"


class EpochTracker:
    """The sequence numbers of one epoch: everything up to `seq`, and beyond it the closed ranges `beyond`, in order."""

    __slots__ = ("beyond", "given_up", "highest", "seq")

    def __init__(self, seq: int = 0, beyond: tuple[tuple[int, int], ...] = ()) -> None:
        self.seq = seq
        self.given_up: list[tuple[int, int]] = []
        self.beyond: list[tuple[int, int]] = list(beyond)
        self.highest = self.beyond[-1][1] if self.beyond else seq

    def offer(self, seq: int) -> Seen:
        """Note a sequence number (from 1) and say whether it is new."""
        if seq == self.seq + 1 and not self.beyond:
            self.seq = self.highest = seq
            return Seen.NEW
        if seq <= self.seq:
            return Seen.DUPLICATE
        at = bisect.bisect_right(self.beyond, (seq, 0xFFFFFFFFFFFFFFFF))
        if at > 0 and self.beyond[at - 1][1] >= seq:
            return Seen.DUPLICATE
        self._insert(at, seq)
        in_order = seq > self.highest
        self.highest = max(self.highest, seq)
        self._close()
        return Seen.NEW if in_order else Seen.OUT_OF_ORDER

    def settle(self, first: int, last: int) -> None:
        """Note numbers that will never come; those that came already stay as they are."""
        if last <= self.seq:
            return
        left = bisect.bisect_left(self.beyond, first - 1, key=lambda span: span[1])
        right = bisect.bisect_right(self.beyond, last + 1, key=lambda span: span[0])
        touched = self.beyond[left:right]
        if touched:
            first, last = min(first, touched[0][0]), max(last, touched[-1][1])
        self.beyond[left:right] = [(max(first, self.seq + 1), last)]
        self.highest = max(self.highest, last)
        self._close()

    def _insert(self, at: int, seq: int) -> None:
        ranges = self.beyond
        joins_left = at > 0 and ranges[at - 1][1] == seq - 1
        joins_right = at < len(ranges) and ranges[at][0] == seq + 1
        if joins_left and joins_right:
            ranges[at - 1 : at + 1] = [(ranges[at - 1][0], ranges[at][1])]
        elif joins_left:
            ranges[at - 1] = (ranges[at - 1][0], seq)
        elif joins_right:
            ranges[at] = (seq, ranges[at][1])
        else:
            ranges.insert(at, (seq, seq))

    def _close(self) -> None:
        if self.beyond and self.beyond[0][0] == self.seq + 1:
            self.seq = self.beyond.pop(0)[1]
        if len(self.beyond) > MAX_GAPS:
            for _ in range(MAX_GAPS // 2 or 1):
                first, last = self.beyond.pop(0)
                self.given_up.append((self.seq + 1, first - 1))
                self.seq = last


class Tracker:
    """All epochs of all robots."""

    def __init__(self, positions: Iterable[Position] = ()) -> None:
        # by robot and epoch, the one that was used last at the end
        self._robots: dict[str, dict[str, EpochTracker]] = {}
        self.load(positions)

    def load(self, positions: Iterable[Position]) -> None:
        """Take over what a store knows."""
        for position in positions:
            self._epochs(position.robot)[position.epoch] = EpochTracker(position.seq, position.beyond)

    def offer(self, robot: str, epoch: str, seq: int) -> Seen:
        """Note a message and say whether it is new."""
        epochs = self._epochs(robot)
        tracker = epochs.get(epoch)
        if tracker is None:
            tracker = epochs[epoch] = EpochTracker()
        elif len(epochs) > 1:
            epochs[epoch] = epochs.pop(epoch)
        return tracker.offer(seq)

    def use(self, robot: str, epoch: str) -> EpochTracker | None:
        """What is known of an epoch, if anything; it counts as the one that was used last."""
        epochs = self._robots.get(robot)
        if epochs is None or (tracker := epochs.get(epoch)) is None:
            return None
        if len(epochs) > 1:
            epochs[epoch] = epochs.pop(epoch)
        return tracker

    def settle(self, robot: str, epoch: str, first: int, last: int) -> None:
        """Note messages that the robot has given up, so that they are no longer waited for."""
        if tracker := self._epochs(robot).get(epoch):
            tracker.settle(first, last)

    def given_up(self, robot: str, epoch: str) -> list[tuple[int, int]]:
        """Ranges that were given up since the last call because there were too many gaps."""
        tracker = self._epochs(robot).get(epoch)
        if tracker is None or not tracker.given_up:
            return []
        ranges, tracker.given_up = tracker.given_up, []
        return ranges

    def settled(self, touched: Iterable[tuple[str, str]]) -> list[Position]:
        """How far these epochs of these robots have come. Where a robot has too many, those that were used longest ago
        are forgotten afterwards."""
        found, crowded = [], []
        for robot, epoch in touched:
            epochs = self._epochs(robot)
            tracker = epochs.get(epoch) or EpochTracker()
            found.append(Position(robot, epoch, tracker.seq, tuple(tracker.beyond) if tracker.beyond else ()))
            if len(epochs) > MAX_EPOCHS:
                crowded.append(epochs)
        for epochs in crowded:
            while len(epochs) > MAX_EPOCHS:
                del epochs[next(iter(epochs))]
        return found

    def position(self, robot: str, epoch: str) -> Position:
        """How far the epoch has come."""
        tracker = self._epochs(robot).get(epoch) or EpochTracker()
        return Position(robot, epoch, tracker.seq, tuple(tracker.beyond))

    def forget(self, robot: str) -> None:
        """Drop everything about a robot."""
        self._robots.pop(robot, None)

    def _epochs(self, robot: str) -> dict[str, EpochTracker]:
        epochs = self._robots.get(robot)
        if epochs is None:
            epochs = self._robots[robot] = {}
        return epochs
