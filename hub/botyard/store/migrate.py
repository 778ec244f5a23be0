"""Moves a whole database to another one, in steps that may be interrupted anywhere.

Rows are copied in slices, in the order of their keys; each slice is one transaction together with the note how far the
copy has come, so going on neither loses a row nor doubles one. At the end both databases are read again, from their
own files, and compared by the number of rows and a checksum of their content. Until that is done, the target has the
table `schema.MARKER` and no hub opens it. The source is only read.
"""

import asyncio
import contextlib
import hashlib
from typing import NamedTuple, Protocol, Self

import msgspec

from botyard.store import schema
from botyard.store.base import StoreError
from botyard.store.factory import open_store
from botyard.store.migrate_ends import End, open_end
from botyard.store.migrate_tables import Content, Key, Row, Table, tables
from botyard_schemas.clock import Clock, SystemClock

WEEKS = 104  # of telemetry that get parts of their own where chunks are kept by week; older ones share one
WEEK = 7 * 86_400_000_000  # µs
SOURCE = "source"  # the marker's item that says where the data come from

_pack = msgspec.msgpack.Encoder().encode


class Step(msgspec.Struct, frozen=True):
    """How far the copy of a table is: `rows` are there, up to the key `after`; `done` when that is all."""

    rows: int = 0
    after: Key | None = None
    done: bool = False


class Origin(msgspec.Struct, frozen=True):
    """Where a half-finished target's rows come from. `state` is the fingerprint of that database."""

    name: str
    state: str


class Planned(NamedTuple):
    """A table, how many rows the source has of it, and how many the target has already."""

    table: Table
    rows: int
    done: int


class Verdict(NamedTuple):
    """What the comparison of a table found: in the source, and in the target."""

    table: str
    there: Content
    here: Content

    @property
    def same(self) -> bool:
        """Whether everything has arrived, and nothing else."""
        return (self.there.rows, self.there.checksum) == (self.here.rows, self.here.checksum)


class Watcher(Protocol):
    """Hears how it goes."""

    def moved(self, table: str, rows: int) -> None:
        """So many more rows are committed in the target."""

    def checked(self, table: str, rows: int) -> None:
        """So many more rows of the source are compared."""


