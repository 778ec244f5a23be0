"""The outbox: every message that the hub must not miss stays here until the hub says that it is committed.

A message gets its sequence number when it enters. When there is no room, either the producer waits or messages are
given up, as `retention` says. What was given up leaves a gap in the sequence, so a notice (event `outbox.dropped`)
tells the hub the ranges that will never come; without it the hub would wait for them for ever. `memory` and `durable`
hold the two outboxes, and `outboxcore` what they share.

What all of it keeps: **each number of an epoch is acknowledged, or held, or named in a notice that is held or at the
hub; and no number of an epoch is given to two messages**, also after an unclean end. An outbox that cannot keep the
second any more within its epoch (see `writing`) begins another, in which all that it holds gets new numbers.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Protocol, Self

from botyard_edge.hubtime import Stamp
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Body


class TooLargeError(ValueError):
    """The message is larger than the hub takes in; the sentence says which and by how much."""


class OutboxError(Exception):
    """The outbox cannot be used at all; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that an outbox holds: messages, and bytes of encoded messages. Telemetry and repeated states older than
    `max_age` seconds are given up (None: never). Thinning keeps the last of each `thin` seconds, then of more."""

    messages: int = 100_000
    bytes: int = 256 * 1024 * 1024
    max_age: float | None = None
    thin: float = 10.0


LIMITS = Limits()


@dataclass(slots=True)
class Entry:
    """A message that waits for the hub. What is to `keep` waited for room, and is not given up; neither is a `notice`,
    which does not count against the limits: many are put together to one."""

    seq: int
    type: str
    payload: bytes
    ts: int = 0
    stream: int = 0
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
    def head(self) -> int:
        """The last number that was given."""

    @property
    def acknowledged(self) -> int:
        """Up to here the hub has everything."""

    @property
    def backlog(self) -> int:
        """Messages that the hub has not acknowledged."""

    @property
    def dropped(self) -> int:
        """Messages that were given up by policy since the epoch began."""

    @property
    def changed(self) -> asyncio.Event:
        """Set whenever a message enters or is acknowledged; the one reader (the link) clears it."""

    async def put(self, body: Body, *, ts: int | None = None, wait: bool = False, stamp: Stamp | None = None) -> int:
        """Keep a message made at `ts` (None: now) and return its sequence number. `stamp` is what goes with `ts`, when
        that was taken down earlier.

        Without room, `wait` waits for it; otherwise messages are given up, counted and announced. Raises TooLargeError.
        """

    async def room(self, body: Body, *, ts: int, stamp: Stamp | None = None) -> None:
        """Wait until there is room for this message. A `put` with `wait` that follows at once enters it before anything
        can interrupt that, so that who is cancelled here knows that it has not entered."""

    async def read(self, after: int, limit: int) -> list[Entry]:
        """The oldest messages that are not acknowledged, of those with a larger number than `after`, in order."""

    def fresh(self, after: int, limit: int) -> list[Entry]:
        """The newest messages, at most `limit`, of those with a larger number than `after`, in order.

        Only what is at hand in memory, and neither recordings, which can wait, nor notices.
        """

    def notices(self, before: int) -> list[Entry]:
        """The notices that tell of a number less than `before`; they must reach the hub before what follows the gap."""

    def ack(self, epoch: str, seq: int) -> None:
        """The hub has committed everything up to `seq`: forget it."""

    async def drained(self) -> None:
        """Wait until the hub has acknowledged everything."""


def new_epoch(clock: Clock, rng: random.Random) -> str:
    """A name that sorts by time, as UUIDv7 does: 48 bits of milliseconds and 80 random bits, in hex."""
    return f"{(clock.now() // 1000) & 0xFFFFFFFFFFFF:012x}{rng.getrandbits(80):020x}"
