"""The outbox that survives a restart and a power cut: everything is in a file until the hub has committed it.

**When a message may be sent.** At once, before it is written: live data does not wait for the disk. What a power cut
may do then is to lose a number that the hub has seen; if the next start gave that number to another message, the hub
would take it for a duplicate, and it would be lost. So a start after an unclean end leaves a gap: it goes on `LEAP`
numbers after the last that is written down, and tells the hub that the numbers in between will not come. And no number
is sent that is `LEAP` or more beyond what is written down, so the gap is always large enough.

**When it is written.** Messages are written in groups, one transaction every `interval` seconds; what the hub has
acknowledged by then is never written at all. With durability `each`, `put` returns when the message is on the disk.

**When the disk fails** (full, read-only) messages stay in memory, within limits, and are written when it works again.
"""

import asyncio
import itertools
import logging
import random
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from botyard_edge.blocking import Elsewhere, OwnThread
from botyard_edge.outbox import LIMITS, Entry, Limits, new_epoch
from botyard_edge.outboxcore import OutboxCore, need
from botyard_edge.outboxfile import BrokenFileError, Loaded, OutboxFile, Work, is_broken
from botyard_edge.ranges import Held, Span, joined, minus, total
from botyard_edge.retention import Row, victims
from botyard_edge.timing import wait_event
from botyard_schemas import Event
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Body

log = logging.getLogger(__name__)

# Numbers that an unclean end makes unusable, and that may be sent beyond what is written down.
LEAP = 100_000

# Messages that are in memory only, since the disk is slow or fails.
MEMORY = Limits(5_000, 8 * 1024 * 1024)

# The newest of what is written stay in memory as well, to be sent without asking the disk.
CACHED = 256

# More bytes than this in memory only are written without waiting for the interval.
HURRY = 1024 * 1024

# Longest pause in seconds between attempts to write to a disk that fails.
MAX_RETRY = 10.0


@dataclass(frozen=True, slots=True)
class Durability:
    """When messages are written: in groups every `interval` seconds, or `each` before `put` returns."""

    mode: Literal["group", "each"] = "group"
    interval: float = 1.0


GROUP = Durability()


