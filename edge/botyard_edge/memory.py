"""The outbox in memory: for simulations and tests, and for robots without a disk to write to."""

import itertools
import logging
import random
from collections.abc import Callable, Iterable
from typing import Self

from botyard_edge.hubtime import Stamp
from botyard_edge.outbox import LIMITS, Entry, Limits, new_epoch
from botyard_edge.outboxcore import OutboxCore, need
from botyard_edge.ranges import Span
from botyard_edge.retention import Row, expired, victims
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Body

log = logging.getLogger(__name__)


class MemoryOutbox(OutboxCore):
    """An outbox that ends with the process; its epoch is new each time."""

    def __init__(
        self,
        robot: str,
        *,
        clock: Clock,
        rng: random.Random,
        limits: Limits = LIMITS,
        stamp: Callable[[int], Stamp] | None = None,
    ) -> None:
        super().__init__(robot, clock=clock, rng=rng, limits=limits, stamp=stamp)
        self.bytes = 0
        self._messages = 0

    async def __aenter__(self) -> Self:
        self.epoch = new_epoch(self._clock, self._rng)
        self._aged = self._clock.monotonic()
        self._empty.set()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._entries:
            log.warning("%d messages were not acknowledged by the hub and end with this process", len(self._entries))

    @property
    def backlog(self) -> int:
        return len(self._entries)

    async def put(self, body: Body, *, ts: int | None = None, wait: bool = False, stamp: Stamp | None = None) -> int:
        if (oldest := self._old_age()) is not None:
            self._give_up(expired(self._rows(), oldest), "expired")
        return await super().put(body, ts=ts, wait=wait, stamp=stamp)

    async def read(self, after: int, limit: int) -> list[Entry]:
        found = list(itertools.islice((e for e in self._entries.values() if e.seq > after), limit))
        for entry in found:
            if entry.notice:
                self._notices[entry.seq].open = False
        return found

    def _used(self) -> tuple[int, int]:
        return self._messages, self.bytes

    def _rows(self) -> Iterable[Row]:
        for e in self._entries.values():
            if not e.keep and not e.notice:
                yield Row(e.seq, e.type, e.ts, len(e.payload), e.stream)

    def _make_room(self, size: int) -> None:
        """Give up what the policy says. What waited for room stays: it leaves the reserve free, which is more than any
        message needs."""
        wanted = need(self._limits, self._messages + 1, self.bytes + size)
        self._give_up(victims(self._rows, wanted, self._limits.thin), "full")

    def _enter(self, entry: Entry) -> None:
        self._entries[entry.seq] = entry
        if not entry.notice:
            self._messages += 1
            self.bytes += len(entry.payload)

    def _remove(self, spans: list[Span]) -> None:
        for first, last in spans:
            for seq in range(first, last + 1):
                self._drop(seq)

    def _forget(self, seq: int) -> None:
        for number in list(itertools.takewhile(lambda number: number <= seq, self._entries)):
            self._drop(number)

    def _drop(self, seq: int) -> None:
        entry = self._entries.pop(seq, None)
        if entry is not None and not entry.notice:
            self._messages -= 1
            self.bytes -= len(entry.payload)
