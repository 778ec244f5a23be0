"""A network without a network: what robots and hub send each other, late, twice, in another order or not at all.

One object is the hub's transport, and gives each robot its own. Everything it does by chance comes from the random
numbers that it is given, and all of its time from the clock, so the same seed gives the same network.
"""

import asyncio
import contextlib
import math
import random
from collections import ChainMap, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import msgspec

from botyard.core.actor import HUB
from botyard.core.events import TransportChanged
from botyard.core.tasks import Tasks
from botyard.plugin import AuthProvider, Inbound, Inbox, PluginContext, Transport, hookimpl
from botyard_edge.transport import Received, Session, TransportError, Will
from botyard_edge.transport import Transport as EdgeSide
from botyard_schemas import Envelope, encode, topics
from botyard_schemas.clock import Clock

# A connection on which nothing passes is given up by both sides after so many seconds, as MQTT's keep-alive does it.
GIVEN_UP_AFTER = 22.5
# How much earlier or later than the others a message is that comes out of order: seconds.
ASTRAY = 1.0
PEER = "127.0.0.1"


class Way(msgspec.Struct):
    """How one robot's way to the hub is just now. `latency` and `jitter` in seconds, the others are shares (0 to 1).

    `down`: it cannot connect, and its connection is cut. `silent`: nothing passes and nobody is told. `loss` is that of
    messages at QoS 0; the others are sent again by whoever carries them.
    """

    down: bool = False
    silent: bool = False
    latency: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplicates: float = 0.0
    reordered: float = 0.0


PERFECT = Way()


@dataclass(slots=True)
class _Robot:
    way: Way = field(default_factory=Way)
    session: "_Session | None" = None
    changes: list[dict[str, Any]] = field(default_factory=list)


class Surroundings(Protocol):
    """What is between a robot and its hub, for whoever simulates it."""

    def edge(self, robot: str) -> EdgeSide:
        """A robot's transport."""

    def power_off(self, robot: str) -> None:
        """The robot is gone, in the middle of whatever it said."""

    async def meanwhile(self, robot: str, changes: Mapping[str, Any], seconds: float) -> None:
        """Make the robot's way to the hub worse for so long, by fields of `Way`; what began last counts."""


class Network(Transport):
    """Both ends, and the hub's plugin that brings its own. `meanwhile` makes a way worse.

    `sent` hears every message that a robot gives to it.
    """

    name = "simulation"

    def __init__(self, clock: Clock, rng: random.Random, sent: Callable[[bytes], None] = lambda _: None) -> None:
        self._sent = sent
        self._clock = clock
        self._rng = rng
        self._robots: dict[str, _Robot] = {}
        self._inbox: Inbox | None = None
        self._context: PluginContext | None = None
        self._arrived: deque[Inbound] = deque()
        self._some = asyncio.Event()
        self._tasks = Tasks()
        self._up = False

    # --- the hub's end

    @hookimpl
    def botyard_transports(
        self,
        context: PluginContext,
        inbox: Inbox,
        auth: Sequence[AuthProvider],  # noqa: ARG002 - pluggy goes by the names
    ) -> Sequence[Transport]:
        self._context, self._inbox = context, inbox
        return [self]

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.start(self._deliver(), "simulation.network")
        self._say(up=True)
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._say(up=False)
        self._tasks.cancel()
        await self._tasks.__aexit__(*exc)

    async def send(self, envelope: Envelope) -> bool:
        robot = self._robots.get(envelope.robot)
        if robot is None or robot.session is None:
            return False
        session = robot.session
        received = Received(topics.down(envelope.robot, envelope.type), encode(envelope))
        self._pass(robot.way, session, 0 if envelope.type in ("ack", "time") else 1, lambda: session.offer(received))
        return True

    @property
    def address(self) -> str:
        return f"{self.name}://"

    @property
    def connected(self) -> bool:
        return self._up

    def _say(self, *, up: bool) -> None:
        self._up = up
        assert self._context is not None  # noqa: S101 - it is entered by a hub alone
        self._context.bus.publish(
            TransportChanged(actor=HUB, transport=self.name, connected=up, error=None if up else "stopped")
        )

    def _arrive(self, topic: str, payload: bytes) -> None:
        self._arrived.append(Inbound(topic, payload, self._clock.now(), self.name, PEER))
        self._some.set()

    async def _deliver(self) -> None:
        assert self._inbox is not None  # noqa: S101 - as above
        while True:
            await self._some.wait()
            self._some.clear()
            some = [self._arrived.popleft() for _ in range(len(self._arrived))]
            await self._inbox.receive_all(some)

    # --- the robots' end

    def edge(self, robot: str) -> "EdgeTransport":
        """A robot's transport."""
        self._robots.setdefault(robot, _Robot())
        return EdgeTransport(self, robot)

    def power_off(self, robot: str) -> None:
        """The robot is gone, in the middle of whatever it said; the hub hears its last will."""
        if session := self._robots[robot].session:
            session.break_off()

    async def meanwhile(self, robot: str, changes: Mapping[str, Any], seconds: float) -> None:
        """Make the robot's way to the hub worse for so long, by fields of `Way`; what began last counts."""
        one = self._robots.setdefault(robot, _Robot())
        change = dict(changes)
        one.changes.append(change)
        self._changed(one)
        await self._clock.sleep(seconds)
        one.changes = [left for left in one.changes if left is not change]
        self._changed(one)

    def _changed(self, one: _Robot) -> None:
        for name, value in ChainMap(*reversed(one.changes), msgspec.structs.asdict(PERFECT)).items():
            setattr(one.way, name, value)
        if one.session is None:
            return
        if one.way.down:
            one.session.break_off()
        elif one.way.silent:
            session = one.session
            loop = asyncio.get_running_loop()
            loop.call_later(GIVEN_UP_AFTER, lambda: session.break_off() if one.way.silent else None)
        else:
            one.session.go_on()

    @contextlib.asynccontextmanager
    async def open(self, robot: str, will: Will) -> AsyncGenerator["_Session", None]:
        """A robot's connection."""
        one = self._robots[robot]
        await self._clock.sleep(one.way.latency)
        if one.way.down or one.way.silent or not self._up:
            raise TransportError("the hub cannot be reached")
        session = one.session = _Session(self, one.way, will)
        try:
            yield session
        finally:
            session.broken = True
            if one.session is session:
                one.session = None

    def publish(self, session: "_Session", topic: str, payload: bytes, qos: int) -> None:
        """A message from a robot."""
        self._sent(payload)
        self._pass(session.way, session, qos, lambda: self._arrive(topic, payload))

    def will(self, will: Will) -> None:
        """Nobody has heard of the robot for too long."""
        self._arrive(will.topic, will.payload)

    def _pass(self, way: Way, session: "_Session", qos: int, arrive: Callable[[], None]) -> None:
        """Let something pass, as the way is."""
        if not qos and self._chance(way.loss):
            return
        if way.silent:
            session.waiting.append(arrive)
            return
        for _ in range(2 if self._chance(way.duplicates) else 1):
            delay = way.latency + (self._rng.uniform(0.0, way.jitter) if way.jitter else 0.0)
            if self._chance(way.reordered):
                delay += self._rng.uniform(0.0, ASTRAY)
                session.after(delay, arrive)
            else:
                session.in_order(delay, arrive)

    def _chance(self, share: float) -> bool:
        return share > 0.0 and self._rng.random() < share


