"""A PostgreSQL database at rest, for migrations."""

import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Self

from botyard.store import postgres_partitions as partitions
from botyard.store.base import StoreError
from botyard.store.migrate_ends import DROP_MARKER, FORGET_TOTALS, MAKE_MARKER, READ_MARKER, SLICE_BYTES, SLICE_ROWS
from botyard.store.migrate_tables import Key, Row, Table, size_of
from botyard.store.postgres_schema import TABLES
from botyard.store.postgres_server import FAILURES, Connection, Server
from botyard.store.postgres_session import Session
from botyard.store.schema import APP, MARKER, NOTES
from botyard_schemas.clock import SystemClock

PATIENCE = 3600.0  # seconds for one statement: counting a large table takes its time
AHEAD, AHEAD_SMALL = 16, 500  # rows that are fetched at once: those with bytes may have some hundred kilobytes

APPLIED = f"SELECT name FROM {NOTES} WHERE app = $1"  # noqa: S608 - a constant
SET_ITEM = f'UPDATE "{MARKER}" SET "value" = $2 WHERE "item" = $1'  # noqa: S608 - a constant
SEQUENCE = "SELECT pg_get_serial_sequence($1, 'id')"


class PostgresEnd:
    """As `migrate_ends.End`."""

    def __init__(self, url: str, name: str, *, writable: bool) -> None:
        self.name = name
        self._server = Server(url, name)
        self._session = Session(self._server, SystemClock())
        self._writable = writable

    @property
    def there(self) -> bool:
        """As `End.there`."""
        return True

    async def __aenter__(self) -> Self:
        await self._session.connect()
        try:
            with self._plainly():
                for name, value in (
                    ("statement_timeout", "0"),
                    ("idle_in_transaction_session_timeout", "0"),
                    ("default_transaction_read_only", "off" if self._writable else "on"),
                ):
                    await self._connection.execute("SELECT set_config($1, $2, false)", name, value)
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    @property
    def _connection(self) -> Connection:
        return self._session.connection

    async def tables(self) -> set[str]:
        """As `End.tables`."""
        with self._plainly():
            return {row["name"] for row in await self._connection.fetch(TABLES)}

    async def applied(self) -> set[str]:
        """As `End.applied`."""
        with self._plainly():
            return {row["name"] for row in await self._connection.fetch(APPLIED, APP)}

    async def last_written(self) -> list[list[int | str]]:
        """As `End.last_written`."""
        with self._plainly():
            return [list(row) for row in await self._connection.fetch("SELECT id, session, n FROM mark ORDER BY id")]

    async def count(self, table: Table) -> int:
        """As `End.count`."""
        query = f'SELECT count(*) FROM "{table.name}"'  # noqa: S608 - a table of the models
        with self._plainly():
            return int(await self._connection.fetchval(query, timeout=PATIENCE))

    async def last_id(self, table: Table) -> int:
        """As `End.last_id`."""
        with self._plainly():
            sequence = await self._connection.fetchval(SEQUENCE, table.name) if table.numbered else None
            if sequence is None:
                return 0
            query = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"  # noqa: S608 - quoted
            return int(await self._connection.fetchval(query))

    async def first_chunk(self, earliest: int) -> int | None:
        """As `End.first_chunk`."""
        query = "SELECT min(start) FROM chunk WHERE start >= $1"
        with self._plainly():
            found: int | None = await self._connection.fetchval(query, earliest, timeout=PATIENCE)
        return found

    async def slices(
        self, table: Table, after: Key | None = None, *, ordered: bool = False
    ) -> AsyncGenerator[list[Row], None]:
        """As `End.slices`."""
        condition = "" if after is None else f' WHERE "{table.key}" > $1'
        order = f' ORDER BY "{table.key}"' if ordered else ""
        query = f'SELECT {table.quoted} FROM "{table.name}"{condition}{order}'  # noqa: S608 - names of the models
        ahead = AHEAD if "bytes" in table.kinds else AHEAD_SMALL
        rows: list[Row] = []
        size = 0
        with self._plainly():
            async with self._connection.transaction(isolation="repeatable_read", readonly=True):
                values = () if after is None else (after,)
                async for row in self._connection.cursor(query, *values, prefetch=ahead, timeout=PATIENCE):
                    rows.append(tuple(row))
                    size += size_of(rows[-1])
                    if len(rows) >= SLICE_ROWS or size >= SLICE_BYTES:
                        yield rows
                        rows, size = [], 0
        if rows:
            yield rows

    async def marker(self) -> dict[str, str]:
        """As `End.marker`."""
        with self._plainly():
            return {row["item"]: row["value"] for row in await self._connection.fetch(READ_MARKER)}

    async def begin(self, items: dict[str, str], since: int | None) -> None:
        """As `End.begin`."""
        with self._plainly():
            async with self._connection.transaction():
                await self._connection.execute(MAKE_MARKER)
                await self._connection.copy_records_to_table(MARKER, records=list(items.items()))
                if since is not None:
                    await partitions.divide(self._connection, since)

    async def take(self, table: Table, rows: Sequence[Row], item: str, value: str) -> None:
        """As `End.take`."""
        with self._plainly():
            async with self._connection.transaction():
                await self._connection.copy_records_to_table(
                    table.name, records=rows, columns=table.columns, timeout=PATIENCE
                )
                await self._connection.execute(SET_ITEM, item, value)

    async def finish(self, last_ids: dict[str, int]) -> None:
        """As `End.finish`. The planner gets its statistics before the first hub asks."""
        with self._plainly():
            async with self._connection.transaction():
                for name, last in last_ids.items():
                    if last and (sequence := await self._connection.fetchval(SEQUENCE, name)):
                        await self._connection.execute("SELECT setval($1::text::regclass, $2)", sequence, last)
                await self._connection.execute(FORGET_TOTALS)
                await self._connection.execute(DROP_MARKER)
            await self._connection.execute("ANALYZE", timeout=PATIENCE)

    @contextlib.contextmanager
    def _plainly(self) -> Iterator[None]:
        """What goes wrong becomes a StoreError with a sentence."""
        try:
            yield
        except FAILURES as error:
            raise StoreError(self._server.sentence(error)) from error
