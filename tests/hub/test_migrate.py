"""Moving a whole database to another one: nothing lost, nothing doubled, whatever interrupts it, and proven."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from botyard.store import migrate_postgres, migrate_sqlite, sqlite_writer
from botyard.store.base import (
    Batch,
    CommandRow,
    CommandStatus,
    EventRow,
    Position,
    QuarantineRow,
    ReportRow,
    RobotRow,
    StateRow,
    Store,
    StoreError,
)
from botyard.store.factory import open_store
from botyard.store.frames import HIGHEST, LOWEST
from botyard.store.migrate import Migration, Verdict
from botyard.store.migrate_tables import LEFT_OUT, Content, Table, tables
from botyard.store.schema import MARKER, NOTES
from botyard.store.sqlite_writer import FOLD_AFTER
from tests.hub.postgres_support import NOW, Hurried, ask
from tests.hub.support import Column, filled
from tests.postgres import PASSWORD, PostgresServer

ODD = "NUL \0, \ufdd0, \ufdd00, 🤖, ' \" \\ % \n\t é e\u0301 \u202e"
MINUTE = 60_000_000


class Quiet:
    """A watcher that only counts."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}

    def moved(self, table: str, rows: int) -> None:
        self.rows[table] = self.rows.get(table, 0) + rows

    def checked(self, table: str, rows: int) -> None:
        """Nobody asks."""


def telemetry(start: int, count: int) -> list[Column]:
    times = [start + n * MINUTE for n in range(count)]
    return [
        Column("r1", "speed", "number", "m/s", times, [n / 7 for n in range(count)]),
        Column("r1", "count", "integer", None, times, [2**53 - n for n in range(count)]),
        Column("r2", "text", "text", None, times, [f"{ODD} {n}" for n in range(count)]),
        Column("r2", "on", "boolean", None, times, [n % 3 == 0 for n in range(count)]),
        Column("r3", "doc", "object", None, times[:5], [{"a": [n, None, ODD]} for n in range(5)]),
    ]


async def fill(store: Store) -> None:
    """Every kind of row that there is."""
    for n in range(4):
        await store.add_robot(
            RobotRow(id=f"r{n}", created=n, name=ODD, type="amr", group=None if n % 2 else ODD, tags=(ODD, "b"),
                     notes=ODD * n, accepted=n != 2, retired=HIGHEST if n == 3 else None)
        )  # fmt: skip
    await store.commit(filled(columns=telemetry(NOW - 40 * 7 * 1440 * MINUTE, 700)))
    await store.commit(filled(columns=telemetry(NOW, 900)))
    await store.compact()
    await store.commit(filled(columns=telemetry(NOW + 1000 * MINUTE, 90)))
    for n in range(FOLD_AFTER + 8):  # so many that some positions are in their place, and some are not yet
        await store.commit(Batch(positions=[Position(f"r{n % 5}", f"e{n % 7}", n * 10, ((n * 10 + 5, n * 10 + 7),))]))
    for n, status in enumerate(("queued", "running", "expired")):
        await store.add_command(
            CommandRow(id=f"c{n}", robot="r1", name="goto", args={"text": ODD}, created=NOW, expires=HIGHEST,
                       actor=ODD, status=cast("CommandStatus", status), changed=NOW, reason=ODD if n else None,
                       progress=n / 7 if n else None, sent=NOW if n else None, answered=None, late=n == 1)
        )  # fmt: skip
    data: dict[str, Any] = {"deep": [1, {"x": None}], "text": ODD, "huge": 2**53}
    events = [
        EventRow(ts=ts, robot=robot, actor=ODD, name="docking.failed", severity="error", message=message, data=data,
                 cause=ODD, epoch=epoch, seq=seq)
        for ts, robot, message, epoch, seq in (
            (LOWEST, "r1", None, None, None), (HIGHEST - 1, None, ODD, None, None), (NOW, "r2", "", "e", HIGHEST),
        )
    ]  # fmt: skip
    reports = [
        ReportRow(ts=NOW + n, robot="r1", command=ODD, status="running", body=b'{"a":"\\u0000"}', epoch="e", seq=n)
        for n in range(30)
    ]
    refused = [
        QuarantineRow(received=NOW, robot=robot, topic=topic, reason="schema", detail=ODD, size=2**40, payload=ODD)
        for robot, topic in ((None, None), ("r1", ODD))
    ]
    states = [StateRow(robot=robot, ts=NOW, body=b'{"mode":"auto"}') for robot in ("r1", "r2")]
    await store.commit(Batch(events=events, reports=reports, quarantine=refused, states=states))


