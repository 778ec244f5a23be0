"""The one connection that writes to PostgreSQL, and how to know what it has done.

It holds an advisory lock, which keeps a second hub away. A session of the server gives the lock back only when its last
transaction has ended one way or the other; so whoever gets it after a lost connection can trust the table `mark` to say
whether the last COMMIT was done.
"""

import contextlib
import math
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec

from botyard.store import postgres_partitions as partitions
from botyard.store.base import StoreError
from botyard.store.postgres_server import FAILURES, UNREACHABLE, Connection, Server
from botyard_schemas.clock import Clock

LOCK_WAIT = 5.0  # seconds that a new hub waits for the last one's session to end
PATIENCE = 60.0  # seconds that a statement gets before the server is taken for lost
READING = 3.0  # seconds that readers may hold up new parts of the table `chunk`
RELUCTANCE = 60.0  # seconds until the next attempt to make them
MARKS = 100  # sessions whose mark is kept

# A server that hears nothing from the hub for half a minute ends the session, and gives back its lock.
KEEPALIVE = {"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}

_LOCK = "SELECT pg_advisory_lock(1651471481, hashtext(current_schema()))"  # the number reads "boty"
_END_GHOSTS = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()"""
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
_FORGET_MARKS = "DELETE FROM mark WHERE id <= (SELECT max(id) FROM mark) - $1"
_FIRST_MARK = "INSERT INTO mark (session, n, answer) VALUES ($1, 0, '') RETURNING id"
_FIND_MARK = "SELECT id, n, answer FROM mark WHERE session = $1"
_MARK = "UPDATE mark SET n = $2, answer = $3 WHERE id = $1"

Work = Callable[[Connection], Awaitable[Any]]

_pack = msgspec.msgpack.Encoder().encode


class UndecidedError(Exception):
    """COMMIT was sent, and nobody said that it was done."""


class Session:
    """The life of one store on one database, over one connection after the other. Used by one task at a time."""

    def __init__(self, server: Server, clock: Clock) -> None:
        self.name = secrets.token_hex(8)
        self.connection: Connection
        self._server = server
        self._clock = clock
        self._mark = 0
        self._until = 0
        self._next_extension = -math.inf

    async def connect(self) -> None:
        """Connect and get the lock. Raises StoreError."""
        application = f"botyard writer {self.name}"
        connection = await self._server.connect(application, patience=PATIENCE, **KEEPALIVE)
        try:
            await connection.execute(_END_GHOSTS, application)  # a session that the server does not know to be lost
            await connection.execute(_DURABLE)
            await connection.execute(f"SET lock_timeout = {int(LOCK_WAIT * 1000)}")
            await connection.execute(_LOCK)
            await connection.execute("SET lock_timeout = 0")
        except BaseException as error:
            connection.terminate()
            if isinstance(error, asyncpg.LockNotAvailableError):
                raise StoreError(f"{self._server.name}: another hub is using this database") from error
            if isinstance(error, FAILURES):
                raise StoreError(self._server.sentence(error)) from error
            raise
        self.connection = connection

    async def prepare(self) -> None:
        """The schema is there: get ready to write for the first time. Raises StoreError."""
        try:
            await self.connection.execute(_FORGET_MARKS, MARKS)
            self._mark = await self.connection.fetchval(_FIRST_MARK, self.name)
            self._until = await partitions.bound(self.connection)
        except FAILURES as error:
            raise StoreError(self._server.sentence(error)) from error
        if problem := await self.keep_parts():
            raise StoreError(problem)

    async def answer_to(self, n: int) -> bytes | None:
        """After a new connection: what the change `n` gave, when it is in the database. Raises StoreError."""
        try:
            row = await self.connection.fetchrow(_FIND_MARK, self.name)
            if row is None:  # somebody has put back an older copy of the database
                self._mark = await self.connection.fetchval(_FIRST_MARK, self.name)
                return None
            self._mark = row["id"]
            self._until = await partitions.bound(self.connection)
        except FAILURES as error:
            raise StoreError(self._server.sentence(error)) from error
        answer: bytes = row["answer"]
        return answer if row["n"] == n else None

    async def transaction(self, n: int, work: Work) -> Any:
        """Do `work` in a transaction, all or nothing, and note in it that change `n` was done; gives what `work` gives.

        Raises UndecidedError, and what `work` raises; nothing was changed then.
        """
        connection = self.connection
        await connection.execute("BEGIN")
        try:
            answer = await work(connection)
            await connection.execute(_MARK, self._mark, n, _pack(answer))
        except Exception as error:
            if not self.is_lost(error):
                await connection.execute("ROLLBACK")
            raise
        try:
            said = await connection.execute("COMMIT")
        except FAILURES as error:
            raise UndecidedError(str(error)) from error
        if said != "COMMIT":
            raise UndecidedError(said)
        return answer

    async def keep_parts(self) -> str | None:
        """Make new parts of the table `chunk` in time. Gives what is wrong when that fails; nothing is lost by it."""
        if not partitions.due(self._until, self._clock.now()) or self._clock.monotonic() < self._next_extension:
            return None
        try:
            self._until = await partitions.extend(
                self.connection, self._clock.now(), patience=10 * PATIENCE, reading=READING
            )
        except FAILURES as error:
            self._next_extension = self._clock.monotonic() + RELUCTANCE
            if not isinstance(error, asyncpg.LockNotAvailableError):  # by others who read, or copy the table
                return self._server.sentence(error)
        return None

    def is_lost(self, error: BaseException | None = None) -> bool:
        """Whether the connection is of no use any more. One that does not answer is none."""
        return self.connection.is_closed() or isinstance(error, UNREACHABLE)

    async def close(self) -> None:
        """End the session, whatever state it is in."""
        with contextlib.suppress(*FAILURES):
            await self.connection.close(timeout=5)
        self.connection.terminate()
