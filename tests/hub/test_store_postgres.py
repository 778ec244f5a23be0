"""What is particular to PostgreSQL: servers and connections that come back, one hub at a time, weeks, languages."""

import asyncio
import contextlib
import logging
import os
import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from asyncpg.exceptions import DiskFullError

from botyard.store import migrations, postgres_batch, postgres_partitions, postgres_session
from botyard.store.base import Batch, Column, EventRow, Position, QuarantineRow, RobotRow, StoreError
from botyard.store.factory import open_store
from botyard.store.postgres import PostgresStore
from botyard.store.postgres_partitions import WEEK, week_of
from botyard_schemas.clock import SystemClock
from tests.postgres import PASSWORD, USER, PostgresServer
from tests.processes import free_port

NOW = 1_763_712_000_000_000  # a Friday


class Hurried(SystemClock):
    """Sleeps a hundredth of what it is asked to. Its time stands still until it is told to go on."""

    def __init__(self) -> None:
        self.time = NOW
        self.seconds = 0.0

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


@pytest.fixture
def url(postgres_url: Callable[[], str]) -> str:
    return postgres_url()


@pytest.fixture
def empty_url(postgres: PostgresServer) -> str:
    """A database in which nobody has made a table."""
    return postgres.url(postgres.create())


def store_at(url: str, **options: Any) -> PostgresStore:
    return PostgresStore(url, name="the database", **{"clock": Hurried(), **options})


def batch(n: int) -> Batch:
    event = EventRow(ts=n, robot="r", actor="robot:r", name="e", severity="info")
    column = Column("r", "c", "integer", None, [n, n], [n, n])
    return Batch(columns=[column], events=[event], positions=[Position("r", "e", n)])


def many(count: int, channel: str = "c", robot: str = "r") -> Batch:
    return Batch(columns=[Column(robot, channel, "integer", None, list(range(count)), list(range(count)))])


