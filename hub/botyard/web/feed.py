"""What changed, for everybody who looks: one shared memory of changes, and a small bounded one for each client.

A change is kept as the fact *that* a robot changed; what it looks like is read when a client gets it. So a slow client
costs no more memory than a fast one, and several changes of a robot become one. Events are the exception: each is kept,
up to a number, and what is left out is counted.
"""

import asyncio
import re
import secrets
from collections import deque
from typing import TYPE_CHECKING, Any, Self

import msgspec

from botyard.core.events import EventCommitted, RobotChanged, RobotRemoved, RobotSeen, SamplesReceived, TransportChanged
from botyard.store.base import Column
from botyard.web.models import EventView, Fault, Readings, Samples
from botyard.web.views import event_view, hub_view, robot_view

if TYPE_CHECKING:
    from botyard.core.hub import Hub

NUMBER = re.compile(r"[0-9]{1,18}")
# Changes that can be resumed from, and events in a snapshot.
REMEMBERED = 10_000
RECENT_EVENTS = 50
# What waits for one client at most.
MAX_EVENTS = 200
MAX_SAMPLES = 5_000
MAX_WATCHED = 16
MAX_FAULTS = 16
# A sign of life alone is shown at most this often: seconds.
SEEN_EVERY = 1.0


class Client:
    """What one client has not been told yet."""

    def __init__(self) -> None:
        self.robots: set[str] = set()
        self.removed: set[str] = set()
        self.events: deque[EventView] = deque(maxlen=MAX_EVENTS)
        self.skipped = 0
        self.hub = False
        self.watched: frozenset[str] = frozenset()
        self.samples: dict[str, dict[str, Samples]] = {}
        self.sample_count = 0
        self.skipped_samples: dict[str, int] = {}
        self.pinged = False
        self.faults: deque[str] = deque(maxlen=MAX_FAULTS)
        self.dirty = asyncio.Event()

    def watch(self, robots: list[str]) -> None:
        """Send samples of these robots from now on, and of no others."""
        self.watched = frozenset(robots)
        self.samples = {robot: kept for robot, kept in self.samples.items() if robot in self.watched}
        self.skipped_samples = {robot: n for robot, n in self.skipped_samples.items() if robot in self.watched}
        self.sample_count = sum(len(one.ts) for kept in self.samples.values() for one in kept.values())

    def ping(self) -> None:
        """Answer with a sign of life; one answer is enough for several pings."""
        self.pinged = True
        self.dirty.set()

    def complain(self, detail: str) -> None:
        """Say that something which the client sent was not understood."""
        self.faults.append(detail)
        self.dirty.set()

    def add_event(self, event: EventView) -> None:
        """Keep an event; the oldest one goes when there are too many."""
        self.skipped += len(self.events) == MAX_EVENTS
        self.events.append(event)
        self.dirty.set()

    def add_samples(self, robot: str, columns: list[Column]) -> None:
        """Keep samples of a watched robot; they are skipped when too many wait."""
        for column in columns:
            if self.sample_count + len(column.ts) > MAX_SAMPLES:
                self.skipped_samples[robot] = self.skipped_samples.get(robot, 0) + len(column.ts)
                continue
            self.sample_count += len(column.ts)
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


