"""Messages that are in memory only: not on the disk yet, and not acknowledged."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from botyard_edge.outbox import Entry


class _Waiting(NamedTuple):
    entry: Entry
    since: float


class Unwritten:
    """In the order of their numbers; `bytes` are those of their payloads."""

    def __init__(self, entries: Iterable[Entry] = (), now: float = 0.0) -> None:
        self.bytes = 0
        self._waiting: dict[int, _Waiting] = {}
        for entry in entries:
            self.add(entry, now)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, seq: int) -> bool:
        return seq in self._waiting

    def __iter__(self) -> Iterator[Entry]:
        return (waiting.entry for waiting in self._waiting.values())

    @property
    def since(self) -> float | None:
        """When the oldest came in; None when there is none."""
        oldest = next(iter(self._waiting.values()), None)
        return oldest.since if oldest else None

    def add(self, entry: Entry, now: float) -> None:
        """Take in a message with a larger number than all others, at a time of the steady clock in seconds."""
        self._waiting[entry.seq] = _Waiting(entry, now)
        self.bytes += len(entry.payload)

    def drop(self, seq: int) -> None:
        """Forget a message, if it is here."""
        if (waiting := self._waiting.pop(seq, None)) is not None:
            self.bytes -= len(waiting.entry.payload)

    def forget(self, seq: int) -> None:
        """Forget everything up to `seq`."""
        for number in list(itertools.takewhile(lambda number: number <= seq, self._waiting)):
            self.drop(number)
