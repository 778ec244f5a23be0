"""What changed, for everybody who looks: one shared memory of changes, and a small bounded one for each client.

A change is kept as the fact *that* a robot changed; what it looks like is read when a client gets it. So a slow client
costs no more memory than a fast one, and several changes of a robot become one. Events and samples are the exception:
they are kept up to a number and a size, and what is left out is counted. An event is encoded once, for all clients.
"""

import asyncio
import re
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec

from botyard.core.events import EventCommitted, RobotChanged, RobotRemoved, RobotSeen, SamplesReceived, TransportChanged
from botyard.store.base import StoredEvent
from botyard.web.client import MAX_EVENT_BYTES, MAX_EVENTS, Client
from botyard.web.frames import Fault, Readings
from botyard.web.views import event_view, hub_view, robot_view

if TYPE_CHECKING:
    from botyard.core.hub import Hub

NUMBER = re.compile(r"[0-9]{1,18}")
# Changes that can be resumed from, and events in a snapshot.
REMEMBERED = 10_000
RECENT_EVENTS = 50
REMEMBERED_BYTES = 16 * 1024 * 1024
# A sign of life alone is shown at most this often for one robot (seconds), and for so many robots in a second.
SEEN_EVERY = 1.0
SEEN_PER_SECOND = 200


class Event(NamedTuple):
    """An event as JSON, and the number of the change that it was; 0 for those from before the start."""

    number: int
    id: int
    json: bytes


class Feed:
    """Listens to the bus while its `async with` lasts, and knows all clients."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._boot = secrets.token_hex(4)
        self._number = 0
        self._changes: deque[tuple[int, str]] = deque(maxlen=REMEMBERED)
        self._events: deque[Event] = deque()
        self._event_bytes = 0
        self._forgotten = 0  # the number of the last change that cannot be told any more
        self._clients: set[Client] = set()
        self._seen: dict[str, float] = {}
        self._encoded: dict[str, msgspec.Raw] = {}
        self._unsubscribe: list[Any] = []
        self._no_samples: Callable[[], None] | None = None
        self.closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        bus = self._hub.bus
        self._unsubscribe = [
            bus.subscribe(RobotChanged, lambda change: self._robot(change.robot)),
            bus.subscribe(RobotSeen, self._robot_seen),
            bus.subscribe(RobotRemoved, lambda change: self._robot(change.robot)),
            bus.subscribe(EventCommitted, lambda change: self._event(change.event)),
            bus.subscribe(TransportChanged, lambda _change: self._hub_changed()),
        ]
        # only now, so that nothing falls in between; what came meanwhile is known already
        page = await self._hub.store.events(limit=RECENT_EVENTS)
        known = {event.id for event in self._events}
        for earlier in page.items:
            if earlier.id not in known:
                kept = Event(0, earlier.id, msgspec.json.encode(event_view(earlier)))
                self._events.appendleft(kept)
                self._event_bytes += len(kept.json)
        self._forget()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        if self._no_samples is not None:
            self._no_samples()

    # --- from the bus

    def _robot(self, robot: str) -> None:
        self._number += 1
        if len(self._changes) == REMEMBERED:
            self._forgotten = max(self._forgotten, self._changes[0][0])
        self._changes.append((self._number, robot))
        self._encoded.pop(robot, None)
        gone = self._hub.fleet.active(robot) is None
        if gone:
            self._seen.pop(robot, None)
        for client in self._clients:
            (client.removed if gone else client.robots).add(robot)
            (client.robots if gone else client.removed).discard(robot)
            client.dirty.set()

    def _robot_seen(self, seen: RobotSeen) -> None:
        now = self._hub.clock.monotonic()
        last = self._seen.get(seen.robot)
        if last is None or now - last >= max(SEEN_EVERY, len(self._seen) / SEEN_PER_SECOND):
            self._seen[seen.robot] = now
            self._robot(seen.robot)

    def _event(self, event: StoredEvent) -> None:
        self._number += 1
        kept = Event(self._number, event.id, msgspec.json.encode(event_view(event)))
        self._events.append(kept)
        self._event_bytes += len(kept.json)
        self._forget()
        for client in self._clients:
            client.add_event(kept.json)

    def _forget(self) -> None:
        """Let the oldest events go while there are too many."""
        while len(self._events) > REMEMBERED or self._event_bytes > REMEMBERED_BYTES:
            gone = self._events.popleft()
            self._event_bytes -= len(gone.json)
            self._forgotten = max(self._forgotten, gone.number)

    def _samples(self, received: SamplesReceived) -> None:
        for client in self._clients:
            if received.robot in client.watched:
                client.add_samples(received.robot, received.columns())

    def _hub_changed(self) -> None:
        for client in self._clients:
            client.hub = True
            client.dirty.set()

    # --- to clients

    def join(self, client: Client) -> None:
        """From now on, note for this client what changes."""
        self._clients.add(client)
        if self._no_samples is None:  # nobody makes events of samples while nobody looks
            self._no_samples = self._hub.bus.subscribe(SamplesReceived, self._samples)

    def leave(self, client: Client) -> None:
        """Forget the client."""
        self._clients.discard(client)
        if not self._clients and self._no_samples is not None:
            self._no_samples()
            self._no_samples = None

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
                    "events": _raw(_newest(list(self._events)[-RECENT_EVENTS:])),
                }
            )
        changed = {robot for at, robot in self._changes if at > number}
        missed = [event for event in self._events if event.number > number]
        told = _newest(missed[-MAX_EVENTS:])
        return self._changes_frame(changed, told, len(missed) - len(told), hub=True)

    def _resumable(self, since: str | None) -> int | None:
        boot, _, text = (since or "").partition("-")
        if boot != self._boot or not NUMBER.fullmatch(text):
            return None
        number = int(text)
        return number if self._forgotten <= number <= self._number else None

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
            client.event_bytes = 0
        for robot in client.samples.keys() | client.skipped_samples.keys():
            channels = list(client.samples.get(robot, {}).values())
            skipped = client.skipped_samples.get(robot, 0)
            frames.append(msgspec.json.encode(Readings(robot=robot, channels=channels, skipped=skipped)))
        client.samples, client.skipped_samples, client.sample_count, client.sample_bytes = {}, {}, 0, {}
        if client.pinged:  # last, since its id says that everything before was told
            frames.append(self._changes_frame(set(), [], 0, hub=False))
            client.pinged = False
        return frames

    def _changes_frame(self, robots: set[str], events: list[bytes], skipped: int, *, hub: bool) -> bytes:
        known = sorted(robot for robot in robots if self._hub.fleet.active(robot))
        return msgspec.json.encode(
            {
                "type": "changes",
                "id": self.position,
                "robots": [self._robot_json(robot) for robot in known],
                "removed": sorted(robots - set(known)),
                "events": _raw(events),
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
            encoded = msgspec.Raw(msgspec.json.encode(robot_view(record)))
            if len(self._clients) > 1:  # it is for the others
                self._encoded[robot] = encoded
        return encoded


def _newest(events: Sequence[Event]) -> list[bytes]:
    """As many of the newest as one client gets at once, in their order."""
    told: deque[bytes] = deque()
    size = 0
    for event in reversed(events):
        size += len(event.json)
        if size > MAX_EVENT_BYTES:
            break
        told.appendleft(event.json)
    return list(told)


def _raw(events: Sequence[bytes]) -> list[msgspec.Raw]:
    return [msgspec.Raw(event) for event in events]
