"""The outbox's file as the event loop sees it: what is written there, and what happens when the disk fails."""

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Self

from botyard_edge.blocking import Elsewhere
from botyard_edge.outbox import Entry
from botyard_edge.outboxfile import BrokenFileError, Loaded, OutboxFile, Work, is_broken
from botyard_edge.ranges import total
from botyard_edge.retention import Need
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

# Longest pause in seconds between attempts to write to a disk that fails.
MAX_RETRY = 10.0


class OutboxDisk:
    """Open while its `async with` lasts. `on_trouble` hears why the disk cannot be used, and None when it can again.

    `usable` says whether there is a file to write to; `written`, `rows` and `bytes` say what is in it.
    """

    def __init__(
        self, file: OutboxFile, elsewhere: Elsewhere, *, clock: Clock, on_trouble: Callable[[str | None], None]
    ) -> None:
        self.usable = False
        self.trouble: str | None = None
        self.retry = 1.0
        self.commits = 0
        self.written = Work("", 1, 0, 0)
        self.rows = 0
        self.bytes = 0
        self._file = file
        self._elsewhere = elsewhere
        self._clock = clock
        self._on_trouble = on_trouble

    async def __aenter__(self) -> Self:
        await self._elsewhere.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._elsewhere.run(self._file.close)
        await self._elsewhere.__aexit__(*exc)

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    async def open(self, epoch: str) -> tuple[Loaded, str | None]:
        """What the file holds; a new one, begun with `epoch`, when there is none, or when the one there is broken.

        The second says why that was set aside. Raises sqlite3.Error and OSError when the disk does not allow it, and
        OutboxError when another process uses the file.
        """
        why: str | None = None
        try:
            loaded = await self._elsewhere.run(lambda: self._file.open(epoch))
        except BrokenFileError as error:
            why = str(error)
            await self._set_aside(why)
            loaded = await self._elsewhere.run(lambda: self._file.open(epoch))
        self.usable = True
        self.written = Work(loaded.epoch, loaded.next, loaded.acknowledged, loaded.dropped, loaded.clean)
        self.rows, self.bytes = total(loaded.held), loaded.bytes
        return loaded, why

    async def give_up(self, error: Exception) -> None:
        """Go on without the file, and leave it as it is for the next start."""
        await self._elsewhere.run(self._file.close)
        self.usable, self.rows, self.bytes = False, 0, 0
        self.note(f"{self.path} cannot be used before the next start: {error}")

    async def replace(self, why: str, epoch: str, start: int, acknowledged: int) -> None:
        """Set the file aside, and begin a new one of the same epoch whose next number is `start`. Raises as `open`.

        Until it is written to, a start from it names everything that is not acknowledged as lost.
        """
        await self._set_aside(why)
        await self._elsewhere.run(lambda: self._file.open(epoch, start=start, acknowledged=acknowledged))
        self.written = Work(epoch, start, acknowledged, 0)
        self.rows = self.bytes = 0

    async def commit(self, work: Work) -> None:
        """Write durably, all or nothing. Raises sqlite3.Error."""
        rows, size = await self._elsewhere.run(lambda: self._file.commit(work))
        self.commits += 1
        self.written = work
        self.rows += rows
        self.bytes += size

    async def read(self, after: int, limit: int) -> tuple[list[Entry], list[int]]:
        """The oldest messages after a number, and the numbers of those that are damaged. Raises sqlite3.Error."""
        return await self._elsewhere.run(lambda: self._file.read(after, limit))

    async def victims(self, need: Need, interval: float, after: int) -> list[int]:
        """What to give up so that `need` becomes free, as `retention` says. Raises sqlite3.Error."""
        return await self._elsewhere.run(lambda: self._file.victims(need, interval, after))

    async def older(self, ts: int, after: int) -> list[int]:
        """Telemetry and repeated states made before `ts`. Raises sqlite3.Error."""
        return await self._elsewhere.run(lambda: self._file.older(ts, after))

    def note(self, trouble: str | None) -> None:
        """The disk has failed, or works."""
        self.retry = 1.0 if trouble is None else min(MAX_RETRY, self.retry * 2.0)
        if (trouble is None) == (self.trouble is None):
            return
        self.trouble = trouble
        if trouble is None:
            log.info("the outbox can write to its disk again")
        else:
            log.error("the outbox cannot write to its disk: %s", trouble)
        self._on_trouble(trouble)

    async def _set_aside(self, why: str) -> None:
        name = f"broken-{self._clock.now() // 1_000_000}"
        target = await self._elsewhere.run(lambda: self._file.set_aside(name))
        log.error("the outbox's file cannot be used and is now %s, a new one is begun: %s", target, why)


def is_at_fault(error: Exception) -> bool:
    """Whether the file's content is at fault, and not the disk."""
    return isinstance(error, sqlite3.Error) and is_broken(error)
