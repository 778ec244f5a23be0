"""Test tools for drivers and runtimes: virtual time, a broker in memory, and a hub that only keeps account.

Public, so that plugin authors test as we do::

    clock = VirtualClock()
    broker = MemoryBroker()
    hub = HubModel(broker, clock=clock)
    async with Runtime(config, clock=clock, rng=random.Random(1), transport=broker.transport("picker-7")):
        await clock.advance(60.0)

With the hub installed there is more, and less to write: the pytest fixtures of docs/integrators/testing.md.
"""

import asyncio
import heapq
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from botyard_edge.bus import matches
from botyard_edge.notices import DROPPED
from botyard_edge.transport import Received, Session, TransportError, Will
from botyard_schemas import Ack, Command, Envelope, Event, Presence, Time, decode, encode, topics
from botyard_schemas.messages import SEQUENCED

B = TypeVar("B")

# Rounds of the loop after which work that never comes to rest is taken for a mistake.
MAX_ROUNDS = 100_000


class VirtualClock:
    """A clock that stands still until `advance` is called, and then jumps from one sleeper's end to the next."""

    def __init__(self, start: int = 1_763_712_000_000_000) -> None:
        self._start = start
        self._elapsed = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def now(self) -> int:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed / 1e6

    async def sleep(self, seconds: float) -> None:
        # At least the least that the clock can show, else a sleeper might wake at its own moment and spin.
        end = self._elapsed + (max(1, round(seconds * 1e6)) if seconds > 0 else 0)
        if end == self._elapsed:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (end, next(self._count), wake))
        await wake

    async def advance(self, seconds: float) -> None:
        """Let this much time pass, with everything that happens in it."""
        end = self._elapsed + round(seconds * 1e6)
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            moment, _, wake = heapq.heappop(self._sleepers)
            if wake.done():
                continue
            self._elapsed = max(self._elapsed, moment)
            wake.set_result(None)
            await settle()
        self._elapsed = end

    async def advance_until(self, condition: Callable[[], bool], *, limit: float = 3600.0, step: float = 0.1) -> None:
        """Let time pass until the condition holds. Raises TimeoutError after `limit` virtual seconds."""
        end = self._elapsed + limit * 1e6
        while not condition():
            if self._elapsed >= end:
                raise TimeoutError(f"not so within {limit} virtual seconds")
            await self.advance(step)


async def settle() -> None:
    """Let the event loop run until nothing in it is ready any more (work in threads and sockets is not waited for)."""
    ready = getattr(asyncio.get_running_loop(), "_ready", None)
    for _ in range(100 if ready is None else MAX_ROUNDS):
        await asyncio.sleep(0)
        if ready is not None and not ready:
            return
    if ready is not None:
        raise RuntimeError(f"the loop does not come to rest within {MAX_ROUNDS} rounds")


class Published(NamedTuple):
    """A message that reached the broker."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(slots=True)
class MemoryBroker:
    """A broker in memory. `loses(message)` decides which QoS 0 messages never arrive; while `down` nobody connects."""

    loses: Callable[[Published], bool] = lambda _: False
    down: bool = False
    log: list[Published] = field(default_factory=list)
    retained: dict[str, bytes] = field(default_factory=dict)
    listeners: list[Callable[[Published], None]] = field(default_factory=list)
    sessions: list["_MemorySession"] = field(default_factory=list)

    def transport(self, name: str) -> "MemoryTransport":
        """A transport for one robot."""
        return MemoryTransport(self, name)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish as anybody."""
        message = Published(topic, payload, qos, retain)
        if qos == 0 and self.loses(message):
            return
        self.log.append(message)
        if retain:
            self.retained[topic] = payload
        for session in list(self.sessions):
            session.offer(Received(topic, payload))
        for listener in list(self.listeners):
            listener(message)

    def cut(self, *, down: bool = False) -> None:
        """Break every connection, as a dying network does: last wills are published. `down`: and let nobody in."""
        self.down = down
        for session in list(self.sessions):
            session.break_off()