async def everything(url: str) -> dict[str, Any]:
    """All that the store tells."""
    async with open_store(url) as store:
        robots = await store.robots()
        found: dict[str, Any] = {
            "robots": robots,
            "states": await store.states(),
            "positions": await store.positions(),
            "events": (await store.events(limit=1000)).items,
            "quarantine": (await store.quarantined(limit=1000)).items,
            "samples": (await store.samples(limit=100_000)).items,
        }
        for robot in robots:
            found[f"channels {robot.id}"] = await store.channels(robot.id)
            found[f"commands {robot.id}"] = await store.commands(robot.id)
            found[f"latest {robot.id}"] = await store.latest(robot.id)
        for width in (MINUTE, 60 * MINUTE, 7):
            found[f"aggregate {width}"] = await store.aggregate("r1", "speed", start=NOW, end=HIGHEST, bucket=width)
        return found


async def moved(source: str, target: str) -> list[Verdict]:
    """Move it in one go."""
    watcher = Quiet()
    async with Migration(source, target, Hurried()) as migration:
        await migration.prepare()
        await migration.copy(watcher)
        verdicts = await migration.verify(watcher)
        if all(verdict.same for verdict in verdicts):
            await migration.finish()
    return verdicts


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with every kind of row. Nobody changes it."""
    import asyncio

    path = tmp_path_factory.mktemp("original") / "botyard.db"

    async def make() -> None:
        async with open_store(sqlite_url(path)) as store:
            await fill(store)

    asyncio.run(make())
    return path


@pytest.fixture
def source(original: Path, tmp_path: Path) -> str:
    """A copy of it for one test."""
    path = tmp_path / "a b%20.db"
    path.write_bytes(original.read_bytes())
    return sqlite_url(path)


@pytest.fixture
def url(postgres_url: Callable[[], str]) -> str:
    return postgres_url()


@pytest.fixture
def empty_url(postgres: PostgresServer) -> str:
    """A database in which nobody has made a table."""
    return postgres.url(postgres.create())


def content(path: Path) -> dict[str, Any]:
    """Every row of every table of a file."""
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: db.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}


async def test_everything_is_equal_in_postgres_and_back_in_sqlite(source: str, empty_url: str, tmp_path: Path) -> None:
    path = Path(source.removeprefix("sqlite:///"))
    before = content(path)
    expected = await everything_without_change(source, tmp_path)
    verdicts = await moved(source, empty_url)
    assert [verdict.table for verdict in verdicts] == [table.name for table in tables()]
    assert all(verdict.same for verdict in verdicts)
    assert content(path) == before
    back = sqlite_url(tmp_path / "new folder" / "back.db")
    await moved(empty_url, back)
    assert await everything(empty_url) == expected
    assert await everything(back) == expected


async def everything_without_change(source: str, tmp_path: Path) -> dict[str, Any]:
    """Opening a store writes into it (a note of what its writer did), so a copy is asked."""
    copy = tmp_path / "asked.db"
    shutil.copy(source.removeprefix("sqlite:///"), copy)
    return await everything(sqlite_url(copy))


async def test_database_of_a_killed_hub_moves_with_what_is_only_in_its_log(tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    async with open_store(sqlite_url(tmp_path / "a.db")) as store:
        await store.add_robot(RobotRow(id="r", created=0, name="r", type="t"))
        for name in ("a.db", "a.db-wal"):
            shutil.copy(tmp_path / name, killed / name)
    before = [(killed / name).read_bytes() for name in ("a.db", "a.db-wal")]
    assert all(verdict.same for verdict in await moved(sqlite_url(killed / "a.db"), sqlite_url(tmp_path / "b.db")))
    assert [(killed / name).read_bytes() for name in ("a.db", "a.db-wal")] == before
    async with open_store(sqlite_url(tmp_path / "b.db")) as store:
        assert [robot.id for robot in await store.robots()] == ["r"]


async def test_every_table_has_rows_in_these_tests_and_moves_or_is_left_out(original: Path) -> None:
    known = {table.name for table in tables()}
    assert known.isdisjoint(LEFT_OUT)
    found = content(original)
    assert known | set(LEFT_OUT) == set(found) - {NOTES, "sqlite_sequence"}
    assert {name for name in known if not found[name]} == set()


async def test_new_rows_get_ids_above_all_that_were_ever_given(source: str, empty_url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as db:
        db.execute("UPDATE sqlite_sequence SET seq = 5000 WHERE name = 'event'")
        db.commit()
    event = EventRow(ts=1, robot=None, actor="hub", name="e", severity="info")
    there, here = empty_url, sqlite_url(tmp_path / "new.db")
    await moved(source, there)
    await moved(there, here)
    for url in (there, here):
        async with open_store(url) as store:
            assert (await store.commit(Batch(events=[event]))).event_ids == [5001]
            await store.commit(filled(columns=telemetry(NOW, 1)))
            await store.compact()


async def test_weeks_of_telemetry_get_parts_of_their_own(source: str, empty_url: str) -> None:
    await moved(source, empty_url)
    parts = await ask(empty_url, "SELECT DISTINCT tableoid::regclass::text FROM chunk")
    assert sorted(parts) == [("chunk_20250210",), ("chunk_20251117",)]


async def test_source_in_use_is_refused(source: str, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_writer, "LOCK_WAIT", 0.1)
    async with open_store(source):
        with pytest.raises(StoreError, match=r"a b%20.db: another hub is using this database$"):
            await moved(source, empty_url)
    assert await ask(empty_url, "SELECT count(*) FROM pg_class WHERE relname = 'robot'") == [(0,)]


async def test_target_in_use_is_refused(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_writer, "LOCK_WAIT", 0.1)
    target = sqlite_url(tmp_path / "target.db")
    async with open_store(target):
        with pytest.raises(StoreError, match=r"target.db: another hub is using this database$"):
            await moved(source, target)


async def test_target_that_is_not_empty_is_refused_and_left_alone(source: str, url: str) -> None:
    async with open_store(url) as store:
        await store.add_robot(RobotRow(id="r", created=0, name="r", type="t"))
    with pytest.raises(
        StoreError, match=r"^postgresql://.*: there are data in this database already \(1 rows in robot"
    ):
        await moved(source, url)
    assert await ask(url, "SELECT count(*) FROM pg_class WHERE relname = $1", MARKER) == [(0,)]
    assert await ask(url, "SELECT id FROM robot") == [("r",)]


async def test_target_of_another_program_is_refused(source: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE robot (id text)")
    with pytest.raises(StoreError, match="was not made by Botyard"):
        await moved(source, sqlite_url(tmp_path / "other.db"))


async def test_source_that_is_not_there_is_refused_and_not_made(tmp_path: Path, empty_url: str) -> None:
    with pytest.raises(StoreError, match=r"none.db: there is no such database$"):
        await moved(sqlite_url(tmp_path / "none.db"), empty_url)
    assert not (tmp_path / "none.db.lock").exists()


async def test_source_of_an_older_version_is_refused(source: str, empty_url: str) -> None:
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as db:
        db.execute(f"DELETE FROM {NOTES} WHERE name = '0003_retired'")
        db.commit()
    with pytest.raises(StoreError, match=r"an older Botyard has made this database .*0003_retired.* start the hub"):
        await moved(source, empty_url)


async def test_database_is_not_moved_onto_itself(source: str) -> None:
    with pytest.raises(StoreError, match="source and target are the same database"):
        await moved(source, source)


async def begun(source: str, target: str, monkeypatch: pytest.MonkeyPatch, module: Any) -> int:
    """A migration that stops in the middle; gives how many rows it has moved."""
    watcher = Quiet()
    with monkeypatch.context() as small:
        small.setattr(module, "SLICE_ROWS", 7)
        small.setattr(watcher, "moved", lambda table, rows: stop_in(table, rows, watcher.rows))
        async with Migration(source, target, Hurried()) as migration:
            await migration.prepare()
            with pytest.raises(InterruptedError):
                await migration.copy(watcher)
    return sum(watcher.rows.values())


def stop_in(table: str, rows: int, counts: dict[str, int]) -> None:
    counts[table] = counts.get(table, 0) + rows
    if table == "report" and counts[table] >= 14:
        raise InterruptedError


async def test_hub_does_not_open_a_half_finished_target(
    source: str, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = sqlite_url(tmp_path / "target.db")
    for target in (empty_url, file):
        await begun(source, target, monkeypatch, migrate_sqlite)
        with pytest.raises(StoreError, match="`botyard store migrate` has not finished filling this database"):
            async with open_store(target):
                pass
        assert all(verdict.same for verdict in await moved(source, target))
        async with open_store(target) as store:
            assert len(await store.robots()) == 4


async def test_half_finished_target_goes_on_only_from_the_same_state_of_the_source(
    source: str, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begun(source, empty_url, monkeypatch, migrate_sqlite)
    async with open_store(source) as store:
        await store.commit(filled(columns=telemetry(NOW, 1)))
    with pytest.raises(StoreError, match=r"it was begun to be filled from .* as that was then, and .* is not the same"):
        await moved(source, empty_url)


async def test_lost_connection_is_said_in_a_sentence_and_the_next_attempt_goes_on(
    source: str, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = migrate_postgres.PostgresEnd.take
    calls = 0

    async def losing(self: migrate_postgres.PostgresEnd, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 9:
            await ask(empty_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
                      "current_database() AND pid <> pg_backend_pid()")  # fmt: skip
        await take(self, *arguments)

    monkeypatch.setattr(migrate_sqlite, "SLICE_ROWS", 7)
    monkeypatch.setattr(migrate_postgres.PostgresEnd, "take", losing)
    with pytest.raises(StoreError, match=r"the connection to the database server was lost: .* \(while rows of \w+ up"):
        await moved(source, empty_url)
    assert all(verdict.same for verdict in await moved(source, empty_url))


CHANGES = {
    "value": "UPDATE event SET message = 'x' WHERE id = 2",
    "null": "UPDATE event SET message = '' WHERE message IS NULL",
    "bytes": "UPDATE chunk SET data = data || '\\x00'::bytea WHERE id = (SELECT min(id) FROM chunk)",
    "lost": "DELETE FROM report WHERE id = 3",
    "doubled": """INSERT INTO chunk SELECT id, robot, start + 1, "end", rows, samples, small, channels, data
        FROM chunk LIMIT 1""",
    "swapped": "UPDATE robot_state SET ts = ts + CASE robot WHEN 'r1' THEN 1 ELSE -1 END",
    "truth": "UPDATE robot SET accepted = NOT accepted WHERE id = 'r1'",
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
async def test_row_that_was_changed_behind_its_back_is_found(source: str, empty_url: str, change: str) -> None:
    async with Migration(source, empty_url, Hurried()) as migration:
        await migration.prepare()
        await migration.copy(Quiet())
        await ask(empty_url, CHANGES[change])
        verdicts = await migration.verify(Quiet())
    statement = CHANGES[change].split()
    table = statement[statement.index("UPDATE") + 1] if "UPDATE" in statement else statement[2]
    assert [verdict.table for verdict in verdicts if not verdict.same] == [table]


def test_content_is_the_same_in_any_order_and_differs_with_any_value() -> None:
    rows: list[tuple[Any, ...]] = [(1, "a"), (2, "b"), (3, None), (4, b"a"), (5, True), (6, 1)]

    def checksum(rows: list[tuple[Any, ...]]) -> str:
        content = Content()
        content.add(rows)
        return content.checksum

    assert checksum(rows) == checksum(rows[::-1])
    others = [rows[:-1], [*rows, rows[0]], [*rows[:-1], (6, True)], [*rows[:3], (4, "a"), *rows[4:]], []]
    assert len({checksum(rows), *map(checksum, others)}) == len(others) + 1


# --- the command, as a process

KILLED = """
import os, signal, sys
from botyard.store import migrate_postgres, migrate_sqlite