@dataclass(frozen=True, slots=True)
class EdgeTransport:
    """A robot's way to the network."""

    network: Network
    robot: str

    @property
    def address(self) -> str:
        return f"simulation:{self.robot}"

    @contextlib.asynccontextmanager
    async def session(self, will: Will) -> AsyncGenerator[Session, None]:
        async with self.network.open(self.robot, will) as session:
            yield session


class _Session:
    """One connection of a robot. What is on its way when it ends is lost, as with any connection."""

    def __init__(self, network: Network, way: Way, will: Will) -> None:
        self.way = way
        self.broken = False
        self.waiting: list[Callable[[], None]] = []
        self._network = network
        self._will = will
        self._incoming: asyncio.Queue[Received | None] = asyncio.Queue(100_000)
        self._latest = 0.0

    async def subscribe(self, topic: str) -> None:
        """A robot hears all that is meant for it, and nothing else."""
        del topic
        self._check()

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, wait: bool = False) -> None:
        del retain, wait
        self._check()
        self._network.publish(self, topic, payload, qos)

    async def messages(self) -> AsyncIterator[Received]:
        while (message := await self._incoming.get()) is not None:
            yield message
        raise TransportError("the connection broke")

    def offer(self, message: Received) -> None:
        """Something for the robot has arrived."""
        self._incoming.put_nowait(message)

    def in_order(self, delay: float, arrive: Callable[[], None]) -> None:
        """After so many seconds, and not before what was sent before."""
        loop = asyncio.get_running_loop()
        at = loop.time() + delay
        if at <= self._latest:
            at = math.nextafter(self._latest, math.inf)  # timers of the same moment have no order
        self._latest = at
        if delay <= 0.0 and at <= loop.time():
            arrive()
        else:
            loop.call_at(at, self._unless_broken, arrive)

    def after(self, delay: float, arrive: Callable[[], None]) -> None:
        """After so many seconds, whatever comes before or after it."""
        asyncio.get_running_loop().call_later(delay, self._unless_broken, arrive)

    def go_on(self) -> None:
        """What had to wait arrives now."""
        waiting, self.waiting = self.waiting, []
        for arrive in waiting:
            self.in_order(0.0, arrive)

    def break_off(self) -> None:
        """The connection is cut: both sides notice."""
        if not self.broken:
            self.broken = True
            self._incoming.put_nowait(None)
            self._network.will(self._will)

    def _unless_broken(self, arrive: Callable[[], None]) -> None:
        if not self.broken:
            arrive()

    def _check(self) -> None:
        if self.broken:
            raise TransportError("the connection broke")
