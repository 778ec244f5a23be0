"""A database at rest, as a migration sees it: where rows come from, or where they go.

While it is open it holds the lock that hubs take, so none runs on it. Errors are StoreErrors whose sentence names the
database.
"""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Protocol, Self

from botyard.store.factory import open_store, shown
from botyard.store.migrate_tables import Key, Row, Table
from botyard.store.schema import MARKER

# How much is read, and written in one transaction, at once.
SLICE_ROWS = 2000
SLICE_BYTES = 8 << 20

# The marker says what is copied from where, and how far.
MAKE_MARKER = f'CREATE TABLE "{MARKER}" ("item" TEXT PRIMARY KEY, "value" TEXT NOT NULL)'
DROP_MARKER = f'DROP TABLE "{MARKER}"'
FORGET_TOTALS = "DELETE FROM total"  # whoever opens it counts
READ_MARKER = f'SELECT "item", "value" FROM "{MARKER}"'  # noqa: S608 - a constant


class End(Protocol):
    """A database that is open for a migration while its `async with` lasts."""

    name: str

    @property
    def there(self) -> bool:
        """Whether there is a database that can be opened; a server is asked only by opening."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...

    async def tables(self) -> set[str]:
        """The names of all tables in it."""

    async def applied(self) -> set[str]:
        """The migrations of the schema that it has seen; it has the table of them."""

    async def last_written(self) -> list[list[int | str]]:
        """What its writers noted of their last commits: any change by a hub changes this, too."""

    async def count(self, table: Table) -> int:
        """How many rows there are."""

    async def last_id(self, table: Table) -> int:
        """The highest id that was ever given to a row, 0 when the database gives none."""

    async def first_chunk(self, earliest: int) -> int | None:
        """When the first chunk begins that does not begin before that time."""

    def slices(
        self, table: Table, after: Key | None = None, *, ordered: bool = False
    ) -> AsyncGenerator[list[Row], None]:
        """The rows, at most `SLICE_ROWS` and about `SLICE_BYTES` at once; `ordered` by key, after that one."""

    async def marker(self) -> dict[str, str]:
        """The marker's items; it has the table."""

    async def begin(self, items: dict[str, str], since: int | None) -> None:
        """Make the marker, and parts for telemetry from the time `since` on where there are such."""

    async def take(self, table: Table, rows: Sequence[Row], item: str, value: str) -> None:
        """Write the rows, and how far that is in the marker, in one transaction."""

    async def finish(self, last_ids: dict[str, int]) -> None:
        """Give new rows of these tables higher ids than these, and take the marker away."""


def open_end(url: str, *, writable: bool) -> End:
    """The database of an URL, to be opened by `async with`. Raises ValueError as `open_store` does.

    One that is not writable has to exist, and nothing in it is changed.
    """
    open_store(url)  # opens nothing yet, and knows what is wrong with the URL
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        from botyard.store.migrate_sqlite import SqliteEnd

        return SqliteEnd(Path(rest.removeprefix("///")), writable=writable)
    from botyard.store.migrate_postgres import PostgresEnd

    return PostgresEnd(url, shown(url), writable=writable)
