"""Takes an outbox's messages from memory to its file: in groups when they are due, and again when it failed."""

import asyncio
import itertools
import random
import sqlite3
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from botyard_edge.hubtime import Stamp
from botyard_edge.outbox import Entry, Limits
from botyard_edge.outboxcore import OutboxCore
from botyard_edge.outboxdisk import OutboxDisk, is_at_fault
from botyard_edge.outboxfile import BrokenFileError, Work
from botyard_edge.ranges import Held, Span, joined, minus
from botyard_edge.timing import wait_event
from botyard_edge.unwritten import Unwritten
from botyard_schemas.clock import Clock

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
        return bool(self._doomed or behind or used_up or self._crowded)

    async def _write(self, *, clean: bool) -> None:
        try:
            if self._disk.usable:
                await self._commit(clean=clean)
                if not clean:
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
        work = Work(self._next, self.acknowledged, self.dropped, clean, entries, doomed)
        try:
            await self._disk.commit(work)
        except BaseException:
            self._doomed = joined([*doomed, *self._doomed])
            raise
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
        kept = {seq: notice.entry for seq, notice in self._notices.items()} | self._entries
        self._unwritten = Unwritten((kept[seq] for seq in sorted(kept)), self._clock.monotonic())
        self._doomed = []
        lost = minus(self._held, joined((seq, seq) for seq in kept))
        self._held.remove(lost)
        self._announce(lost, "unreadable")
        self._work.set()