migrate_sqlite.SLICE_ROWS = 7
number, left, where = int(sys.argv.pop(1)), int(sys.argv.pop(1)), sys.argv.pop(1)
take = migrate_postgres.PostgresEnd.take

async def dying(self, table, rows, item, value):
    global left
    left -= 1
    if left == 0 and where == "inside":
        async with self._connection.transaction():
            await self._connection.copy_records_to_table(table.name, records=rows, columns=tuple(table.columns))
            os.kill(os.getpid(), number)
    await take(self, table, rows, item, value)
    if left == 0:
        os.kill(os.getpid(), number)

migrate_postgres.PostgresEnd.take = dying
from botyard.cli.entry import main
main()
"""


def command(folder: Path, *arguments: str, program: tuple[str, ...] = ("-m", "botyard.cli.entry")) -> Any:
    """Run `botyard store migrate` to its end."""
    return subprocess.run(
        [sys.executable, *program, "store", "migrate", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_killed_migration_goes_on_where_it_was(source: str, empty_url: str, tmp_path: Path) -> None:
    arguments = ("--from", source, "--to", empty_url)
    for left, where in ((3, "after"), (6, "inside")):
        program = ("-c", KILLED, str(int(signal.SIGKILL)), str(left), where)
        assert command(tmp_path, *arguments, program=program).returncode == -signal.SIGKILL
    interrupted = command(tmp_path, *arguments, program=("-c", KILLED, str(int(signal.SIGINT)), "5", "after"))
    assert (interrupted.returncode, interrupted.stderr.splitlines()[-1]) == (
        130,
        "✗ interrupted; what is moved stays moved: give the same command again to go on",
    )
    done = command(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    names = [table.name for table in tables()]
    assert [line.split()[1] for line in done.stdout.splitlines() if "checksum" in line] == [
        f"{name}:" for name in names
    ]
    assert "✓ everything is moved" in done.stdout
    assert "store:\n  url: postgresql://ann:***@127.0.0.1" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr


def test_dry_run_shows_what_would_be_moved_and_changes_nothing(source: str, empty_url: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"store:\n  url: '{source}'\n")
    target = tmp_path / "data" / "new.db"
    for url in (empty_url, "sqlite:///new.db"):
        done = command(tmp_path, "--to", url, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert "report" in done.stdout
        assert done.stdout.endswith("Nothing was changed.\n")
    assert not target.exists()


def test_wrong_url_is_refused_with_what_is_known(tmp_path: Path) -> None:
    done = command(tmp_path, "--to", "mysql://db/x")
    assert done.returncode == 2
    assert "names no store that is known; expected sqlite:///" in done.stderr


def test_difference_is_said_table_by_table_with_an_exit_code_of_its_own(
    source: str, empty_url: str, tmp_path: Path
) -> None:
    program = KILLED.replace(
        "from botyard.cli",
        f"""
from botyard.store.migrate import Migration
verify = Migration.verify

async def late(self, watcher):
    await self._target._connection.execute({CHANGES["value"]!r})
    return await verify(self, watcher)

Migration.verify = late
from botyard.cli""",
    )
    done = command(tmp_path, "--from", source, "--to", empty_url, program=("-c", program, "9", "0", ""))
    assert done.returncode == 3
    assert "✗ event: 3 rows with checksum" in done.stderr
    assert "no hub will open it" in done.stderr
    assert "✓ robot: 4 rows" in done.stdout


def test_table_knows_its_key_and_columns() -> None:
    robot = next(table for table in tables() if table.name == "robot")
    assert (robot.key, robot.numbered, dict(zip(robot.columns, robot.kinds, strict=True))["accepted"]) == (
        "id",
        False,
        "bool",
    )
    assert Table("t", ("a", "end"), ("int", "int"), numbered=True).quoted == '"a", "end"'
