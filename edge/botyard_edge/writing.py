"""Takes an outbox's messages from memory to its file: in groups when they are due, and again when it failed."""

import asyncio
import itertools
import logging
import random
import sqlite3
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from botyard_edge.hubtime import Stamp
from botyard_edge.outbox import Entry, Limits, new_epoch
from botyard_edge.outboxcore import OutboxCore
from botyard_edge.outboxdisk import OutboxDisk, is_at_fault
from botyard_edge.outboxfile import BrokenFileError, Work
from botyard_edge.ranges import Held, Span, joined, minus, total
from botyard_edge.renumbering import renumbered
from botyard_edge.timing import wait_event
from botyard_edge.unwritten import Unwritten
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Event

log = logging.getLogger(__name__)

# Numbers that an unclean end makes unusable, and that may be sent beyond what is written down.
LEAP = 100_000

# The newest of what is written stay in memory as well, to be sent without asking the disk.
CACHED = 256

# More bytes than this in memory only are written without waiting for the interval.
HURRY = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Durability:
    """When messages are written: in groups, at the latest after `interval` seconds, or `each` before `put` returns."""

    mode: Literal["group", "each"] = "group"
    interval: float = 1.0


GROUP = Durability()


class WrittenOutbox(OutboxCore):
    """Knows which messages are held, and which of them are not on the disk yet."""

    def __init__(
        self,
        robot: str,
        disk: OutboxDisk,
        *,
        clock: Clock,
        rng: random.Random,
        limits: Limits,
        durability: Durability,
        stamp: Callable[[int], Stamp] | None,
    ) -> None:
        super().__init__(robot, clock=clock, rng=rng, limits=limits, stamp=stamp)
        self._disk = disk
        self.durability = durability
        self._interval = 0.0 if durability.mode == "each" else durability.interval
        self._held = Held()
        # What is not on the disk yet; the rest of the numbers that are held is.
        self._unwritten = Unwritten()
        self._crowded = False
        self._doomed: list[Span] = []
        # Whether the epoch is of an earlier life; and what of the epoch before is only on the disk, while the file does
        # not know yet that another has begun.
        self._inherited = False
        self._carried: list[Span] = []
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._wrote = asyncio.Event()

    @property
    def backlog(self) -> int:
        return self._held.count

    @property
    def bytes(self) -> int:
        """Bytes of the messages that are held."""
        return self._disk.bytes + self._unwritten.bytes

    @property
    def trouble(self) -> str | None:
        """Why the disk cannot be used; None when it can."""
        return self._disk.trouble

    @property
    def commits(self) -> int:
        """Transactions that were written since it was opened."""
        return self._disk.commits

    def ack(self, epoch: str, seq: int) -> None:
        super().ack(epoch, seq)
        self._renew_if_used_up()

    @abstractmethod
    def _bound_memory(self, size: int) -> None:
        """Make room in memory for a message of this size."""

    @abstractmethod
    async def _tidy(self) -> None:
        """Give up what the limits want, of what is on the disk. Raises sqlite3.Error."""

    # --- the entries

    def _enter(self, entry: Entry) -> None:
        self._held.append(entry.seq)
        self._entries[entry.seq] = entry
        self._unwritten.add(entry, self._clock.monotonic())
        self._work.set()
        if self._unwritten.bytes > HURRY:
            self._hurry.set()
        if not entry.notice:
            self._bound_memory(0)

    def _remove(self, spans: list[Span]) -> None:
        self._held.remove(spans)
        for first, last in spans:
            for seq in range(first, last + 1):
                self._entries.pop(seq, None)
                self._unwritten.drop(seq)
        self._doomed = joined([*self._doomed, *spans])
        self._work.set()

    def _forget(self, seq: int) -> None:
        self._held.forget(seq)
        self._unwritten.forget(seq)
        for number in list(itertools.takewhile(lambda number: number <= seq, self._entries)):
            del self._entries[number]
        self._work.set()

    # --- another epoch

    @property
    def _ahead_of_file(self) -> bool:
        """Whether an epoch has begun of which the file does not know yet. No later start can go on with it before that,
        so all its numbers may be sent."""
        return self._disk.usable and self._disk.written.epoch != self.epoch

    @property
    def _limit(self) -> int:
        """The first number that an unclean end now would let the next start use."""
        return self._disk.written.next + LEAP

    def _overrun(self, seq: int) -> None:
        if not self._inherited:
            super()._overrun(seq)
            return
        ended, head = self.epoch, self.head
        self._begin_epoch()
        sentence = (
            f"the outbox's file has gone back to an earlier state: the hub has had message {seq} already, and only "
            f"{head} are known here; what waits is sent under new numbers, and some of it may have been sent before"
        )
        log.warning("%s", sentence)
        now = self._clock.now()
        data = {"epoch": ended, "acknowledged": seq, "head": head}
        self._append(now, Event("outbox.went_back", "warning", sentence, data=data), self._stamp(now))

    def _renew_if_used_up(self) -> None:
        """Begin another epoch when the file has not been written for so long that nothing more may be sent of this."""
        limit, following = self._limit, self.acknowledged + 1
        if not self._disk.usable or self._ahead_of_file or self._next <= limit:
            return
        if following < limit and self._held.any_between(self.acknowledged, following + 1):
            return  # it may be sent, and brings the hub forward
        sendable = [notice for notice in self._notices.values() if notice.entry.seq < limit]
        if any(first <= following <= last for notice in sendable for first, last in notice.ranges):
            return
        log.warning("the outbox's file cannot be written for too long: what waits is sent under new numbers")
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        """Give all that is held numbers of a new epoch: first what is on the disk only, once that is written."""
        carried = minus(self._held, joined((entry.seq, entry.seq) for entry in self._unwritten))
        epoch, stored = new_epoch(self._clock, self._rng), total(carried)
        # All of it is made before anything changes: whatever went wrong here must not leave half of each epoch.
        waiting = [renumbered(entry, epoch, stored + at) for at, entry in enumerate(self._unwritten, 1)]
        self._carried, self.epoch, self._inherited = carried, epoch, False
        self.acknowledged = self.dropped = self._behind = 0
        self._reminded = None
        self._next = stored + len(waiting) + 1
        self._held = Held([(1, self.head)] if self.head else [])
        self._notices, self._doomed = {}, []
        self._entries = {entry.seq: entry for entry in waiting}
        self._unwritten = Unwritten(waiting, self._clock.monotonic())
        self._work.set()
        self._hurry.set()
        self._wake()

    # --- writing

    async def _write_groups(self) -> None:
        while self._disk.usable:
            await self._work.wait()
            self._work.clear()
            if self._disk.trouble is not None:
                self._work.set()  # until it works again
                await self._clock.sleep(self._disk.retry)
            elif not await self._is_due():
                continue
            self._hurry.clear()
            await self._write(clean=False)

    async def _is_due(self) -> bool:
        """Wait as long as what is to be written may wait; whether there is still something by then."""
        now, since = self._clock.monotonic(), self._unwritten.since
        if since is None or self._owes:
            since = now
        if await wait_event(self._hurry, self._clock, since + self._interval - now) or self._owes:
            return True
        since = self._unwritten.since
        # In the same words as the wait above: by a difference, rounding may make both true, and this spin for ever.
        if since is not None and self._clock.monotonic() < since + self._interval:
            self._work.set()  # what was due has been acknowledged meanwhile, and the rest is younger
            return False
        return since is not None

    @property
    def _owes(self) -> bool:
        """Whether the file should change for another reason than new messages."""
        behind = self.acknowledged > self._disk.written.acknowledged and self._disk.rows > 0
        used_up = self._next - self._disk.written.next >= LEAP // 4
        return bool(self._doomed or behind or used_up or self._crowded or self._ahead_of_file)

    async def _write(self, *, clean: bool) -> None:
        try:
            if self._disk.usable:
                await self._commit(clean=clean)
                if not clean and not self._ahead_of_file:
                    await self._tidy()
                self._disk.note(None)
        except (sqlite3.Error, OSError) as error:
            await self._fail(error)
        while len(self._entries) > CACHED and (oldest := next(iter(self._entries))) not in self._unwritten:
            del self._entries[oldest]
        self._room.set()
        self._wrote.set()

    async def _commit(self, *, clean: bool) -> None:
        """Write what is not written yet; nothing when the disk has all that counts."""
        entries = list(self._unwritten)
        changed = clean is not self._disk.written.clean
        if not (entries or self._owes or self._disk.trouble or changed):
            return
        for notice in self._notices.values():
            notice.open = False  # what is written does not change any more
        doomed, self._doomed = self._doomed, []
        epoch, carried = self.epoch, self._carried if self._ahead_of_file else None
        work = Work(epoch, self._next, self.acknowledged, self.dropped, clean, carried, entries, doomed)
        try:
            await self._disk.commit(work)
        except BaseException:
            if epoch == self.epoch:
                self._doomed = joined([*doomed, *self._doomed])
            raise
        if epoch != self.epoch:
            return  # another has begun meanwhile, and these have other numbers there
        for entry in entries:
            self._unwritten.drop(entry.seq)

    # --- when the disk fails

    async def _fail(self, error: Exception) -> None:
        if is_at_fault(error):
            try:
                await self._replace_file(str(error))
            except (sqlite3.Error, OSError, BrokenFileError) as another:
                error = another
            else:
                return
        self._disk.note(f"{self._disk.path}: {error}; messages are kept in memory only")
        self._work.set()

    async def _replace_file(self, why: str) -> None:
        """Go on with a new file and what is in memory; the hub hears what is lost."""
        await self._disk.replace(why, self.epoch, self._next, self.acknowledged)
        self._carried = []
        kept = {seq: notice.entry for seq, notice in self._notices.items()} | self._entries
        self._unwritten = Unwritten((kept[seq] for seq in sorted(kept)), self._clock.monotonic())
        self._doomed = []
        lost = minus(self._held, joined((seq, seq) for seq in kept))
        self._held.remove(lost)
        self._announce(lost, "unreadable")
        self._work.set()
