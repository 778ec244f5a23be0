"""Collects messages, commits them, and only then acknowledges them.

Messages are collected in one open batch. A single task closes it when it is old or large enough, and commits it. While
a commit is under way the next batch fills; when that one is full too, `room` waits, and with it whoever takes messages
in.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Iterable
from typing import Any, NamedTuple, Self

import msgspec

from botyard.core.actor import HUB, Actor, robot_actor
from botyard.core.bus import Bus
from botyard.core.config import IngestConfig
from botyard.core.events import EventCommitted, EventNoted, ReportCommitted, RobotLeaving
from botyard.core.tasks import Tasks
from botyard.ingest.batch import OpenBatch
from botyard.ingest.tracker import Tracker
from botyard.plugin.api import Transport
from botyard.store.base import Committed, EventRow, Position, Store, StoredEvent, StoreError
from botyard.store.frames import HIGHEST, LOWEST
from botyard_schemas import Ack, Envelope
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

RETRY_AFTER = (0.2, 0.5, 1.0, 2.0, 5.0)
# What a stop waits for the store, and what one message may wait for its transport: seconds.
END_WITHIN = 20.0
SEND_WITHIN = 5.0
# What a plugin may say in one event: bytes as JSON, and characters of the ids that are in columns of this width.
MAX_EVENT = 1 << 20
MAX_ID = 64
# Ranges beyond a gap that one acknowledgement names.
MOST_BEYOND = 64


def unstorable(event: EventRow) -> str | None:
    """Why no store can ever take the event, so that it must not hold up what it would be committed with; or None.

    Robots' messages have been checked; this is for what the hub's own parts and plugins say, which may be anything: a
    struct does not look at what it is made of.
    """
    try:
        size = len(msgspec.json.encode(event))
        msgspec.convert(msgspec.to_builtins(event, str_keys=True), EventRow)
    except msgspec.ValidationError as error:
        return str(error)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return f"it is no JSON: {error}"
    if size > MAX_EVENT:
        return f"it is {size} bytes long, at most {MAX_EVENT} are allowed"
    for name, number in (("ts", event.ts), ("seq", event.seq)):
        if number is not None and not LOWEST <= number <= HIGHEST:
            return f"{name}: {number} is not between -2^63 and 2^63 - 1"
    for name, text in (("robot", event.robot), ("epoch", event.epoch)):
        if text is not None and not (len(text) <= MAX_ID and text.isprintable()):
            return f"{name}: {text[:MAX_ID]!r} is no id of at most {MAX_ID} printable characters"
    return None


class Receipt(NamedTuple):
    """What became of a message. `done` completes when the batch that holds it is committed."""

    outcome: str
    done: asyncio.Future[None] | None = None
    problem: str | None = None


class Committer:
    """Commits while its `async with` lasts, and what it has before it ends."""

    def __init__(
        self, config: IngestConfig, store: Store, bus: Bus, clock: Clock, tracker: Tracker, counters: Counter[str]
    ) -> None:
        self._config = config
        self._store = store
        self._bus = bus
        self._clock = clock
        self._tracker = tracker
        self._counters = counters
        self._transports: dict[str, Transport] = {}
        self._tasks = Tasks()
        self._wanted = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._stopping = False
        self._under_way: OpenBatch | None = None
        self._ended = asyncio.Event()
        self._failing: set[str] = set()
        self.batch: OpenBatch

    async def __aenter__(self) -> Self:
        self.batch = OpenBatch()
        self._room.set()
        self._unsubscribe = [
            self._bus.subscribe(EventNoted, lambda noted: self._record(noted.event)),
            self._bus.subscribe(RobotLeaving, self._let_go),
        ]
        await self._tasks.__aenter__()
        self._tasks.start(self._commit_batches(), "hub.ingest.commit")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._stopping = True
        self._wanted.set()
        self._full.set()
        try:
            async with asyncio.timeout(END_WITHIN):
                await self._ended.wait()
        except TimeoutError:
            log.error("the store did not take the last messages within %g s", END_WITHIN)
        self._tasks.cancel()
        await self._tasks.__aexit__(*exc)
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    @property
    def left(self) -> int:
        """Messages that were taken in and are not committed."""
        return sum(batch.messages for batch in (self._under_way, self.batch) if batch)

    def attach(self, transports: Iterable[Transport]) -> None:
        """Name the transports over which acknowledgements go back."""
        self._transports = {transport.name: transport for transport in transports}

    def transport(self, name: str) -> Transport | None:
        """The transport of that name, if it can carry something back."""
        return self._transports.get(name)

    async def room(self) -> None:
        """Wait until the open batch has room."""
        if not self._room.is_set():
            await self._room.wait()

    def receipt(self, outcome: str, problem: str | None = None) -> Receipt:
        """Wake the committer, and say in which batch the message is."""
        self.wake()
        batch = self.batch
        return Receipt(outcome, None if batch.empty else batch.done, problem)

    def wake(self) -> None:
        """There is something new in the batch."""
        cost = self.batch.cost
        if cost:
            self._wanted.set()
        if cost >= self._config.batch_samples:
            self._full.set()
            if cost >= 2 * self._config.batch_samples:
                self._room.clear()

    async def send(self, transport: Transport, envelope: Envelope) -> None:
        """Send to a robot."""
        await self._guarded(transport, transport.send(envelope), f"to {envelope.robot}")

    async def _guarded(self, transport: Transport, sending: Awaitable[object], whom: str) -> None:
        """What a transport does wrong stops nobody else, and is said once until it works again."""
        try:
            async with asyncio.timeout(SEND_WITHIN):
                await sending
        except Exception:
            if transport.name not in self._failing:
                log.exception("transport %s cannot send %s", transport.name, whom)
            self._failing.add(transport.name)
        else:
            self._failing.discard(transport.name)

    def _let_go(self, leaving: RobotLeaving) -> None:
        """What is on its way is committed first: a batch that the store has already cannot be changed any more."""
        leaving.settled.extend(batch.done for batch in (self._under_way, self.batch) if batch and not batch.empty)

    def _record(self, event: EventRow) -> None:
        if problem := unstorable(event):
            log.error("an event of %s cannot be stored and is left out: %s", event.actor, problem)
            return
        self.batch.record(event)
        self.receipt("committed")

    async def _commit_batches(self) -> None:
        try:
            await self._commit_until_stopped()
        finally:
            self._ended.set()

    async def _commit_until_stopped(self) -> None:
        while not (self._stopping and self.batch.empty):
            await self._wanted.wait()
            if not self._stopping:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._config.batch_age):
                        await self._full.wait()
            batch, self.batch = self.batch, OpenBatch()
            self._wanted.clear()
            if not self._stopping:
                self._full.clear()
            self._room.set()
            if batch.empty:
                continue
            rows = batch.close(self._tracker)
            self._under_way = batch
            committed = await self._commit(batch)
            self._under_way = None
            self._counters["commits"] += 1
            self._counters["committed"] += batch.messages
            batch.done.set_result(None)
            for row, event_id in zip(rows.events, committed.event_ids, strict=True):
                self._publish(row, event_id)
            for report in rows.reports:
                self._bus.publish(ReportCommitted(actor=robot_actor(report.robot), report=report))
            await self._acknowledge(batch)

    async def _commit(self, batch: OpenBatch) -> Committed:
        """Commit, and try again until it works."""
        attempt = 0
        while True:
            try:
                committed = await self._store.commit(batch.rows)
            except StoreError as error:
                if attempt == 0:
                    log.error("nothing can be committed, so nothing is acknowledged: %s", error)
                await self._clock.sleep(RETRY_AFTER[min(attempt, len(RETRY_AFTER) - 1)])
                attempt += 1
            else:
                if attempt:
                    log.info("committing works again")
                return committed

    def _publish(self, row: EventRow, event_id: int) -> None:
        fields = {name: getattr(row, name) for name in row.__struct_fields__}
        try:
            actor = Actor.parse(row.actor)
        except msgspec.ValidationError:
            actor = HUB  # a plugin's event may say anything
        self._bus.publish(EventCommitted(actor=actor, event=StoredEvent(id=event_id, **fields)))

    async def _acknowledge(self, batch: OpenBatch) -> None:
        now = self._clock.now()
        acks: dict[str, list[Envelope]] = {}
        for position, name in zip(batch.rows.positions, batch.touched.values(), strict=True):
            ack = Envelope(robot=position.robot, ts=now, body=_ack(position))
            acks.setdefault(name, []).append(ack)
        for name, some in acks.items():
            if transport := self._transports.get(name):
                await self._guarded(transport, transport.acknowledge(some), f"{len(some)} acknowledgements")


def _ack(position: Position) -> Ack:
    return Ack(position.epoch, position.seq, position.beyond[:MOST_BEYOND])
