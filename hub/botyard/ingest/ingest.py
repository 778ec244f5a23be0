"""From bytes to messages that are checked, ordered and on their way to the store; `committer` brings them there."""

import logging
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from botyard.core.actor import HUB, robot_actor
from botyard.core.bus import Bus
from botyard.core.config import IngestConfig
from botyard.core.events import RobotRemoved, SamplesReceived
from botyard.fleet.admission import Admission
from botyard.fleet.fleet import Fleet
from botyard.ingest.clockwatch import ClockWatch
from botyard.ingest.committer import RETRY_AFTER, Committer, Receipt
from botyard.ingest.correction import Correction, Uncertain, uncertain_row
from botyard.ingest.express import Express
from botyard.ingest.given_up import given_up, restamped
from botyard.ingest.lobby import Lobby
from botyard.ingest.refusal import (
    KEPT_DETAIL,
    KEPT_TOPIC,
    UP_TYPES,
    number_in,
    number_of,
    quarantine_row,
    session_of,
    wants_back,
)
from botyard.ingest.throttle import Throttle
from botyard.ingest.times import TimeCheck
from botyard.ingest.tracker import Seen, Tracker
from botyard.plugin.api import Inbound, Transport
from botyard.store.base import EventRow, Store, StoreError
from botyard_schemas import Envelope, Reason, Telemetry, Time, WireError, encode, topics
from botyard_schemas.clock import Clock
from botyard_schemas.codec import check, parse
from botyard_schemas.messages import SEQUENCED

log = logging.getLogger(__name__)

# Messages that are remembered for people who look for a fault, over all robots, and how much of each.
RECENT = 4096
RECENT_PAYLOAD = 2048


class Recent(NamedTuple):
    """A message as it came in; `size` in bytes, `payload` is its beginning."""

    received: int
    topic: str
    size: int
    payload: bytes


def _remembered(message: Inbound) -> Inbound | Recent:
    """The message itself when it is small: the line has no time for copies that are rarely looked at."""
    size = len(message.payload)
    if size <= RECENT_PAYLOAD and len(message.topic) <= KEPT_TOPIC:
        return message
    return Recent(message.received, message.topic[:KEPT_TOPIC], size, message.payload[:RECENT_PAYLOAD])