class Feed:
    """Listens to the bus while its `async with` lasts, and knows all clients."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._boot = secrets.token_hex(4)
        self._number = 0
        self._changes: deque[tuple[int, str]] = deque(maxlen=REMEMBERED)
        self._events: deque[tuple[int, EventView]] = deque(maxlen=REMEMBERED)
        self._clients: set[Client] = set()
        self._seen: dict[str, float] = {}
        self._encoded: dict[str, msgspec.Raw] = {}
        self._unsubscribe: list[Any] = []
        self.closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        bus = self._hub.bus
        self._unsubscribe = [
            bus.subscribe(RobotChanged, lambda change: self._robot(change.robot)),
            bus.subscribe(RobotSeen, self._robot_seen),
            bus.subscribe(RobotRemoved, lambda change: self._robot(change.robot)),
            bus.subscribe(SamplesReceived, self._samples),
            bus.subscribe(EventCommitted, lambda change: self._event(event_view(change.event))),
            bus.subscribe(TransportChanged, lambda _change: self._hub_changed()),
        ]
        # only now, so that nothing falls in between; what came meanwhile is known already
        page = await self._hub.store.events(limit=RECENT_EVENTS)
        known = {event.id for _, event in self._events}
        self._events.extendleft((0, event_view(event)) for event in page.items if event.id not in known)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    # --- from the bus

    def _robot(self, robot: str) -> None:
        self._number += 1
        self._changes.append((self._number, robot))
        self._encoded.pop(robot, None)
        gone = self._hub.fleet.get(robot) is None
        if gone:
            self._seen.pop(robot, None)
        for client in self._clients:
            (client.removed if gone else client.robots).add(robot)
            (client.robots if gone else client.removed).discard(robot)
            client.dirty.set()

    def _robot_seen(self, seen: RobotSeen) -> None:
        now = self._hub.clock.monotonic()
        if now - self._seen.get(seen.robot, -SEEN_EVERY) >= SEEN_EVERY:
            self._seen[seen.robot] = now
            self._robot(seen.robot)

    def _event(self, event: EventView) -> None:
        self._number += 1
        self._events.append((self._number, event))
        for client in self._clients:
            client.add_event(event)

    def _samples(self, received: SamplesReceived) -> None:
        for client in self._clients:
            if received.robot in client.watched:
                client.add_samples(received.robot, received.columns)

    def _hub_changed(self) -> None:
        for client in self._clients:
            client.hub = True
            client.dirty.set()

    # --- to clients

    def join(self, client: Client) -> None:
        """From now on, note for this client what changes."""
        self._clients.add(client)

    def leave(self, client: Client) -> None:
        """Forget the client."""
        self._clients.discard(client)

    @property
    def position(self) -> str:
        """Where the feed is now; what a client says in `since` after a drop."""
        return f"{self._boot}-{self._number}"

    def first_frame(self, since: str | None) -> bytes:
        """What a client gets first: what it missed when that is known, else everything."""
        number = self._resumable(since)
        if number is None:
            return msgspec.json.encode(
                {
                    "type": "snapshot",
                    "id": self.position,
                    "hub": hub_view(self._hub),
                    "robots": [self._robot_json(record.row.id) for record in self._hub.fleet.all()],
                    "events": [event for _, event in list(self._events)[-RECENT_EVENTS:]],
                }
            )
        changed = {robot for at, robot in self._changes if at > number}
        missed = [event for at, event in self._events if at > number]
        return self._changes_frame(changed, missed[-MAX_EVENTS:], max(0, len(missed) - MAX_EVENTS), hub=True)

    def _resumable(self, since: str | None) -> int | None:
        boot, _, text = (since or "").partition("-")
        if boot != self._boot or not NUMBER.fullmatch(text):
            return None
        number = int(text)
        forgotten = max(
            self._changes[0][0] - 1 if len(self._changes) == REMEMBERED else 0,
            self._events[0][0] - 1 if len(self._events) == REMEMBERED else 0,
        )
        return number if forgotten <= number <= self._number else None

    def frames(self, client: Client) -> list[bytes]:
        """Everything that the client has not been told yet, and forget that it has not."""
        client.dirty.clear()
        frames = [msgspec.json.encode(Fault(detail=detail)) for detail in client.faults]
        client.faults.clear()
        if client.robots or client.removed or client.events or client.hub:
            frames.append(
                self._changes_frame(client.robots | client.removed, list(client.events), client.skipped, hub=client.hub)
            )
            client.robots, client.removed, client.skipped, client.hub = set(), set(), 0, False
            client.events.clear()
        for robot in client.samples.keys() | client.skipped_samples.keys():
            channels = list(client.samples.get(robot, {}).values())
            skipped = client.skipped_samples.get(robot, 0)
            frames.append(msgspec.json.encode(Readings(robot=robot, channels=channels, skipped=skipped)))
        client.samples, client.skipped_samples, client.sample_count = {}, {}, 0
        if client.pinged:  # last, since its id says that everything before was told
            frames.append(self._changes_frame(set(), [], 0, hub=False))
            client.pinged = False
        return frames

    def _changes_frame(self, robots: set[str], events: list[EventView], skipped: int, *, hub: bool) -> bytes:
        known = sorted(robot for robot in robots if self._hub.fleet.get(robot))
        return msgspec.json.encode(
            {
                "type": "changes",
                "id": self.position,
                "robots": [self._robot_json(robot) for robot in known],
                "removed": sorted(robots - set(known)),
                "events": events,
                "hub": hub_view(self._hub) if hub else None,
                "skipped": skipped,
            }
        )

    def _robot_json(self, robot: str) -> msgspec.Raw:
        """A robot as JSON, encoded once for all clients."""
        encoded = self._encoded.get(robot)
        if encoded is None:
            record = self._hub.fleet.get(robot)
            assert record  # noqa: S101 - the callers have looked
            encoded = self._encoded[robot] = msgspec.Raw(msgspec.json.encode(robot_view(record)))
        return encoded
