"""What is particular to SQLite: its processes die and come back, its file fills up, and one hub has it at a time."""

import asyncio
import contextlib
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from botyard.store import sqlite
from botyard.store.base import Batch, EventRow, Position, RobotRow, StoreError
from botyard.store.helper import Helper
from botyard.store.sqlite import SqliteStore
from botyard_schemas.clock import SystemClock
from tests.hub.support import Column, filled


class Hurried(SystemClock):
    """Sleeps a hundredth of what it is asked to."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


def pid(store: SqliteStore) -> int | None:
    """Of its writer's process."""
    assert isinstance(store._writer, Helper)
    return store._writer.pid


def batch(n: int) -> Batch:
    event = EventRow(ts=n, robot="r", actor="robot:r", name="e", severity="info")
    column = Column("r", "c", "integer", None, [n, n], [n, n])
    return filled(columns=[column], events=[event], positions=[Position("r", "e", n)])


def helpers(parent: int | None = None) -> dict[str, psutil.Process]:
    """The SQLite processes of a process (this one), by the last word of their module's name."""
    found = {}
    for child in psutil.Process(parent).children():
        with contextlib.suppress(psutil.Error):
            found.update(
                {part: child for part in ("writer", "reader") if f"sqlite_{part}" in " ".join(child.cmdline())}
            )
    return found


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that a real process does."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(0.01)


async def retried(store: SqliteStore, what: Batch) -> int:
    """Commit until it is done; how often it failed."""
    for failures in range(500):
        with contextlib.suppress(StoreError):
            await store.commit(what)
            return failures
        await asyncio.sleep(0.01)
    raise AssertionError("the store did not recover")


async def test_closed_store_leaves_no_process_and_no_write_ahead_log(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "hub.db") as store:
        await store.commit(batch(1))
        mine = helpers()
        assert set(mine) == {"writer", "reader"}
    assert not any(process.is_running() for process in mine.values())
    assert sorted(os.listdir(tmp_path)) == ["hub.db", "hub.db.lock"]  # noqa: PTH208


async def test_commits_in_flight_when_the_store_closes_are_finished(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "hub.db") as store:
        commits = [asyncio.create_task(store.commit(batch(i))) for i in range(10)]
        await asyncio.sleep(0)
    assert len([await commit for commit in commits]) == 10
    async with SqliteStore(tmp_path / "hub.db") as store:
        assert len((await store.samples()).items) == 20


async def test_killed_writer_is_replaced_and_what_was_answered_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SqliteStore(tmp_path / "hub.db") as store:
        await store.commit(batch(1))
        killed = helpers()["writer"]
        killed.kill()
        await until(lambda: pid(store) != killed.pid)
        await retried(store, batch(2))
        assert [row.ts for row in (await store.events()).items] == [2, 1]
        assert helpers()["writer"].pid != killed.pid
    messages = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert messages == ["the SQLite writer ended unexpectedly (exit code -9) and is started again"]
    async with SqliteStore(tmp_path / "hub.db") as store:
        assert [sample.value for sample in (await store.samples()).items] == [1, 1, 2, 2]


async def test_killed_reader_is_replaced(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "hub.db", clock=Hurried()) as store:
        await store.commit(batch(1))
        for _ in range(3):
            helpers()["reader"].kill()
            for _ in range(200):
                with contextlib.suppress(StoreError):
                    if (await store.samples()).items:
                        break
                await asyncio.sleep(0.01)
            assert len(await store.latest("r")) == 1