class SqliteOutbox(OutboxCore):
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
        robot_time: Callable[[int], int] | None = None,
        on_trouble: Callable[[str | None], None] = lambda _: None,
        elsewhere: Elsewhere | None = None,
        patience: float = 5.0,
    ) -> None:
        super().__init__(robot, clock=clock, rng=rng, limits=limits, robot_time=robot_time)
        self.trouble: str | None = None
        self.commits = 0
        self._file = OutboxFile(path, robot, patience)
        self._memory = memory
        self._durability = durability
        self._on_trouble = on_trouble
        self._elsewhere = elsewhere or OwnThread("edge.outbox")
        self._stack = AsyncExitStack()
        self._writer: asyncio.Task[None] | None = None
        self._has_file = False
        self._held = Held()
        # What is not on the disk yet; the rest of the numbers that are held is.
        self._unwritten: dict[int, Entry] = {}
        self._unwritten_bytes = 0
        self._file_rows = 0
        self._file_bytes = 0
        self._written = Work(1, 0, 0)
        self._retry = 1.0
        self._doomed: list[Span] = []
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._wrote = asyncio.Event()

    # --- life

    async def __aenter__(self) -> Self:
        self._aged = self._clock.monotonic()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._elsewhere)
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
            if self._has_file:
                await self._write(clean=True)
                await self._elsewhere.run(self._file.close)
            lost = self.backlog if not self._has_file else len(self._unwritten)
            if lost:
                log.error("%d messages could not be written to %s and are lost", lost, self._file.path)

    async def _open(self) -> None:
        epoch = new_epoch(self._clock, self._rng)
        broken: str | None = None
        try:
            try:
                loaded = await self._elsewhere.run(lambda: self._file.open(epoch))
            except BrokenFileError as error:
                broken = str(error)
                await self._set_aside(broken)
                loaded = await self._elsewhere.run(lambda: self._file.open(epoch))
            self._has_file = True
            self._take_over(loaded)
            # Nothing is sent before this is written: from now on the end is unclean unless it is said otherwise.
            await self._commit(clean=False)
        except (sqlite3.Error, OSError) as error:
            await self._elsewhere.run(self._file.close)
            self._begin_without_file(epoch, error)
        if broken is not None:
            sentence = f"the outbox's file was set aside, since it cannot be used: {broken}"
            await super().put(Event("outbox.set_aside", "error", sentence[:4096]))

    def _take_over(self, loaded: Loaded) -> None:
        self.epoch, self.dropped, self.acknowledged = loaded.epoch, loaded.dropped, loaded.acknowledged
        self._next = loaded.next
        self._written = Work(loaded.next, loaded.acknowledged, loaded.dropped, loaded.clean)
        self._file_bytes = loaded.bytes
        self._file_rows = total(loaded.held)
        self._held = Held(loaded.held)
        self._notices = {notice.entry.seq: notice for notice in loaded.notices}
        if self.backlog:
            log.info("%d messages wait in %s from before", self.backlog, self._file.path)
        if not loaded.clean:
            log.warning("the edge was cut off last time; what was not written then is lost unless the hub has it")
            self._next += LEAP
            self._announce([(loaded.next, self.head)], "cut off")

    def _begin_without_file(self, epoch: str, error: Exception) -> None:
        """Another epoch, in memory alone; the file is left as it is for the next start."""
        self.epoch, self.dropped, self.acknowledged, self._next = epoch, 0, 0, 1
        self._has_file, self._held, self._file_bytes = False, Held(), 0
        self._entries, self._notices, self._unwritten, self._unwritten_bytes = {}, {}, {}, 0
        self._note_trouble(f"{self._file.path} cannot be used before the next start: {error}")

    async def _set_aside(self, why: str) -> None:
        name = f"broken-{self._clock.now() // 1_000_000}"
        target = await self._elsewhere.run(lambda: self._file.set_aside(name))
        log.error("the outbox's file cannot be used and is now %s, a new one is begun: %s", target, why)

    # --- what the link and the producers see

    @property
    def backlog(self) -> int:
        return self._held.count

    @property
    def bytes(self) -> int:
        """Bytes of the messages that are held."""
        return self._file_bytes + self._unwritten_bytes

    async def put(self, body: Body, *, ts: int | None = None, wait: bool = False) -> int:
        seq = await super().put(body, ts=ts, wait=wait)
        if self._durability.mode == "each":
            self._hurry.set()
            while seq in self._unwritten and self.trouble is None:
                self._wrote.clear()
                await self._wrote.wait()
        return seq

    async def read(self, after: int, limit: int) -> list[Entry]:
        # Taken before the disk is asked: what is in memory may leave it meanwhile.
        at_hand = list(itertools.islice((e for e in self._entries.values() if e.seq > after), limit))
        first = next(iter(self._entries), self._next)
        stored: list[Entry] = []
        damaged: list[int] = []
        if self._has_file and self._held.any_between(after, first):
            try:
                stored, damaged = await self._elsewhere.run(lambda: self._file.read(after, limit))
            except sqlite3.Error as error:
                await self._fail(error)
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
        return not self._has_file or entry.seq < self._written.next + LEAP

    # --- room

    def _used(self) -> tuple[int, int]:
        return self._held.count - len(self._notices), self.bytes

    def _fits(self, size: int, share: float = 1.0) -> bool:
        # Who can wait leaves the memory to those who cannot.
        crowded = self._unwritten_bytes + size > self._memory.bytes // 2
        return super()._fits(size, share) and not (share < 1.0 and self._unwritten and crowded)

    def _rows(self) -> Iterable[Row]:
        for e in self._unwritten.values():
            if not e.keep and not e.notice:
                yield Row(e.seq, e.type, e.ts, len(e.payload), e.stream)

    def _make_room(self, size: int) -> None:
        # What is on the disk is tidied by the writer, a moment later.
        self._work.set()
        self._bound_memory(size)

    def _bound_memory(self, size: int) -> None:
        limits = self._memory
        if not self._has_file:
            limits = Limits(min(limits.messages, self._limits.messages), min(limits.bytes, self._limits.bytes))
        wanted = need(limits, len(self._unwritten) + 1, self._unwritten_bytes + size)
        if any(wanted):
            self._give_up(victims(self._rows, wanted, self._limits.thin), "memory")

    async def _tidy(self) -> None:
        """Give up what the limits want, of what is on the disk. Raises sqlite3.Error."""
        wanted, known = need(self._limits, *self._used()), self.acknowledged
        if any(wanted):
            lost = await self._elsewhere.run(lambda: self._file.victims(wanted, self._limits.thin, known))
            self._give_up(self._still_held(lost), "full")
        if (oldest := self._old_age()) is not None:
            lost = await self._elsewhere.run(lambda: self._file.older(oldest, known))
            self._give_up(self._still_held(lost), "expired")

    def _still_held(self, seqs: list[int]) -> list[int]:
        """Some may have been acknowledged while the disk was asked."""
        spans = joined((seq, seq) for seq in seqs)
        held = minus(spans, minus(spans, self._held))
        return [seq for first, last in held for seq in range(first, last + 1)]

    # --- the entries

    def _enter(self, entry: Entry) -> None:
        self._held.append(entry.seq)
        self._entries[entry.seq] = self._unwritten[entry.seq] = entry
        self._unwritten_bytes += len(entry.payload)
        self._work.set()
        if self._unwritten_bytes > HURRY:
            self._hurry.set()
        if not entry.notice:
            self._bound_memory(0)

    def _remove(self, spans: list[Span]) -> None:
        self._held.remove(spans)
        for first, last in spans:
            for seq in range(first, last + 1):
                self._entries.pop(seq, None)
                self._drop_unwritten(seq)
        self._doomed = joined([*self._doomed, *spans])
        self._work.set()

    def _forget(self, seq: int) -> None:
        self._held.forget(seq)
        for cached in (self._entries, self._unwritten):
            for number in list(itertools.takewhile(lambda number: number <= seq, cached)):
                self._entries.pop(number, None)
                self._drop_unwritten(number)
        self._work.set()

    def _drop_unwritten(self, seq: int) -> None:
        entry = self._unwritten.pop(seq, None)
        if entry is not None:
            self._unwritten_bytes -= len(entry.payload)

    # --- writing

    async def _write_groups(self) -> None:
        pause = self._durability.interval if self._durability.mode == "group" else 0.0
        while self._has_file:
            await self._work.wait()
            self._work.clear()
            if self.trouble is None:
                await wait_event(self._hurry, self._clock, pause)
            else:
                self._work.set()  # until it works again
                await self._clock.sleep(self._retry)
            self._hurry.clear()
            await self._write(clean=False)

    async def _write(self, *, clean: bool) -> None:
        try:
            if self._has_file:
                await self._commit(clean=clean)
                if not clean:
                    await self._tidy()
                self._note_trouble(None)
        except (sqlite3.Error, OSError) as error:
            await self._fail(error)
        while len(self._entries) > CACHED and (oldest := next(iter(self._entries))) not in self._unwritten:
            del self._entries[oldest]
        self._room.set()
        self._wrote.set()

    async def _commit(self, *, clean: bool) -> None:
        """Write what is not written yet; nothing when the disk has all that counts."""
        entries = list(self._unwritten.values())
        behind = self.acknowledged > self._written.acknowledged and self._file_rows > 0
        used_up = self._next - self._written.next >= LEAP // 4
        if not (entries or self._doomed or behind or used_up or self.trouble or clean is not self._written.clean):
            return
        for notice in self._notices.values():
            notice.open = False  # what is written does not change any more
        doomed, self._doomed = self._doomed, []
        work = Work(self._next, self.acknowledged, self.dropped, clean, entries, doomed)
        try:
            rows, size = await self._elsewhere.run(lambda: self._file.commit(work))
        except BaseException:
            self._doomed = joined([*doomed, *self._doomed])
            raise
        for entry in entries:
            self._drop_unwritten(entry.seq)
        self.commits += 1
        self._written = work
        self._file_rows += rows
        self._file_bytes += size

    # --- when the disk fails

    async def _fail(self, error: Exception) -> None:
        if isinstance(error, sqlite3.Error) and is_broken(error):
            try:
                await self._replace_file(str(error))
            except (sqlite3.Error, OSError, BrokenFileError) as another:
                error = another
            else:
                return
        self._note_trouble(f"{self._file.path}: {error}; messages are kept in memory only")

    async def _replace_file(self, why: str) -> None:
        """Go on with a new file and what is in memory; the hub hears what is lost."""
        await self._set_aside(why)
        await self._elsewhere.run(lambda: self._file.open(self.epoch, start=self._next))
        kept = {seq: notice.entry for seq, notice in self._notices.items()} | self._entries
        self._unwritten = dict(sorted(kept.items()))
        self._unwritten_bytes = sum(len(entry.payload) for entry in kept.values())
        self._file_rows = self._file_bytes = 0
        self._doomed = []
        lost = minus(self._held, joined((seq, seq) for seq in kept))
        self._held.remove(lost)
        self._announce(lost, "unreadable")
        self._work.set()

    def _note_trouble(self, trouble: str | None) -> None:
        self._retry = 1.0 if trouble is None else min(MAX_RETRY, self._retry * 2.0)
        if (trouble is None) == (self.trouble is None):
            return
        self.trouble = trouble
        if trouble is None:
            log.info("the outbox can write to its disk again")
        else:
            log.error("the outbox cannot write to its disk: %s", trouble)
        self._work.set()
        self._on_trouble(trouble)
