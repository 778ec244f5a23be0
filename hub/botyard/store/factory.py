"""From the URL in the configuration to a store."""

import re
import urllib.parse
from pathlib import Path

from botyard.store.base import Store
from botyard_schemas.clock import Clock

KNOWN = (
    "expected sqlite:///relative/path.db, sqlite:////absolute/path.db, sqlite:<path> "
    "or postgresql://user:password@host/database"
)

_PASSWORD = re.compile(r"(//[^/:@]*):.*@|([?&]password=)[^&]*")


def open_store(url: str, *, quarantine_limit: int = 1000, clock: Clock | None = None, processes: bool = True) -> Store:
    """The store that `url` names, to be opened by `async with`. Raises ValueError, whose text names what is known.

    Without `processes` an SQLite store has none of its own, which is for tests and simulations.
    """
    if problem := wrong_with(url):
        raise ValueError(f"store.url: {problem}")
    if not url.startswith("sqlite:"):
        return _postgres(url, quarantine_limit, clock)
    # Imported here: Tortoise takes 0.2 s, which a wrong configuration need not wait for.
    from botyard.store.sqlite import SqliteStore

    return SqliteStore(Path(_path(url)), quarantine_limit=quarantine_limit, clock=clock, processes=processes)


def wrong_with(url: str) -> str | None:
    """The sentence why `url` can name no store, without its password; None when it can."""
    scheme, colon, _ = url.partition(":")
    path = _path(url)
    if scheme in ("postgres", "postgresql") and colon:
        problem = _problem(url)
    elif scheme != "sqlite" or not colon:
        problem = "names no store that is known"
    elif not path or path.startswith("//") or path.endswith("/") or "?" in path or path == ":memory:" or "\0" in path:
        problem = "names no file"
    else:
        problem = None
    return problem and f"{shown(url)!r} {problem}; {KNOWN}"


def _path(url: str) -> str:
    return url.partition(":")[2].removeprefix("///")


def shown(url: str) -> str:
    """The URL without its password, however that is written."""
    return _PASSWORD.sub(lambda found: f"{found[1]}:***@" if found[1] is not None else f"{found[2]}***", url)


def _postgres(url: str, quarantine_limit: int, clock: Clock | None) -> Store:
    try:
        from botyard.store.postgres import PostgresStore
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        needed = "needs the package asyncpg: pip install 'botyard[postgres]'"
        raise ValueError(f"store.url: {shown(url)!r} {needed}") from error
    return PostgresStore(url, name=shown(url), quarantine_limit=quarantine_limit, clock=clock)


def _problem(url: str) -> str | None:
    """What is wrong with the URL of a PostgreSQL database."""
    try:
        parts = urllib.parse.urlsplit(url)
        ports = [urllib.parse.urlsplit(f"//{host}").port for host in parts.netloc.rpartition("@")[2].split(",")]
    except ValueError:
        return "has no valid host and port (a password's own : / ? # [ ] @ are written as %3A %2F %3F %23 %5B %5D %40)"
    if 0 in ports:
        return "has port 0"
    if parts.fragment or "#" in url:
        return "has a # in it, which is written as %23"
    if not url.partition(":")[2].startswith("//") or len(parts.path) < 2 or "/" in parts.path[1:]:
        return "names no database"
    return None
