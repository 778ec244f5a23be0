"""What is particular to PostgreSQL in writing and reading."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from asyncpg.exceptions import DiskFullError

from botyard.store.base import EventRow, QuarantineRow, RobotRow, StoreError
from tests.hub.postgres_support import ask, batch, many, store_at
from tests.hub.support import Column, filled
from tests.postgres import PostgresServer


@pytest.fixture
def url(postgres_url: Callable[[], str]) -> str:
    return postgres_url()


async def test_text_that_postgresql_does_not_know_comes_back_as_it_was(url: str) -> None:
    odd = "\0a\ufdd0b\ufdd00\0\ufdd01"
    event = EventRow(ts=1, robot="r", actor=odd, name=odd, severity="info", message=odd, data={odd: odd}, cause=odd)
    refused = QuarantineRow(received=1, robot=odd, topic=odd, reason="schema", detail=odd, size=3, payload=odd)
    robot = RobotRow(id="r", created=0, name=odd, type=odd, group=odd, tags=(odd,), notes=odd)
    async with store_at(url) as store:
        column = Column("r", odd, "text", odd, [1, 2], [odd, {odd: odd}])
        await store.add_robot(robot)
        await store.commit(filled(columns=[column], events=[event], quarantine=[refused]))
    async with store_at(url) as store:
        assert await store.robots() == [robot]
        (found,) = (await store.events(name=odd)).items
        assert (found.actor, found.name, found.message, found.data, found.cause) == (odd, odd, odd, {odd: odd}, odd)
        (kept,) = (await store.quarantined(robot=odd)).items
        assert (kept.robot, kept.topic, kept.detail, kept.payload) == (odd, odd, odd, odd)
        assert [(row.channel, row.unit) for row in await store.channels("r")] == [(odd, odd)]
        assert [sample.value for sample in (await store.samples(channels=[odd])).items] == [odd, {odd: odd}]
        assert len(await store.latest("r", [odd])) == 1


# Turns of others beside a long piece of work. It gives way by time, so a machine that is slow gives fewer; who does not
# give way at all gets two or three.
SOME = 10


async def test_others_on_the_event_loop_get_their_turn_beside_large_batches_and_pages(url: str) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with store_at(url) as store, asyncio.TaskGroup() as group:
        counting = group.create_task(count())
        for work in (store.commit(many(100_000)), store.samples(limit=100_000)):
            turns = 0
            await work
            assert turns > SOME
        turns = 0
        assert len(await store.aggregate("r", "c", start=0, end=100_000, bucket=1)) == 100_000
        assert turns > SOME
        counting.cancel()


async def test_page_of_a_fast_and_many_slow_series_is_the_sorted_list_of_all(url: str) -> None:
    fast = Column("r", "fast", "integer", None, list(range(5000)), list(range(5000)))
    slow = [Column("r", f"slow{i}", "integer", None, [i * 20, 4000 + i], [i, i]) for i in range(200)]
    rows = sorted((ts, column.channel) for column in [fast, *slow] for ts in column.ts)
    async with store_at(url) as store:
        await store.commit(filled(columns=[fast, *slow]))
        found: list[tuple[int, str]] = []
        cursor = None
        while not found or cursor is not None:
            page = await store.samples(limit=1111, cursor=cursor)
            found += [(sample.ts, sample.channel) for sample in page.items]
            cursor = page.next
        assert sorted(found) == rows
        assert [ts for ts, _ in found] == [ts for ts, _ in rows]


@contextlib.asynccontextmanager
async def locked_samples(url: str) -> AsyncIterator[None]:
    """Nobody can read samples meanwhile."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN; LOCK TABLE chunk, series")
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
    assert await ask(url, "SELECT sum(messages) FROM block") == [(10,)]


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


def test_server_of_the_tests_runs_as_nobody_important(postgres: PostgresServer) -> None:
    assert (postgres.folder / "data").stat().st_uid != 0 or os.geteuid() != 0
