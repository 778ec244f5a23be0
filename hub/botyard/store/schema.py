"""The database's schema: made and brought up to date with Tortoise's migrations, and never behind anyone's back."""

import asyncio
import contextvars
import logging
import pkgutil
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.context import TortoiseContext
from tortoise.exceptions import BaseORMException

from botyard.store import migrations, reader_client
from botyard.store.base import StoreError
from botyard.store.helper import Helper
from botyard_schemas import __version__

log = logging.getLogger(__name__)

APP = "store"
CONNECTION = "store"

T = TypeVar("T")


def config(path: Path, engine: str = "tortoise.backends.sqlite", **options: Any) -> dict[str, Any]:
    """Tortoise's configuration for one database file; for its own engine, the options are pragmas."""
    return {
        "connections": {CONNECTION: {"engine": engine, "credentials": {"file_path": str(path), **options}}},
        "apps": {
            APP: {
                "models": ["botyard.store.models"],
                "migrations": migrations.__name__,
                "default_connection": CONNECTION,
            }
        },
    }


# For `python -m tortoise -c botyard.store.schema.DEVELOPMENT makemigrations`, after a change to the models.
DEVELOPMENT = config(Path(":memory:"))


class Database:
    """Reads through the models, by the reader process, from a database that is up to date while the `async with` lasts.

    Tortoise finds its connection in a context variable, so queries run in a context of their own, and several
    databases may be open in one process. Opening raises StoreError when the database is damaged, was made by a newer
    version, or is not ours.
    """

    def __init__(self, path: Path, reader: Helper) -> None:
        self._path = path
        self._reader = reader
        self._tortoise = TortoiseContext()
        self._context: contextvars.Context

    async def __aenter__(self) -> Self:
        with self._tortoise:
            await self._tortoise.init(config=config(self._path, reader_client.__name__, reader=self._reader))
            self._context = contextvars.copy_context()
        if missing := await _missing(self._tortoise.db(CONNECTION), self._path):
            try:
                await _migrate(self._path, missing)
            except (BaseORMException, sqlite3.Error) as error:
                raise StoreError(f"{self._path}: it cannot be brought up to date: {error}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tortoise.close_connections()

    async def run(self, query: Coroutine[Any, Any, T]) -> T:
        """Let the query run on this database. Raises StoreError, and what the query itself raises."""
        loop = asyncio.get_running_loop()
        return await loop.create_task(query, name="hub.store.query", context=self._context.copy())


async def _missing(connection: BaseDBAsyncClient, path: Path) -> list[str]:
    """Migrations that this database has yet to see. Cheap, so that opening is fast when there are none."""
    tables = {row["name"] for row in await connection.execute_query_dict("SELECT name FROM sqlite_master")}
    applied = set()
    if "tortoise_migrations" in tables:
        rows = await connection.execute_query_dict("SELECT name FROM tortoise_migrations WHERE app = ?", [APP])
        applied = {row["name"] for row in rows}
    if tables and not applied and tables != {"tortoise_migrations", "sqlite_sequence"}:
        raise StoreError(f"{path}: this database was not made by Botyard; give the hub a file of its own")
    known = {module.name for module in pkgutil.iter_modules(migrations.__path__)}
    if newer := sorted(applied - known):
        raise StoreError(
            f"{path}: a newer Botyard has made this database (it has {newer[-1]}, which version {__version__} does not "
            "know); upgrade Botyard, or give the hub another file"
        )
    return sorted(known - applied)


async def _migrate(path: Path, missing: list[str]) -> None:
    """Apply what is missing, each migration in one transaction together with the note that it was applied."""
    # Imported here, since it takes longer than everything else that a start without changes needs.
    from tortoise.migrations.executor import MigrationExecutor
    from tortoise.migrations.recorder import MigrationRecorder
    from tortoise.migrations.schema_editor import SqliteSchemaEditor
    from tortoise.migrations.schema_generator.state import State
    from tortoise.migrations.schema_generator.state_apps import StateApps
    from tortoise.transactions import in_transaction

    # SQLite changes some columns by making a new table and dropping the old one, which foreign keys would not allow.
    settings = config(path, foreign_keys="OFF", synchronous="FULL", busy_timeout=10_000)
    context = TortoiseContext()
    with context:
        try:
            await context.init(config=settings)
            connection = context.db(CONNECTION)
            executor = MigrationExecutor(connection, settings["apps"])
            await executor.recorder.ensure_schema(SqliteSchemaEditor(connection, atomic=False))
            state = State(models={}, apps=StateApps(default_connections={APP: CONNECTION}))
            await executor.loader.build_graph()
            applied = set(await executor.recorder.applied_migrations())
            for leaf in executor.loader.graph.leaf_nodes(APP):
                for key in executor.loader.graph.forwards_plan(leaf):
                    migration = executor.loader.disk_migrations[key]
                    if key in applied:
                        await migration.apply(state, dry_run=True, schema_editor=None)
                        continue
                    async with in_transaction(CONNECTION) as transaction:
                        await migration.apply(state, schema_editor=SqliteSchemaEditor(transaction, atomic=True))
                        await MigrationRecorder(transaction).record_applied(key.app_label, key.name)
        finally:
            await context.close_connections()
    log.info("%s: brought up to date (%s)", path, ", ".join(missing))
