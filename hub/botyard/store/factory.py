"""From the URL in the configuration to a store."""

from pathlib import Path

from botyard.store.base import Store
from botyard_schemas.clock import Clock

KNOWN = "expected sqlite:///relative/path.db, sqlite:////absolute/path.db or sqlite:<path>"


def open_store(url: str, *, quarantine_limit: int = 1000, clock: Clock | None = None) -> Store:
    """The store that `url` names, to be opened by `async with`. Raises ValueError, whose text names what is known."""
    scheme, colon, rest = url.partition(":")
    if scheme in ("postgres", "postgresql"):
        raise ValueError(f"store.url: {shown(url)!r}: PostgreSQL comes with a later release; {KNOWN}")
    if scheme != "sqlite" or not colon:
        raise ValueError(f"store.url: {shown(url)!r} names no store that is known; {KNOWN}")
    path = rest.removeprefix("///") if rest.startswith("///") else rest
    if not path or path.startswith("//") or path.endswith("/") or "?" in path or path == ":memory:" or "\0" in path:
        raise ValueError(f"store.url: {shown(url)!r} names no file; {KNOWN}")
    # Imported here: Tortoise takes 0.2 s, which a wrong configuration need not wait for.
    from botyard.store.sqlite import SqliteStore

    return SqliteStore(Path(path), quarantine_limit=quarantine_limit, clock=clock)


def shown(url: str) -> str:
    """The URL without its password."""
    before, at, host = url.rpartition("@")
    user, colon, _ = before.rpartition(":")
    return f"{user}:***@{host}" if at and colon and "//" in user else url
