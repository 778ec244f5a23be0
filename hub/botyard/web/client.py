"""What one client of the live feed has not been told yet: bounded in number and size."""

import asyncio
from collections import deque

import msgspec

from botyard.core.samples import Column
from botyard.web.frames import Samples

# What waits for one client at most.
MAX_EVENTS = 200
MAX_EVENT_BYTES = 2 * 1024 * 1024
MAX_SAMPLES = 5_000
MAX_SAMPLE_BYTES = 2 * 1024 * 1024
# What a time stamp with a number takes in a frame, about.
PLAIN_SAMPLE = 32
MAX_WATCHED = 16
MAX_FAULTS = 16


class Client:
    """What one client has not been told yet."""

    def __init__(self) -> None:
        self.robots: set[str] = set()
        self.removed: set[str] = set()
        self.events: deque[bytes] = deque()
        self.event_bytes = 0
        self.skipped = 0
        self.hub = False
        self.watched: frozenset[str] = frozenset()
        self.samples: dict[str, dict[str, Samples]] = {}
        self.sample_count = 0
        self.sample_bytes: dict[str, int] = {}
        self.skipped_samples: dict[str, int] = {}
        self.pinged = False
        self.faults: deque[str] = deque(maxlen=MAX_FAULTS)
        self.dirty = asyncio.Event()

    def watch(self, robots: list[str]) -> None:
        """Send samples of these robots from now on, and of no others."""
        self.watched = frozenset(robots)
        self.samples = {robot: kept for robot, kept in self.samples.items() if robot in self.watched}
        self.skipped_samples = {robot: n for robot, n in self.skipped_samples.items() if robot in self.watched}
        self.sample_bytes = {robot: n for robot, n in self.sample_bytes.items() if robot in self.watched}
        self.sample_count = sum(len(one.ts) for kept in self.samples.values() for one in kept.values())

    def ping(self) -> None:
        """Answer with a sign of life; one answer is enough for several pings."""
        self.pinged = True
        self.dirty.set()

    def complain(self, detail: str) -> None:
        """Say that something which the client sent was not understood."""
        self.faults.append(detail)
        self.dirty.set()

    def add_event(self, event: bytes) -> None:
        """Keep an event, as JSON; the oldest ones go when there are too many."""
        self.events.append(event)
        self.event_bytes += len(event)
        while len(self.events) > MAX_EVENTS or self.event_bytes > MAX_EVENT_BYTES:
            self.event_bytes -= len(self.events.popleft())
            self.skipped += 1
        self.dirty.set()

    def add_samples(self, robot: str, columns: list[Column]) -> None:
        """Keep samples of a watched robot; they are skipped when too many wait."""
        for column in columns:
            size = _size(column)
            waiting = sum(self.sample_bytes.values())
            if self.sample_count + len(column.ts) > MAX_SAMPLES or waiting + size > MAX_SAMPLE_BYTES:
                self.skipped_samples[robot] = self.skipped_samples.get(robot, 0) + len(column.ts)
                continue
            self.sample_count += len(column.ts)
            self.sample_bytes[robot] = self.sample_bytes.get(robot, 0) + size
            kept = self.samples.setdefault(robot, {}).get(column.channel)
            if kept is None:
                self.samples[robot][column.channel] = Samples(
                    channel=column.channel,
                    type=column.type,
                    unit=column.unit,
                    ts=list(column.ts),
                    values=list(column.values),
                )
            else:
                kept.ts.extend(column.ts)
                kept.values.extend(column.values)
        self.dirty.set()


def _size(column: Column) -> int:
    """About as many bytes as the column takes."""
    size = PLAIN_SAMPLE * len(column.ts)
    if column.type in ("text", "object"):
        size += len(msgspec.json.encode(column.values))
    return size
