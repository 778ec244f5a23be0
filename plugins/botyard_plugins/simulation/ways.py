"""The ways of a real fleet to a real hub: opened a few at a time, and made worse at the robots' end.

Whatever a scenario does to a way is done here, between a robot's link and its transport, whichever that is: cut,
silent, late, lost, doubled or out of order, in both directions. Without a fault a message passes straight through.
"""

import asyncio
import contextlib
import math
import random
from collections import ChainMap
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from botyard_edge.transport import Received, Session, Transport, TransportError, Will
from botyard_plugins.simulation.network import ASTRAY, GIVEN_UP_AFTER, PERFECT, Way
from botyard_schemas import topics
from botyard_schemas.clock import Clock

# Connections that are opened at once, and in a second: a fleet that comes back together must not storm its hub.
OPENING = 32
OPENED_A_SECOND = 100.0
# Connections that are opened in a second even where broker or machine are slow.
OPENED_SLOWLY = 10.0
# Messages that are late on one connection; whoever sends more waits.
MAX_LATE = 2000
# Messages at QoS 0 from the hub.
UNCONFIRMED = frozenset({"ack", "time"})


class Gate:
    """Lets connections be opened one after another, some at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._some = asyncio.Semaphore(OPENING)
        self._next = 0.0

    @contextlib.asynccontextmanager
    async def passed(self) -> AsyncGenerator[None, None]:
        """While one is being opened."""
        async with self._some:
            now = self._clock.monotonic()
            self._next = max(now, self._next) + 1.0 / OPENED_A_SECOND
            if (wait := self._next - now - 1.0 / OPENED_A_SECOND) > 0.0:
                await self._clock.sleep(wait)
            yield


@dataclass(slots=True)
class _Robot:
    inner: Transport
    way: Way = field(default_factory=Way)
    session: "WorseSession | None" = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    # Steady times between which it had a connection; the last one may last.
    times: list[list[float]] = field(default_factory=list)
    # Why it has none.
    trouble: str = "it has not tried yet"


class Ways:
    """The robots' ways to the hub. `make` makes a robot's real transport; `sent` hears every message that a robot gives
    to its connection."""

    def __init__(
        self, make: Callable[[str], Transport], clock: Clock, rng: random.Random, sent: Callable[[bytes], None]
    ) -> None:
        self._make = make
        self.clock = clock
        self.rng = rng
        self.sent = sent
        self.gate = Gate(clock)
        self._robots: dict[str, _Robot] = {}

    @property
    def connected(self) -> int:
        """How many robots have a connection."""
        return sum(one.session is not None for one in self._robots.values())

    def trouble(self) -> list[str]:
        """A sentence for each robot that has no connection, and why."""
        return [f"{name}: {one.trouble}" for name, one in self._robots.items() if one.session is None]

    def without(self, robot: str, begin: float, end: float) -> bool:
        """Whether a robot had no connection at some moment between these, in steady seconds."""
        at = begin
        for since, until in self._robots[robot].times:
            if until <= at:
                continue
            if since > at:
                return True
            at = until
            if at >= end:
                return False
        return True

    def edge(self, robot: str) -> "WorseTransport":
        """A robot's transport."""
        if robot not in self._robots:
            self._robots[robot] = _Robot(self._make(robot))
        return WorseTransport(self, self._robots[robot])

    def power_off(self, robot: str) -> None:
        """The robot is gone, in the middle of whatever it said."""
        if session := self._robots[robot].session:
            session.break_off()

    async def meanwhile(self, robot: str, changes: Mapping[str, Any], seconds: float) -> None:
        """As `Surroundings.meanwhile`."""
        one, change = self._robots[robot], dict(changes)
        one.changes.append(change)
        self._changed(one)
        try:
            await self.clock.sleep(seconds)
        finally:
            one.changes = [left for left in one.changes if left is not change]
            self._changed(one)

    def _changed(self, one: _Robot) -> None:
        for name, value in ChainMap(*reversed(one.changes), msgspec.structs.asdict(PERFECT)).items():
            setattr(one.way, name, value)
        if one.session is not None:
            one.session.look()


@dataclass(frozen=True, slots=True)
class WorseTransport:
    """A robot's real transport, as far as the simulation lets it through."""

    ways: Ways
    robot: _Robot

    @property
    def address(self) -> str:
        return self.robot.inner.address

    @contextlib.asynccontextmanager
    async def session(self, will: Will) -> AsyncGenerator[Session, None]:
        self._check()
        async with AsyncExitStack() as stack:
            self.robot.trouble = "it waits for its turn"
            async with self.ways.gate.passed():
                self._check()
                self.robot.trouble = "its connection is being opened"
                try:
                    inner = await stack.enter_async_context(self.robot.inner.session(will))
                except TransportError as error:
                    self.robot.trouble = str(error)
                    raise
            session = WorseSession(inner, self.robot.way, self.ways)
            await stack.enter_async_context(session)
            times = [self.ways.clock.monotonic(), math.inf]
            self.robot.session = session
            self.robot.times.append(times)
            try:
                yield session
            finally:
                times[1] = self.ways.clock.monotonic()
                if self.robot.session is session:
                    self.robot.session = None
                    self.robot.trouble = "its connection has ended"

    def _check(self) -> None:
        if self.robot.way.down or self.robot.way.silent:
            raise TransportError("the simulation lets nothing through")


