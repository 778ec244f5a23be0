"""An SQLite file at rest, for migrations. It has a thread of its own: nothing else wants the interpreter's lock."""

import asyncio
import functools
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TextIO, TypeVar
from urllib.parse import quote

from botyard.store.base import StoreError
from botyard.store.migrate_ends import DROP_MARKER, FORGET_TOTALS, MAKE_MARKER, READ_MARKER, SLICE_BYTES, SLICE_ROWS
from botyard.store.migrate_tables import Key, Row, Table, size_of
from botyard.store.schema import APP, MARKER, NOTES
from botyard.store.sqlite_process import Refused, sentence
from botyard.store.sqlite_writer import lock

T = TypeVar("T")

APPLIED = f"SELECT name FROM {NOTES} WHERE app = ?"  # noqa: S608 - a constant
SET_ITEM = f'UPDATE "{MARKER}" SET "value" = ? WHERE "item" = ?'  # noqa: S608 - a constant


class SqliteEnd:
    """As `migrate_ends.End`. The file has to be there; one that is not writable is opened for reading only."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.name = str(path)
        self._path = path
        self._writable = writable
        self._thread: ThreadPoolExecutor
        self._lock: TextIO
        self._db: sqlite3.Connection

    @property
    def there(self) -> bool:
        """As `End.there`."""
        return self._path.is_file() and self._path.stat().st_size > 0

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "migrate")
        try:
            await self._do(self._open)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._do(self._close)
        self._thread.shutdown(wait=False)

    async def tables(self) -> set[str]:
        """As `End.tables`."""
        rows = await self._rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
                                "ESCAPE '\\'")  # fmt: skip
        return {name for (name,) in rows}

    async def applied(self) -> set[str]:
        """As `End.applied`."""
        return {name for (name,) in await self._rows(APPLIED, APP)}

    async def last_written(self) -> list[list[int | str]]:
        """As `End.last_written`."""
        return [list(row) for row in await self._rows("SELECT id, session, n FROM mark ORDER BY id")]

    async def count(self, table: Table) -> int:
        """As `End.count`."""
        ((found,),) = await self._rows(f'SELECT count(*) FROM "{table.name}"')  # noqa: S608 - a table of the models
        return int(found)

    async def last_id(self, table: Table) -> int:
        """As `End.last_id`."""
        rows = await self._rows("SELECT seq FROM sqlite_sequence WHERE name = ?", table.name) if table.numbered else []
        return int(rows[0][0]) if rows else 0

    async def first_chunk(self, earliest: int) -> int | None:
        """As `End.first_chunk`."""
        ((found,),) = await self._rows("SELECT min(start) FROM chunk WHERE start >= ?", earliest)
        return None if found is None else int(found)

    async def slices(
        self, table: Table, after: Key | None = None, *, ordered: bool = False
    ) -> AsyncGenerator[list[Row], None]:
        """As `End.slices`."""
        condition = "" if after is None else f' WHERE "{table.key}" > ?'
        order = f' ORDER BY "{table.key}"' if ordered else ""
        query = f'SELECT {table.quoted} FROM "{table.name}"{condition}{order}'  # noqa: S608 - names of the models
        cursor = await self._do(lambda: self._db.execute(query, () if after is None else (after,)))
        bools = [place for place, kind in enumerate(table.kinds) if kind == "bool"]
        while rows := await self._do(functools.partial(_slice, cursor, bools)):
            yield rows

    async def marker(self) -> dict[str, str]:
        """As `End.marker`."""
        return dict(await self._rows(READ_MARKER))

    async def begin(self, items: dict[str, str], since: int | None) -> None:  # noqa: ARG002 - files have no weeks
        """As `End.begin`."""

        def make() -> None:
            self._db.execute(MAKE_MARKER)
            self._db.executemany(f'INSERT INTO "{MARKER}" VALUES (?, ?)', items.items())  # noqa: S608 - a constant

        await self._change(make)

    async def take(self, table: Table, rows: Sequence[Row], item: str, value: str) -> None:
        """As `End.take`."""
        places = ", ".join("?" * len(table.columns))
        insert = f'INSERT INTO "{table.name}" ({table.quoted}) VALUES ({places})'  # noqa: S608 - names of the models

        def write() -> None:
            self._db.executemany(insert, rows)
            self._db.execute(SET_ITEM, (value, item))

        await self._change(write)

    async def finish(self, last_ids: dict[str, int]) -> None:
        """As `End.finish`."""

        def finish() -> None:
            for name, last in last_ids.items():
                self._db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
                self._db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, last))
            self._db.execute(FORGET_TOTALS)
            self._db.execute(DROP_MARKER)

        await self._change(finish)

    def _open(self) -> None:
        if not self._path.is_file():
            raise Refused(f"{self._path}: there is no such database")
        self._lock = lock(self._path)
        try:
            mode = "rw" if self._writable else "ro"
            address = f"file:{quote(str(self._path.absolute()))}?mode={mode}"
            self._db = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA busy_timeout=10000")
            if self._writable:
                self._db.execute("PRAGMA synchronous=FULL")
            else:
                self._db.execute("BEGIN")  # one view of the data, whatever other programs do
            self._db.execute("SELECT 1 FROM sqlite_master")
        except BaseException:
            self._lock.close()
            raise

    def _close(self) -> None:
        self._db.close()
        self._lock.close()

    async def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return await self._do(lambda: self._db.execute(query, values).fetchall())

    async def _change(self, work: Callable[[], None]) -> None:
        def transaction() -> None:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                work()
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

        await self._do(transaction)

    async def _do(self, work: Callable[[], T]) -> T:
        """Do it in the thread, after what was given to it before. Raises StoreError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except Refused as refused:
            raise StoreError(str(refused)) from refused
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise StoreError(sentence(self._path, error)) from error


def _slice(cursor: sqlite3.Cursor, bools: list[int]) -> list[Row]:
    """The next rows. SQLite keeps truth as numbers."""
    rows: list[Row] = []
    size = 0
    for row in cursor:
        if bools:
            row = [bool(value) if place in bools else value for place, value in enumerate(row)]
        rows.append(row)
        size += size_of(row)
        if len(rows) >= SLICE_ROWS or size >= SLICE_BYTES:
            break
    return rows