async def ask(url: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """What another program finds in the database."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query, *values)]
    finally:
        await connection.close()


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that a real process does."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(0.01)


async def retried(store: PostgresStore, what: Batch) -> int:
    """Commit until it is done; how often it failed."""
    for failures in range(2000):
        with contextlib.suppress(StoreError):
            await store.commit(what)
            return failures
        await asyncio.sleep(0.01)
    raise AssertionError("the store did not recover")


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.ERROR]


# --- the server dies and comes back


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
    assert await ask(url, "SELECT count(*) FROM sample") == [(2 * n,)]


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


# --- the connection dies at the worst moment


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
    assert await ask(url, "SELECT count(*) FROM sample") == [(4,)]


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


# --- at the start


async def test_server_that_is_not_there_is_an_error_without_the_password() -> None:
    url = f"postgresql://{USER}:secret@127.0.0.1:{free_port()}/botyard"
    with pytest.raises(
        StoreError, match=r"^postgresql://ann:\*\*\*@127.0.0.1:\d+/botyard: .* cannot be reached"
    ) as error:
        async with open_store(url):
            pass
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("/test_", "/no_test_"), 'database "no_test_.*" does not exist; make it'),
        (("ann:", "bob:"), 'password authentication failed for user "bob"'),
        (("ann:", "ann:wrong"), 'password authentication failed for user "ann"'),
        (("127.0.0.1", "nowhere.invalid"), "the database server cannot be reached"),
    ],
)
async def test_database_that_cannot_be_opened_is_refused_in_one_sentence(
    url: str, change: tuple[str, str], sentence: str
) -> None:
    with pytest.raises(StoreError, match=rf"^postgresql://.*:\*\*\*@.*: {sentence}") as error:
        async with open_store(url.replace(*change)):
            pass
    assert PASSWORD not in str(error.value)
    assert "\n" not in str(error.value)


def test_database_of_another_encoding_is_refused(postgres: PostgresServer) -> None:
    name = postgres.create(options="ENCODING 'LATIN1' LOCALE 'C'")

    async def check() -> None:
        with pytest.raises(StoreError, match="encoding is LATIN1; UTF8 is needed"):
            async with store_at(postgres.url(name)):
                pass

    asyncio.run(check())


async def test_unix_socket_serves_as_well(postgres: PostgresServer, url: str) -> None:
    async with store_at(postgres.socket_url(url.rpartition("/")[2])) as store:
        await store.commit(batch(1))
    assert await ask(url, "SELECT count(*) FROM sample") == [(2,)]


async def test_second_hub_on_the_same_database_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with store_at(url) as store:
        monkeypatch.setattr(postgres_session, "LOCK_WAIT", 0.1)
        with pytest.raises(StoreError, match="the database: another hub is using this database"):
            async with store_at(url):
                pass
        await store.commit(batch(1))
    async with store_at(url) as store:
        await store.commit(batch(2))


HUB = """
import asyncio, sys
from botyard.store.base import Batch, EventRow
from botyard.store.factory import open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        await store.commit(Batch(events=[EventRow(ts=1, robot=None, actor="hub", name="e", severity="info")]))
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_killed_hub_leaves_the_database_to_the_next_one(url: str) -> None:
    hub = await asyncio.create_subprocess_exec(sys.executable, "-c", HUB, url, stdout=asyncio.subprocess.PIPE)
    assert hub.stdout is not None
    await hub.stdout.readline()
    hub.kill()
    await hub.wait()
    async with store_at(url) as store:
        assert len((await store.events()).items) == 1


# --- the schema


async def test_new_database_is_made_and_opening_again_changes_nothing(
    empty_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    url = empty_url
    for _ in range(2):
        async with store_at(url):
            pass
    made = {name for (name,) in await ask(url, "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')")}
    assert made >= {"robot", "series", "sample", "event", "report", "robot_state", "quarantine", "position", "mark"}
    assert [record.message for record in caplog.records if record.levelno == logging.INFO] == [
        "the database: brought up to date (0001_initial, 0002_weekly_samples)"
    ]


async def test_every_text_is_compared_byte_by_byte(url: str) -> None:
    query = """SELECT relname, attname, collname FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'tortoise_migrations'"""
    found = await ask(url, query)
    assert len(found) > 20
    assert {row for row in found if row[2] != "C"} == set()


def test_order_and_filters_are_the_same_in_a_database_of_another_language(postgres: PostgresServer) -> None:
    name = postgres.create(options="LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")

    async def check() -> None:
        async with store_at(postgres.url(name)) as store:
            for robot in ("b", "A", "a", "_", "B"):
                await store.add_robot(RobotRow(id=robot, created=0, name=robot, type="t"))
            assert [row.id for row in await store.robots()] == ["A", "B", "_", "a", "b"]
            names = ["docking", "docking.failed", "docking_x", "dockin", "DOCKING.failed"]
            events = [EventRow(ts=1, robot=None, actor="a", name=name, severity="info") for name in names]
            await store.commit(Batch(events=events))
            assert [row.name for row in (await store.events(name="docking")).items] == ["docking.failed", "docking"]

    asyncio.run(check())


async def test_database_of_a_newer_version_is_refused_and_left_alone(url: str) -> None:
    await ask(url, "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('store', '0099_future', now())")
    with pytest.raises(StoreError, match=r"the database: a newer Botyard .*0099_future.*give the hub another database"):
        async with store_at(url):
            pass
    assert await ask(url, "SELECT count(*) FROM mark WHERE n > 0") == [(0,)]


async def test_database_of_another_program_is_refused_and_left_alone(empty_url: str) -> None:
    url = empty_url
    await ask(url, "CREATE TABLE robot (id text)")
    with pytest.raises(StoreError, match="was not made by Botyard; give the hub a database of its own"):
        async with store_at(url):
            pass
    assert await ask(url, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname !~ '^(pg|sql)_'") == [
        ("robot",)
    ]


FAILING = """
from tortoise import migrations
from tortoise.migrations import operations as ops

class Migration(migrations.Migration):
    dependencies = [("store", "0002_weekly_samples")]
    operations = [ops.RunSQL("CREATE TABLE half (id int)"), ops.RunSQL("INSERT INTO no_such_table VALUES (1)")]
"""


async def test_migration_that_fails_half_way_leaves_the_database_as_it_was(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0003_half.py").write_text(FAILING)
    with monkeypatch.context() as newer:
        newer.setattr(migrations, "__path__", [*migrations.__path__, str(tmp_path)])
        newer.delitem(sys.modules, "botyard.store.migrations.0003_half", raising=False)
        newer.setattr("tortoise.migrations.loader.reload", lambda module: module)
        with pytest.raises(StoreError, match=r"the database: it cannot be brought up to date: .*no_such_table"):
            async with store_at(url):
                pass
    async with store_at(url) as store:
        await store.commit(batch(1))
    assert await ask(url, "SELECT count(*) FROM pg_class WHERE relname = 'half'") == [(0,)]


async def test_commits_are_durable_even_where_the_server_would_not_wait_for_the_disk(url: str) -> None:
    await ask(url, f'ALTER DATABASE "{url.rpartition("/")[2]}" SET synchronous_commit = off')
    async with store_at(url) as store:
        connection = store._writer._session.connection
        assert await connection.fetchval("SHOW synchronous_commit") == "on"


# --- samples by week

PARTS = """SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r'"""


async def parts(url: str) -> dict[str, str]:
    return {name: said.removeprefix("FOR VALUES FROM ") for name, said in await ask(url, PARTS)}


async def test_week_gets_its_part_before_it_begins_and_a_pause_gets_one(empty_url: str) -> None:
    url = empty_url
    clock = Hurried()
    week = week_of(NOW)
    async with store_at(url, clock=clock) as store:
        assert await parts(url) == {
            "sample_early": "(MINVALUE) TO ('0')",
            "sample_19700101": f"('0') TO ('{week}')",
            "sample_20251117": f"('{week}') TO ('{week + WEEK}')",
            "sample_20251124": f"('{week + WEEK}') TO ('{week + 2 * WEEK}')",
            "sample_late": f"('{week + 2 * WEEK}') TO (MAXVALUE)",
        }
        before = await parts(url)
        await store.commit(batch(1))
        assert await parts(url) == before
        clock.time += WEEK
        await store.commit(batch(2))
        assert (await parts(url))["sample_20251201"] == f"('{week + 2 * WEEK}') TO ('{week + 3 * WEEK}')"
    clock.time += 10 * WEEK
    async with store_at(url, clock=clock):
        assert (await parts(url))["sample_20251208"] == f"('{week + 3 * WEEK}') TO ('{week + 11 * WEEK}')"


async def test_samples_of_any_time_have_a_place_and_make_no_parts(url: str) -> None:
    times = [-(2**63), -1, 0, NOW, NOW + 100 * WEEK, 2**63 - 2]
    async with store_at(url) as store:
        before = await parts(url)
        await store.commit(Batch(columns=[Column("r", "c", "integer", None, times, list(range(6)))]))
        assert [sample.ts for sample in (await store.samples(limit=2)).items] == times[:2]
        assert [sample.ts for sample in (await store.samples()).items] == times
        assert [sample.ts for sample in await store.latest("r")] == times[-1:]
        assert await parts(url) == before


async def test_samples_from_the_future_move_to_their_week_when_it_comes(empty_url: str) -> None:
    url = empty_url
    clock = Hurried()
    times = [NOW, NOW + 2 * WEEK, NOW + 3 * WEEK]
    async with store_at(url, clock=clock) as store:
        await store.commit(Batch(columns=[Column("r", "c", "integer", None, times, [0, 1, 2])]))
        assert await ask(url, "SELECT count(*) FROM sample_late") == [(2,)]
        clock.time += WEEK
        await store.commit(batch(1))
        assert await ask(url, "SELECT ts FROM sample_20251201") == [(times[1],)]
        assert [sample.value for sample in (await store.samples(start=2)).items] == [0, 1, 2]


async def test_reader_that_holds_up_a_new_part_holds_up_no_commit(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = empty_url
    monkeypatch.setattr(postgres_session, "READING", 0.1)
    clock = Hurried()
    async with store_at(url, clock=clock) as store:
        reading = await asyncpg.connect(url)
        await reading.execute("BEGIN; SELECT count(*) FROM sample")
        clock.time += WEEK
        before = await parts(url)
        await store.commit(batch(1))
        assert await parts(url) == before
    async with store_at(url, clock=clock) as store:
        assert await parts(url) == before
        await reading.close()
        clock.seconds += postgres_session.RELUCTANCE
        await store.commit(batch(2))
        assert len(await parts(url)) == len(before) + 1


# --- values and slices


async def test_text_that_postgresql_does_not_know_comes_back_as_it_was(url: str) -> None:
    odd = "\0a\ufdd0b\ufdd00\0\ufdd01"
    event = EventRow(ts=1, robot="r", actor=odd, name=odd, severity="info", message=odd, data={odd: odd}, cause=odd)
    refused = QuarantineRow(received=1, robot=odd, topic=odd, reason="schema", detail=odd, size=3, payload=odd)
    robot = RobotRow(id="r", created=0, name=odd, type=odd, group=odd, tags=(odd,), notes=odd)
    async with store_at(url) as store:
        column = Column("r", odd, "text", odd, [1, 2], [odd, {odd: odd}])
        await store.add_robot(robot)
        await store.commit(Batch(columns=[column], events=[event], quarantine=[refused]))
    async with store_at(url) as store:
        assert await store.robots() == [robot]
        (found,) = (await store.events(name=odd)).items
        assert (found.actor, found.name, found.message, found.data, found.cause) == (odd, odd, odd, {odd: odd}, odd)
        (kept,) = (await store.quarantined(robot=odd)).items
        assert (kept.robot, kept.topic, kept.detail, kept.payload) == (odd, odd, odd, odd)
        assert [(row.channel, row.unit) for row in await store.channels("r")] == [(odd, odd)]
        assert [sample.value for sample in (await store.samples(channels=[odd])).items] == [odd, {odd: odd}]
        assert len(await store.latest("r", [odd])) == 1


@pytest.mark.parametrize("sizes", [[3], [1, 2, 3], [2, 2, 2], [7, 1], [0, 4, 0, 5], [1] * 9])
async def test_samples_survive_however_their_columns_fall_into_slices(
    url: str, monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    monkeypatch.setattr(postgres_batch, "SLICE", 3)
    async with store_at(url) as store:
        columns = [
            Column("r", f"c{i}", "integer", None, list(range(size)), list(range(size))) for i, size in enumerate(sizes)
        ]
        await store.commit(Batch(columns=columns))
        for column in columns:
            found = (await store.samples(channels=[column.channel])).items
            assert [sample.value for sample in found] == column.values


async def test_others_on_the_event_loop_get_their_turn_beside_large_batches_and_pages(url: str) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with store_at(url) as store, asyncio.TaskGroup() as group:
        counting = group.create_task(count())
        for work, least in ((store.commit(many(100_000)), 25), (store.samples(limit=100_000), 50)):
            turns = 0
            await work
            assert turns > least
        turns = 0
        assert len(await store.aggregate("r", "c", start=0, end=100_000, bucket=1)) == 100_000
        assert turns > 50
        counting.cancel()


async def test_page_of_a_fast_and_many_slow_series_is_the_sorted_list_of_all(url: str) -> None:
    fast = Column("r", "fast", "integer", None, list(range(5000)), list(range(5000)))
    slow = [Column("r", f"slow{i}", "integer", None, [i * 20, 4000 + i], [i, i]) for i in range(200)]
    rows = sorted((ts, column.channel) for column in [fast, *slow] for ts in column.ts)
    async with store_at(url) as store:
        await store.commit(Batch(columns=[fast, *slow]))
        found: list[tuple[int, str]] = []
        cursor = None
        while not found or cursor is not None:
            page = await store.samples(limit=1111, cursor=cursor)
            found += [(sample.ts, sample.channel) for sample in page.items]
            cursor = page.next
        assert sorted(found) == rows
        assert [ts for ts, _ in found] == [ts for ts, _ in rows]


# --- what takes long, and what does not fit


@contextlib.asynccontextmanager
async def locked_samples(url: str) -> AsyncIterator[None]:
    """Nobody can read samples meanwhile."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN; LOCK TABLE sample")
        yield
    finally:
        await connection.close()


async def test_read_that_takes_too_long_is_given_up_with_a_sentence(url: str) -> None:
    async with store_at(url, patience=0.1) as store, locked_samples(url):
        for read in (store.samples(), store.latest("r"), store.aggregate("r", "c", start=0, end=1, bucket=1)):
            with pytest.raises(StoreError, match="the database: reading took too long"):
                await read


async def test_store_closes_without_waiting_for_a_slow_read(url: str) -> None:
    store = store_at(url)
    await store.__aenter__()
    async with locked_samples(url):
        reads = [asyncio.create_task(store.samples()) for _ in range(6)]
        async with asyncio.timeout(10):
            while await ask(url, "SELECT count(*) FROM pg_locks WHERE NOT granted") != [(4,)]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await store.__aexit__(None, None, None)
    for outcome in await asyncio.gather(*reads, return_exceptions=True):
        assert isinstance(outcome, StoreError)
        assert "closed" in str(outcome)


async def test_commits_in_flight_when_the_store_closes_are_finished(url: str) -> None:
    async with store_at(url) as store:
        commits = [asyncio.create_task(store.commit(batch(i))) for i in range(10)]
        await asyncio.sleep(0)
    assert len([await commit for commit in commits]) == 10
    assert await ask(url, "SELECT count(*) FROM sample") == [(20,)]


async def test_commit_that_nobody_waits_for_any_more_harms_no_other(url: str) -> None:
    async with store_at(url) as store:
        commits = [asyncio.create_task(store.commit(batch(i))) for i in range(6)]
        await asyncio.sleep(0.001)
        for commit in commits[::2]:
            commit.cancel()
        done = await asyncio.gather(*commits, return_exceptions=True)
        assert [isinstance(outcome, asyncio.CancelledError) for outcome in done] == [True, False] * 3
        await store.commit(batch(9))
        assert {row.ts for row in (await store.events()).items} >= {1, 3, 5, 9}


async def test_commits_are_answered_while_a_robot_with_many_samples_is_removed(url: str) -> None:
    async with store_at(url) as store:
        await store.add_robot(RobotRow(id="r", created=0, name="r", type="t"))
        await store.commit(many(60_000))
        removing = asyncio.create_task(store.remove_robot("r"))
        done_meanwhile = 0
        while not removing.done():
            await store.commit(many(1, robot="other"))
            done_meanwhile += 1
        await removing
        assert done_meanwhile >= 5
        assert len((await store.samples(limit=100_000)).items) == done_meanwhile


FULL = """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'could not extend file: no space left on device' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON event EXECUTE FUNCTION full_disk()"""


async def test_full_disk_is_said_nothing_is_written_and_reading_goes_on(url: str) -> None:
    assert DiskFullError.sqlstate == "53100"
    async with store_at(url) as store:
        await store.commit(batch(1))
        other = await asyncpg.connect(url)
        await other.execute(FULL)
        with pytest.raises(StoreError, match="the database: the database server's disk is full"):
            await store.commit(batch(2))
        assert [sample.value for sample in (await store.samples()).items] == [1, 1]
        await other.execute("DROP TRIGGER full_disk ON event")
        await other.close()
        await store.commit(batch(3))
        assert [sample.value for sample in (await store.samples()).items] == [1, 1, 3, 3]


def test_weeks_begin_on_mondays() -> None:
    assert week_of(NOW) == 1_763_337_600_000_000  # 2025-11-17
    assert week_of(week_of(NOW)) == week_of(NOW)
    assert postgres_partitions.due(week_of(NOW) + WEEK, NOW)
    assert not postgres_partitions.due(week_of(NOW) + 2 * WEEK, NOW)


def test_server_of_the_tests_runs_as_nobody_important(postgres: PostgresServer) -> None:
    assert (postgres.folder / "data").stat().st_uid != 0 or os.geteuid() != 0