class WorseSession:
    """A connection through which messages pass as its way is. Runs while its `async with` lasts."""

    def __init__(self, inner: Session, way: Way, ways: Ways) -> None:
        self._inner = inner
        self._way = way
        self._ways = ways
        self._loop = asyncio.get_running_loop()
        self._broken = False
        self._open = asyncio.Event()
        self._open.set()
        self._room = asyncio.Event()
        self._room.set()
        self._given_up: asyncio.TimerHandle | None = None
        # What leaves late, and what has arrived, each in the order of its moment; None: the connection is cut.
        self._leaving: asyncio.Queue[tuple[str, bytes, int, bool]] = asyncio.Queue(2 * MAX_LATE)
        self._arrived: asyncio.Queue[Received | TransportError] = asyncio.Queue()
        self._late = {"up": 0, "down": 0}
        self._latest = {"up": 0.0, "down": 0.0}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks.append(asyncio.create_task(self._pull(), name="simulation.way.down"))
        self.look()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._broken = True
        if self._given_up is not None:
            self._given_up.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def look(self) -> None:
        """The way has changed."""
        if self._way.down:
            self.break_off()
        elif self._way.silent and self._open.is_set():
            self._open.clear()
            self._given_up = self._loop.call_later(GIVEN_UP_AFTER, self.break_off)
        elif not self._way.silent:
            self._open.set()
            if self._given_up is not None:
                self._given_up.cancel()

    def break_off(self) -> None:
        """The connection is cut, without a goodbye where the transport can do that: then the last will is sent."""
        if self._broken:
            return
        self._broken = True
        if (abort := getattr(self._inner, "abort", None)) is not None:
            abort()
        self._arrived.put_nowait(TransportError("the simulation cut the connection"))
        self._open.set()
        self._room.set()

    async def subscribe(self, topic: str) -> None:
        await self._inner.subscribe(topic)

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, wait: bool = False) -> None:
        way = self._way
        if "/up/" in topic:
            self._ways.sent(payload)
        if not self._open.is_set():
            await self._open.wait()
        if self._late["up"] >= MAX_LATE:
            self._room.clear()
            await self._room.wait()
        self._check()
        if way == PERFECT and not self._late["up"]:
            await self._inner.publish(topic, payload, qos=qos, retain=retain, wait=wait)
        elif wait:
            await self._ways.clock.sleep(self._delay())
            self._check()
            await self._inner.publish(topic, payload, qos=qos, retain=retain, wait=True)
        elif qos or not self._chance(way.loss):
            if len(self._tasks) == 1:
                self._tasks.append(asyncio.create_task(self._push(), name="simulation.way.up"))
            message = topic, payload, qos, retain
            self._pass("up", lambda: self._leaving.put_nowait(message))

    async def messages(self) -> AsyncIterator[Received]:
        while True:
            message = await self._arrived.get()
            if isinstance(message, TransportError):
                raise message
            if not self._open.is_set():
                await self._open.wait()
            self._check()
            yield message

    async def _pull(self) -> None:
        """Take what the hub says, until the connection ends."""
        try:
            async for message in self._inner.messages():
                if self._late["down"] >= MAX_LATE or self._arrived.qsize() >= MAX_LATE:
                    self.break_off()  # nobody takes it any more
                    return
                if self._way == PERFECT and not self._late["down"]:
                    self._arrived.put_nowait(message)
                elif not (_unconfirmed(message) and self._chance(self._way.loss)):
                    self._pass("down", lambda one=message: self._arrived.put_nowait(one))  # type: ignore[misc]
        except TransportError as error:
            self._arrived.put_nowait(error)

    async def _push(self) -> None:
        """Send what was late, once its moment has come."""
        try:
            while True:
                topic, payload, qos, retain = await self._leaving.get()
                await self._open.wait()
                await self._inner.publish(topic, payload, qos=qos, retain=retain)
        except TransportError as error:
            self._arrived.put_nowait(error)

    def _pass(self, direction: str, arrive: Callable[[], None]) -> None:
        """Let something arrive when the way lets it: once or twice, in its turn or out of it."""
        for _ in range(2 if self._chance(self._way.duplicates) else 1):
            at = self._loop.time() + self._delay()
            if self._chance(self._way.reordered):
                at += self._ways.rng.uniform(0.0, ASTRAY)
            else:
                at = max(at, math.nextafter(self._latest[direction], math.inf))
                self._latest[direction] = at
            self._late[direction] += 1
            self._loop.call_at(at, self._come, direction, arrive)

    def _come(self, direction: str, arrive: Callable[[], None]) -> None:
        self._late[direction] -= 1
        self._room.set()
        if not self._broken:
            arrive()

    def _delay(self) -> float:
        way = self._way
        return way.latency + (self._ways.rng.uniform(0.0, way.jitter) if way.jitter else 0.0)

    def _check(self) -> None:
        if self._broken:
            raise TransportError("the simulation cut the connection")

    def _chance(self, share: float) -> bool:
        return share > 0.0 and self._ways.rng.random() < share


def _unconfirmed(message: Received) -> bool:
    address = topics.parse(message.topic)
    return address is not None and address.type in UNCONFIRMED
