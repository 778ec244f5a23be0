"""Sets of sequence numbers as closed ranges, since they are nearly contiguous."""

import bisect
from collections.abc import Iterable, Iterator, Sequence

Span = tuple[int, int]


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same numbers in as few ranges as possible, in order."""
    result: list[Span] = []
    for first, last in sorted(spans):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


def minus(spans: Iterable[Span], other: Iterable[Span]) -> list[Span]:
    """The numbers of `spans` that are not in `other`; both in order and without overlaps."""
    result: list[Span] = []
    holes = list(other)
    at = 0
    for span in spans:
        first, last = span
        while at < len(holes) and holes[at][1] < first:
            at += 1
        index = at
        while index < len(holes) and holes[index][0] <= last:
            if holes[index][0] > first:
                result.append((first, holes[index][0] - 1))
            first = holes[index][1] + 1
            index += 1
        if first <= last:
            result.append((first, last))
    return result


def within(spans: Sequence[Span], seq: int) -> bool:
    """Whether the number is in one of the ranges, which are in order and do not overlap."""
    if not spans:
        return False
    at = bisect.bisect_left(spans, seq, key=_last)
    return at < len(spans) and spans[at][0] <= seq


def _last(span: Span) -> int:
    return span[1]


def total(spans: Iterable[Span]) -> int:
    """How many numbers these are."""
    return sum(last - first + 1 for first, last in spans)


class Held:
    """The numbers that an outbox still holds: grows at its end, shrinks from its beginning and by what is given up."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans = joined(spans)
        self.count = total(self._spans)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def append(self, seq: int) -> None:
        """Add a number that is larger than all others."""
        if self._spans and self._spans[-1][1] == seq - 1:
            self._spans[-1] = (self._spans[-1][0], seq)
        else:
            self._spans.append((seq, seq))
        self.count += 1

    def any_between(self, after: int, before: int) -> bool:
        """Whether it holds a number with `after` < number < `before`."""
        at = bisect.bisect_right(self._spans, after, key=lambda span: span[1])
        return at < len(self._spans) and max(self._spans[at][0], after + 1) < before

    def forget(self, seq: int) -> None:
        """Remove everything up to `seq`."""
        gone = 0
        while gone < len(self._spans) and self._spans[gone][1] <= seq:
            gone += 1
        del self._spans[:gone]
        if self._spans and self._spans[0][0] <= seq:
            self._spans[0] = (seq + 1, self._spans[0][1])
        self.count = total(self._spans)

    def remove(self, spans: list[Span]) -> None:
        """Remove numbers; `spans` are in order."""
        self._spans = minus(self._spans, spans)
        self.count = total(self._spans)