class Migration:
    """From the database of one URL to that of another: `prepare`, `copy`, `verify`, `finish`, in that order.

    The source is locked while the `async with` lasts, the target from `prepare` on. Everything raises StoreError;
    constructing raises ValueError as `open_store` does.
    """

    def __init__(self, source: str, target: str, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._target_url = target
        self._source = open_end(source, writable=False)
        self._target = open_end(target, writable=True)
        self._same = source == target
        self._open = contextlib.AsyncExitStack()
        self._counts: dict[Table, int] = {}
        self._origin: Origin
        self._steps: dict[str, Step] = {}

    @property
    def source(self) -> str:
        """The source's name for people."""
        return self._source.name

    @property
    def target(self) -> str:
        """The target's name for people."""
        return self._target.name

    async def __aenter__(self) -> Self:
        if self._same or self._source.name == self._target.name:
            raise StoreError(f"{self._source.name}: source and target are the same database")
        async with contextlib.AsyncExitStack() as stack:
            source = await stack.enter_async_context(self._source)
            await self._check_source(source)
            self._counts = {table: await source.count(table) for table in tables()}
            self._origin = Origin(source.name, await self._state(source))
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._open.aclose()

    async def look(self) -> list[Planned]:
        """What there is to do; changes nothing. Raises StoreError when the target cannot be filled."""
        if self._target.there:
            async with self._target:
                self._steps = await self._begun(self._target) or {}
        steps = [self._steps.get(table.name, Step()) for table in self._counts]
        return [
            Planned(table, rows, step.rows) for (table, rows), step in zip(self._counts.items(), steps, strict=True)
        ]

    async def prepare(self) -> list[Planned]:
        """Make the target's tables, or find what was begun; from now on no hub opens it. Gives what there is to do."""
        plan = await self.look()
        if not self._steps:
            async with open_store(self._target_url, clock=self._clock):
                pass
        target = await self._open.enter_async_context(self._target)
        self._steps = await self._begun(target) or {}  # again: it was not locked in between
        if not self._steps:
            self._steps = {table.name: Step() for table in self._counts}
            items = {_item(name): _said(step) for name, step in self._steps.items()}
            since = await self._source.first_chunk(self._clock.now() - WEEKS * WEEK)
            await target.begin({SOURCE: _said(self._origin), **items}, since)
        return plan

    async def copy(self, watcher: Watcher) -> None:
        """Copy what is not copied yet."""
        for table in self._counts:
            step = self._steps[table.name]
            if step.done:
                continue
            async with contextlib.aclosing(self._source.slices(table, step.after, ordered=True)) as slices:
                async for rows in slices:
                    step = await self._note(table, Step(step.rows + len(rows), rows[-1][0]), rows)
                    watcher.moved(table.name, len(rows))
            await self._note(table, Step(step.rows, step.after, done=True), [])

    async def verify(self, watcher: Watcher) -> list[Verdict]:
        """Read both databases and compare them, table by table."""
        verdicts = []
        for table in self._counts:
            there, here = Content(), Content()
            try:
                async with asyncio.TaskGroup() as reading:
                    reading.create_task(_read(self._source, table, there, watcher), name="migrate.source")
                    reading.create_task(_read(self._target, table, here, None), name="migrate.target")
            except ExceptionGroup as several:
                raise several.exceptions[0] from several
            verdicts.append(Verdict(table.name, there, here))
        return verdicts

    async def finish(self) -> None:
        """Release the target to hubs."""
        numbered = [table for table in self._counts if table.numbered]
        await self._target.finish({table.name: await self._source.last_id(table) for table in numbered})

    async def _note(self, table: Table, step: Step, rows: list[Row]) -> Step:
        try:
            await self._target.take(table, rows, _item(table.name), _said(step))
        except StoreError as error:
            raise StoreError(f"{error} (while rows of {table.name} up to {step.after!r} were written)") from error
        self._steps[table.name] = step
        return step

    async def _check_source(self, source: End) -> None:
        found = await source.tables()
        applied = await source.applied() if schema.NOTES in found else set()
        missing = schema.outstanding(source.name, "a database", found, applied)
        if not found:
            raise StoreError(f"{source.name}: there is nothing in this database")
        if missing:
            raise StoreError(
                f"{source.name}: an older Botyard has made this database (it has not seen {missing[0]}); start the hub "
                "on it once, stop it, and migrate then"
            )

    async def _state(self, source: End) -> str:
        """A fingerprint of the source that is another one after anything was written to it."""
        counts = {table.name: rows for table, rows in self._counts.items()}
        state = [sorted(await source.applied()), await source.last_written(), counts]
        return hashlib.blake2b(_pack(state), digest_size=16).hexdigest()

    async def _begun(self, target: End) -> dict[str, Step] | None:
        """How far an earlier attempt has come, None in a database that is empty. Raises StoreError for any other."""
        found = await target.tables()
        applied = await target.applied() if schema.NOTES in found else set()
        missing = schema.outstanding(target.name, "a database", found - {schema.MARKER}, applied)
        if schema.MARKER in found:
            return await self._resumed(target, missing)
        for table in self._counts:
            if table.name in found and (rows := await target.count(table)):
                raise StoreError(
                    f"{target.name}: there are data in this database already ({rows} rows in {table.name}); a "
                    "migration needs an empty database, or the one that it has begun to fill"
                )
        return None

    async def _resumed(self, target: End, missing: list[str]) -> dict[str, Step]:
        items = await target.marker()
        origin = msgspec.json.decode(items[SOURCE], type=Origin)
        again = "give the migration an empty database to begin anew"
        if missing:
            raise StoreError(f"{target.name}: another version of Botyard has begun to fill this database; {again}")
        if origin.state != self._origin.state:
            raise StoreError(
                f"{target.name}: it was begun to be filled from {origin.name} as that was then, and "
                f"{self._source.name} is not the same; {again}"
            )
        return {table.name: msgspec.json.decode(items[_item(table.name)], type=Step) for table in self._counts}


async def _read(end: End, table: Table, into: Content, watcher: Watcher | None) -> None:
    async with contextlib.aclosing(end.slices(table)) as slices:
        async for rows in slices:
            await asyncio.to_thread(into.add, rows)
            if watcher is not None:
                watcher.checked(table.name, len(rows))


def _item(table: str) -> str:
    return f"table {table}"


def _said(what: Step | Origin) -> str:
    return msgspec.json.encode(what).decode()
