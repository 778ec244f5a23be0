"""The outbox: every message that the hub must not miss stays here until the hub says that it is committed.

A message gets its sequence number when it enters. When there is no room, either the producer waits or the oldest
telemetry and superseded states are given up. What was given up leaves a gap in the sequence, so a notice (event
`outbox.dropped`) tells the hub the ranges that will never come; without it the hub would wait for them for ever.
"""

import asyncio
import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from botyard_schemas import DEFAULT_LIMIT, Event, encode
from botyard_schemas.clock import Clock
from botyard_schemas.messages import TYPE_OF, Body, Envelope

log = logging.getLogger(__name__)

DROPPED = "outbox.dropped"

# Producers that can wait leave this share of the room to messages that cannot.
RESERVE = 0.1

# A notice with this many ranges is full, and the next loss begins another.
NOTICE_RANGES = 1000


class TooLargeError(ValueError):
    """The message is larger than the hub takes in; the sentence says which and by how much."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that an outbox holds: messages, and bytes of encoded messages."""

    messages: int = 10_000
    bytes: int = 64 * 1024 * 1024


@dataclass(slots=True)
class Entry:
    """A message that waits for the hub. What is to `keep` waited for room, and is not given up; neither is a `notice`,
    which does not count against the limits: there are no more of them than the link sends at once."""

    seq: int
    type: str
    payload: bytes
    keep: bool = False
    notice: bool = False


