"""What every outbox does alike: numbers, room, notices and acknowledgements. The heirs keep the messages."""

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Self

from botyard_edge.hubtime import Stamp
from botyard_edge.notices import MAX_NOTICES, Notice, parts
from botyard_edge.outbox import Entry, Limits, TooLargeError
from botyard_edge.ranges import Span, joined
from botyard_edge.retention import Need, Row, stream_of
from botyard_schemas import DEFAULT_LIMIT, encode
from botyard_schemas.clock import Clock
from botyard_schemas.messages import TYPE_OF, Body, Envelope

log = logging.getLogger(__name__)

# Producers that can wait leave this share of the room to messages that cannot.
RESERVE = 0.1

# This share of the room is made free at once, so that a full outbox is not tidied for every message.
SPARE = 0.05

# The hub's store is taken for reset when so many acknowledgements in a row, over so many seconds, are lower than an
# earlier one. Fewer may only have been overtaken; a hub that was reset acknowledges no more until it is told.
RESET_ACKS = 3
RESET_SECONDS = 3.0

# A message's size hardly depends on its sequence number; so many bytes cover its growth while a producer waits.
GROWTH = 10

# What is too old is looked for so often within the age that is allowed.
AGE_CHECKS = 20


class OutboxCore(ABC):
    """`stamp(ts)` is what goes with a time of `clock`; None leaves it out of the messages."""

    def __init__(
        self,
        robot: str,
        *,
        clock: Clock,
        rng: random.Random,
        limits: Limits,
        stamp: Callable[[int], Stamp] | None,
    ) -> None:
        self.epoch = ""
        self.dropped = 0
        self.acknowledged = 0
        self.changed = asyncio.Event()
        self._robot = robot
        self._clock = clock
        self._rng = rng
        self._limits = limits
        self._stamp_of = stamp
        # The newest messages in the order of their numbers; in memory, whatever else is done with them.
        self._entries: dict[int, Entry] = {}
        self._notices: dict[int, Notice] = {}
        self._next = 1
        self._behind = 0  # acknowledgements in a row that were lower than an earlier one, and since when
        self._behind_since = 0.0
        self._reminded: int | None = None  # from where on the hub was told that it has had everything
        self._aged = 0.0
        self._room = asyncio.Event()
        self._empty = asyncio.Event()

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    # --- the heirs' part

    @property
    @abstractmethod
    def backlog(self) -> int: ...

    @abstractmethod
    async def read(self, after: int, limit: int) -> list[Entry]: ...

    @abstractmethod
    def _used(self) -> tuple[int, int]:
        """Messages that are held, and their bytes; without notices."""

    @abstractmethod
    def _rows(self) -> Iterable[Row]:
        """What may be given up at once, oldest first."""

    @abstractmethod
    def _make_room(self, size: int) -> None:
        """A message of this size has to enter, and does not fit."""

    @abstractmethod
    def _enter(self, entry: Entry) -> None:
        """Keep a new message."""

    @abstractmethod
    def _remove(self, spans: list[Span]) -> None:
        """These numbers, in order, are not held any more."""

    @abstractmethod
    def _forget(self, seq: int) -> None:
        """Everything up to `seq` is not held any more."""

    # --- what the link and the producers see

    @property
    def head(self) -> int:
        return self._next - 1

    async def put(self, body: Body, *, ts: int | None = None, wait: bool = False, stamp: Stamp | None = None) -> int:
        ts = self._clock.now() if ts is None else ts
        # Now, since the clock may learn the time while this waits.
        stamp = self._stamp(ts) if stamp is None else stamp
        place, payload = (self.epoch, self._next), self._encode(self._next, ts, body, stamp)
        size = len(payload) + GROWTH
        if size > DEFAULT_LIMIT:
            raise TooLargeError(
                f"a {TYPE_OF[type(body)]} of {size - GROWTH} bytes is larger than the {DEFAULT_LIMIT} of the hub"
            )
        if wait:
            await self._wait_for_room(size)
        elif not self._fits(size):
            self._make_room(size)
        # Others may have entered meanwhile.
        return self._append(ts, body, stamp, keep=wait, payload=payload if place == (self.epoch, self._next) else None)

    async def room(self, body: Body, *, ts: int, stamp: Stamp | None = None) -> None:
        await self._wait_for_room(self._size(ts, body, stamp))

    def fresh(self, after: int, limit: int) -> list[Entry]:
        found: list[Entry] = []
        for entry in reversed(self._entries.values()):
            if entry.seq <= after or len(found) >= limit:
                break
            if not entry.keep and not entry.notice:
                found.append(entry)
        found.reverse()
        return found

    def notices(self, before: int) -> list[Entry]:
        due = [notice for notice in self._notices.values() if notice.first < before]
        for notice in due:
            notice.open = False  # it goes out now, so later losses need a notice of their own
        return [notice.entry for notice in due]

    def ack(self, epoch: str, seq: int) -> None:
        if epoch != self.epoch:
            log.debug("acknowledgement of epoch %s ignored, this is %s", epoch, self.epoch)
            return
        if seq >= self._next:
            self._overrun(seq)
            return
        if seq < self.acknowledged:
            self._suspect(seq)
            return
        self._behind, self._reminded = 0, None
        self.acknowledged = seq
        for number in [number for number in self._notices if number <= seq]:
            del self._notices[number]
        self._forget(seq)
        self._wake()

    async def drained(self) -> None:
        await self._empty.wait()

    # --- room

    def _size(self, ts: int, body: Body, stamp: Stamp | None) -> int:
        return len(self._encode(self._next, ts, body, stamp)) + GROWTH

    async def _wait_for_room(self, size: int) -> None:
        while not self._fits(size, 1.0 - RESERVE):
            self._room.clear()
            await self._room.wait()

    def _fits(self, size: int, share: float = 1.0) -> bool:
        messages, used = self._used()
        if not messages:
            return True  # else a message larger than the whole room would wait for ever
        return messages + 1 <= self._limits.messages * share and used + size <= self._limits.bytes * share

    def _old_age(self) -> int | None:
        """The time before which telemetry and states are too old; None: it was looked at only just now."""
        age = self._limits.max_age
        if age is None or self._clock.monotonic() - self._aged < age / AGE_CHECKS:
            return None
        self._aged = self._clock.monotonic()
        now = self._clock.now()
        stamp = self._stamp(now)
        return (now if stamp is None else stamp.local) - int(age * 1e6)

    def _give_up(self, lost: list[int], reason: str) -> None:
        if not lost:
            return
        if not self.dropped:
            log.warning("the outbox is full or too old (%d messages): telemetry is given up", self.backlog)
        self.dropped += len(lost)
        spans = joined((seq, seq) for seq in lost)
        self._remove(spans)
        self._announce(spans, reason)

    def _overrun(self, seq: int) -> None:
        """The hub acknowledges what was not made."""
        log.warning("the hub acknowledged message %d, but only %d were made; ignored", seq, self._next - 1)

    def _suspect(self, seq: int) -> None:
        """The hub acknowledges less than before: this was overtaken on the way, or the hub has lost its memory."""
        now = self._clock.monotonic()
        if not self._behind:
            self._behind_since = now
        self._behind += 1
        if self._behind < RESET_ACKS or now - self._behind_since < RESET_SECONDS:
            return
        if self._reminded is None or seq < self._reminded:
            self._remind(seq)

    def _remind(self, seq: int) -> None:
        """Tell a hub that was reset to an earlier state what it has had before, since that is not kept any more."""
        self._reminded = seq
        log.warning("the hub acknowledges only up to %d, after %d before: its store was reset", seq, self.acknowledged)
        self._announce([(seq + 1, self.acknowledged)], "acknowledged before")

    def _announce(self, spans: list[Span], reason: str) -> None:
        if len(self._notices) >= MAX_NOTICES:
            spans = joined([*spans, *self._recall_notices()])
        for part in parts(spans):
            latest = next(reversed(self._notices.values()), None)
            if latest is not None and latest.takes(reason, len(part)):
                latest.add(part)
                entry = latest.entry
                entry.payload = self._encode_now(entry.seq, latest.body(self.epoch))
            else:
                self._append_notice(reason, part)

    def _recall_notices(self) -> list[Span]:
        """Take all notices back; others will tell of what they told, and of them."""
        spans = [span for notice in self._notices.values() for span in notice.ranges]
        own = joined((seq, seq) for seq in self._notices)
        self._remove(own)
        self._notices.clear()
        known = self.acknowledged
        return [(max(first, known + 1), last) for first, last in [*spans, *own] if last > known]

    # --- the entries

    def _append(
        self, ts: int, body: Body, stamp: Stamp | None, *, keep: bool = False, payload: bytes | None = None
    ) -> int:
        if payload is None:
            payload = self._encode(self._next, ts, body, stamp)
        # Its age is told on a line that does not jump when the clock learns the time.
        local = ts if stamp is None else stamp.local
        self._add(Entry(self._next, TYPE_OF[type(body)], payload, local, stream_of(body), keep))
        return self.head

    def _append_notice(self, reason: str, spans: list[Span]) -> None:
        entry = Entry(self._next, "event", b"", self._clock.now(), notice=True)
        notice = self._notices[entry.seq] = Notice(entry, reason, spans)
        entry.payload = self._encode_now(entry.seq, notice.body(self.epoch))
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        self._next += 1
        self._enter(entry)
        self._empty.clear()
        self.changed.set()

    def _wake(self) -> None:
        self.changed.set()
        self._room.set()
        if not self.backlog:
            self._empty.set()

    def _stamp(self, ts: int) -> Stamp | None:
        return self._stamp_of(ts) if self._stamp_of else None

    def _encode(self, seq: int, ts: int, body: Body, stamp: Stamp | None) -> bytes:
        robot_ts, unsynced = (None, None) if stamp is None else stamp[:2]
        return encode(Envelope(self._robot, ts, body, self.epoch, seq, robot_ts, unsynced))

    def _encode_now(self, seq: int, body: Body) -> bytes:
        now = self._clock.now()
        return self._encode(seq, now, body, self._stamp(now))


def need(limits: Limits, messages: int, size: int) -> Need:
    """What to make free so that it fits, with something to spare; nothing of what fits anyway."""
    over_messages, over_bytes = messages - limits.messages, size - limits.bytes
    return Need(
        over_messages + int(limits.messages * SPARE) if over_messages > 0 else 0,
        over_bytes + int(limits.bytes * SPARE) if over_bytes > 0 else 0,
    )
