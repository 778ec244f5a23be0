"""The store in PostgreSQL: a connection that writes and a few that read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Self

import asyncpg
import msgspec

from botyard.store import (
    page,
    postgres_batch,
    postgres_changes,
    postgres_compaction,
    postgres_ledger,
    reading,
    relations,
)
from botyard.store.base import (
    Batch,
    BucketRow,
    ChannelRow,
    CommandRow,
    Committed,
    EventRow,
    Page,
    Position,
    ReportRow,
    RobotRow,
    Sample,
    StateRow,
    StoredEvent,
    StoredQuarantine,
    StoreError,
)
from botyard.store.cursors import clamp, decode_sample, positive
from botyard.store.frames import HIGHEST, LOWEST
from botyard.store.holdings import CLASSES, ClassName, Expired, Holdings, Inventory, Size
from botyard.store.hot import shard_of
from botyard.store.postgres_schema import PostgresDatabase
from botyard.store.postgres_server import FAILURES, Connection, Server
from botyard.store.postgres_source import PostgresSource
from botyard.store.postgres_writer import Writer
from botyard.store.upkeep import Upkeep
from botyard_schemas.clock import Clock, SystemClock

READERS = 4  # connections for reading, so that a chart of a month does not hold up everything else


class PostgresStore:
    """`Store` in the PostgreSQL database that `url` names, which has to exist. `name` stands for it in sentences.

    `quarantine_limit` is how many refused messages are kept of each robot, `patience` how many seconds one read may
    take. One hub at a time: a second one on the same database gets StoreError.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        quarantine_limit: int = 1000,
        patience: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        self._server = Server(url, name)
        self._quarantine_limit = quarantine_limit
        self._patience = patience
        self._positions = postgres_batch.Positions()  # used by the writer's task only
        clock = clock or SystemClock()
        self._writer = Writer(self._server, clock)
        self._upkeep = Upkeep(self, clock)
        self._open = contextlib.AsyncExitStack()
        self._closed = True
        self._pool: asyncpg.Pool
        self._db: PostgresDatabase

    @property
    def name(self) -> str:
        """The database's URL without its password."""
        return self._server.name

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._writer)  # first: it holds the lock that keeps a second hub away
            readers = self._server.pool(
                "botyard reader",
                size=READERS,
                patience=self._patience + 5,
                statement_timeout=str(int(self._patience * 1000)),
                default_transaction_read_only="on",
                jit="off",  # compiling takes longer than most of what is asked
                work_mem="16MB",
            )
            self._pool = await stack.enter_async_context(readers)
            self._db = await stack.enter_async_context(PostgresDatabase(self._server, self._pool))
            await self._writer.begin()
            stack.callback(setattr, self, "_closed", True)
            self._closed = False
            if len((await self._inventory()).totals) < len(CLASSES):
                await self._writer.change(lambda connection: postgres_ledger.Ledger(connection).count())
            async with self._reading() as connection:
                self._upkeep.found(await postgres_compaction.waiting(connection))
            await stack.enter_async_context(self._upkeep)
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._open.aclose()

    async def ping(self) -> None:
        """As `Store.ping`."""
        await self._writer.ask(_one)
        async with self._reading() as connection:
            await _one(connection)

    async def commit(self, batch: Batch) -> Committed:
        """As `Store.commit`."""
        rows = postgres_batch.prepared(batch)

        async def write(connection: Connection) -> list[int]:
            return await postgres_batch.write(connection, rows, self._positions, self._quarantine_limit)

        committed = Committed(await self._writer.change(write))
        self._upkeep.note(batch.blocks)
        return committed

    async def compact(self) -> None:
        """As `Store.compact`."""
        await self._upkeep.compact()

    async def hot(self, shard: int, most: int) -> bytes:
        """As `Shelf.hot`."""
        async with self._reading() as connection:
            return await postgres_compaction.hot(connection, shard, most)

    async def mergeable(self, gathered: int, settled: int, most: int) -> bytes:
        """As `Shelf.mergeable`."""
        async with self._reading() as connection:
            return await postgres_compaction.mergeable(connection, gathered, settled, most)

    async def carry_out(self, plan: bytes) -> None:
        """As `Shelf.carry_out`."""
        await self._writer.change(lambda connection: postgres_compaction.carry_out(connection, plan))

    async def expire(self, name: ClassName, before: int | None, most: int | None) -> Expired:
        """As `Store.expire`."""

        async def expire(connection: Connection) -> tuple[Any, ...]:
            return msgspec.structs.astuple(await postgres_ledger.Ledger(connection).expire(name, before, most))

        return Expired(*await self._writer.change(expire))

    async def give_back(self) -> bool:
        """As `Store.give_back`: PostgreSQL's autovacuum does it, or fills the room again."""
        return False

    async def note_size(self, size: Size, oldest: int) -> None:
        """As `Store.note_size`."""
        await self._writer.change(lambda connection: postgres_ledger.note_size(connection, size, oldest))

    async def holdings(self) -> Holdings:
        """As `Store.holdings`."""
        return page.holdings("postgresql", self.name, await self._inventory(), None, self._upkeep.waiting)

    async def _inventory(self) -> Inventory:
        async with self._reading() as connection:
            return await postgres_ledger.inventory(connection)

    async def positions(self) -> list[Position]:
        """As `Store.positions`."""
        return await self._db.run(relations.positions())

    async def states(self) -> list[StateRow]:
        """As `Store.states`."""
        return await self._db.run(relations.states())

    async def channels(self, robot: str) -> list[ChannelRow]:
        """As `Store.channels`, by name."""
        return page.channels(robot, await self._series(robot))

    async def samples(
        self,
        *,
        robots: list[str] | None = None,
        channels: list[str] | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> Page[Sample]:
        """As `Store.samples`."""
        wanted = reading.Wanted(robots, channels, clamp(start, LOWEST), clamp(end, HIGHEST))
        after = None if cursor is None else decode_sample(cursor)
        positive("limit", limit)
        async with self._reading() as connection:
            found = await reading.samples(PostgresSource(connection), wanted, after, limit + 1)
        return page.samples(found, limit)

    async def latest(self, robot: str, channels: list[str] | None = None) -> list[Sample]:
        """As `Store.latest`, by channel."""
        return page.latest(robot, channels, await self._series(robot))

    async def counts(self) -> dict[tuple[str, str], int]:
        """As `Store.counts`."""
        async with self._reading() as connection:
            found = await reading.counts(PostgresSource(connection), LOWEST, HIGHEST)
        return {(robot, channel): count for robot, channel, count in found}

    async def aggregate(self, robot: str, channel: str, *, start: int, end: int, bucket: int) -> list[BucketRow]:
        """As `Store.aggregate`."""
        times = (clamp(start, LOWEST), clamp(end, HIGHEST), positive("bucket", bucket))
        async with self._reading() as connection:
            return page.buckets(await reading.aggregate(PostgresSource(connection), robot, channel, *times))

    async def _series(self, robot: str) -> list[reading.SeriesRow]:
        async with self._reading() as connection:
            return await reading.series(PostgresSource(connection), robot, LOWEST, HIGHEST)

    async def events(
        self,
        *,
        robot: str | None = None,
        severities: list[str] | None = None,
        name: str | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[StoredEvent]:
        """As `Store.events`."""
        wanted = relations.EventFilter(robot, severities, name, clamp(start, LOWEST), clamp(end, HIGHEST))
        return await self._db.run(relations.events(wanted, positive("limit", limit), cursor))

    async def quarantined(
        self, *, robot: str | None = None, reason: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[StoredQuarantine]:
        """As `Store.quarantined`."""
        return await self._db.run(relations.quarantined(robot, reason, positive("limit", limit), cursor))

    async def robots(self) -> list[RobotRow]:
        """As `Store.robots`, by id."""
        return await self._db.run(relations.robots())

    async def add_robot(self, robot: RobotRow) -> None:
        """As `Store.add_robot`."""
        await self._write_robot(postgres_changes.INSERT_ROBOT, robot)

    async def change_robot(self, robot: RobotRow) -> None:
        """As `Store.change_robot`."""
        await self._write_robot(postgres_changes.UPDATE_ROBOT, robot)

    async def remove_robot(self, robot_id: str) -> None:
        """As `Store.remove_robot`. Slice by slice, with room for commits in between; the robot itself goes last."""

        await self._upkeep.compact(shard_of(robot_id))
        while await self._writer.change(lambda connection: postgres_changes.purge(connection, robot_id)):
            pass

    async def add_command(self, command: CommandRow, event: EventRow | None = None) -> Committed:
        """As `Store.add_command`."""
        values, told = postgres_changes.command_values(command, event)
        return Committed(
            await self._writer.change(lambda connection: postgres_changes.add_command(connection, values, told))
        )

    async def change_command(self, command: CommandRow, event: EventRow | None = None) -> Committed:
        """As `Store.change_command`."""
        values, told = postgres_changes.command_values(command, event)
        return Committed(
            await self._writer.change(lambda connection: postgres_changes.change_command(connection, values, told))
        )

    async def command(self, command_id: str) -> CommandRow | None:
        """As `Store.command`."""
        return await self._db.run(relations.command(command_id))

    async def commands(self, robot: str, *, limit: int = 100, cursor: str | None = None) -> Page[CommandRow]:
        """As `Store.commands`."""
        return await self._db.run(relations.commands(robot, positive("limit", limit), cursor))

    async def open_commands(self, robot: str | None = None) -> list[CommandRow]:
        """As `Store.open_commands`."""
        return await self._db.run(relations.open_commands(robot))

    async def reports(self, command_id: str, limit: int = 1000) -> list[ReportRow]:
        """As `Store.reports`."""
        return await self._db.run(relations.reports(command_id, positive("limit", limit)))

    async def _write_robot(self, statement: str, robot: RobotRow) -> None:
        values = postgres_changes.robot_values(robot)
        await self._writer.change(lambda connection: postgres_changes.write_robot(connection, statement, values))

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[Connection]:
        """A connection that reads from one moment of the database. What goes wrong with it becomes StoreError."""
        if self._closed:
            raise StoreError(f"{self.name}: the store is closed")
        limit = asyncio.timeout(self._patience + 5)
        try:
            async with (
                limit,
                self._pool.acquire(timeout=self._patience) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield connection
        except FAILURES as error:
            if self._closed:
                raise StoreError(f"{self.name}: the store is closed") from error
            too_long = asyncpg.QueryCanceledError() if limit.expired() else error
            raise StoreError(self._server.sentence(too_long)) from error


async def _one(connection: Connection) -> Any:
    return await connection.fetchval("SELECT 1")
