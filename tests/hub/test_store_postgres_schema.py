"""Opening a database in PostgreSQL: what is refused, what is made, and samples by week."""

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from botyard.store import migrations, postgres_partitions, postgres_session
from botyard.store.base import Batch, EventRow, RobotRow, StoreError
from botyard.store.factory import open_store
from botyard.store.postgres_partitions import WEEK, week_of
from tests.hub.postgres_support import NOW, Hurried, ask, batch, store_at
from tests.hub.support import Column, filled
from tests.postgres import PASSWORD, USER, PostgresServer
from tests.processes import free_port


@pytest.fixture
def url(postgres_url: Callable[[], str]) -> str:
    return postgres_url()


@pytest.fixture
def empty_url(postgres: PostgresServer) -> str:
    """A database in which nobody has made a table."""
    return postgres.url(postgres.create())


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
    assert await ask(url, "SELECT sum(messages) FROM block") == [(1,)]


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


async def test_new_database_is_made_and_opening_again_changes_nothing(
    empty_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    url = empty_url
    for _ in range(2):
        async with store_at(url):
            pass
    made = {name for (name,) in await ask(url, "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')")}
    assert made >= {
        "robot",
        "series",
        "block",
        "chunk",
        "rollup",
        "event",
        "report",
        "robot_state",
        "quarantine",
        "position",
        "mark",
    }
    known = ["0001_initial", "0002_weekly_samples", "0003_retired", "0004_columns", "0005_totals", "0006_commands"]
    assert [record.message for record in caplog.records if record.levelno == logging.INFO] == [
        f"the database: brought up to date ({', '.join(known)})"
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
    marks = await ask(url, "SELECT id, n FROM mark ORDER BY id")
    await ask(url, "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('store', '0099_future', now())")
    with pytest.raises(StoreError, match=r"the database: a newer Botyard .*0099_future.*give the hub another database"):
        async with store_at(url):
            pass
    assert await ask(url, "SELECT id, n FROM mark ORDER BY id") == marks


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
    dependencies = [("store", "0006_commands")]
    operations = [ops.RunSQL("CREATE TABLE half (id int)"), ops.RunSQL("INSERT INTO no_such_table VALUES (1)")]
"""


async def test_migration_that_fails_half_way_leaves_the_database_as_it_was(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0007_half.py").write_text(FAILING)
    with monkeypatch.context() as newer:
        newer.setattr(migrations, "__path__", [*migrations.__path__, str(tmp_path)])
        newer.delitem(sys.modules, "botyard.store.migrations.0007_half", raising=False)
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


PARTS = """SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r'"""


async def parts(url: str) -> dict[str, str]:
    return {name: said.removeprefix("FOR VALUES FROM ") for name, said in await ask(url, PARTS)}


async def test_week_gets_its_part_before_it_begins_and_a_pause_gets_one(empty_url: str) -> None:
    url = empty_url
    clock = Hurried()
    week = week_of(NOW)
    async with store_at(url, clock=clock) as store:
        assert await parts(url) == {
            "chunk_early": "(MINVALUE) TO ('0')",
            "chunk_19700101": f"('0') TO ('{week}')",
            "chunk_20251117": f"('{week}') TO ('{week + WEEK}')",
            "chunk_20251124": f"('{week + WEEK}') TO ('{week + 2 * WEEK}')",
            "chunk_late": f"('{week + 2 * WEEK}') TO (MAXVALUE)",
        }
        before = await parts(url)
        await store.commit(batch(1))
        assert await parts(url) == before
        clock.time += WEEK
        await store.commit(batch(2))
        assert (await parts(url))["chunk_20251201"] == f"('{week + 2 * WEEK}') TO ('{week + 3 * WEEK}')"
    clock.time += 10 * WEEK
    async with store_at(url, clock=clock):
        assert (await parts(url))["chunk_20251208"] == f"('{week + 3 * WEEK}') TO ('{week + 11 * WEEK}')"


async def test_samples_of_any_time_have_a_place_and_make_no_parts(url: str) -> None:
    times = [-(2**63), -1, 0, NOW, NOW + 100 * WEEK, 2**63 - 2]
    async with store_at(url) as store:
        before = await parts(url)
        await store.commit(filled(columns=[Column("r", "c", "integer", None, times, list(range(6)))]))
        await store.compact()
        assert [sample.ts for sample in (await store.samples(limit=2)).items] == times[:2]
        assert [sample.ts for sample in (await store.samples()).items] == times
        assert [sample.ts for sample in await store.latest("r")] == times[-1:]
        assert await parts(url) == before


async def test_samples_from_the_future_move_to_their_week_when_it_comes(empty_url: str) -> None:
    url = empty_url
    clock = Hurried()
    times = [NOW, NOW + 2 * WEEK, NOW + 3 * WEEK]
    async with store_at(url, clock=clock) as store:
        await store.commit(filled(columns=[Column("r", "c", "integer", None, times, [0, 1, 2])]))
        await store.compact()
        assert await ask(url, "SELECT count(*) FROM chunk_late") == [(2,)]
        clock.time += WEEK
        await store.commit(batch(1))
        assert await ask(url, "SELECT start FROM chunk_20251201") == [(times[1],)]
        assert [sample.value for sample in (await store.samples(start=2)).items] == [0, 1, 2]


async def test_reader_that_holds_up_a_new_part_holds_up_no_commit(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = empty_url
    monkeypatch.setattr(postgres_session, "READING", 0.1)
    clock = Hurried()
    async with store_at(url, clock=clock) as store:
        reading = await asyncpg.connect(url)
        await reading.execute("BEGIN; SELECT count(*) FROM chunk")
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


def test_weeks_begin_on_mondays() -> None:
    assert week_of(NOW) == 1_763_337_600_000_000  # 2025-11-17
    assert week_of(week_of(NOW)) == week_of(NOW)
    assert postgres_partitions.due(week_of(NOW) + WEEK, NOW)
    assert not postgres_partitions.due(week_of(NOW) + 2 * WEEK, NOW)
