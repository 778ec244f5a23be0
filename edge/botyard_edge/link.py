"""The link: keeps a connection to the hub, says that the robot is there, and carries the outbox.

The hub's acknowledgement is end to end, so nothing here rests on the broker: whatever of the outbox's oldest messages
is not acknowledged in time is sent again, and all of it after a reconnect; `sender` says what is sent when.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from botyard_edge.bus import Bus
from botyard_edge.hubtime import HubClock
from botyard_edge.node import Backoff
from botyard_edge.outbox import Outbox
from botyard_edge.pace import PACE, Pace
from botyard_edge.sender import Sender
from botyard_edge.transport import Received, Session, Transport, TransportError, Will
from botyard_schemas import Ack, Command, Envelope, Presence, Time, WireError, decode, encode, topics
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Times in seconds. `window` messages may wait for the hub's acknowledgement; one that waits longer than
    `resend_after` is sent again, then after twice as long, up to eight times as long. `backlog` bounds the pace of
    what was there before the connection. The hub is asked for its time every `time_period`, and more often at first."""

    heartbeat: float = 5.0
    reconnect: Backoff = field(default_factory=lambda: Backoff(0.5, 30.0))
    window: int = 64
    resend_after: float = 5.0
    backlog: Pace = PACE
    time_period: float = 30.0


class Link:
    """Runs until it is cancelled, and says goodbye then. `on_command` gets each command that keeps the contract."""

    def __init__(
        self,
        robot: str,
        transport: Transport,
        outbox: Outbox,
        *,
        clock: Clock,
        rng: random.Random,
        on_command: Callable[[Command], None],
        bus: Bus,
        settings: LinkSettings = LinkSettings(),
        hub_time: HubClock | None = None,
    ) -> None:
        self.connected = False
        self._robot = robot
        self._transport = transport
        self._outbox = outbox
        self._clock = clock
        self._rng = rng
        self._on_command = on_command
        self._bus = bus
        self._settings = settings
        self._hub_time = hub_time
        self._sender = Sender(
            robot,
            outbox,
            clock=clock,
            window=settings.window,
            resend_after=settings.resend_after,
            pace=settings.backlog,
        )
        self._outage: float | None = None
        self._refused: set[str] = set()

    async def run(self) -> None:
        """Connect, and connect again after each loss."""
        failures = 0
        while True:
            began: float | None = None
            try:
                session_id = f"{self._rng.getrandbits(64):016x}"
                will = self._presence("offline", "last_will", session_id, None)
                async with self._transport.session(Will(topics.presence(self._robot), will)) as session:
                    began = self._clock.monotonic()
                    await self._serve(session, session_id)
            except* TransportError as problem:
                # A connection that lasted starts a new series of attempts.
                lasted = began is not None and self._clock.monotonic() - began > self._settings.reconnect.maximum
                failures = 1 if lasted else failures + 1
                self._note_down(_sentence(problem))
            await self._clock.sleep(self._settings.reconnect.pause(max(failures, 1), self._rng))

    async def _serve(self, session: Session, session_id: str) -> None:
        since = self._clock.now()
        await session.subscribe(topics.all_down(self._robot))
        await self._say(session, "online", "connected", session_id, since, wait=True)
        self._note_up()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(session), name="edge.link.read")
                tasks.create_task(self._sender.run(session), name="edge.link.send")
                tasks.create_task(self._ask_time(session), name="edge.link.time")
                tasks.create_task(self._beat(session, session_id, since), name="edge.link.heartbeat")
        except asyncio.CancelledError:
            await self._say(session, "offline", "stopped", session_id, since, wait=True)
            raise

    async def _read(self, session: Session) -> None:
        async for message in session.messages():
            self._take(message)

    def _take(self, message: Received) -> None:
        address = topics.parse(message.topic)
        if address is None or address.type == "config":
            return
        try:
            envelope = decode(message.payload)
        except WireError as error:
            self._refuse(str(error.reason), f"a message on {message.topic} is ignored: {error}")
            return
        if envelope.robot != self._robot or envelope.type != address.type:
            self._refuse(
                "mismatch", f"a message on {message.topic} is for {envelope.robot!r} ({envelope.type}), ignored"
            )
        elif isinstance(envelope.body, Ack):
            if envelope.body.epoch == self._outbox.epoch:
                before = self._outbox.acknowledged
                self._outbox.ack(envelope.body.epoch, envelope.body.seq)
                self._sender.heard(progress=self._outbox.acknowledged > before)
        elif isinstance(envelope.body, Time):
            if self._hub_time is not None:
                self._hub_time.learn(envelope.body)
        elif isinstance(envelope.body, Command):
            self._on_command(envelope.body)

    def _refuse(self, kind: str, sentence: str) -> None:
        # Who sends one sends many: one line of each kind is enough to find out.
        log.log(logging.DEBUG if kind in self._refused else logging.WARNING, "%s", sentence)
        self._refused.add(kind)

    async def _ask_time(self, session: Session) -> None:
        """Ask the hub for its time, often at first, so that the shortest of several round trips counts soon."""
        pause = 1.0
        while self._hub_time is not None:
            envelope = Envelope(self._robot, self._clock.now(), self._hub_time.request())
            await session.publish(topics.up(self._robot, "time"), encode(envelope), qos=0)
            await self._clock.sleep(min(pause, self._settings.time_period))
            pause *= 2.0

    async def _beat(self, session: Session, session_id: str, since: int) -> None:
        while True:
            await self._clock.sleep(self._settings.heartbeat)
            await self._say(session, "online", "heartbeat", session_id, since)

    async def _say(
        self, session: Session, status: str, reason: str, session_id: str, since: int, *, wait: bool = False
    ) -> None:
        payload = self._presence(status, reason, session_id, since)
        await session.publish(topics.presence(self._robot), payload, qos=1, retain=True, wait=wait)

    def _presence(self, status: str, reason: str, session_id: str, since: int | None) -> bytes:
        interval = self._settings.heartbeat if status == "online" else None
        body = Presence(status=status, session=session_id, reason=reason, since=since, interval=interval)  # type: ignore[arg-type]
        return encode(Envelope(self._robot, self._clock.now(), body))

    def _note_up(self) -> None:
        self.connected = True
        address = self._transport.address
        if self._outage is None:
            log.info("connected to %s", address)
        else:
            log.info("connected to %s again after %.0f s", address, self._clock.monotonic() - self._outage)
        self._outage = None
        self._bus.publish("link/connected", True)

    def _note_down(self, why: str) -> None:
        self.connected = False
        if self._outage is None:
            self._outage = self._clock.monotonic()
            log.warning("no connection to %s: %s; trying again until there is one", self._transport.address, why)
            self._bus.publish("link/connected", False)


def _sentence(problem: BaseException) -> str:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return str(problem)