async def test_each_commit_is_done_exactly_once_however_often_the_writer_is_killed(tmp_path: Path) -> None:
    rng = random.Random(7)
    async with SqliteStore(tmp_path / "hub.db", clock=Hurried()) as store:

        async def kill_again_and_again() -> None:
            for _ in range(8):
                await asyncio.sleep(rng.uniform(0.05, 0.15))
                if writer := helpers().get("writer"):
                    writer.kill()

        killing = asyncio.create_task(kill_again_and_again())
        failures = n = 0
        while not killing.done():
            failures += sum(await asyncio.gather(*[retried(store, batch(n + i)) for i in range(5)]))
            n += 5
        await killing
        assert failures > 0
    with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as db:
        assert db.execute("SELECT count(*), count(DISTINCT ts) FROM event").fetchone() == (n, n)
    async with SqliteStore(tmp_path / "hub.db") as store:
        assert len((await store.samples(limit=100_000)).items) == 2 * n


def replace_writer(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that are made from now on start this program as their writer."""
    (folder / "other_writer.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))
    monkeypatch.setattr(sqlite, "WRITER", "other_writer")


DYING = """
import os, pathlib
import botyard.store.sqlite_writer as module

class Dying(module.Writer):
    def answer(self, request):
        answer = super().answer(request)
        if request.op == "commit" and not pathlib.Path(f"{self._path}.died").exists():
            pathlib.Path(f"{self._path}.died").touch()
            os._exit(3)
        return answer

module.Writer = Dying
module.main()
"""


async def test_commit_that_was_done_before_the_writer_died_is_answered_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace_writer(DYING, tmp_path, monkeypatch)
    async with SqliteStore(tmp_path / "hub.db") as store:
        first, second = await asyncio.gather(store.commit(batch(1)), store.commit(batch(2)), return_exceptions=True)
        assert [row.id for row in (await store.events()).items] == first.event_ids  # type: ignore[union-attr]
        assert isinstance(second, StoreError)
        assert "exit code 3" in caplog.text


async def test_writer_that_cannot_be_started_again_fails_commits_at_once_and_is_tried_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with SqliteStore(tmp_path / "hub.db", clock=Hurried()) as store:
        await store.commit(batch(1))
        with monkeypatch.context() as broken:
            broken.setattr(store._writer, "_command", ["/nonexistent/python"])
            helpers()["writer"].kill()
            await until(lambda: "cannot be started" in caplog.text)
            with pytest.raises(StoreError, match="cannot be started"):
                await store.commit(batch(2))
            with pytest.raises(StoreError, match="cannot be started"):
                await store.ping()
            assert len((await store.samples()).items) == 2  # reading goes on
        await until(lambda: pid(store) is not None)
        await store.commit(batch(3))
        assert [row.ts for row in (await store.events()).items] == [3, 1]
    errors = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 2  # that it ended, and once why it does not start


async def test_store_whose_writer_is_down_closes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SqliteStore(tmp_path / "hub.db") as store:
        monkeypatch.setattr(store._writer, "_command", ["/nonexistent/python"])
        helpers()["writer"].kill()
        await until(lambda: pid(store) is None)
    assert helpers() == {}


async def test_signals_to_the_whole_process_group_do_not_end_the_processes(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "hub.db") as store:
        before = {name: process.pid for name, process in helpers().items()}
        for process in helpers().values():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                process.send_signal(number)
        await store.commit(batch(1))
        assert len((await store.samples()).items) == 2
        assert {name: process.pid for name, process in helpers().items()} == before


HUB = """
import asyncio, sys
from pathlib import Path
from botyard.store.base import Batch, EventRow
from botyard.store.helper import Helper
from botyard.store.sqlite import SqliteStore

async def main():
    async with SqliteStore(Path(sys.argv[1])) as store:
        await store.commit(Batch(events=[EventRow(ts=1, robot=None, actor="hub", name="e", severity="info")]))
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_killed_hub_leaves_no_process_and_the_next_one_finds_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HUB, str(tmp_path / "hub.db")]
    hub = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert hub.stdout is not None
    await hub.stdout.readline()
    left = helpers(hub.pid)
    assert set(left) == {"writer", "reader"}
    hub.kill()
    await hub.wait()
    async with SqliteStore(tmp_path / "hub.db") as store:  # waits for the last writer's lock
        assert len((await store.events()).items) == 1
    await until(lambda: not any(process.is_running() for process in left.values()))


