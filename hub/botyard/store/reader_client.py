"""A Tortoise backend whose queries run in the reader process instead of in a thread.

Measured: beside an event loop that is never idle, a query in a thread takes 5 to 14 s, as each step of it waits for the
interpreter lock; in the reader process it takes milliseconds.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from tortoise.backends.sqlite.client import SqliteClient

from botyard.store.helper import Servant

_rows = msgspec.json.Decoder(list[dict[str, Any]])
_pack = msgspec.msgpack.Encoder().encode


class ReaderClient(SqliteClient):
    """Speaks SQLite's dialect, has no connection of its own, and can only read. Queries raise StoreError."""

    def __init__(self, file_path: str, *, reader: Servant, **options: Any) -> None:
        super().__init__(file_path, **options)
        self._reader = reader

    async def create_connection(self, with_db: bool) -> None:
        """There is none to make."""

    async def close(self) -> None:
        """The reader process is closed by whoever opened it."""

    async def execute_query(self, query: str, values: list[Any] | None = None) -> tuple[int, Sequence[dict[str, Any]]]:
        """The number of rows, and the rows by column."""
        rows = await self.execute_query_dict(query, values)
        return len(rows), rows

    async def execute_query_dict(self, query: str, values: list[Any] | None = None) -> list[dict[str, Any]]:
        """The rows by column."""
        return _rows.decode(await self._reader.ask("query", _pack((query, values or []))))


client_class = ReaderClient
