"""Which PostgreSQL it is, how to connect to it, and how to say what went wrong there."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg

from botyard.store.base import StoreError

Connection: TypeAlias = Any  # an asyncpg.Connection, whose package has no types

# What a lost or unreachable server raises. InternalClientError: the server's last word came when nobody had asked.
UNREACHABLE = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError)
FAILURES = (*UNREACHABLE, asyncpg.InterfaceError, asyncpg.PostgresError, ValueError, TypeError)

OLDEST = 130000  # tables that only grow are vacuumed by themselves from version 13 on
CONNECT_PATIENCE = 10.0  # seconds

_ESCAPE = "\ufdd0"  # a code point that Unicode leaves to programs


def escaped(text: str) -> str:
    """The text without NUL, which PostgreSQL's text cannot hold."""
    if "\0" in text or _ESCAPE in text:
        return text.replace(_ESCAPE, _ESCAPE + "1").replace("\0", _ESCAPE + "0")
    return text


def restored(text: str) -> str:
    """The text as it was before `escaped`."""
    if _ESCAPE in text:
        return text.replace(_ESCAPE + "0", "\0").replace(_ESCAPE + "1", _ESCAPE)
    return text


class Server:
    """The database that a URL names. `name` is the URL without its password."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self.name = name

    async def connect(self, application: str, *, patience: float, **settings: str) -> Connection:
        """A connection for writing, whose statements may take `patience` seconds each. Raises StoreError."""
        options = {"application_name": application, **settings}
        try:
            connection = await asyncpg.connect(
                self._url, timeout=CONNECT_PATIENCE, command_timeout=patience, server_settings=options
            )
        except FAILURES as error:
            raise StoreError(self.sentence(error)) from error
        try:
            await _prepare(connection)
            await self._check(connection)
        except FAILURES as error:
            connection.terminate()
            raise StoreError(self.sentence(error)) from error
        except BaseException:
            connection.terminate()
            raise
        return connection

    @contextlib.asynccontextmanager
    async def pool(
        self, application: str, *, size: int, patience: float | None, **settings: str
    ) -> AsyncIterator[asyncpg.Pool]:
        """Connections that are opened when they are needed, and cut when the block ends. Raises StoreError."""
        pool = asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=size,
            init=_prepare,
            timeout=CONNECT_PATIENCE,
            command_timeout=patience,
            server_settings={"application_name": application, **settings},
        )
        try:
            await pool
            yield pool
        finally:
            pool.terminate()

    async def _check(self, connection: Connection) -> None:
        found = await connection.fetchrow(_CHECK)
        if found["version"] < OLDEST:
            raise StoreError(f"{self.name}: PostgreSQL {found['named']} is too old; version 13 or later is needed")
        if found["encoding"] != "UTF8":
            raise StoreError(f"{self.name}: the database's encoding is {found['encoding']}; UTF8 is needed")
        if found["standby"]:
            raise StoreError(f"{self.name}: this server is a standby, which only reads; name the primary")

    def sentence(self, error: BaseException) -> str:
        """What went wrong, for people."""
        said = _first_line(error)
        match error:
            case asyncpg.InvalidCatalogNameError():
                return f"{self.name}: {said}; make it with CREATE DATABASE"
            case asyncpg.QueryCanceledError():
                return f"{self.name}: reading took too long; ask for a shorter time or fewer channels"
            case asyncpg.DiskFullError():
                return f"{self.name}: the database server's disk is full ({said})"
            case TimeoutError():
                return f"{self.name}: the database server does not answer"
            case OSError():
                return f"{self.name}: the database server cannot be reached: {error.strerror or said}"
            case asyncpg.PostgresConnectionError() | asyncpg.InternalClientError() | asyncpg.InterfaceError():
                return f"{self.name}: the connection to the database server was lost: {said}"
        return f"{self.name}: {said}"


_CHECK = """SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS named,
    current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby"""


async def _prepare(connection: Connection) -> None:
    """Let every text that comes or goes by itself (not inside an array) be escaped."""
    for name in ("text", "varchar"):
        await connection.set_type_codec(
            name,
            schema="pg_catalog",
            format="binary",
            encoder=lambda text: escaped(text).encode(),
            decoder=lambda raw: restored(bytes(raw).decode()),
        )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