IMPATIENT = "import botyard.store.sqlite_writer as module; module.LOCK_WAIT = 0.1; module.main()"


async def test_second_hub_on_the_same_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SqliteStore(tmp_path / "hub.db") as store:
        replace_writer(IMPATIENT, tmp_path, monkeypatch)
        with pytest.raises(StoreError, match=r"hub\.db: another hub is using this database"):
            async with SqliteStore(tmp_path / "hub.db"):
                pass
        await store.commit(batch(1))


async def test_batch_that_does_not_fit_is_refused_whole_and_smaller_ones_go_on(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "hub.db", max_size=200_000) as store:
        await store.commit(batch(1))
        large = filled(columns=[Column("r", "big", "text", None, list(range(500)), ["x" * 1000] * 500)])
        for _ in range(2):
            with pytest.raises(StoreError, match=r"hub\.db: the disk is full"):
                await store.commit(large)
        await store.commit(batch(2))
        assert [row.channel for row in await store.channels("r")] == ["c"]
        assert [sample.value for sample in (await store.samples()).items] == [1, 1, 2, 2]


async def test_read_that_takes_too_long_is_given_up_with_a_sentence(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "hub.db", patience=0.0) as store:
        many = list(range(20_000))
        await store.commit(filled(columns=[Column("r", "c", "integer", None, many, many)]))
        with pytest.raises(StoreError, match="took too long"):
            await store.aggregate("r", "c", start=0, end=20_000, bucket=1)


async def test_commits_are_answered_while_a_robot_with_many_samples_is_removed(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "hub.db") as store:
        await store.add_robot(RobotRow(id="r", created=0, name="r", type="t"))
        many = list(range(60_000))
        await store.commit(filled(columns=[Column("r", "c", "integer", None, many, many)]))
        removing = asyncio.create_task(store.remove_robot("r"))
        done_meanwhile = 0
        while not removing.done():
            await store.commit(filled(columns=[Column("other", "c", "integer", None, [1], [1])]))
            done_meanwhile += 1
        await removing
        assert done_meanwhile >= 5
        assert len((await store.samples(limit=100_000)).items) == done_meanwhile


async def test_file_that_is_no_database_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    path.write_text("something else " * 100)
    with pytest.raises(StoreError, match="this is not an SQLite database"):
        async with SqliteStore(path):
            pass
    assert path.read_text().startswith("something else")


async def test_path_that_cannot_be_written_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"its folder cannot be made"):
        async with SqliteStore(tmp_path / "file" / "hub.db"):
            pass
    with pytest.raises(StoreError, match=r"cannot be opened|unable to open"):
        async with SqliteStore(tmp_path):
            pass
    assert helpers() == {}


def test_helper_processes_import_nothing_but_the_standard_library_and_msgspec() -> None:
    code = "import sys, botyard.store.sqlite_writer, botyard.store.sqlite_reader; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"botyard_schemas", "botyard.store.base", "tortoise", "jsonschema_rs", "asyncio"} & set(loaded)


async def test_slow_read_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "hub.db") as store:
        many = list(range(200_000))
        await store.commit(filled(columns=[Column("r", "c", "integer", None, many, many)]))
        slow = asyncio.create_task(store.aggregate("r", "c", start=0, end=200_000, bucket=1))
        await store.latest("r")
        await store.events()
        assert not slow.done()
        assert len(await slow) == 200_000


async def test_store_closes_without_waiting_for_a_slow_read(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "hub.db") as store:
        many = list(range(100_000))
        for channel in "abcde":
            await store.commit(filled(columns=[Column("r", channel, "integer", None, many, many)]))
        reads = [asyncio.create_task(store.samples(limit=500_000)) for _ in range(3)]
        await store.ping()
        began = time.monotonic()
    assert time.monotonic() - began < 3
    for outcome in await asyncio.gather(*reads, return_exceptions=True):
        assert isinstance(outcome, StoreError)
        assert "closed" in str(outcome)
