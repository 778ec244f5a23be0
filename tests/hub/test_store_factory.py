"""Store URLs."""

from pathlib import Path

import pytest

from botyard.store.factory import open_store
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
        ("postgresql://ann:secret@db/botyard", r"'postgresql://ann:\*\*\*@db/botyard': PostgreSQL comes with a later"),
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
