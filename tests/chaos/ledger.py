"""Whether everything is there once: compares what robots said that they issued with what the store holds.

It knows nothing of processes, so it can be tested by examples.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.chaos.journal import Book, Issued, Span

# Reasons of `outbox.dropped` that are a policy: its messages are lost, and the robot says so. Not among them: what the
# hub had acknowledged and then lost, since no hub of a campaign may lose its memory.
POLICIES = frozenset({"full", "expired", "memory", "unreadable"})
CUT_OFF, GIVEN_UP = "cut off", "ingest.given_up"


@dataclass(frozen=True, slots=True)
class Told:
    """A range of an epoch that an event names as lost, and the reason."""

    epoch: str
    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far the store says that an epoch has come."""

    seq: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Wired:
    """A message that was seen on the wire."""

    kind: str
    numbers: tuple[Span, ...]
    at: float


@dataclass(slots=True)
class Found:
    """What the store holds of one robot: how often each number and each event's number, and what is named as lost."""

    samples: Counter[int] = field(default_factory=Counter)
    marks: Counter[int] = field(default_factory=Counter)
    told: list[Told] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that must not be. `at` is when the robot issued it, None when that is not known."""

    robot: str
    epoch: str
    what: str
    spans: list[Span]
    at: float | None = None

    def __str__(self) -> str:
        shown = ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in self.spans[:10])
        more = f" and {len(self.spans) - 10} ranges more" if len(self.spans) > 10 else ""
        return f"{self.robot}, epoch {self.epoch}: {self.what}: {shown}{more}"


@dataclass(slots=True)
class Verdict:
    """What came out for one robot. `lost` counts messages that were given up by policy, by reason."""

    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)


def judge(book: Book, found: Found, wired: Mapping[tuple[str, int], Wired]) -> Verdict:
    """Compare one robot's journal, and what was seen of it on the wire, with what the store holds."""
    verdict = Verdict()
    messages = {(one.epoch, one.seq): one for one in book.issued}
    _check_numbering(book, messages, wired, verdict)
    for (epoch, seq), seen in wired.items():
        messages.setdefault((epoch, seq), Issued(epoch, seq, seen.kind, False, seen.numbers, seen.at))
    _check_content(book, messages, found, verdict)
    _check_handed(book, messages, found, verdict)
    _check_twice(book, messages, found, verdict)
    _check_positions(book, messages, found, verdict)
    verdict.counts.update(
        lives=len(book.lives),
        messages=len(messages),
        samples=found.samples.total(),
        events=found.marks.total(),
    )
    return verdict


def _check_numbering(
    book: Book, messages: Mapping[tuple[str, int], Issued], wired: Mapping[tuple[str, int], Wired], verdict: Verdict
) -> None:
    """One number, one message."""
    times = Counter((one.epoch, one.seq) for one in book.issued)
    for key, count in times.items():
        if count > 1:
            verdict.problems.append(_problem(book, messages[key], f"the number was given {count} times"))
    for key in messages.keys() & wired.keys():
        if messages[key].numbers != wired[key].numbers or messages[key].kind != wired[key].kind:
            verdict.problems.append(_problem(book, messages[key], "another message had this number on the wire"))


def _check_content(book: Book, messages: Mapping[tuple[str, int], Issued], found: Found, verdict: Verdict) -> None:
    """What was issued is there, or named as lost."""
    missing: dict[str, list[Issued]] = {}
    for message in messages.values():
        there = found.marks if message.kind == "event" else found.samples
        absent = [number for number in _numbers(message.numbers) if number not in there]
        if not absent:
            continue
        if reason := _excuse(message, found.told):
            verdict.lost[reason] += 1
        else:
            missing.setdefault(message.epoch, []).append(message)
    for epoch, lost in missing.items():
        spans = joined((message.seq, message.seq) for message in lost)
        at = min(message.at for message in lost)
        verdict.problems.append(Problem(book.robot, epoch, "numbers are missing, and not named as lost", spans, at))


def _excuse(message: Issued, told: Iterable[Told]) -> str | None:
    """Why the message may be missing. What was promised to be on the disk is not lost by a cut."""
    for one in told:
        if one.epoch == message.epoch and one.first <= message.seq <= one.last:
            policy = one.reason in POLICIES or one.reason == GIVEN_UP
            if policy or (one.reason == CUT_OFF and not message.durable):
                return one.reason
    return None


def _check_handed(book: Book, messages: Mapping[tuple[str, int], Issued], found: Found, verdict: Verdict) -> None:
    """What the driver handed over got a number, but for the last of each life, on which the kill may have come first;
    and nothing is there that was never handed over."""
    numbered = {
        kind: {number for one in messages.values() if one.kind == kind for number in _numbers(one.numbers)}
        for kind in ("telemetry", "event")
    }
    handed: set[int] = set()
    marks: set[int] = set()
    lost: list[Span] = []
    for life in book.lives:
        handed.update(_numbers(life.handed))
        marks.update(life.marks)
        whole = life.handed if life.ended or life.last == "M" else life.handed[:-1]
        lost += [(n, n) for n in _numbers(whole) if n not in numbered["telemetry"]]
        whole_marks = life.marks if life.ended or life.last == "D" else life.marks[:-1]
        lost += [(n, n) for n in whole_marks if n not in numbered["event"]]
        verdict.counts["cut short"] += not life.ended
    if lost:
        what = "samples or events that the driver handed over got no number"
        verdict.problems.append(Problem(book.robot, "-", what, joined(lost)))
    invented = [(n, n) for n in (found.samples.keys() - handed) | (found.marks.keys() - marks)]
    if invented:
        verdict.problems.append(Problem(book.robot, "-", "nobody handed these over", joined(invented)))


def _check_twice(book: Book, messages: Mapping[tuple[str, int], Issued], found: Found, verdict: Verdict) -> None:
    for what, there, event in (("samples", found.samples, False), ("events", found.marks, True)):
        twice = {number for number, times in there.items() if times > 1}
        if not twice:
            continue
        holders = [
            one for one in messages.values() if (one.kind == "event") is event and twice & set(_numbers(one.numbers))
        ]
        epoch = holders[0].epoch if holders else "-"
        spans = joined((one.seq, one.seq) for one in holders)
        at = min((one.at for one in holders), default=None)
        sentence = f"{len(twice)} {what} are there more than once, of the messages"
        verdict.problems.append(Problem(book.robot, epoch, sentence, spans, at))


def _check_positions(book: Book, messages: Mapping[tuple[str, int], Issued], found: Found, verdict: Verdict) -> None:
    """The store says itself that it has everything."""
    heads: dict[str, Issued] = {}
    for message in messages.values():
        if message.epoch not in heads or message.seq > heads[message.epoch].seq:
            heads[message.epoch] = message
    for epoch, head in heads.items():
        position = found.positions.get(epoch, Position(0, True))
        if position.seq < head.seq or not position.complete:
            what = f"the store says that it has everything up to {position.seq} only, of"
            verdict.problems.append(Problem(book.robot, epoch, what, [(1, head.seq)], head.at))


def _problem(book: Book, message: Issued, what: str) -> Problem:
    return Problem(book.robot, message.epoch, what, [(message.seq, message.seq)], message.at)


def _numbers(spans: Iterable[Span]) -> Iterable[int]:
    return (number for first, last in spans for number in range(first, last + 1))


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same numbers in as few ranges as possible, in order."""
    result: list[Span] = []
    for first, last in sorted(spans):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result
