"""The judge of the campaigns: whatever it must not overlook is put before it."""

from collections import Counter

import pytest

from tests.chaos.journal import Book, read_spans, spans_text
from tests.chaos.ledger import GIVEN_UP, Found, Position, Told, Wired, judge

EPOCH = "e1"


def book(*lines: str, durability: str = "each") -> Book:
    written = Book("alpha", durability)
    for at, line in enumerate(lines):
        written.take(line, float(at))
    return written


def three() -> Book:
    """Two lives: messages 1 to 3 hold the numbers 0 to 5, 4 is an event; the last of each life was cut short."""
    return book(
        "L", "M 0", f"I {EPOCH} 1 event 1 0-0", "D 0 1", f"I {EPOCH} 2 telemetry 1 0-1", "D 2 3",
        "L", "D 4 5", f"I {EPOCH} 3 telemetry 1 4-5", "A 3", "E",
    )  # fmt: skip


def stored(numbers: dict[int, int] | None = None, *, marks: int = 1, seq: int = 3, complete: bool = True) -> Found:
    counts = {0: 1, 1: 1, 4: 1, 5: 1} if numbers is None else numbers
    return Found(Counter(counts), Counter({0: marks} if marks else {}), [], {EPOCH: Position(seq, complete)})


def told_of(found: Found, first: int, last: int, reason: str) -> Found:
    found.told.append(Told(EPOCH, first, last, reason))
    return found


def said(of: Book, found: Found, wired: dict[tuple[str, int], Wired] | None = None) -> list[str]:
    return [str(problem) for problem in judge(of, found, wired or {}).problems]


def test_judge_everything_is_there_once_finds_nothing() -> None:
    verdict = judge(three(), stored(), {})
    assert verdict.problems == []
    assert verdict.counts == {"lives": 2, "cut short": 1, "messages": 3, "samples": 4, "events": 1}


def test_judge_what_was_in_flight_at_a_kill_may_be_there() -> None:
    assert said(three(), stored(dict.fromkeys(range(6), 1))) == []


def test_judge_a_message_is_missing_names_robot_epoch_and_number() -> None:
    assert said(three(), stored({0: 1, 1: 1})) == [
        "alpha, epoch e1: numbers are missing, and not named as lost: 3",
    ]


def test_judge_part_of_a_message_is_missing_is_found() -> None:
    assert "missing, and not named as lost: 2" in said(three(), stored({0: 1, 4: 1, 5: 1}))[0]


def test_judge_an_event_is_missing_is_found() -> None:
    assert "missing, and not named as lost: 1" in said(three(), stored(marks=0))[0]


def test_judge_a_sample_is_there_twice_names_its_message() -> None:
    found = said(three(), stored({0: 1, 1: 1, 4: 2, 5: 1}))
    assert found == ["alpha, epoch e1: 1 samples are there more than once, of the messages: 3"]


def test_judge_an_event_is_there_twice_names_its_message() -> None:
    assert said(three(), stored(marks=2)) == ["alpha, epoch e1: 1 events are there more than once, of the messages: 1"]


def test_judge_something_is_there_that_nobody_sent_is_found() -> None:
    assert "nobody handed these over: 9" in said(three(), stored({0: 1, 1: 1, 4: 1, 5: 1, 9: 1}))[0]


@pytest.mark.parametrize("reason", ["full", "expired", "memory", "unreadable", GIVEN_UP])
def test_judge_missing_and_named_by_policy_is_counted_and_no_problem(reason: str) -> None:
    verdict = judge(three(), told_of(stored({0: 1, 1: 1}), 2, 3, reason), {})
    assert verdict.problems == []
    assert verdict.lost == {reason: 1}


@pytest.mark.parametrize("reason", ["cut off", "acknowledged before", "something new"])
def test_judge_promised_to_be_on_the_disk_no_cut_excuses_that_it_is_missing(reason: str) -> None:
    assert said(three(), told_of(stored({0: 1, 1: 1}), 3, 3, reason)) != []


def test_judge_written_in_groups_a_cut_that_is_named_excuses() -> None:
    grouped = book("L", "D 0 1", f"I {EPOCH} 1 telemetry 0 0-1", "L", "E", durability="group")
    missing = stored({}, marks=0, seq=1)
    assert said(grouped, missing) != []
    assert said(grouped, told_of(missing, 1, 100_000, "cut off")) == []


def test_judge_named_in_another_epoch_is_no_excuse() -> None:
    found = stored({0: 1, 1: 1})
    found.told.append(Told("e2", 1, 9, "full"))
    assert said(three(), found) != []


def test_judge_handed_over_and_never_numbered_is_found() -> None:
    lines = ("L", "D 0 0", "D 1 1", f"I {EPOCH} 1 telemetry 1 1-1", "E")
    found = said(book(*lines), stored({1: 1}, marks=0, seq=1))
    assert found == ["alpha, epoch -: samples or events that the driver handed over got no number: 0"]


def test_judge_a_number_was_given_twice_is_found() -> None:
    again = book("L", "D 0 0", f"I {EPOCH} 1 telemetry 1 0-0", "D 1 1", f"I {EPOCH} 1 telemetry 1 1-1", "E")
    assert "the number was given 2 times: 1" in " ".join(said(again, stored({0: 1, 1: 1}, marks=0, seq=1)))


def test_judge_another_message_had_the_number_on_the_wire_is_found() -> None:
    wired = {(EPOCH, 2): Wired("telemetry", ((7, 8),), 0.0)}
    assert "another message had this number on the wire: 2" in " ".join(said(three(), stored(), wired))


def test_judge_seen_on_the_wire_only_has_to_be_there_or_named() -> None:
    """It was sent, and its robot was killed before it could say that it had a number."""
    wired = {(EPOCH, 4): Wired("telemetry", ((2, 3),), 0.0)}
    assert said(three(), stored(dict.fromkeys(range(6), 1), seq=4), wired) == []
    assert said(three(), stored(seq=4), wired) != []
    assert said(three(), told_of(stored(seq=4), 4, 100_003, "cut off"), wired) == []


@pytest.mark.parametrize(("seq", "complete"), [(2, True), (3, False)])
def test_judge_the_store_does_not_say_that_it_has_everything_is_found(seq: int, complete: bool) -> None:
    assert "the store says that it has everything up to" in said(three(), stored(seq=seq, complete=complete))[0]


def test_spans_are_written_and_read() -> None:
    assert spans_text([3, 1, 2, 9]) == "1-3,9-9"
    assert read_spans("1-3,9-9") == [(1, 3), (9, 9)]
    assert read_spans(spans_text([])) == []
