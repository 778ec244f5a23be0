"""Compaction: decides when, and passes bytes from the database to the compactor and its plans back.

New telemetry stays in blocks for some minutes, so that a chunk gets enough rows to compress well, and less when there
is much of it, so that reading it stays quick. Reading, planning and writing happen in other processes: here bytes pass.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any, Protocol, Self

from botyard.core.tasks import Tasks
from botyard.store.base import Block, StoreError
from botyard.store.helper import Helper, Servant
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

COMPACTOR = "botyard.store.compactor"

PERIOD = 5.0  # seconds between looks at what is due
AGE = 300.0  # seconds after which a shard is compacted
BYTES = 4 << 20  # or when it has so many bytes
MOST = 8 << 20  # bytes that one plan is made of
RETRY = 60.0  # seconds until a shard that could not be compacted is tried again
MERGE_PERIOD = 60.0  # seconds between looks for what can be merged
GATHERED = 8  # small chunks, or parts of a rollup, that are worth merging
SETTLED = 7_200_000_000  # µs after which a rollup hardly gets more parts
PAUSE = 0.02  # seconds between two steps of giving room back
KEYS = 50  # chunks or rollups that one plan merges


class Shelf(Protocol):
    """A database, as far as compaction uses it. What is read and what is planned is msgpack (see `compaction`)."""

    async def hot(self, shard: int, most: int) -> bytes:
        """The oldest blocks of a shard as `Work`, up to so many bytes; empty when there are none."""

    async def mergeable(self, gathered: int, settled: int, most: int) -> bytes:
        """What can be merged as `Work`; empty when nothing is worth it."""

    async def carry_out(self, plan: bytes) -> None:
        """Do what a `Plan` says in one transaction. Raises KeyError when what it is made of is no longer there."""

    async def give_back(self) -> bool:
        """Give room that is free back to the file system for a moment; True while there is more of it."""


class Upkeep:
    """Compacts while its `async with` lasts. `note` tells it what was committed; `compactor` makes who does it."""

    def __init__(self, shelf: Shelf, clock: Clock, compactor: Callable[[], Servant] | None = None) -> None:
        self._shelf = shelf
        self._clock = clock
        self._compactor = compactor or (lambda: Helper("compactor", COMPACTOR, [], clock))
        self._bytes: Counter[int] = Counter()
        self._messages: Counter[int] = Counter()
        self._since: dict[int, float] = {}
        self._failed: dict[int, tuple[float, str]] = {}  # by shard: when it is tried again, and what was wrong
        self._tasks = Tasks()
        self._wake = asyncio.Event()
        self._asked: list[tuple[int | None, asyncio.Future[None]]] = []
        self._next_merge = 0.0
        self._problem = ""
        self._closed = True

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._closed = False
        self._tasks.start(self._tick(), "hub.store.upkeep.tick")
        self._tasks.start(self._run(), "hub.store.upkeep")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._closed = True
        self._tasks.cancel()
        await self._tasks.__aexit__(*exc)

    def found(self, waiting: Iterable[tuple[int, int, int]]) -> None:
        """Shard, messages and bytes of what an earlier life has left."""
        for shard, messages, size in waiting:
            self._add(shard, messages, size)

    def note(self, blocks: Iterable[Block]) -> None:
        """These were committed."""
        for block in blocks:
            self._add(block.shard, block.messages, len(block.data))

    @property
    def waiting(self) -> tuple[int, int]:
        """Messages and bytes that are not compacted, apart from what is worked on just now."""
        return self._messages.total(), self._bytes.total()

    def _add(self, shard: int, messages: int, size: int) -> None:
        self._messages[shard] += messages
        self._bytes[shard] += size
        self._since.setdefault(shard, self._clock.monotonic())

    async def compact(self, shard: int | None = None) -> None:
        """Compact a shard, or everything and merge what can be merged, now. Raises StoreError."""
        if self._closed:
            raise StoreError("the store is closed")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append((shard, done))
        self._wake.set()
        await done

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(PERIOD)
            self._wake.set()

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            helper: Servant | None = None  # started when there is something to do
            try:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    asked, self._asked = self._asked, []
                    due = self._due()
                    if helper is None and (asked or due):
                        helper = await self._start(stack, asked)
                    if helper is not None:
                        await self._answer(helper, asked)
                        await self._keep_up(helper, due)
            finally:
                self._refuse(self._asked, StoreError("the store is closed"))

    async def _start(
        self, stack: AsyncExitStack, asked: list[tuple[int | None, asyncio.Future[None]]]
    ) -> Servant | None:
        try:
            return await stack.enter_async_context(self._compactor())
        except StoreError as error:
            self._say(str(error))
            self._refuse(asked, error)
            return None

    def _due(self) -> list[int]:
        now = self._clock.monotonic()
        return [
            shard
            for shard, since in self._since.items()
            if (now - since >= AGE or self._bytes[shard] >= BYTES) and now >= self._failed.get(shard, (now, ""))[0]
        ]

    async def _answer(self, helper: Servant, asked: list[tuple[int | None, asyncio.Future[None]]]) -> None:
        for index, (shard, done) in enumerate(asked):
            try:
                for one in list(self._since) if shard is None else [shard]:
                    await self._compact(helper, one)
                if shard is None:
                    await self._merge(helper, gathered=2)
                    await self._give_back()
            except StoreError as error:
                self._refuse([(shard, done)], error)
            except asyncio.CancelledError:
                self._refuse(asked[index:], StoreError("the store is closed"))
                raise
            else:
                if not done.done():
                    done.set_result(None)

    async def _keep_up(self, helper: Servant, due: list[int]) -> None:
        for shard in due:
            try:
                await self._compact(helper, shard)
            except StoreError as error:  # the others must not wait for it
                self._failed[shard] = self._clock.monotonic() + RETRY, str(error)
            else:
                self._failed.pop(shard, None)
        problem = next((sentence for _, sentence in self._failed.values()), "")
        try:
            if self._clock.monotonic() >= self._next_merge:
                self._next_merge = self._clock.monotonic() + MERGE_PERIOD
                await self._merge(helper, gathered=GATHERED)
                await self._give_back()
        except StoreError as error:
            problem = str(error)
        self._say(problem)

    async def _compact(self, helper: Servant, shard: int) -> None:
        messages, size = self._messages.pop(shard, 0), self._bytes.pop(shard, 0)
        since = self._since.pop(shard, self._clock.monotonic())
        try:
            while work := await self._shelf.hot(shard, MOST):
                await self._plan(helper, work)
        except BaseException:
            self._messages[shard] += messages
            self._bytes[shard] += size
            self._since[shard] = min(since, self._since.get(shard, since))
            raise

    async def _merge(self, helper: Servant, gathered: int) -> None:
        settled = self._clock.now() - SETTLED
        for _ in range(100):  # what cannot be merged any further must not be tried for ever
            work = await self._shelf.mergeable(gathered, settled, KEYS)
            if not work:
                return
            await self._plan(helper, work)

    async def _give_back(self) -> None:
        """The room of what was compacted is used again; what is more than a file may keep goes, with pauses."""
        while await self._shelf.give_back():
            await self._clock.sleep(PAUSE)

    async def _plan(self, helper: Servant, work: bytes) -> None:
        plan = await helper.ask("compact", work)
        try:
            await self._shelf.carry_out(plan)
        except KeyError:
            log.debug("a plan to compact telemetry was outdated")

    def _say(self, problem: str) -> None:
        """Each problem once, and its end."""
        if problem and problem != self._problem:
            log.error("telemetry is not compacted: %s; trying again", problem)
        elif self._problem and not problem:
            log.info("telemetry is compacted again")
        self._problem = problem

    @staticmethod
    def _refuse(asked: list[tuple[int | None, asyncio.Future[None]]], error: StoreError) -> None:
        for _, done in asked:
            if not done.done():
                done.set_exception(error)
