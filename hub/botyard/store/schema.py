"""The database's schema: made and brought up to date with Tortoise's migrations, and never behind anyone's back."""

import asyncio
import contextvars
import logging
import pkgutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.context import TortoiseContext

from botyard.store import migrations
from botyard.store.base import StoreError
from botyard_schemas import __version__

if TYPE_CHECKING:
    from tortoise.migrations.schema_editor.base import BaseSchemaEditor

log = logging.getLogger(__name__)

APP = "store"
CONNECTION = "store"
NOTES = "tortoise_migrations"  # the table in which Tortoise notes what was applied
MARKER = "store_migration"  # the table that a database has while `botyard store migrate` fills it

T = TypeVar("T")


def settings(engine: str, **credentials: Any) -> dict[str, Any]:
    """Tortoise's configuration for one database."""
    return {
        "connections": {CONNECTION: {"engine": engine, "credentials": credentials}},
        "apps": {
            APP: {
                "models": ["botyard.store.models"],
                "migrations": migrations.__name__,
                "default_connection": CONNECTION,
            }
        },
    }


def config(path: Path, **pragmas: Any) -> dict[str, Any]:
    """The configuration for an SQLite file and Tortoise's own engine."""
    return settings("tortoise.backends.sqlite", file_path=str(path), **pragmas)


# For `python -m tortoise -c botyard.store.schema.DEVELOPMENT makemigrations`, after a change to the models.
DEVELOPMENT = config(Path(":memory:"))


class Database:
    """Reads through the models from a database that is up to date while the `async with` lasts.

    Tortoise finds its connection in a context variable, so queries run in a context of their own, and several
    databases may be open in one process. Opening raises StoreError when the database is damaged, was made by a newer
    version, or is not ours.
    """

    def __init__(self) -> None:
        self._tortoise = TortoiseContext()
        self._context: contextvars.Context

    def _settings(self) -> dict[str, Any]:
        """The configuration for reading."""
        raise NotImplementedError

    async def _bring_up_to_date(self, connection: BaseDBAsyncClient) -> None:
        """Apply the migrations that are missing. `connection` only reads."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        with self._tortoise:
            await self._tortoise.init(config=self._settings())
            self._context = contextvars.copy_context()
        await self._bring_up_to_date(self._tortoise.db(CONNECTION))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tortoise.close_connections()

    async def run(self, query: Coroutine[Any, Any, T]) -> T:
        """Let the query run on this database. Raises StoreError, and what the query itself raises."""
        loop = asyncio.get_running_loop()
        return await loop.create_task(query, name="hub.store.query", context=self._context.copy())


def outstanding(name: str, other: str, tables: set[str], applied: set[str]) -> list[str]:
    """Migrations that a database with these tables has yet to see. Cheap, so that opening is fast without any.

    Raises StoreError about the database `name`, which tells to use `other`, when it is not ours or is newer.
    """
    if MARKER in tables:
        raise StoreError(
            f"{name}: `botyard store migrate` has not finished filling this database; give the same command again, "
            f"or give the hub {other} of its own"
        )
    if tables and not applied and tables != {NOTES}:
        raise StoreError(f"{name}: this database was not made by Botyard; give the hub {other} of its own")
    known = {module.name for module in pkgutil.iter_modules(migrations.__path__)}
    if newer := sorted(applied - known):
        raise StoreError(
            f"{name}: a newer Botyard has made this database (it has {newer[-1]}, which version {__version__} does not "
            f"know); upgrade Botyard, or give the hub {other.replace('a ', 'another ')}"
        )
    return sorted(known - applied)


def refuse_rows(name: str, other: str) -> StoreError:
    """What is said of a database that has samples as rows, which no release made: they are not thrown away."""
    return StoreError(
        f"{name}: this database holds samples in a form that only development versions had; "
        f"give the hub {other.replace('a ', 'another ')}"
    )


async def migrate(
    settings: dict[str, Any], editor: "Callable[[BaseDBAsyncClient, bool], BaseSchemaEditor]", name: str
) -> None:
    """Apply what is missing, each migration in one transaction together with the note that it was applied."""
    # Imported here, since it takes longer than everything else that a start without changes needs.
    from tortoise.migrations.executor import MigrationExecutor
    from tortoise.migrations.recorder import MigrationRecorder
    from tortoise.migrations.schema_generator.state import State
    from tortoise.migrations.schema_generator.state_apps import StateApps
    from tortoise.transactions import in_transaction

    context = TortoiseContext()
    done = []
    with context:
        try:
            await context.init(config=settings)
            connection = context.db(CONNECTION)
            executor = MigrationExecutor(connection, settings["apps"])
            await executor.recorder.ensure_schema(editor(connection, False))
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
                        await migration.apply(state, schema_editor=editor(transaction, True))
                        await MigrationRecorder(transaction).record_applied(key.app_label, key.name)
                    done.append(key.name)
        finally:
            await context.close_connections()
    log.info("%s: brought up to date (%s)", name, ", ".join(done))
