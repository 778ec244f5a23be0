"""Store URLs."""

import subprocess
import sys
from pathlib import Path

import pytest

from botyard.store.factory import open_store, shown
from botyard.store.postgres import PostgresStore
from botyard.store.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///hub.db", "hub.db"),
        ("sqlite:///data/hub.db", "data/hub.db"),
        ("sqlite:////var/lib/botyard/hub.db", "/var/lib/botyard/hub.db"),
        ("sqlite:hub.db", "hub.db"),
        ("sqlite:/var/lib/hub.db", "/var/lib/hub.db"),
        ("sqlite:////srv/50% off/hub.db", "/srv/50% off/hub.db"),
    ],
)
def test_sqlite_url_names_a_file(url: str, path: str) -> None:
    store = open_store(url)
    assert isinstance(store, SqliteStore)
    assert store.path == Path(path)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://ann:secret@db", r"'postgresql://ann:\*\*\*@db' names no database"),
        ("postgresql://ann:secret@db/", "names no database"),
        ("postgresql:botyard", "names no database"),
        ("postgres://ann:se:cret/@1@db:x/botyard", r"'postgres://ann:\*\*\*@db:x/botyard' has no valid host and port"),
        (
            "postgresql://ann:1/secret@db/botyard",
            r"'postgresql://ann:\*\*\*@db/botyard' has no valid|names no database",
        ),
        ("postgresql://ann:secret#1@db/botyard", r"'postgresql://ann:\*\*\*@db/botyard' has (no valid|a #)"),
        ("postgresql://db:0/botyard", "has port 0"),
        ("mysql://db/x", "'mysql://db/x' names no store that is known"),
        ("hub.db", "'hub.db' names no store that is known"),
        ("", "'' names no store"),
        ("sqlite", "names no store"),
        ("sqlite:", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://hub.db", "names no file"),
        ("sqlite:///data/", "names no file"),
        ("sqlite::memory:", "names no file"),
        ("sqlite:///hub.db?mode=ro", "names no file"),
    ],
)
def test_other_url_is_refused_with_the_urls_that_are_known(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^store.url: .*{sentence}.*expected sqlite:///relative/path.db"):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://ann:secret@db/botyard", "postgresql://ann:***@db/botyard"),
        ("postgres://ann:se%3Acret@db:5433/botyard", "postgres://ann:***@db:5433/botyard"),
        ("postgresql://db/botyard?user=ann&password=secret&sslmode=require",
         "postgresql://db/botyard?user=ann&password=***&sslmode=require"),
        ("postgresql:///botyard?host=/var/run/postgresql", "postgresql:///botyard?host=/var/run/postgresql"),
        ("postgresql://ann@[::1]:5432/botyard", "postgresql://ann@[::1]:5432/botyard"),
        ("postgresql://ann:secret@one:1,two:2/botyard", "postgresql://ann:***@one:1,two:2/botyard"),
    ],
)  # fmt: skip
def test_postgresql_url_names_a_database_and_keeps_its_password_to_itself(url: str, name: str) -> None:
    store = open_store(url)
    assert isinstance(store, PostgresStore)
    assert store.name == name


@pytest.mark.parametrize("url", ["x://ann:s:e/c@r?e#t@db/b", "x://:secret@db/b", "x://db/b?password=secret"])
def test_shown_url_never_holds_a_part_of_the_password(url: str) -> None:
    assert "***" in shown(url)
    assert not [part for part in ("s:e", "c@r", "e#t", "secret") if part in shown(url)]


def test_postgresql_url_without_asyncpg_is_refused_with_the_cure() -> None:
    code = """if True:
        import sys
        sys.modules["asyncpg"] = None
        from botyard.store.factory import open_store
        try:
            open_store("postgresql://ann:secret@db/botyard")
        except ValueError as error:
            print(error)
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    cure = "needs the package asyncpg: pip install 'botyard[postgres]'"
    assert said == f"store.url: 'postgresql://ann:***@db/botyard' {cure}\n"
