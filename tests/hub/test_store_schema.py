"""The schema: the migrations make what the models say, keep what is there, and refuse what they do not know."""

import contextlib
import sqlite3
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from tortoise.context import TortoiseContext
from tortoise.migrations.autodetector import MigrationAutodetector

from botyard.store import migrations, models, schema
from botyard.store.base import StoreError
from botyard.store.sqlite import SqliteStore
from tests.hub.support import Column, filled

RELEASED = ["0001_initial", "0002_weekly_samples", "0003_retired", "0004_columns", "0005_totals", "0006_commands"]
FILLED = filled(columns=[Column("r", "c", "number", "m", [1, 2], [0.5, 7])])

ADDITION = """
from tortoise import fields, migrations
from tortoise.migrations import operations as ops

class Migration(migrations.Migration):
    dependencies = [("store", "0006_commands")]
    operations = [
        ops.AddField(model_name="Series", name="label", field=fields.TextField(null=True)),
        {more}
    ]
"""
FAILING = 'ops.RunSQL("INSERT INTO no_such_table VALUES (1)"),'


def tables(path: Path) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return dict(db.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall())


def applied(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [name for (name,) in db.execute("SELECT name FROM tortoise_migrations ORDER BY id")]


async def made(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.commit(FILLED)


def add_migration(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the next version of the hub had one more migration."""
    folder.mkdir(exist_ok=True)
    (folder / "0007_label.py").write_text(text)
    monkeypatch.setattr(migrations, "__path__", [*migrations.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "botyard.store.migrations.0007_label", raising=False)
    # Tortoise reloads the package, which would find its own folder only.
    monkeypatch.setattr("tortoise.migrations.loader.reload", lambda module: module)


async def test_models_hold_no_change_that_no_migration_makes(tmp_path: Path) -> None:
    settings = schema.config(tmp_path / "hub.db")
    with TortoiseContext() as context:
        await context.init(config=settings)
        assert context.apps is not None
        changes = await MigrationAutodetector(context.apps, settings["apps"]).changes()
        await context.close_connections()
    assert [str(operation) for change in changes for operation in change.operations] == []


async def test_a_model_change_without_a_migration_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = schema.config(tmp_path / "hub.db")
    with TortoiseContext() as context:
        await context.init(config=settings)
        assert context.apps is not None
        monkeypatch.delitem(context.apps["store"], "Mark")
        changes = await MigrationAutodetector(context.apps, settings["apps"]).changes()
        await context.close_connections()
    assert len(changes) == 1


async def test_new_database_has_the_tables_of_all_models_and_an_index_for_samples(tmp_path: Path) -> None:
    await made(tmp_path / "hub.db")
    found = tables(tmp_path / "hub.db")
    assert set(found) >= {
        "robot",
        "series",
        "block",
        "chunk",
        "rollup",
        "progress",
        "event",
        "report",
        "robot_state",
        "quarantine",
        "position",
        "mark",
    }
    assert "sample" not in found
    assert models.Chunk._meta.db_table == "chunk"


async def test_opening_again_changes_nothing_and_keeps_all(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    await made(path)
    before = tables(path)
    async with SqliteStore(path) as store:
        assert [sample.value for sample in (await store.samples()).items] == [0.5, 7]
    assert tables(path) == before
    assert applied(path) == RELEASED


async def test_database_of_an_older_version_is_upgraded_with_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hub.db"
    await made(path)
    add_migration(ADDITION.format(more=""), tmp_path / "more", monkeypatch)
    async with SqliteStore(path) as store:
        await store.commit(FILLED)
        assert [sample.value for sample in (await store.samples()).items] == [0.5, 0.5, 7, 7]
    assert '"label" TEXT' in tables(path)["series"]
    assert applied(path) == [*RELEASED, "0007_label"]


async def test_migration_that_fails_half_way_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hub.db"
    await made(path)
    before = tables(path)
    with monkeypatch.context() as newer:
        add_migration(ADDITION.format(more=FAILING), tmp_path / "more", newer)
        with pytest.raises(StoreError, match=r"hub\.db: .*no_such_table"):
            async with SqliteStore(path):
                pass
    assert tables(path) == before
    async with SqliteStore(path) as store:
        assert len((await store.samples()).items) == 2


async def test_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    await made(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(
            "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('store', '0099_future', '2030-01-01')"
        )
        db.commit()
    with pytest.raises(
        StoreError, match=r"hub\.db: a newer Botyard has made this database \(it has 0099_future.*upgrade"
    ):
        async with SqliteStore(path):
            pass
    assert applied(path) == [*RELEASED, "0099_future"]


async def test_database_with_samples_of_a_development_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    await made(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE sample (id INTEGER)")
        db.execute("INSERT INTO sample VALUES (1)")
        db.execute("DELETE FROM tortoise_migrations WHERE name >= '0004'")
        db.commit()
    with pytest.raises(StoreError, match=r"hub\.db: this database holds samples in a form .*another file"):
        async with SqliteStore(path):
            pass
    assert "sample" in tables(path)


async def test_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE robot (id TEXT)")
    with pytest.raises(StoreError, match=r"hub\.db: this database was not made by Botyard"):
        async with SqliteStore(path):
            pass
    assert list(tables(path)) == ["robot"]


def test_migrations_are_files_of_the_package() -> None:
    for name in RELEASED:
        assert files("botyard.store.migrations").joinpath(f"{name}.py").is_file()
