"""Does one change after the other in PostgreSQL, and finds the server again when it was lost."""

import asyncio
import logging
from typing import Any, Self

import msgspec

from botyard.store.base import StoreError
from botyard.store.postgres_server import FAILURES, Server
from botyard.store.postgres_session import Session, UndecidedError, Work
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

IN_FLIGHT = 16
END_PATIENCE = 30.0  # seconds that the last changes get when the store closes
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds between attempts to connect

_unpack = msgspec.msgpack.Decoder().decode


class _LostError(Exception):
    """The connection is gone. `undecided` when it was while a COMMIT was on its way."""

    def __init__(self, why: str, *, undecided: bool = False) -> None:
        super().__init__((why.splitlines() or ["no reason was given"])[0])
        self.undecided = undecided


class _ClosingError(Exception):
    """The store closes, and the server is away."""


class _Change(msgspec.Struct, eq=False):
    """Something to do, and who waits for it."""

    n: int
    work: Work
    writes: bool
    waiting: asyncio.Future[Any]

    def answer(self, value: Any) -> None:
        if not self.waiting.done():  # else whoever asked was cancelled
            self.waiting.set_result(value)

    def fail(self, error: Exception) -> None:
        if not self.waiting.done():
            self.waiting.set_exception(error)


class Writer:
    """Connected, and the only one on its database, while its `async with` lasts; takes changes after `begin`.

    When the server is lost, what was not begun fails at once, and so does everything new until the server is back.
    """

    def __init__(self, server: Server, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._session = Session(server, clock)
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._queue: asyncio.Queue[_Change | None] = asyncio.Queue()  # bounded by the slots
        self._tasks = asyncio.TaskGroup()
        self._serving: asyncio.Task[None] | None = None
        self._decided = asyncio.Event()  # cleared only while the first attempt to connect again is under way
        self._recovering = False
        self._closing = False
        self._outage = ""
        self._n = 0

    async def __aenter__(self) -> Self:
        await self._session.connect()
        return self

    async def begin(self) -> None:
        """The schema is there: take changes from now on. Raises StoreError."""
        await self._session.prepare()
        await self._tasks.__aenter__()
        self._decided.set()
        self._serving = self._tasks.create_task(self._serve(), name="hub.store.postgres_writer")

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._outage = f"{self._server.name}: the store is closed"
        self._decided.set()
        self._queue.put_nowait(None)
        if self._serving is not None:
            if self._recovering:
                self._serving.cancel()
            killer = asyncio.get_running_loop().call_later(END_PATIENCE, self._serving.cancel)
            try:
                # Without the exception that may have brought us here: what was begun is still finished.
                await self._tasks.__aexit__(None, None, None)
            finally:
                killer.cancel()
        await self._session.close()

    async def change(self, work: Work) -> Any:
        """Do `work` in a transaction; gives what it gives, which has to fit into msgpack.

        Raises StoreError when nothing was changed, and KeyError when `work` does. Waits as long as nobody can say
        whether it was, which is while a server that was lost in the middle of a COMMIT is away.
        """
        return await self._call(work, writes=True)

    async def ask(self, work: Work) -> Any:
        """Do `work`, which changes nothing. Raises StoreError."""
        return await self._call(work, writes=False)

    async def _call(self, work: Work, *, writes: bool) -> Any:
        async with self._slots:
            await self._decided.wait()
            if self._outage:
                raise StoreError(self._outage)
            self._n += 1
            change = _Change(self._n, work, writes, asyncio.get_running_loop().create_future())
            self._queue.put_nowait(change)
            return await change.waiting

    async def _serve(self) -> None:
        change: _Change | None = None
        try:
            self._watch()
            while (change := await self._queue.get()) is not None or not self._closing or not self._queue.empty():
                try:
                    await self._do(change)
                except _LostError as lost:
                    await self._recover(change, lost)
        except _ClosingError:
            log.warning("%s: the store closes while the database server is away", self._server.name)
        finally:
            if change is not None:
                change.fail(StoreError(f"{self._server.name}: the store was closed before this could be done"))
            self._fail_waiting()

    def _watch(self) -> None:
        """Wake up when the connection is lost, to have another one before it is needed."""
        self._session.connection.add_termination_listener(lambda _connection: self._queue.put_nowait(None))

    async def _do(self, change: _Change | None) -> None:
        session = self._session
        if session.is_lost():
            raise _LostError("it was closed")
        if problem := await session.keep_parts():
            if session.is_lost():
                raise _LostError(problem)
            log.error("there is no new part of the table chunk, so the last one grows: %s", problem)
        if change is None or change.waiting.done():
            return
        try:
            if change.writes:
                answer = await session.transaction(change.n, change.work)
            else:
                answer = await change.work(session.connection)
        except KeyError as error:
            change.fail(error)
        except UndecidedError as error:
            raise _LostError(str(error), undecided=True) from error
        except (*FAILURES, ArithmeticError, RecursionError, MemoryError) as error:
            if session.is_lost(error):
                raise _LostError(str(error)) from error
            change.fail(StoreError(self._server.sentence(error)))
        else:
            change.answer(answer)

    async def _recover(self, change: _Change | None, lost: _LostError) -> None:
        """Find the server again, and out what became of the change that was under way."""
        self._recovering = True
        self._decided.clear()
        if not self._closing:
            self._outage = f"{self._server.name}: the connection to the database server was lost"
        log.error("%s: the connection to the database server was lost and is made again: %s", self._server.name, lost)
        self._session.connection.terminate()
        self._fail_waiting()
        if change is not None and not lost.undecided:
            change.fail(StoreError(self._outage))
        found = await self._connect_at_last(0 if change is None else change.n)
        self._recovering = False
        if change is not None and found is not None:
            change.answer(_unpack(found))
        elif change is not None:
            change.fail(StoreError(self._outage))
        self._watch()
        if not self._closing:
            self._outage = ""
        self._decided.set()
        log.info("%s: connected to the database server again", self._server.name)

    async def _connect_at_last(self, n: int) -> bytes | None:
        pause = FIRST_PAUSE
        said: set[str] = set()
        while True:
            try:
                await self._session.connect()
                return await self._session.answer_to(n)
            except StoreError as error:
                self._session.connection.terminate()
                self._decided.set()
                if self._closing:
                    raise _ClosingError from error
                self._outage = str(error)
                if self._outage not in said:
                    said.add(self._outage)
                    log.error("%s", error)
            await self._clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _fail_waiting(self) -> None:
        while not self._queue.empty():
            change = self._queue.get_nowait()
            if change is not None:
                change.fail(StoreError(self._outage))
