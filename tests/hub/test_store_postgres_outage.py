"""Servers and connections that go at the worst moment, and come back."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable

import pytest

from botyard.store import postgres_session
from botyard.store.base import StoreError
from tests.hub.postgres_support import ask, batch, errors, retried, store_at, until
from tests.postgres import PASSWORD, PostgresServer
from tests.processes import free_port


@pytest.fixture
def url(postgres_url: Callable[[], str]) -> str:
    return postgres_url()


def restart(server: PostgresServer) -> None:
    server.kill()
    server.start()


async def test_killed_server_that_is_back_is_found_again_and_what_was_answered_is_there(
    postgres: PostgresServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with store_at(url) as store:
        await store.commit(batch(1))
        await asyncio.to_thread(postgres.kill)
        try:
            await until(lambda: "cannot be reached" in caplog.text)
            for attempt in (store.commit(batch(2)), store.ping(), store.samples(), store.robots(), store.latest("r")):
                with pytest.raises(StoreError, match=r"the database: .*(cannot be reached|was lost)"):
                    await attempt
        finally:
            await asyncio.to_thread(postgres.start)
        await until(lambda: "connected to the database server again" in caplog.text)
        await store.commit(batch(3))
        assert [row.ts for row in (await store.events()).items] == [3, 1]
        assert [sample.value for sample in (await store.samples()).items] == [1, 1, 3, 3]
    assert len(errors(caplog)) == len(set(errors(caplog)))  # that it was lost, and once each reason why it is away
    assert PASSWORD not in caplog.text


async def test_each_commit_is_done_exactly_once_however_often_the_server_is_killed(
    postgres: PostgresServer, url: str
) -> None:
    rng = random.Random(7)
    async with store_at(url) as store:

        async def kill_again_and_again() -> None:
            for _ in range(5):
                await asyncio.sleep(rng.uniform(0.05, 0.3))
                await asyncio.to_thread(restart, postgres)

        failures = n = 0
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(kill_again_and_again())
            while not killing.done():
                failures += sum(await asyncio.gather(*[retried(store, batch(n + i)) for i in range(5)]))
                n += 5
        assert failures > 0
    assert await ask(url, "SELECT count(*), count(DISTINCT ts) FROM event") == [(n, n)]
    assert await ask(url, "SELECT sum(messages) FROM block") == [(n,)]


async def test_connection_that_an_administrator_ends_is_replaced_before_it_is_needed(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with store_at(url) as store:
        await ask(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ 'botyard'")
        await until(lambda: "connected to the database server again" in caplog.text)
        await store.commit(batch(1))
        assert len((await store.samples()).items) == 2
    assert len(errors(caplog)) == 1


class Proxy:
    """Between store and server. `upon` COMMIT it passes the word on or not, and cuts the connection, or freezes."""

    def __init__(self, server: PostgresServer) -> None:
        self.port = free_port()
        self.upon: str | None = None
        self.open = True
        self.interventions = 0
        self._target = server.port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._cut()

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.open:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]
        for source, sink, up in ((reader, far_writer, True), (far_reader, writer, False)):
            task = asyncio.create_task(self._pass_on(source, sink, up=up))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(1 << 16):
                if up and self.upon is not None and b"COMMIT\0" in data:
                    await self._intervene(source, sink, data)
                    return
                sink.write(data)
            sink.close()

    async def _intervene(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, data: bytes) -> None:
        what, self.upon = self.upon, None
        self.interventions += 1
        if what == "freeze":
            await asyncio.sleep(60)
        if what == "done, then cut and closed":
            self.open = False
        if what != "cut":
            # Whatever the server answers from now on goes nowhere.
            for writer in self._writers:
                if writer is not sink:
                    writer.transport.abort()
            sink.write(data)
            await asyncio.sleep(0.3)
        self._cut()


@pytest.fixture
async def proxy(postgres: PostgresServer) -> AsyncIterator[Proxy]:
    async with Proxy(postgres).running() as running:
        yield running


def through(proxy: Proxy, url: str, postgres: PostgresServer) -> str:
    return url.replace(f":{postgres.port}/", f":{proxy.port}/")


async def test_commit_that_was_done_before_the_connection_was_lost_is_answered_by_the_next_one(
    postgres: PostgresServer, url: str, proxy: Proxy
) -> None:
    async with store_at(through(proxy, url, postgres)) as store:
        await store.commit(batch(1))
        proxy.upon = "done, then cut"
        committed = await store.commit(batch(2))
        assert proxy.interventions == 1
        assert [row.id for row in (await store.events()).items][:1] == committed.event_ids
        await store.commit(batch(3))
    assert await ask(url, "SELECT ts FROM event ORDER BY id") == [(1,), (2,), (3,)]


async def test_commit_that_never_reached_the_server_is_an_error_and_nothing_is_written(
    postgres: PostgresServer, url: str, proxy: Proxy
) -> None:
    async with store_at(through(proxy, url, postgres)) as store:
        await store.commit(batch(1))
        proxy.upon = "cut"
        lost, behind = await asyncio.gather(store.commit(batch(2)), store.commit(batch(3)), return_exceptions=True)
        assert isinstance(lost, StoreError)
        assert isinstance(behind, StoreError)
        await retried(store, batch(2))
    assert await ask(url, "SELECT ts FROM event ORDER BY id") == [(1,), (2,)]
    assert await ask(url, "SELECT sum(messages) FROM block") == [(2,)]


async def test_commit_whose_outcome_is_unknown_waits_for_the_server_while_others_fail(
    postgres: PostgresServer, url: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with store_at(through(proxy, url, postgres)) as store:
        proxy.upon = "done, then cut and closed"
        undecided = asyncio.create_task(store.commit(batch(1)))
        await until(lambda: len(errors(caplog)) >= 2)
        with pytest.raises(StoreError, match="the database: "):
            await store.commit(batch(2))
        assert not undecided.done()
        proxy.open = True
        assert (await undecided).event_ids == [row.id for row in (await store.events()).items]


async def test_store_that_closes_while_an_outcome_is_unknown_says_so(
    postgres: PostgresServer, url: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with store_at(through(proxy, url, postgres)) as store:
        proxy.upon = "done, then cut and closed"
        undecided = asyncio.create_task(store.commit(batch(1)))
        await until(lambda: len(errors(caplog)) >= 2)
    with pytest.raises(StoreError, match="closed before"):
        await undecided


async def test_server_that_falls_silent_is_left_and_its_session_of_ours_ended(
    postgres: PostgresServer, url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_session, "PATIENCE", 0.5)
    async with store_at(through(proxy, url, postgres)) as store:
        await store.commit(batch(1))
        proxy.upon = "freeze"  # the server still takes the session for alive, and its lock for held
        with pytest.raises(StoreError):
            await store.commit(batch(2))
        await store.commit(batch(2))
    assert await ask(url, "SELECT ts FROM event ORDER BY id") == [(1,), (2,)]
