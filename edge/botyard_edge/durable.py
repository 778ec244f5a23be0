"""The outbox that survives a restart and a power cut: everything is in a file until the hub has committed it.

**When a message may be sent.** At once, before it is written: live data does not wait for the disk. What a power cut
may do then is to lose a number that the hub has seen; if the next start gave that number to another message, the hub
would take it for a duplicate, and it would be lost. So a start after an unclean end leaves a gap: it goes on `LEAP`
numbers after the last that is written down, and tells the hub that the numbers in between will not come. And no number
is sent that is `LEAP` or more beyond what is written down, so the gap is always large enough. When the disk fails for
so long that this is used up, another epoch begins in memory, and in the file as soon as that can be written. So it does
when the hub acknowledges a number that was not made yet: then the file has gone back to an earlier state.

**When it is written.** Messages are written in groups, in one transaction, as soon as one of them has waited for
`interval` seconds; what the hub has acknowledged by then is never written at all, so that a robot with a connection
hardly writes. With durability `each`, `put` returns when the message is on the disk.

**When the disk fails** (full, read-only) messages stay in memory, within limits, and are written when it works again.
"""

import asyncio
import itertools
import logging
import random
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from botyard_edge.blocking import Elsewhere, OwnThread
from botyard_edge.hubtime import Stamp
from botyard_edge.outbox import LIMITS, Entry, Limits, new_epoch
from botyard_edge.outboxcore import need
from botyard_edge.outboxdisk import OutboxDisk
from botyard_edge.outboxfile import Loaded, OutboxFile
from botyard_edge.ranges import Held, Span, joined, minus
from botyard_edge.retention import Row, victims
from botyard_edge.unwritten import Unwritten
from botyard_edge.writing import GROUP, LEAP, Durability, WrittenOutbox
from botyard_schemas import Event
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Body

log = logging.getLogger(__name__)

# Messages that are in memory only, since the disk is slow or fails.
MEMORY = Limits(5_000, 8 * 1024 * 1024)