class Outbox(Protocol):
    """Keeps messages in the order of their sequence numbers. Open while its `async with` lasts."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...

    @property
    def epoch(self) -> str:
        """The life of this outbox."""

    @property
    def backlog(self) -> int:
        """Messages that the hub has not acknowledged."""

    @property
    def dropped(self) -> int:
        """Messages that were given up since the epoch began."""

    @property
    def changed(self) -> asyncio.Event:
        """Set whenever a message enters or is acknowledged; the one reader (the link) clears it."""

    async def put(self, body: Body, *, ts: int | None = None, wait: bool = False) -> int:
        """Keep a message made at `ts` (None: now) and return its sequence number.

        Without room, `wait` waits for it; otherwise the oldest telemetry is given up, counted and announced. Raises
        TooLargeError.
        """

    def pending(self, limit: int) -> list[Entry]:
        """The oldest messages that are not acknowledged, at most `limit` of them."""

    def ack(self, epoch: str, seq: int) -> None:
        """The hub has committed everything up to `seq`: forget it."""

    async def drained(self) -> None:
        """Wait until the hub has acknowledged everything."""


class MemoryOutbox:
    """An outbox that ends with the process; its epoch is new each time."""

    def __init__(self, robot: str, *, clock: Clock, rng: random.Random, limits: Limits = Limits()) -> None:
        self.epoch = ""
        self.dropped = 0
        self.bytes = 0
        self._messages = 0
        self.changed = asyncio.Event()
        self._robot = robot
        self._clock = clock
        self._rng = rng
        self._limits = limits
        self._entries: dict[int, Entry] = {}
        self._next = 1
        self._acknowledged = 0
        self._forgotten = False
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._notice: _Notice | None = None

    async def __aenter__(self) -> Self:
        self.epoch = new_epoch(self._clock, self._rng)
        self._empty.set()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._entries:
            log.warning("%d messages were not acknowledged by the hub and end with this process", len(self._entries))

    @property
    def backlog(self) -> int:
        return len(self._entries)

    async def put(self, body: Body, *, ts: int | None = None, wait: bool = False) -> int:
        ts = self._clock.now() if ts is None else ts
        # The size hardly depends on the sequence number; ten bytes cover its growth while this waits.
        size = len(self._encode(self._next, ts, body))
        if size + 10 > DEFAULT_LIMIT:
            raise TooLargeError(
                f"a {TYPE_OF[type(body)]} of {size} bytes is larger than the {DEFAULT_LIMIT} of the hub"
            )
        if wait:
            while not self._fits(size + 10, 1.0 - RESERVE):
                self._room.clear()
                await self._room.wait()
        elif not self._fits(size + 10):
            self._make_room(size + 10)
        return self._append(ts, body, keep=wait)

    def pending(self, limit: int) -> list[Entry]:
        found: list[Entry] = []
        for entry in self._entries.values():
            if len(found) >= limit:
                break
            if self._notice is not None and entry.seq == self._notice.seq:
                self._notice = None  # it goes out now, so later losses need a notice of their own
            found.append(entry)
        return found

    def ack(self, epoch: str, seq: int) -> None:
        if epoch != self.epoch:
            log.debug("acknowledgement of epoch %s ignored, this is %s", epoch, self.epoch)
            return
        if seq >= self._next:
            log.warning("the hub acknowledged message %d, but only %d were made; ignored", seq, self._next - 1)
            return
        if seq < self._acknowledged:
            self._remind(seq)
            return
        for number in list(self._entries):  # in order, so that this stops at the first that stays
            if number > seq:
                break
            self._remove(number)
        self._forgotten = self._forgotten and seq == self._acknowledged
        self._acknowledged = seq
        self._wake()

    async def drained(self) -> None:
        await self._empty.wait()

    def _fits(self, size: int, share: float = 1.0) -> bool:
        if not self._messages:
            return True  # else a message larger than the whole room would wait for ever
        messages, room = self._limits.messages * share, self._limits.bytes * share
        return self._messages + 1 <= messages and self.bytes + size <= room

    def _make_room(self, size: int) -> None:
        """Give up the oldest telemetry and states, then the oldest events and reports.

        What waited for room stays: it leaves the reserve free, which is more than any message needs.
        """
        lost: list[int] = []
        for wanted in (_is_transient, _is_not_kept):
            for entry in list(self._entries.values()):
                if self._fits(size):
                    break
                if wanted(entry):
                    self._remove(entry.seq)
                    lost.append(entry.seq)
        if not lost:
            return
        if not self.dropped:
            log.warning("the outbox is full (%d messages); the oldest telemetry is given up", len(self._entries))
        self.dropped += len(lost)
        self._announce(((seq, seq) for seq in lost), "full")

    def _remind(self, seq: int) -> None:
        """The hub acknowledges less than before: it has lost its memory (or an old message came late)."""
        if self._forgotten:
            return
        self._forgotten = True
        log.warning("the hub acknowledges only up to %d, after %d before: its store was reset", seq, self._acknowledged)
        self._announce([(seq + 1, self._acknowledged)], "acknowledged before")

    def _announce(self, ranges: Iterable[tuple[int, int]], reason: str) -> None:
        notice = self._notice
        if notice is None or notice.reason != reason or len(notice.ranges) >= NOTICE_RANGES:
            notice = self._notice = _Notice(self._next, reason)
            self._append(self._clock.now(), notice.body(self.epoch), notice=True)
        notice.add(ranges)
        entry = self._entries[notice.seq]
        entry.payload = self._encode(entry.seq, self._clock.now(), notice.body(self.epoch))

    def _append(self, ts: int, body: Body, *, keep: bool = False, notice: bool = False) -> int:
        seq = self._next
        self._next += 1
        entry = Entry(seq, TYPE_OF[type(body)], self._encode(seq, ts, body), keep, notice)
        self._entries[seq] = entry
        if not notice:
            self._messages += 1
            self.bytes += len(entry.payload)
        self._empty.clear()
        self.changed.set()
        return seq

    def _remove(self, seq: int) -> None:
        entry = self._entries.pop(seq)
        if not entry.notice:
            self._messages -= 1
            self.bytes -= len(entry.payload)

    def _wake(self) -> None:
        self.changed.set()
        self._room.set()
        if not self._entries:
            self._empty.set()

    def _encode(self, seq: int, ts: int, body: Body) -> bytes:
        return encode(Envelope(self._robot, ts, body, self.epoch, seq))


class _Notice:
    """The event that tells of messages that will not come; it grows until it is sent."""

    def __init__(self, seq: int, reason: str) -> None:
        self.seq = seq
        self.reason = reason
        self.ranges: list[tuple[int, int]] = []

    def add(self, ranges: Iterable[tuple[int, int]]) -> None:
        joined: list[tuple[int, int]] = []
        for first, last in sorted([*self.ranges, *ranges]):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((first, last))
        self.ranges = joined

    def body(self, epoch: str) -> Event:
        count = sum(last - first + 1 for first, last in self.ranges)
        data: dict[str, Any] = {"epoch": epoch, "ranges": self.ranges, "count": count, "reason": self.reason}
        if self.reason == "full":
            return Event(DROPPED, "warning", f"{count} messages were given up, since the outbox was full", data=data)
        return Event(DROPPED, "info", f"{count} messages were acknowledged before and are not kept any more", data=data)


def _is_transient(entry: Entry) -> bool:
    return _is_not_kept(entry) and entry.type in ("telemetry", "state")


def _is_not_kept(entry: Entry) -> bool:
    return not entry.keep and not entry.notice


def new_epoch(clock: Clock, rng: random.Random) -> str:
    """A name that sorts by time, as UUIDv7 does: 48 bits of milliseconds and 80 random bits, in hex."""
    return f"{(clock.now() // 1000) & 0xFFFFFFFFFFFF:012x}{rng.getrandbits(80):020x}"
