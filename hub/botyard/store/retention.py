"""Retention: deletes what is older than it is to be kept, or more, and remembers how large the database was.

Deleting happens in slices of some 20 ms, each a transaction of its own, and commits are done in between. The whole
database is never looked through: an index finds the oldest rows of each class.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, Self

from botyard.core.config import Keep, KeepConfig
from botyard.core.tasks import Tasks
from botyard.store.base import Store, StoreError
from botyard.store.forecast import DAY, HOUR
from botyard.store.holdings import CLASSES, ClassName, Holdings, Size
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

PERIOD = 60.0  # seconds between looks
PAUSE = 0.02  # seconds between slices, so that commits have the disk for most of the time
TELL_EVERY = 3600.0  # seconds between two events about the same class
HISTORY = 90 * DAY  # µs for which sizes are remembered
PATIENCE = 1.0  # seconds after which whoever asks gets what was read last

# Told what was deleted: class, samples or rows, bytes.
Tell = Callable[[ClassName, int, int], None]


class Retention:
    """Deletes while its `async with` lasts. `tell` is called at most once an hour for each class."""

    def __init__(self, store: Store, keep: KeepConfig, clock: Clock, tell: Tell) -> None:
        self._store = store
        self._keep: dict[ClassName, Keep] = {name: getattr(keep, name) for name in CLASSES}
        self._clock = clock
        self._tell = tell
        self._tasks = Tasks()
        self._gone: dict[ClassName, tuple[int, int]] = {}
        self._told: dict[ClassName, float] = {}
        self._owed = False
        self._problem = ""
        self._known: Holdings | None = None
        self._reading: asyncio.Task[Holdings | StoreError] | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.start(self._run(), "hub.store.retention")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._tasks.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self._tasks.__aexit__(*exc)

    def keep(self, name: ClassName) -> Keep:
        """How long and how much of a class is kept."""
        return self._keep[name]

    async def holdings(self) -> Holdings:
        """What the store holds, as of now or, when the database is busy, of a minute ago at most. Raises StoreError."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="hub.store.holdings")
        await asyncio.wait([self._reading], timeout=None if self._known is None else PATIENCE)
        if not self._reading.done() and self._known is not None:
            return self._known
        found = self._reading.result()
        if isinstance(found, StoreError):
            raise found
        return found

    async def _read(self) -> Holdings | StoreError:
        try:
            self._known = await self._store.holdings()
        except StoreError as error:
            return error
        return self._known

    async def look(self, pause: float = 0) -> None:
        """Delete what is due now, which happens by itself every minute. Raises StoreError."""
        for name in CLASSES:
            await self._expire(name, pause)
        while self._owed:
            self._owed = await self._store.give_back()
            await self._rest(pause)
        await self._note_size()
        self._tell_all()

    async def _run(self) -> None:
        await self._read()  # so that whoever asks first need not wait
        while True:
            await self._clock.sleep(PERIOD)
            try:
                await self.look(PAUSE)
            except StoreError as error:
                self._say(str(error))
            else:
                self._say("")

    async def _expire(self, name: ClassName, pause: float) -> None:
        keep = self._keep[name]
        if keep.days is None and keep.bytes is None:
            return
        before = None if keep.days is None else self._clock.now() - round(keep.days * DAY)
        more = True
        while more:
            gone = await self._store.expire(name, before, keep.bytes)
            more = gone.more
            if gone.count or gone.bytes:
                count, size = self._gone.get(name, (0, 0))
                self._gone[name] = count + gone.count, size + gone.bytes
                self._owed = True
            if more:
                await self._rest(pause)

    async def _rest(self, pause: float) -> None:
        if pause:
            await self._clock.sleep(pause)

    async def _note_size(self) -> None:
        found = await self.holdings()
        now = self._clock.now()
        if found.sizes and abs(now - found.sizes[-1].ts) < HOUR:
            return
        await self._store.note_size(Size(now, found.bytes), now - HISTORY)

    def _tell_all(self) -> None:
        now = self._clock.monotonic()
        for name, (count, size) in list(self._gone.items()):
            if now - self._told.get(name, -math.inf) >= TELL_EVERY:
                self._told[name] = now
                del self._gone[name]
                self._tell(name, count, size)

    def _say(self, problem: str) -> None:
        """Each problem once, and its end."""
        if problem and problem != self._problem:
            log.error("old data is not deleted: %s; trying again", problem)
        elif self._problem and not problem:
            log.info("old data is deleted again")
        self._problem = problem
