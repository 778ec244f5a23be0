"""From bytes to the store: check, order, collect, commit, acknowledge.

Messages are collected in one open batch. A single task closes it when it is old or large enough, commits it and only
then acknowledges. While a commit is under way the next batch fills; when that one is full too, `receive` waits, and
with it the transport that reads from the broker.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from botyard.core.actor import Actor, robot_actor
from botyard.core.bus import Bus
from botyard.core.config import IngestConfig
from botyard.core.events import EventCommitted, EventNoted, RobotLeaving, SamplesReceived
from botyard.core.tasks import Tasks
from botyard.fleet.fleet import Admission, Fleet
from botyard.ingest.batch import OpenBatch
from botyard.ingest.throttle import Throttle
from botyard.ingest.times import TimeCheck
from botyard.ingest.tracker import Seen, Tracker
from botyard.plugin.api import Inbound, Transport
from botyard.store.base import Committed, EventRow, QuarantineRow, Store, StoredEvent, StoreError
from botyard_schemas import Ack, Envelope, Reason, Time, WireError, topics
from botyard_schemas.clock import Clock
from botyard_schemas.codec import check, parse
from botyard_schemas.messages import SEQUENCED

log = logging.getLogger(__name__)

# How much of a refused message is kept, in bytes, and of the sentence about it, in characters.
KEPT_PAYLOAD = 4096
KEPT_DETAIL = 1024
# Messages that are remembered for people who look for a fault, over all robots, and how much of each.
RECENT = 4096
RECENT_PAYLOAD = 2048
RETRY_AFTER = (0.2, 0.5, 1.0, 2.0, 5.0)
UP_TYPES = SEQUENCED | {"presence", "time"}
MAX_SEQ = 2**53 - 1


class Receipt(NamedTuple):
    """What became of a message. `done` completes when the batch that holds it is committed."""

    outcome: str
    done: asyncio.Future[None] | None = None
    problem: str | None = None


class Recent(NamedTuple):
    """A message as it came in; `size` in bytes, `payload` is its beginning."""

    received: int
    topic: str
    size: int
    payload: bytes


class Ingest:
    """Takes messages in while its `async with` lasts, and commits what it has before it ends."""

    def __init__(self, config: IngestConfig, store: Store, fleet: Fleet, bus: Bus, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._fleet = fleet
        self._bus = bus
        self._clock = clock
        self._transports: dict[str, Transport] = {}
        self._times = TimeCheck(config, clock)
        self._throttle = Throttle()
        self._tasks = Tasks()
        self._wanted = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self.counters: Counter[str] = Counter()
        self.recent: deque[Recent] = deque(maxlen=RECENT)

    async def __aenter__(self) -> Self:
        self._tracker = Tracker(await self._store.positions())
        self._batch = OpenBatch()
        self._stopping = False
        self._room.set()
        self._unsubscribe = [
            self._bus.subscribe(EventNoted, lambda noted: self._record(noted.event)),
            self._bus.subscribe(RobotLeaving, lambda leaving: self._batch.drop(leaving.robot)),
        ]
        await self._tasks.__aenter__()
        self._tasks.start(self._commit_batches(), "hub.ingest.commit")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._stopping = True
        self._wanted.set()
        self._full.set()
        await self._tasks.__aexit__(*exc)
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    def attach(self, transports: Iterable[Transport]) -> None:
        """Name the transports over which acknowledgements go back."""
        self._transports = {transport.name: transport for transport in transports}

    # --- taking in

    async def receive_all(self, messages: Sequence[Inbound]) -> None:
        """Take messages in; see `Inbox`."""
        for message in messages:
            await self.receive(message)

    async def receive(self, message: Inbound, token: str | None = None) -> Receipt:
        """Take a message in; see `Inbox`. `token` is what the sender gave to prove itself, if the transport knows."""
        await self._room.wait()
        self.counters["received"] += 1
        payload = message.payload
        self.recent.append(Recent(message.received, message.topic, len(payload), payload[:RECENT_PAYLOAD]))
        try:
            raw = parse(message.payload, limit=self._config.max_message_bytes)
            robot = self._sender(message, raw)
        except WireError as error:
            return self._refuse(message, error)
        session = _session(raw)
        decision = self._fleet.admission(message, robot, token, session)
        if decision is None:
            decision = await self._meet(message, robot, token, session)
        if decision[0] is not Admission.ACCEPTED:
            self._fleet.glimpse(robot, message)
            reason = Reason.UNKNOWN_ROBOT if decision[0] is Admission.PENDING else Reason.REFUSED
            return self._refuse(message, WireError(reason, decision[1], raw))
        try:
            kind = raw.get("type")
            if isinstance(kind, str) and kind not in UP_TYPES:
                expected = ", ".join(sorted(UP_TYPES))
                raise WireError(Reason.UNKNOWN_TYPE, f"type: robots send {expected}, not {kind!r}", raw)
            envelope = check(raw)
        except WireError as error:
            return self._refuse_sequenced(message, error)
        sane, problem = self._times.split(envelope, raw)
        if sane is None and problem is not None:
            return self._refuse_sequenced(message, problem)
        receipt = await self._take(message, sane or envelope)
        if problem is not None and receipt.outcome != "duplicate":
            return self._refuse(message, problem)
        return receipt

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
                self._batch.touch(robot, envelope.epoch, message.transport)
                return self._receipt("duplicate")
            if seen is Seen.OUT_OF_ORDER:
                self.counters["out_of_order"] += 1
            columns = self._batch.add(envelope, message.transport)
            self.counters["samples"] += sum(len(column.ts) for column in columns)
            self._fleet.observe(envelope, message)
            if columns:
                self._bus.publish(SamplesReceived(actor=robot_actor(robot), robot=robot, columns=columns))
        else:
            self._fleet.observe(envelope, message)
            if isinstance(envelope.body, Time):
                await self._answer_time(envelope, envelope.body, message)
        self.counters["accepted"] += 1
        return self._receipt("committed")

    def _receipt(self, outcome: str, problem: str | None = None) -> Receipt:
        """Wake the committer, and say in which batch the message is."""
        if self._batch.empty:
            return Receipt(outcome, None, problem)
        self._wanted.set()
        if self._batch.cost >= self._config.batch_samples:
            self._full.set()
            if self._batch.cost >= 2 * self._config.batch_samples:
                self._room.clear()
        return Receipt(outcome, self._batch.done, problem)

    async def _answer_time(self, envelope: Envelope, body: Time, message: Inbound) -> None:
        if transport := self._transports.get(message.transport):
            now = self._clock.now()
            answer = Time(body.origin, received=message.received, replied=now)
            await transport.send(Envelope(robot=envelope.robot, ts=now, body=answer))

    def _record(self, event: EventRow) -> None:
        self._batch.record(event)
        self._receipt("committed")

    # --- refusing

    def _refuse_sequenced(self, message: Inbound, error: WireError) -> Receipt:
        """Refuse a message of a robot that takes part. The robot hears that it is dealt with, or it would send it for
        ever."""
        if number := _number(error.raw or {}):
            robot, epoch, seq = number
            if self._tracker.offer(robot, epoch, seq) is Seen.DUPLICATE:
                self.counters["duplicate"] += 1
                self._batch.touch(robot, epoch, message.transport)
                return self._receipt("duplicate")
            self._batch.touch(robot, epoch, message.transport)
        return self._refuse(message, error)

    def _refuse(self, message: Inbound, error: WireError) -> Receipt:
        self.counters[f"refused.{error.reason}"] += 1
        detail = str(error)[:KEPT_DETAIL]
        address = topics.parse(message.topic)
        claimed = (error.raw or {}).get("robot")
        robot = address.robot if address else claimed
        if not isinstance(robot, str) or self._fleet.get(robot) is None:
            robot = None  # names that nobody has registered share one place, or inventing them would fill the disk
        if self._throttle.allows(robot or "", self._clock.monotonic()):
            self._batch.quarantine(
                QuarantineRow(
                    received=message.received,
                    robot=robot,
                    topic=message.topic[:512] or None,
                    reason=error.reason.value,
                    detail=detail,
                    size=len(message.payload),
                    payload=message.payload[:KEPT_PAYLOAD].decode("utf-8", "replace").replace("\0", "\\0"),
                )
            )
        else:
            self.counters["quarantine_skipped"] += 1
        return self._receipt("quarantined", detail)

    # --- committing

    async def _commit_batches(self) -> None:
        while not (self._stopping and self._batch.empty):
            await self._wanted.wait()
            if not self._stopping:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), self._config.batch_age)
            batch, self._batch = self._batch, OpenBatch()
            self._wanted.clear()
            if not self._stopping:
                self._full.clear()
            self._room.set()
            if batch.empty:
                continue
            rows = batch.close(self._tracker)
            committed = await self._commit(batch)
            if committed is None:
                return
            self.counters["commits"] += 1
            self.counters["committed"] += batch.messages
            batch.done.set_result(None)
            for row, event_id in zip(rows.events, committed.event_ids, strict=True):
                self._publish(row, event_id)
            await self._acknowledge(batch)

    async def _commit(self, batch: OpenBatch) -> Committed | None:
        """Commit, and try again until it works; None when the hub has to stop without."""
        attempt = 0
        while True:
            try:
                committed = await self._store.commit(batch.rows)
            except StoreError as error:
                if attempt == 0:
                    log.error("nothing can be committed, so nothing is acknowledged: %s", error)
                if self._stopping and attempt >= len(RETRY_AFTER):
                    log.error("stopping with messages that are not committed; robots keep what was not acknowledged")
                    batch.done.cancel()
                    return None
                await self._clock.sleep(RETRY_AFTER[min(attempt, len(RETRY_AFTER) - 1)])
                attempt += 1
            else:
                if attempt:
                    log.info("committing works again")
                return committed

    def _publish(self, row: EventRow, event_id: int) -> None:
        fields = {name: getattr(row, name) for name in row.__struct_fields__}
        self._bus.publish(EventCommitted(actor=Actor.parse(row.actor), event=StoredEvent(id=event_id, **fields)))

    async def _acknowledge(self, batch: OpenBatch) -> None:
        now = self._clock.now()
        for position, transport_name in zip(batch.rows.positions, batch.touched.values(), strict=True):
            if transport := self._transports.get(transport_name):
                ack = Ack(position.epoch, position.seq)
                await transport.send(Envelope(robot=position.robot, ts=now, body=ack))


def _number(raw: dict[str, Any]) -> tuple[str, str, int] | None:
    """Robot, epoch and sequence number of a message that is not valid otherwise, when they are; types that this hub
    does not know may have them, too."""
    robot, epoch, seq, kind = (raw.get(key) for key in ("robot", "epoch", "seq", "type"))
    if not isinstance(kind, str) or kind in UP_TYPES - SEQUENCED:
        return None
    if not isinstance(robot, str) or not isinstance(epoch, str) or not topics.ROBOT_ID.fullmatch(epoch):
        return None
    if isinstance(seq, bool) or not isinstance(seq, int | float) or not 0 < seq <= MAX_SEQ or seq != int(seq):
        return None
    return robot, epoch, int(seq)


def _session(raw: dict[str, Any]) -> str | None:
    """What a presence message calls its connection, None for any other message."""
    if raw.get("type") != "presence":
        return None
    body = raw.get("body")
    session = body.get("session") if isinstance(body, dict) else None
    return session if isinstance(session, str) else None