class SqliteOutbox(WrittenOutbox):
    """Keeps messages in `path`. `on_trouble` hears why the disk cannot be used, and None when it can again.

    Entering waits `patience` seconds for another process to let go of the file, and raises OutboxError if it does not.
    A broken file is set aside.
    """

    def __init__(
        self,
        robot: str,
        path: Path,
        *,
        clock: Clock,
        rng: random.Random,
        limits: Limits = LIMITS,
        memory: Limits = MEMORY,
        durability: Durability = GROUP,
        stamp: Callable[[int], Stamp] | None = None,
        on_trouble: Callable[[str | None], None] = lambda _: None,
        elsewhere: Elsewhere | None = None,
        patience: float = 5.0,
    ) -> None:
        disk = OutboxDisk(
            OutboxFile(path, robot, patience),
            elsewhere or OwnThread("edge.outbox"),
            clock=clock,
            on_trouble=on_trouble,
        )
        super().__init__(robot, disk, clock=clock, rng=rng, limits=limits, durability=durability, stamp=stamp)
        self._memory = memory
        self._stack = AsyncExitStack()
        self._writer: asyncio.Task[None] | None = None

    # --- life

    async def __aenter__(self) -> Self:
        self._aged = self._clock.monotonic()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._disk)
            await self._open()
            self._stack = stack.pop_all()
        if not self.backlog:
            self._empty.set()
        self._writer = asyncio.create_task(self._write_groups(), name="edge.outbox")
        return self

    async def __aexit__(self, *exc: object) -> None:
        async with self._stack:
            if self._writer is not None:
                self._writer.cancel()
                await asyncio.gather(self._writer, return_exceptions=True)
            await self._write(clean=True)
            lost = len(self._unwritten) if self._disk.usable else self.backlog
            if lost:
                log.error("%d messages could not be written to %s and are lost", lost, self._disk.path)

    async def _open(self) -> None:
        epoch = new_epoch(self._clock, self._rng)
        broken: str | None = None
        try:
            loaded, broken = await self._disk.open(epoch)
            self._take_over(loaded)
            self._inherited = not loaded.created
            # Nothing is sent before this is written: from now on the end is unclean unless it is said otherwise.
            await self._commit(clean=False)
        except (sqlite3.Error, OSError) as error:
            await self._disk.give_up(error)
            self._begin_without_file(epoch)
        if broken is not None:
            sentence = f"the outbox's file was set aside, since it cannot be used: {broken}"
            await super().put(Event("outbox.set_aside", "error", sentence[:4096]))

    def _take_over(self, loaded: Loaded) -> None:
        self.epoch, self.dropped, self.acknowledged = loaded.epoch, loaded.dropped, loaded.acknowledged
        self._next = loaded.next
        self._held = Held(loaded.held)
        self._notices = {notice.entry.seq: notice for notice in loaded.notices}
        if self.backlog:
            log.info("%d messages wait in %s from before", self.backlog, self._disk.path)
        if not loaded.clean:
            log.warning("the edge was cut off last time; what was not written then is lost unless the hub has it")
            self._next += LEAP
            self._announce(self._missing(), "cut off")

    def _missing(self) -> list[Span]:
        """What the hub would wait for in vain: given, and neither acknowledged nor held nor named."""
        named = [span for notice in self._notices.values() for span in notice.ranges]
        return minus([(self.acknowledged + 1, self.head)], joined([*self._held, *named]))

    def _begin_without_file(self, epoch: str) -> None:
        """Another epoch, in memory alone."""
        self.epoch, self.dropped, self.acknowledged, self._next = epoch, 0, 0, 1
        self._held, self._unwritten = Held(), Unwritten()
        self._entries, self._notices = {}, {}

    # --- what the link and the producers see

    async def put(self, body: Body, *, ts: int | None = None, wait: bool = False, stamp: Stamp | None = None) -> int:
        self._renew_if_used_up()
        seq = await super().put(body, ts=ts, wait=wait, stamp=stamp)
        epoch = self.epoch
        if self.durability.mode == "each":
            self._hurry.set()
            # When another epoch begins meanwhile, the write that tells the file of it has this message, too.
            while self.trouble is None and (seq in self._unwritten if epoch == self.epoch else self._ahead_of_file):
                self._wrote.clear()
                await self._wrote.wait()
        return seq

    async def read(self, after: int, limit: int) -> list[Entry]:
        epoch = self.epoch
        # Taken before the disk is asked: what is in memory may leave it meanwhile.
        at_hand = list(itertools.islice((e for e in self._entries.values() if e.seq > after), limit))
        first = next(iter(self._entries), self._next)
        stored: list[Entry] = []
        damaged: list[int] = []
        if self._disk.usable and self._held.any_between(after, first):
            if self._ahead_of_file:
                return []  # they get their new numbers first
            try:
                stored, damaged = await self._disk.read(after, limit)
            except sqlite3.Error as error:
                await self._fail(error)
                return []
            if epoch != self.epoch:
                return []
            self._give_up(self._still_held(damaged), "unreadable")
        older = [entry for entry in stored if self.acknowledged < entry.seq < first]
        found = [entry for entry in [*older, *at_hand][:limit] if self._sendable(entry)]
        for entry in found:
            if entry.seq in self._notices:
                self._notices[entry.seq].open = False
        return found

    def fresh(self, after: int, limit: int) -> list[Entry]:
        return [entry for entry in super().fresh(after, limit) if self._sendable(entry)]

    def notices(self, before: int) -> list[Entry]:
        return [entry for entry in super().notices(before) if self._sendable(entry)]

    def _sendable(self, entry: Entry) -> bool:
        return not self._disk.usable or self._ahead_of_file or entry.seq < self._limit

    # --- room

    def _used(self) -> tuple[int, int]:
        return self._held.count - len(self._notices), self.bytes

    def _fits(self, size: int, share: float = 1.0) -> bool:
        # Who can wait leaves the memory to those who cannot.
        crowded = self._unwritten.bytes + size > self._memory.bytes // 2
        return super()._fits(size, share) and not (share < 1.0 and self._unwritten and crowded)

    def _rows(self) -> Iterable[Row]:
        for e in self._unwritten:
            if not e.keep and not e.notice:
                yield Row(e.seq, e.type, e.ts, len(e.payload), e.stream)

    def _make_room(self, size: int) -> None:
        # What is on the disk is tidied by the writer, a moment later.
        self._crowded = True
        self._work.set()
        self._bound_memory(size)

    def _bound_memory(self, size: int) -> None:
        limits = self._memory
        if not self._disk.usable:
            limits = Limits(min(limits.messages, self._limits.messages), min(limits.bytes, self._limits.bytes))
        wanted = need(limits, len(self._unwritten) + 1, self._unwritten.bytes + size)
        if any(wanted):
            self._give_up(victims(self._rows, wanted, self._limits.thin), "memory")

    async def _tidy(self) -> None:
        """Give up what the limits want, of what is on the disk. Raises sqlite3.Error."""
        self._crowded = False
        wanted, known, epoch = need(self._limits, *self._used()), self.acknowledged, self.epoch
        if any(wanted):
            lost = await self._disk.victims(wanted, self._limits.thin, known)
            self._give_up(self._still_held(lost) if epoch == self.epoch else [], "full")
        if epoch == self.epoch and (oldest := self._old_age()) is not None:
            lost = await self._disk.older(oldest, known)
            self._give_up(self._still_held(lost) if epoch == self.epoch else [], "expired")

    def _still_held(self, seqs: list[int]) -> list[int]:
        """Some may have been acknowledged while the disk was asked."""
        spans = joined((seq, seq) for seq in seqs)
        held = minus(spans, minus(spans, self._held))
        return [seq for first, last in held for seq in range(first, last + 1)]