class Ingest:
    """Takes messages in while its `async with` lasts, and commits what it has before it ends."""

    def __init__(self, config: IngestConfig, store: Store, fleet: Fleet, bus: Bus, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._fleet = fleet
        self._bus = bus
        self._clock = clock
        self._times = TimeCheck(config, clock)
        self._watch = ClockWatch(config, store, fleet, bus, clock)
        self._correction = Correction(self._say_uncertain)
        self._throttle = Throttle()
        self.counters: Counter[str] = Counter()
        self._recent: deque[Inbound | Recent] = deque(maxlen=RECENT)
        self._tracker = Tracker()
        self._committer = Committer(config, store, bus, clock, self._tracker, self.counters)
        self._lobby = Lobby(self._take_in)
        self._express = Express(
            self._times,
            fleet,
            bus,
            clock,
            self._tracker,
            self._committer,
            self.counters,
            self._say_given_up,
            self._watch.in_order,
        )

    async def __aenter__(self) -> Self:
        self._tracker.load(await self._store.positions())
        await self._watch.__aenter__()
        await self._committer.__aenter__()
        await self._lobby.__aenter__()
        self._unsubscribe = self._bus.subscribe(RobotRemoved, lambda removed: self._forget(removed.robot))
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._unsubscribe()
        await self._lobby.__aexit__(*exc)
        await self._watch.__aexit__(*exc)
        await self._committer.__aexit__(*exc)

    @property
    def left(self) -> int:
        """Messages that were taken in and are not committed; what is left after the end is lost to this hub."""
        return self._committer.left

    @property
    def recent(self) -> list[Recent]:
        """The last messages that came in, the newest one last."""
        return [
            one if isinstance(one, Recent) else Recent(one.received, one.topic, len(one.payload), one.payload)
            for one in self._recent
        ]

    def attach(self, transports: Iterable[Transport]) -> None:
        """Name the transports over which acknowledgements go back."""
        self._committer.attach(transports)

    # --- taking in

    async def receive_all(self, messages: Sequence[Inbound]) -> None:
        """Take messages in; see `Inbox`."""
        await self._take_in(messages, self._lobby)

    async def _take_in(self, messages: Sequence[Inbound], lobby: Lobby | None = None) -> None:
        """Take messages in. Those whose robots have to be let in first wait for that in the lobby, if there is one."""
        await self._committer.room()
        self._express.begin()
        express, remember = self._express.take, self._recent.append
        limit = self._config.max_message_bytes
        taken = 0
        for message in messages:
            size = len(message.payload)
            fits = size <= limit  # what does not is refused, whoever sent it
            if fits and lobby and (robot := self._waiting(message)):
                await self._wait(lobby, robot, message)
            elif fits and express(message):
                taken += 1
                remember(message if size <= RECENT_PAYLOAD else _remembered(message))
                continue
            elif fits and lobby is not None and (robot := self._new(message)):
                await self._wait(lobby, robot, message)
            else:
                await self.receive(message)
            self._express.begin()  # that may have taken a while
        self.counters["received"] += taken
        self._express.settle()

    def _waiting(self, message: Inbound) -> str | None:
        """Its robot, if that is just being let in."""
        address = topics.parse(message.topic)
        return address.robot if address is not None and address.robot in self._lobby else None

    def _new(self, message: Inbound) -> str | None:
        """Its robot, if that may have to be let in first."""
        address = topics.parse(message.topic)
        if address is None or ((message.retained or not message.payload) and self._is_memory(message)):
            return None
        session = None
        if address.type == "presence":
            try:
                session = session_of(parse(message.payload, limit=self._config.max_message_bytes))
            except WireError:
                return None
        known = self._fleet.admission(message, address.robot, session=session)
        return address.robot if known is None else None

    async def _wait(self, lobby: Lobby, robot: str, message: Inbound) -> None:
        if not await lobby.receive(robot, message):
            self.counters["waits_for_access"] += 1  # the robot keeps it, and sends it again

    async def receive(self, message: Inbound, token: str | None = None) -> Receipt:
        """Take a message in; see `Inbox`. `token` is what the sender gave to prove itself, if the transport knows."""
        await self._committer.room()
        self.counters["received"] += 1
        payload = message.payload
        if (message.retained or not payload) and self._is_memory(message):
            self.counters["retained_ignored"] += 1
            return Receipt("ignored")
        self._recent.append(_remembered(message))
        try:
            raw = parse(message.payload, limit=self._config.max_message_bytes)
            robot = self._sender(message, raw)
        except WireError as error:
            return self._refuse_early(message, error, token)
        session = session_of(raw)
        decision = self._fleet.admission(message, robot, token, session)
        if decision is None:
            decision = await self._meet(message, robot, token, session)
            if self._fleet.leaving(robot):  # it may have begun while that was waited for
                decision = Admission.REFUSED, "the robot is being removed"
        if decision[0] is Admission.UNDECIDED:  # the robot keeps it, and sends it again
            self.counters["waits_for_access"] += 1
            return Receipt("waiting", None, decision[1])
        if decision[0] is Admission.RETIRED and wants_back(raw):
            decision = self._fleet.comes_back(robot)
        if decision[0] is not Admission.ACCEPTED:
            self._fleet.glimpse(robot, message)
            return self._refuse(message, WireError(decision[0].refusal, decision[1], raw))
        try:
            kind = raw.get("type")
            if isinstance(kind, str) and kind not in UP_TYPES:
                expected = ", ".join(sorted(UP_TYPES))
                raise WireError(Reason.UNKNOWN_TYPE, f"type: robots send {expected}, not {kind!r}", raw)
            envelope = check(raw)
        except WireError as error:
            return self._refuse_sequenced(message, error)
        if envelope.unsynced is not None:
            corrected = self._correction.correct(envelope)
            if corrected is None:  # the robot keeps it, and sends it again when it has said more of its clock
                self.counters["waits_for_time"] += 1
                return Receipt("waiting", None, "unsynced: nothing is known of that boot's clock yet, see `time`")
            envelope = corrected
        sane, problem = self._times.split(envelope, raw)
        if sane is None and (notice := restamped(envelope, message.received)):
            sane, problem = notice, None
        if problem is not None and self._watch.holds(envelope):
            self.counters["waits_for_clock"] += 1
            return Receipt("waiting", None, f"{problem}, unless the hub's own clock is behind, as it seems")
        if sane is None and problem is not None:
            return self._refuse_sequenced(message, problem)
        receipt = await self._take(message, sane or envelope)
        if problem is not None and receipt.outcome != "duplicate":
            return self._refuse(message, problem)
        return receipt

    def _forget(self, robot: str) -> None:
        self._correction.forget(robot)
        self._watch.forget(robot)

    def _is_memory(self, message: Inbound) -> bool:
        """Whether it is only the broker's memory: of a robot that nobody knows (any more), or that it was cleared."""
        address = topics.parse(message.topic)
        if address is None or address.type != "presence":
            return False
        return not message.payload or self._fleet.active(address.robot) is None

    def _sender(self, message: Inbound, raw: dict[str, Any]) -> str:
        """The robot that sent it, which the topic and the envelope agree on."""
        robot, kind = raw.get("robot"), raw.get("type")
        if not isinstance(robot, str) or (self._fleet.get(robot) is None and not topics.ROBOT_ID.fullmatch(robot)):
            raise WireError(Reason.SCHEMA, f"robot: {robot!r} is not a robot id, expected [A-Za-z0-9_-]{{1,64}}", raw)
        if message.topic:
            address = topics.parse(message.topic)
            if address is None or address.robot != robot or address.type != kind:
                detail = f"it says robot {robot!r} and type {kind!r}, its topic is {message.topic!r}"
                raise WireError(Reason.MISMATCH, detail, raw)
        return robot

    async def _meet(
        self, message: Inbound, robot: str, token: str | None, session: str | None
    ) -> tuple[Admission, str]:
        """Ask the fleet, and wait while the store cannot take a new robot in: nothing may be lost meanwhile."""
        attempt = 0
        while True:
            try:
                return await self._fleet.meet(message, robot, token, session)
            except StoreError as error:
                if attempt == 0:
                    log.error("robot %s cannot be registered yet: %s", robot, error)
                await self._clock.sleep(RETRY_AFTER[min(attempt, len(RETRY_AFTER) - 1)])
                attempt += 1

    async def _take(self, message: Inbound, envelope: Envelope) -> Receipt:
        robot = envelope.robot
        if envelope.type in SEQUENCED:
            seen = self._tracker.offer(robot, envelope.epoch, envelope.seq)
            if seen is Seen.DUPLICATE:
                self.counters["duplicate"] += 1
                self._committer.batch.touch((robot, envelope.epoch), message.transport)
                return self._committer.receipt("duplicate")
            if seen is Seen.OUT_OF_ORDER:
                self.counters["out_of_order"] += 1
            self._watch.in_order(robot)
            batch = self._committer.batch
            samples = batch.add(envelope, message.transport, encode(envelope))
            for epoch, first, last in given_up(envelope):
                self._tracker.settle(robot, epoch, first, last)
                batch.touch((robot, epoch), message.transport)
            self._say_given_up(robot, envelope.epoch)
            self.counters["samples"] += samples
            if self._fleet.observe(envelope, message):
                batch.keep_state(envelope)
            if isinstance(envelope.body, Telemetry):
                self._bus.publish(
                    SamplesReceived(actor=robot_actor(robot), robot=robot, ts=envelope.ts, body=envelope.body)
                )
                self._express.learn(message, envelope, envelope.body)
        else:
            self._fleet.observe(envelope, message)
            if isinstance(envelope.body, Time):
                self._correction.learn(robot, envelope.body, message.received)
                await self._answer_time(envelope, envelope.body, message)
        self.counters["accepted"] += 1
        return self._committer.receipt("committed")

    async def _answer_time(self, envelope: Envelope, body: Time, message: Inbound) -> None:
        if transport := self._committer.transport(message.transport):
            now = self._clock.now()
            answer = Time(body.origin, received=message.received, replied=now)
            await self._committer.send(transport, Envelope(robot=envelope.robot, ts=now, body=answer))

    def _say_uncertain(self, uncertain: Uncertain) -> None:
        self._committer.batch.record(uncertain_row(uncertain, self._clock.now()))

    def _say_given_up(self, robot: str, epoch: str) -> None:
        """Name the numbers that are no longer waited for because there were too many gaps."""
        if ranges := self._tracker.given_up(robot, epoch):
            count = sum(last - first + 1 for first, last in ranges)
            event = EventRow(
                ts=self._clock.now(),
                robot=robot,
                actor=str(HUB),
                name="ingest.given_up",
                severity="warning",
                message=f"{count} messages never came and are no longer waited for",
                data={"epoch": epoch, "ranges": ranges, "count": count},
            )
            self._committer.batch.record(event)

    # --- refusing

    def _refuse_early(self, message: Inbound, error: WireError, token: str | None) -> Receipt:
        """Refuse a message whose content was not even looked at. When it comes from a robot that takes part, its number
        is settled all the same: the robot would send it for ever, and nothing after it would be acknowledged. Not
        so when it speaks another version: a robot that is ahead of its hub keeps everything until the hub follows."""
        address = topics.parse(message.topic)
        if address is not None and address.type != "presence" and error.reason is not Reason.VERSION:
            decision = self._fleet.admission(message, address.robot, token)
            number = number_of(error.raw) if error.raw else number_in(message.payload, address)
            if decision and decision[0] is Admission.ACCEPTED and number and number[0] == address.robot:
                return self._settle(message, number) or self._refuse(message, error)
        return self._refuse(message, error)

    def _refuse_sequenced(self, message: Inbound, error: WireError) -> Receipt:
        """Refuse a message of a robot that takes part. The robot hears that it is dealt with, or it would send it for
        ever."""
        number = number_of(error.raw or {})
        return (number and self._settle(message, number)) or self._refuse(message, error)

    def _settle(self, message: Inbound, number: tuple[str, str, int]) -> Receipt | None:
        """Note the number of a refused message; a receipt when it had been noted before."""
        robot, epoch, seq = number
        seen = self._tracker.offer(robot, epoch, seq)
        self._committer.batch.touch((robot, epoch), message.transport)
        self._say_given_up(robot, epoch)
        if seen is not Seen.DUPLICATE:
            return None
        self.counters["duplicate"] += 1
        return self._committer.receipt("duplicate")

    def _refuse(self, message: Inbound, error: WireError) -> Receipt:
        self.counters[f"refused.{error.reason}"] += 1
        address = topics.parse(message.topic)
        claimed = (error.raw or {}).get("robot")
        robot = address.robot if address else claimed
        if not isinstance(robot, str) or self._fleet.get(robot) is None or self._fleet.leaving(robot):
            robot = None  # names that nobody has registered share one place, or inventing them would fill the disk
        if self._throttle.allows(robot or "", self._clock.monotonic()):
            self._committer.batch.quarantine(quarantine_row(message, error, robot))
        else:
            self.counters["quarantine_skipped"] += 1
        return self._committer.receipt("quarantined", str(error)[:KEPT_DETAIL])
