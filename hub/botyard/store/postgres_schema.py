"""The schema of a PostgreSQL database, and how Tortoise reads from it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.exceptions import BaseORMException

from botyard.store import schema
from botyard.store.base import StoreError
from botyard.store.postgres_server import FAILURES, Server

if TYPE_CHECKING:
    from tortoise.migrations.schema_editor.base import BaseSchemaEditor

# Tables of extensions are nobody's.
TABLES = """SELECT relname AS name FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT EXISTS
        (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')"""


class PostgresClient(AsyncpgDBClient):
    """A Tortoise backend on a pool that somebody else opens and closes. Queries raise StoreError."""

    def __init__(self, *, pool: asyncpg.Pool, server: Server, **options: Any) -> None:
        super().__init__(**options)
        self._pool: Any = pool
        self._server = server

    async def create_connection(self, with_db: bool) -> None:
        """There is none to make."""

    async def close(self) -> None:
        """The pool is closed by whoever opened it."""

    async def execute_query(self, query: str, values: list[Any] | None = None) -> tuple[int, list[dict[str, Any]]]:
        """The number of rows, and the rows by column."""
        rows = await self.execute_query_dict(query, values)
        return len(rows), rows

    async def execute_query_dict(self, query: str, values: list[Any] | None = None) -> list[dict[str, Any]]:
        """The rows by column."""
        try:
            return [dict(row) for row in await self._pool.fetch(query, *(values or []))]
        except FAILURES as error:
            raise StoreError(self._server.sentence(error)) from error


client_class = PostgresClient


class PostgresDatabase(schema.Database):
    """Reads by the connections of `pool`."""

    def __init__(self, server: Server, pool: asyncpg.Pool) -> None:
        super().__init__()
        self._server = server
        self._pool = pool

    def _settings(self) -> dict[str, Any]:
        return schema.settings(__name__, pool=self._pool, server=self._server)

    async def _bring_up_to_date(self, connection: BaseDBAsyncClient) -> None:
        tables = {row["name"] for row in await connection.execute_query_dict(TABLES)}
        applied = set()
        if schema.NOTES in tables:
            query = f"SELECT name FROM {schema.NOTES} WHERE app = $1"  # noqa: S608 - a constant
            applied = {row["name"] for row in await connection.execute_query_dict(query, [schema.APP])}
        if not schema.outstanding(self._server.name, "a database", tables, applied):
            return
        if "sample" in tables and await connection.execute_query_dict("SELECT 1 FROM sample LIMIT 1"):
            raise schema.refuse_rows(self._server.name, "a database")
        async with self._server.pool("botyard migrations", size=1, patience=None) as pool:
            settings = schema.settings(__name__, pool=pool, server=self._server)
            try:
                await schema.migrate(settings, _editor(), self._server.name)
            except (BaseORMException, *FAILURES) as error:
                said = str(error).splitlines()[0]
                raise StoreError(f"{self._server.name}: it cannot be brought up to date: {said}") from error


def _editor() -> "Callable[[BaseDBAsyncClient, bool], BaseSchemaEditor]":
    from tortoise.migrations.schema_editor.asyncpg import AsyncpgSchemaEditor  # slow, only needed after an upgrade

    class Editor(AsyncpgSchemaEditor):
        """Texts are compared byte by byte, as in SQLite, whatever language the server was set up in."""

        def _get_field_sql(self, db_field: str, field_type: str, *rest: Any, **named: Any) -> str:
            if field_type.startswith(("VARCHAR", "TEXT")):
                field_type += ' COLLATE "C"'
            return super()._get_field_sql(db_field, field_type, *rest, **named)

    return Editor
