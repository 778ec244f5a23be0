"""What a recorded file holds, whatever its format. Times are microseconds, on the file's own time scale."""

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botyard_edge.driver import Channel, Severity


class RecordingError(ValueError):
    """The file cannot be played; the sentence names file, place and reason."""


@dataclass(slots=True)
class Stream:
    """Columns with common times, in their order."""

    name: str
    ts: list[int]
    columns: dict[str, list[Any]]
    channels: list[Channel]

    @property
    def samples(self) -> int:
        """How many values there are, not counting NaN, infinities and gaps."""
        return sum(count(column) for column in self.columns.values())


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A message in the log."""

    ts: int
    name: str
    severity: Severity
    message: str
    data: dict[str, Any]


@dataclass(slots=True)
class Recording:
    """A file's content. `utc_offset` added to a time makes it microseconds since 1970; None where nobody knows."""

    path: Path
    streams: list[Stream]
    events: list[LoggedEvent] = field(default_factory=list)
    utc_offset: int | None = 0
    model: str | None = None

    @property
    def first(self) -> int:
        """The earliest time."""
        return min([s.ts[0] for s in self.streams if s.ts] + [e.ts for e in self.events])

    @property
    def last(self) -> int:
        """The latest time."""
        return max([s.ts[-1] for s in self.streams if s.ts] + [e.ts for e in self.events])

    @property
    def empty(self) -> bool:
        """Whether there is nothing to play."""
        return not self.events and not any(stream.ts for stream in self.streams)


@dataclass(frozen=True, slots=True)
class Slice:
    """Everything up to `end` that was not in the slice before: rows `first` to `last` (excluded) of each stream."""

    end: int
    rows: list[tuple[Stream, int, int]]
    events: list[LoggedEvent]


def slices(recording: Recording, width: int) -> Iterator[Slice]:
    """Cut a recording into slices of `width` microseconds, empty ones left out."""
    streams = [stream for stream in recording.streams if stream.ts]
    at = [0] * len(streams)
    event = 0
    end = recording.first + width
    while True:
        rows = []
        for index, stream in enumerate(streams):
            until = bisect.bisect_left(stream.ts, end, at[index])
            if until > at[index]:
                rows.append((stream, at[index], until))
                at[index] = until
        first_event = event
        while event < len(recording.events) and recording.events[event].ts < end:
            event += 1
        if rows or event > first_event:
            yield Slice(end, rows, recording.events[first_event:event])
        ahead = [stream.ts[i] for stream, i in zip(streams, at, strict=True) if i < len(stream.ts)]
        ahead += [recording.events[event].ts] if event < len(recording.events) else []
        if not ahead:
            return
        # A long silence is one step, not many empty ones.
        end += max(1, (min(ahead) - end) // width + 1) * width


def count(column: list[Any]) -> int:
    """Values of a column that are samples: not None, not NaN, not infinite."""
    return sum(value is not None and not (isinstance(value, float) and not math.isfinite(value)) for value in column)