@dataclass(frozen=True, slots=True)
class MemoryTransport:
    """A robot's way to a MemoryBroker."""

    broker: MemoryBroker
    name: str

    @property
    def address(self) -> str:
        return "memory"

    @asynccontextmanager
    async def session(self, will: Will) -> AsyncGenerator[Session, None]:
        if self.broker.down:
            raise TransportError("the broker is down")
        session = _MemorySession(self.broker, will)
        self.broker.sessions.append(session)
        try:
            yield session
        finally:
            if session in self.broker.sessions:
                self.broker.sessions.remove(session)


class _MemorySession:
    def __init__(self, broker: MemoryBroker, will: Will) -> None:
        self._broker = broker
        self._will = will
        self._filters: list[str] = []
        self._incoming: asyncio.Queue[Received | None] = asyncio.Queue(100_000)
        self._broken = False

    async def subscribe(self, topic: str) -> None:
        self._check()
        self._filters.append(topic.replace("+", "*"))

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, wait: bool = False) -> None:
        del wait  # a broker in memory has it at once
        self._check()
        self._broker.publish(topic, payload, qos=qos, retain=retain)

    async def messages(self) -> AsyncIterator[Received]:
        while (message := await self._incoming.get()) is not None:
            yield message
        raise TransportError("the connection broke")

    def offer(self, message: Received) -> None:
        if any(matches(pattern, message.topic) for pattern in self._filters):
            self._incoming.put_nowait(message)

    def break_off(self) -> None:
        self._broken = True
        self._broker.sessions.remove(self)
        self._incoming.put_nowait(None)
        self._broker.publish(self._will.topic, self._will.payload, qos=1, retain=True)

    def _check(self) -> None:
        if self._broken:
            raise TransportError("the connection broke")


class HubModel:
    """A hub that only keeps account: it decodes, notes and acknowledges, and tells the time, which is `ahead` of the
    clock by so many microseconds. `acknowledges` False lets it fall silent."""

    def __init__(self, broker: MemoryBroker, *, clock: VirtualClock) -> None:
        self.acknowledges = True
        self.ahead = 0
        self.loses_ack: Callable[[], bool] = lambda: False
        self.messages: dict[tuple[str, str, int], Envelope] = {}
        self.copies = 0
        self.presence: list[Presence] = []
        self._settled: dict[tuple[str, str], set[int]] = {}
        self._reached: dict[tuple[str, str], int] = {}
        self._broker = broker
        self._clock = clock
        broker.listeners.append(self._take)

    def bodies(self, robot: str, kind: type[B]) -> list[B]:
        """The bodies of one type that a robot has sent, in the order of their making, each once."""
        made = sorted((item for item in self.messages.items() if item[0][0] == robot), key=lambda item: item[0])
        return [envelope.body for _, envelope in made if isinstance(envelope.body, kind)]

    def position(self, robot: str, epoch: str) -> int:
        """How far the epoch is complete."""
        settled = self._settled.get((robot, epoch), set())
        reached = self._reached.get((robot, epoch), 0)
        while reached + 1 in settled:
            reached += 1
        self._reached[robot, epoch] = reached
        return reached

    def command(self, robot: str, command: Command) -> None:
        """Send a command."""
        self._send(robot, Envelope(robot, self._clock.now(), command))

    def _take(self, message: Published) -> None:
        address = topics.parse(message.topic)
        if address is None or address.direction != "up":
            return
        envelope = decode(message.payload)
        if isinstance(envelope.body, Presence):
            self.presence.append(envelope.body)
        if isinstance(envelope.body, Time) and self.acknowledges:
            now = self._clock.now() + self.ahead
            self._send(envelope.robot, Envelope(envelope.robot, now, Time(envelope.body.origin, now, now)))
        if envelope.type not in SEQUENCED:
            return
        key = (envelope.robot, envelope.epoch, envelope.seq)
        self.copies += key in self.messages
        self.messages[key] = envelope
        settled = self._settled.setdefault(key[:2], set())
        settled.add(envelope.seq)
        if isinstance(envelope.body, Event) and envelope.body.name == DROPPED:
            for first, last in envelope.body.data["ranges"]:
                settled.update(range(first, last + 1))
        if self.acknowledges and not self.loses_ack():
            ack = Ack(envelope.epoch, self.position(envelope.robot, envelope.epoch))
            self._send(envelope.robot, Envelope(envelope.robot, self._clock.now(), ack))

    def _send(self, robot: str, envelope: Envelope) -> None:
        self._broker.publish(topics.down(robot, envelope.type), encode(envelope), qos=1)
