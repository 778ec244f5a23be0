"""The link: keeps a connection to the hub over the best transport that works, and hands on what the hub says.

The hub's acknowledgement is end to end, so nothing here rests on the broker: whatever of the outbox's oldest messages
is not acknowledged in time is sent again, and all of it after a reconnect; `sender` says what is sent when. Therefore
transports may be changed at any moment.
"""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from botyard_edge.bus import Bus
from botyard_edge.hubtime import HubClock
from botyard_edge.line import Line, LineContext
from botyard_edge.node import Backoff
from botyard_edge.outbox import Outbox
from botyard_edge.pace import PACE, Pace
from botyard_edge.pulse import UNWATCHED, Silent
from botyard_edge.sender import Sender
from botyard_edge.timing import wait_event
from botyard_edge.transport import Received, Transport, TransportError
from botyard_schemas import Ack, Body, Command, Time, WireError, decode, topics
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

# Where there is another transport, one over which the hub says nothing is left after this: seconds.
PATIENCE = 60.0
# What the hub may take to answer over a transport that is tried out: seconds.
PROVE_WITHIN = 10.0
# A transport that works again and again fails soon is looked at so many times more rarely at most.
RELUCTANCE = 16


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Times in seconds. `window` messages may wait for the hub's acknowledgement; one that waits longer than
    `resend_after` is sent again, then after twice as long, up to eight times as long. `backlog` bounds the pace of
    what was there before the connection. The hub is asked for its time every `time_period`, and more often at first.
    A transport that is not connected within `connect_within` is passed over for the next; a better one is looked for
    about every `return_after`."""

    heartbeat: float = 5.0
    reconnect: Backoff = field(default_factory=lambda: Backoff(0.5, 30.0))
    window: int = 64
    resend_after: float = 5.0
    backlog: Pace = PACE
    time_period: float = 30.0
    connect_within: float = 20.0
    return_after: float = 30.0


class Link:
    """Runs until it is cancelled, and says goodbye then. Several transports are in order of preference; `on_command`
    gets each command that keeps the contract."""

    def __init__(
        self,
        robot: str,
        transport: Transport | Sequence[Transport],
        outbox: Outbox,
        *,
        clock: Clock,
        rng: random.Random,
        on_command: Callable[[Command], None],
        bus: Bus,
        settings: LinkSettings = LinkSettings(),
        hub_time: HubClock | None = None,
        pulse: Silent = UNWATCHED,
    ) -> None:
        self._robot = robot
        self._transports = tuple(transport) if isinstance(transport, Sequence) else (transport,)
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
            pulse=pulse,
        )
        self._pulse = pulse
        self._line: Line | None = None
        self._outages: dict[int, float] = {}
        self._returns = 0
        self._refused: set[str] = set()

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._line is not None

    @property
    def address(self) -> str | None:
        """Where the connection leads; None: there is none."""
        return None if self._line is None else self._line.transport.address

    async def run(self) -> None:
        """Connect, and connect again after each loss."""
        failures = 0
        last = 0
        try:
            while True:
                line = await self._reach(last)
                if line is not None:
                    line = await self._stay(line)
                    last = (line.rank + line.silent) % len(self._transports)
                # A connection that lasted starts a new series of attempts.
                lasted = line is not None and self._lasted(line) > self._settings.reconnect.maximum
                failures = 1 if lasted else failures + 1
                with self._pulse:
                    await self._clock.sleep(self._settings.reconnect.pause(failures, self._rng))
        finally:
            # Taken out first: while it closes, which may take its time, another run may have a line of its own.
            line, self._line = self._line, None
            if line is not None:
                self._bus.publish("link/connected", False)
                await line.close(goodbye=True)

    async def _reach(self, last: int) -> Line | None:
        """Connect over the transport that was used last, or else over the first that can be reached."""
        ranks = [last, *(rank for rank in range(len(self._transports)) if rank != last)]
        for rank in ranks:
            line = self._new_line(rank)
            try:
                with self._pulse:
                    await line.connect(self._settings.connect_within)
                await line.announce()
            except TransportError as problem:
                await line.close()
                self._note_down(rank, str(problem))
                continue
            except BaseException:
                await line.close(goodbye=True)
                raise
            self._carry(line)
            return line
        return None

    def _new_line(self, rank: int) -> Line:
        settings = self._settings
        context = LineContext(
            self._robot,
            self._clock,
            self._sender,
            self._hub_time,
            self._take,
            self._heard,
            settings.heartbeat,
            settings.time_period,
            PATIENCE if self._several else None,
        )
        return Line(context, self._transports[rank], rank, f"{self._rng.getrandbits(64):016x}")

    @property
    def _several(self) -> bool:
        return len(self._transports) > 1 and self._hub_time is not None

    def _carry(self, line: Line) -> None:
        self._line = line
        line.carry()
        if line.heard or not self._several:
            self._note_up(line.rank)
        self._bus.publish("link/connected", True)

    def _heard(self, line: Line) -> None:
        # With several transports a connection counts when the hub answers over it, and not only a broker.
        if line is self._line and self._several:
            self._note_up(line.rank)

    async def _stay(self, line: Line) -> Line:
        """Stay until the connection is lost, and move to a better transport when one works again. Gives the line that
        was lost."""
        while not line.ended.is_set():
            if line.rank == 0:
                await line.ended.wait()
                break
            pause = self._settings.return_after * 2**self._returns * self._rng.uniform(0.75, 1.25)
            if not await wait_event(line.ended, self._clock, pause):
                line = await self._better(line) or line
        self._line = None
        await line.close()
        self._note_down(line.rank, line.trouble())
        self._bus.publish("link/connected", False)
        if line.rank == 0 and self._several:
            soon = self._lasted(line) < 2 * self._settings.return_after
            self._returns = min(self._returns + 1, RELUCTANCE.bit_length() - 1) if soon else 0
        return line

    async def _better(self, line: Line) -> Line | None:
        """A better transport that works, after moving there."""
        for rank in range(line.rank):
            candidate = self._new_line(rank)
            try:
                if await self._move(line, candidate):
                    return candidate
            except TransportError as problem:
                log.debug("%s is tried: %s", candidate.transport.address, problem)
            except BaseException:
                await candidate.close(goodbye=candidate is self._line)
                raise
            line.quiet = False
            await candidate.close()
        return None

    async def _move(self, line: Line, candidate: Line) -> bool:
        """Let the candidate take over if the hub answers over it. Raises TransportError.

        The hub goes by the presence that it hears last. So the line falls silent about it, and what it has said must
        have arrived, before the candidate announces itself; and that must have arrived before the line ends.
        """
        await candidate.connect(self._settings.connect_within)
        if not await candidate.prove(PROVE_WITHIN):
            return False
        line.quiet = True
        await line.prove(PROVE_WITHIN)
        await candidate.announce()
        if not await candidate.prove(PROVE_WITHIN):
            return False
        self._line = candidate
        await line.close()
        self._carry(candidate)
        return True

    def _lasted(self, line: Line) -> float:
        return 0.0 if line.began is None else self._clock.monotonic() - line.began

    # --- what the hub says

    def _take(self, message: Received) -> Body | None:
        """Hand on what the hub says; None when it is not for this robot, or rubbish."""
        address = topics.parse(message.topic)
        if address is None or address.type == "config":
            return None
        try:
            envelope = decode(message.payload)
        except WireError as error:
            self._refuse(str(error.reason), f"a message on {message.topic} is ignored: {error}")
            return None
        if envelope.robot != self._robot or envelope.type != address.type:
            self._refuse(
                "mismatch", f"a message on {message.topic} is for {envelope.robot!r} ({envelope.type}), ignored"
            )
            return None
        if isinstance(envelope.body, Ack):
            self._acknowledge(envelope.body)
        elif isinstance(envelope.body, Time):
            if self._hub_time is not None:
                self._hub_time.learn(envelope.body)
        elif isinstance(envelope.body, Command):
            self._on_command(envelope.body)
        return envelope.body

    def _acknowledge(self, ack: Ack) -> None:
        if ack.epoch == self._outbox.epoch:
            before = self._outbox.acknowledged
            self._outbox.ack(ack.epoch, ack.seq)
            self._sender.heard(ack.beyond, progress=self._outbox.acknowledged > before)

    def _refuse(self, kind: str, sentence: str) -> None:
        # Who sends one sends many: one line of each kind is enough to find out.
        log.log(logging.DEBUG if kind in self._refused else logging.WARNING, "%s", sentence)
        self._refused.add(kind)

    # --- what is told about it

    def _note_up(self, rank: int) -> None:
        address = self._transports[rank].address
        outage = self._outages.pop(rank, None)
        if outage is None:
            log.info("connected to %s", address)
        else:
            log.info("connected to %s again after %.0f s", address, self._clock.monotonic() - outage)

    def _note_down(self, rank: int, why: str) -> None:
        if rank not in self._outages:
            self._outages[rank] = self._clock.monotonic()
            log.warning("no connection to %s: %s; trying again until there is one", self._transports[rank].address, why)
