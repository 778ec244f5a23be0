"""The schema of an SQLite file."""

import sqlite3
from pathlib import Path
from typing import Any

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.exceptions import BaseORMException

from botyard.store import reader_client, schema
from botyard.store.base import StoreError
from botyard.store.helper import Servant


class SqliteDatabase(schema.Database):
    """Reads by the reader process."""

    def __init__(self, path: Path, reader: Servant) -> None:
        super().__init__()
        self._path = path
        self._reader = reader

    def _settings(self) -> dict[str, Any]:
        return schema.settings(reader_client.__name__, file_path=str(self._path), reader=self._reader)

    async def _bring_up_to_date(self, connection: BaseDBAsyncClient) -> None:
        tables = {row["name"] for row in await connection.execute_query_dict("SELECT name FROM sqlite_master")}
        applied = set()
        if schema.NOTES in tables:
            query = f"SELECT name FROM {schema.NOTES} WHERE app = ?"  # noqa: S608 - a constant
            applied = {row["name"] for row in await connection.execute_query_dict(query, [schema.APP])}
        if not schema.outstanding(str(self._path), "a file", tables - {"sqlite_sequence"}, applied):
            return
        if "sample" in tables and await connection.execute_query_dict("SELECT 1 FROM sample LIMIT 1"):
            raise schema.refuse_rows(str(self._path), "a file")
        from tortoise.migrations.schema_editor import SqliteSchemaEditor  # slow, and only needed after an upgrade

        # SQLite changes some columns by making a new table and dropping the old one, which foreign keys would refuse.
        settings = schema.config(self._path, foreign_keys="OFF", synchronous="FULL", busy_timeout=10_000)
        try:
            await schema.migrate(settings, SqliteSchemaEditor, str(self._path))
        except (BaseORMException, sqlite3.Error) as error:
            raise StoreError(f"{self._path}: it cannot be brought up to date: {error}") from error
