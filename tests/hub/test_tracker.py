"""Sequence numbers: what is new, what is a duplicate, and how far an epoch is complete, against a plain set."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard.ingest import tracker as tracker_module
from botyard.ingest.tracker import MAX_EPOCHS, EpochTracker, Seen, Tracker
from botyard.store.base import Position

SEQUENCES = st.lists(st.integers(1, 30), max_size=60)


class Model:
    """Everything that was seen or given up, as a set."""

    def __init__(self, max_gaps: int) -> None:
        self.seen: set[int] = set()
        self.max_gaps = max_gaps

    @property
    def seq(self) -> int:
        return next(n for n in range(len(self.seen) + 1) if n + 1 not in self.seen)

    @property
    def beyond(self) -> list[tuple[int, int]]:
        ranges: list[tuple[int, int]] = []
        for n in sorted(n for n in self.seen if n > self.seq):
            if ranges and ranges[-1][1] == n - 1:
                ranges[-1] = (ranges[-1][0], n)
            else:
                ranges.append((n, n))
        return ranges

    def offer(self, n: int) -> Seen:
        if n in self.seen:
            return Seen.DUPLICATE
        outcome = Seen.NEW if n > max(self.seen, default=0) else Seen.OUT_OF_ORDER
        self.seen.add(n)
        if len(self.beyond) > self.max_gaps:
            for _ in range(self.max_gaps // 2 or 1):
                self.seen.update(range(1, self.beyond[0][0]))
        return outcome


def agrees(tracker: EpochTracker, model: Model) -> bool:
    return (tracker.seq, tracker.beyond) == (model.seq, model.beyond)


@given(SEQUENCES)
def test_epoch_tracker_agrees_with_a_set(sequence: list[int]) -> None:
    tracker, model = EpochTracker(), Model(10_000)
    for n in sequence:
        assert tracker.offer(n) is model.offer(n)
        assert agrees(tracker, model)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 12), st.booleans()), max_size=40))
def test_epoch_tracker_settled_ranges_count_as_seen(steps: list[tuple[int, int, bool]]) -> None:
    tracker, model = EpochTracker(), Model(10_000)
    for first, length, given_up in steps:
        if given_up:
            tracker.settle(first, first + length)
            model.seen.update(range(first, first + length + 1))
        else:
            assert tracker.offer(first) is model.offer(first)
        assert agrees(tracker, model)


@given(SEQUENCES, st.integers(1, 4))
def test_epoch_tracker_with_too_many_gaps_gives_up_the_oldest_and_never_stores_twice(
    sequence: list[int], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker_module, "MAX_GAPS", most)
        tracker, model = EpochTracker(), Model(most)
        taken: list[int] = []
        for n in sequence:
            outcome = tracker.offer(n)
            assert outcome is model.offer(n)
            assert agrees(tracker, model)
            assert len(tracker.beyond) <= most
            if outcome is not Seen.DUPLICATE:
                taken.append(n)
        assert len(taken) == len(set(taken))


@given(SEQUENCES, SEQUENCES)
def test_tracker_restored_from_its_position_goes_on_as_if_nothing_had_happened(
    before: list[int], after: list[int]
) -> None:
    tracker = Tracker()
    for n in before:
        tracker.offer("r", "e", n)
    restored = Tracker([tracker.position("r", "e")])
    assert restored.position("r", "e") == tracker.position("r", "e")
    for n in after:
        assert restored.offer("r", "e", n) is tracker.offer("r", "e", n)
        assert restored.position("r", "e") == tracker.position("r", "e")


@given(SEQUENCES)
def test_epoch_tracker_keeps_its_ranges_apart_and_in_order(sequence: list[int]) -> None:
    tracker = EpochTracker()
    for n in sequence:
        tracker.offer(n)
        assert all(low <= high for low, high in tracker.beyond)
        assert all(left[1] + 1 < right[0] for left, right in pairwise([(0, tracker.seq), *tracker.beyond]))


def test_epoch_tracker_remembers_the_promised_number_of_gaps() -> None:
    tracker = EpochTracker()
    for n in range(3, 3 + 2 * tracker_module.MAX_GAPS, 2):
        tracker.offer(n)
    assert tracker.seq == 0
    assert len(tracker.beyond) == tracker_module.MAX_GAPS
    tracker.offer(10**9)  # one gap too many: the older half is given up, and named
    assert tracker.seq == 1 + tracker_module.MAX_GAPS
    assert tracker.given_up[:2] == [(1, 2), (4, 4)]
    assert len(tracker.given_up) == tracker_module.MAX_GAPS // 2
    assert tracker.offer(1) is Seen.DUPLICATE
    assert tracker.offer(3 + tracker_module.MAX_GAPS + 1) is Seen.OUT_OF_ORDER


def test_tracker_keeps_robots_and_epochs_apart() -> None:
    tracker = Tracker()
    assert [tracker.offer(robot, epoch, 1) for robot in "ab" for epoch in "xy"] == [Seen.NEW] * 4
    assert tracker.offer("a", "x", 1) is Seen.DUPLICATE


def test_tracker_forgets_the_epoch_that_was_used_longest_ago() -> None:
    tracker = Tracker()
    for n in range(MAX_EPOCHS):
        tracker.offer("r", f"e{n}", 1)
    assert tracker.offer("r", "e0", 1) is Seen.DUPLICATE  # used again
    tracker.offer("r", "new", 1)
    assert tracker.position("r", "e1").seq == 1, "nothing is forgotten while a batch may hold it"
    assert tracker.settled([("r", "e1"), ("r", "new")]) == [Position("r", "e1", 1), Position("r", "new", 1)]
    assert tracker.offer("r", "e0", 1) is Seen.DUPLICATE
    assert tracker.offer("r", "e1", 1) is Seen.NEW


def test_tracker_takes_the_largest_number_of_the_contract() -> None:
    tracker = Tracker()
    assert tracker.offer("r", "e", 2**53 - 1) is Seen.NEW
    assert tracker.offer("r", "e", 2**53 - 1) is Seen.DUPLICATE
    assert tracker.offer("r", "e", 2**53 - 2) is Seen.OUT_OF_ORDER
    assert tracker.position("r", "e").beyond == ((2**53 - 2, 2**53 - 1),)
