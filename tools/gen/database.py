"""The SQL of a new SQLite database: what all migrations together make."""

import asyncio
import contextlib
import sqlite3
import tempfile
from pathlib import Path

from tortoise.migrations.schema_editor import SqliteSchemaEditor

from botyard.store import schema

HEAD = """-- Generated from the migrations by `make gen`. A new database is made by this; the migrations, one after
-- the other, would take half a second.
"""


def new_sqlite(_root: Path) -> str:
    """Every table and index, and the note that all migrations were applied."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.db"
        asyncio.run(schema.migrate(schema.config(path), SqliteSchemaEditor, "a new database"))
        with contextlib.closing(sqlite3.connect(path)) as db:
            found = db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
            made = [sql for (sql,) in found]
            names = [name for (name,) in db.execute(f"SELECT name FROM {schema.NOTES} ORDER BY id")]  # noqa: S608
    made = [sql for sql in made if "sqlite_sequence" not in sql]
    notes = [
        f"INSERT INTO {schema.NOTES} (app, name, applied_at)\n"  # noqa: S608 - constants
        f"    VALUES ('{schema.APP}', '{name}', strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00')"
        for name in names
    ]
    return HEAD + "".join(f"{statement};\n" for statement in (*made, *notes))
