"""What is deleted because it is too old or too much, and what is said about the store's size."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from botyard.cli.main import build_app
from botyard.core.config import Keep, KeepConfig
from botyard.store import forecast
from botyard.store.base import EventRow, QuarantineRow, ReportRow, Store
from botyard.store.factory import open_store
from botyard.store.holdings import CLASSES, ClassName, Size
from botyard.store.retention import Retention
from botyard.testing import RunningHub, VirtualClock, running_hub
from tests.hub.support import Column, filled, get, hub_in_a_thread, noted, problem

BACKENDS: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "sqlite": lambda request: f"sqlite:{request.getfixturevalue('tmp_path') / 'hub.db'}",
    "postgres": lambda request: request.getfixturevalue("postgres_url")(),
}
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
NOW = VirtualClock().now()


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest) -> str:
    """A new database."""
    return BACKENDS[request.param](request)


def telemetry(days_ago: float, robot: str = "r", count: int = 10) -> Column:
    """Samples a second apart from so many days ago on."""
    start = NOW - round(days_ago * DAY)
    return Column(robot, "c", "number", None, [start + n * SECOND for n in range(count)], [n / 7 for n in range(count)])


def event(days_ago: float, robot: str | None = "r") -> EventRow:
    ts = NOW - round(days_ago * DAY)
    return EventRow(ts=ts, robot=robot, actor="a", name="e", severity="info", message=f"\u00e4 {days_ago}", epoch="e")


def report(days_ago: float) -> ReportRow:
    ts = NOW - round(days_ago * DAY)
    return ReportRow(ts=ts, robot="r", command="c", status="done", body=b"{}", epoch="e", seq=1)


def refused(days_ago: float) -> QuarantineRow:
    received = NOW - round(days_ago * DAY)
    return QuarantineRow(
        received=received, robot="r", topic=None, reason="x", detail="d", size=1, payload="\u00e4\x00p"
    )


async def fill(store: Store, *days_ago: float) -> None:
    """Of each class of data something of these days, and all of it compacted."""
    for days in days_ago:
        await store.commit(
            filled([telemetry(days)], events=[event(days)], reports=[report(days)], quarantine=[refused(days)])
        )
        await store.compact()


async def look(store: Store, **keep: Keep) -> None:
    await Retention(store, KeepConfig(**keep), VirtualClock(), lambda *_: None).look()


async def counts(store: Store) -> dict[ClassName, int]:
    return {name: total.count for name, total in (await store.holdings()).totals.items()}


async def samples(store: Store) -> list[int]:
    """How many days ago each of the samples was measured."""
    return sorted({(NOW - sample.ts + DAY - 1) // DAY for sample in (await store.samples(limit=10_000)).items})


async def test_retention_deletes_nothing_unless_it_is_told_to(url: str) -> None:
    async with open_store(url) as store:
        await fill(store, 4000, 1)
        before = await counts(store)
        await look(store)
        assert await counts(store) == before
        assert before["telemetry"] == 20


EACH = [
    ("telemetry", 10),
    ("rollups_minute", 1),
    ("rollups_hour", 1),
    ("events", 1),
    ("reports", 1),
    ("quarantine", 1),
]


@pytest.mark.parametrize(("name", "each"), EACH)
async def test_retention_by_age_deletes_what_is_older_of_that_class_alone(url: str, name: Any, each: int) -> None:
    async with open_store(url) as store:
        await fill(store, 40, 12, 10.5, 2)
        before = await counts(store)
        await look(store, **{name: Keep(days=11)})
        after = await counts(store)
        assert after[name] < before[name]
        assert after[name] >= 2 * each
        assert {other: after[other] for other in CLASSES if other != name} == {
            other: before[other] for other in CLASSES if other != name
        }
        assert ((await store.holdings()).totals[name].oldest or 0) >= NOW - 13 * DAY


async def test_retention_by_age_deletes_a_chunk_when_its_end_is_too_old(url: str) -> None:
    async with open_store(url) as store:
        across = Column("r", "c", "number", None, [NOW - 10 * DAY - HOUR, NOW - 10 * DAY + HOUR], [1.5, 2.5])
        await store.commit(filled([across]))
        await store.compact()
        await look(store, telemetry=Keep(days=10))
        assert (await counts(store))["telemetry"] == 2
        await look(store, telemetry=Keep(days=9.5))
        assert (await counts(store))["telemetry"] == 0


async def test_retention_by_age_keeps_latest_values_rollups_and_what_is_not_compacted(url: str) -> None:
    async with open_store(url) as store:
        await fill(store, 40)
        rows = await store.aggregate("r", "c", start=NOW - 41 * DAY, end=NOW, bucket=DAY)
        await store.commit(filled([telemetry(39, "fresh")]))
        await look(store, telemetry=Keep(days=11))
        assert [sample.value for sample in await store.latest("r")] == [9 / 7]
        assert await store.aggregate("r", "c", start=NOW - 41 * DAY, end=NOW, bucket=DAY) == rows
        assert len((await store.samples(robots=["fresh"])).items) == 10
        await store.compact()
        await look(store, telemetry=Keep(days=11))
        assert (await store.samples()).items == []


async def test_retention_by_size_deletes_the_oldest_until_the_rest_is_small_enough(url: str) -> None:
    async with open_store(url) as store:
        for days in (1, 30, 3, 20):
            await store.commit(filled([telemetry(days, f"robot-{days}", 2000)]))
        await store.compact()
        limit = (await store.holdings()).totals["telemetry"].bytes * 6 // 10
        await look(store, telemetry=Keep(bytes=limit))
        total = (await store.holdings()).totals["telemetry"]
        assert await samples(store) == [1, 3]
        assert total.bytes <= limit
        assert total.oldest == NOW - 3 * DAY


async def test_retention_of_late_data_deletes_it_a_little_later(url: str) -> None:
    async with open_store(url) as store:
        await fill(store, 1)
        await look(store, telemetry=Keep(days=11))
        await fill(store, 20)
        assert await samples(store) == [1, 20]
        await look(store, telemetry=Keep(days=11))
        assert await samples(store) == [1]


async def test_retention_deletes_in_slices_between_which_commits_are_answered(url: str) -> None:
    async with open_store(url) as store:
        for _ in range(10):
            await store.commit(filled(events=[event(20 + n / 1e6) for n in range(1000)]))
        slices = 0
        more = True
        while more:
            expired, committed = await asyncio.gather(
                store.expire("events", NOW - 11 * DAY, None), store.commit(filled(events=[event(1)]))
            )
            more = expired.more
            slices += 1
            assert len(committed.event_ids) == 1
            assert expired.count < 10_000
        assert slices > 1
        assert (await counts(store))["events"] == slices


async def test_store_totals_are_right_after_everything_that_changes_them(url: str) -> None:
    """Counted anew, as on a database that was filled by other ways, they are the same."""
    async with open_store(url, quarantine_limit=3) as store:
        await fill(store, 20, 19.9999, 19, 1)
        for n in range(10):
            await store.commit(
                filled([telemetry(1 + n / 1e5)], events=[event(3, None)], quarantine=[refused(1), refused(2)])
            )
            await store.compact()
        await store.commit(filled([telemetry(2, "other", 3000)], events=[event(2, "other")]))
        await store.compact()
        await look(store, telemetry=Keep(days=15), events=Keep(bytes=1000), rollups_minute=Keep(days=15))
        kept = await store.holdings()
        await forget_totals(store, url)
    async with open_store(url) as store:
        counted = await store.holdings()
    assert counted.totals == kept.totals
    assert kept.totals["quarantine"].count == 3
    assert kept.totals["telemetry"].count == 10 + 100 + 3000


async def forget_totals(store: Any, url: str) -> None:
    if url.startswith("sqlite"):
        import sqlite3

        db = sqlite3.connect(store.path)
        db.execute("DELETE FROM total")
        db.commit()
        db.close()
    else:
        from tests.hub.postgres_support import ask

        await ask(url, "DELETE FROM total")


async def test_retention_gives_room_back_to_the_file_system(tmp_path: Path) -> None:
    async with open_store(f"sqlite:{tmp_path / 'hub.db'}") as store:
        await store.commit(filled(quarantine=[refused(20)], events=[long_event(20) for _ in range(400)]))
        before = (await store.holdings()).bytes
        await look(store, events=Keep(days=11))
        wal = (tmp_path / "hub.db-wal").stat().st_size
        after = (await store.holdings()).bytes - wal
    assert after < before / 2


def long_event(days_ago: float) -> EventRow:
    return EventRow(
        ts=NOW - round(days_ago * DAY), robot="r", actor="a", name="e", severity="info", message="m" * 50_000
    )


async def test_retention_tells_once_an_hour_what_was_deleted(tmp_path: Path) -> None:
    told: list[Any] = []
    clock = VirtualClock()
    async with open_store(f"sqlite:{tmp_path / 'hub.db'}") as store:
        keeper = Retention(store, KeepConfig(events=Keep(days=11)), clock, lambda *what: told.append(what))
        for _ in range(3):
            await store.commit(filled(events=[event(20), event(30)]))
            await keeper.look()
        assert [(name, count) for name, count, _ in told] == [("events", 2)]
        await clock.advance(3600)
        await keeper.look()
        assert [(name, count) for name, count, _ in told] == [("events", 2), ("events", 4)]


async def test_store_history_has_a_size_for_each_hour_of_the_last_90_days(url: str) -> None:
    clock = VirtualClock()
    async with open_store(url) as store:
        keeper = Retention(store, KeepConfig(), clock, lambda *_: None)
        for _ in range(5):
            await keeper.look()
            await clock.advance(1800)
        sizes = (await store.holdings()).sizes
        assert [size.ts - NOW for size in sizes] == [0, HOUR, 2 * HOUR]
        assert min(size.bytes for size in sizes) > 10_000
        await clock.advance(90 * 86400 - 2 * 3600)
        await keeper.look()
        assert [size.ts - NOW for size in (await store.holdings()).sizes] == [HOUR, 2 * HOUR, 90 * DAY + HOUR // 2]


async def test_store_history_forgets_sizes_of_a_clock_that_was_ahead(url: str) -> None:
    ahead = VirtualClock(NOW + 10 * DAY)
    async with open_store(url) as store:
        await Retention(store, KeepConfig(), ahead, lambda *_: None).look()
        await look(store)
        assert [size.ts for size in (await store.holdings()).sizes] == [NOW]


def sizes(*points: tuple[float, int]) -> list[Size]:
    return [Size(NOW + round(day * DAY), size) for day, size in points]


def test_forecast_growth_is_the_slope_of_the_last_seven_days() -> None:
    steady = sizes(*((day / 4, 1000 + 25 * day) for day in range(40)))
    assert forecast.growth(steady) == pytest.approx(100)
    assert forecast.growth(sizes((-20, 10**9), (-19, 0), (0, 0), (1, 10), (2, 20))) == pytest.approx(10)
    assert forecast.growth(sizes((0, 0), (1, 0), (2, 30))) == pytest.approx(15)


def test_forecast_growth_needs_an_hour() -> None:
    assert forecast.growth([]) is None
    assert forecast.growth(sizes((0, 5))) is None
    assert forecast.growth(sizes((0, 5), (0.04, 6))) is None
    assert forecast.growth(sizes((0, 5), (1 / 24, 6))) == pytest.approx(24)


@pytest.mark.parametrize(
    ("room", "per_day", "days"),
    [(100, 10.0, 10), (0, 10.0, 0), (-5, 10.0, 0), (100, 0.0, None), (100, -3.0, None), (100, None, None)],
)
def test_forecast_is_when_the_room_is_used_up(room: int, per_day: float | None, days: int | None) -> None:
    assert forecast.full_at(NOW, room, per_day) == (None if days is None else NOW + days * DAY)


def test_forecast_of_more_than_a_hundred_years_and_of_unknown_room_is_none() -> None:
    assert forecast.full_at(NOW, 10**18, 1.0) is None
    assert forecast.full_at(NOW, None, 10.0) is None


def test_forecast_room_is_the_least_of_disk_and_limit() -> None:
    assert forecast.room(10, 100, None) == 100
    assert forecast.room(10, 100, 50) == 40
    assert forecast.room(10, 30, 50) == 30
    assert forecast.room(60, None, 50) == -10
    assert forecast.room(10, None, None) is None


async def test_api_store_says_what_there_is_and_how_it_is_kept(tmp_path: Path) -> None:
    keep = {"telemetry": {"days": 30, "bytes": 10**9}, "events": {"days": 1.5}}
    async with running_hub(tmp_path, clock=VirtualClock(), store={"keep": keep}) as running:
        robot = running.robot("r")
        for n in range(20):
            await robot.telemetry({"x": n / 3, "y": n}, ts=NOW - n * SECOND)
        await running.transport.committed()
        found = await get(running, "store")
        assert found["waiting"]["messages"] == 20
        assert found["waiting"]["bytes"] > 1000
        answer = await running.api.post("/api/v1/store/compact")
        assert answer.status_code == 200
        found = await get(running, "store")
        assert found["classes"][:3] == answer.json()["classes"][:3]
    assert found["engine"] == "sqlite"
    assert found["address"] == f"sqlite:///{tmp_path}/data/botyard.db"
    assert found["waiting"] == {"messages": 0, "bytes": 0}
    assert [one["name"] for one in found["classes"]] == list(CLASSES)
    first, *_, events, _, _ = found["classes"]
    assert (first["count"], first["oldest"], first["newest"]) == (40, NOW - 19 * SECOND, NOW)
    assert (first["keep_days"], first["keep_bytes"]) == (30, 10**9)
    assert (events["keep_days"], events["keep_bytes"]) == (1.5, None)
    assert found["bytes_per_sample"] == sum(one["bytes"] for one in found["classes"][:3]) / 40
    assert found["bytes"] > 10_000
    assert found["free_bytes"] > 0
    assert (found["limit_bytes"], found["history"], found["growth_bytes_per_day"], found["full_at"]) == (
        None,
        [],
        None,
        None,
    )


async def test_api_store_tells_growth_and_forecast_from_its_history(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        now = await get(running, "store")
        await running.hub.store.note_size(Size(NOW - DAY, now["bytes"] - 10**9), NOW - 5 * DAY)
        found = await get(running, "store")
    assert found["history"] == [{"ts": NOW - DAY, "bytes": now["bytes"] - 10**9}]
    assert found["growth_bytes_per_day"] == pytest.approx(10**9, rel=0.01)
    days = (found["full_at"] - NOW) / DAY
    assert days == pytest.approx(found["free_bytes"] / found["growth_bytes_per_day"])


async def test_api_store_is_refused_without_the_token(tmp_path: Path) -> None:
    async with running_hub(tmp_path, web={"trust_loopback": False}) as running:
        assert (await problem(running, "GET", "/api/v1/store"))["status"] == 401
        assert (await problem(running, "POST", "/api/v1/store/compact"))["status"] == 401


async def test_hub_notes_what_it_has_deleted(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock(), store={"keep": {"telemetry": {"days": 1}}}) as running:
        await running.robot("r").telemetry({"x": 1}, ts=NOW - 2 * DAY)
        await running.transport.committed()
        await running.hub.store.compact()
        await running.hub.retention.look()
        await noted(running)
        (found,) = (await get(running, "events", name="store.expired"))["items"]
    assert found["data"]["class"] == "telemetry"
    assert found["data"]["count"] == 1
    assert found["message"] == "1 samples were too old or too much and are deleted (store.keep.telemetry)"


def test_store_commands_say_what_the_hub_says(tmp_path: Path) -> None:
    async def fill_hub(running: RunningHub) -> None:
        await running.robot("r").telemetry({"x": 1.5})
        await running.transport.committed()

    with hub_in_a_thread(tmp_path, fill_hub) as address:
        said = [
            CliRunner().invoke(build_app(), ["store", *command, "--url", address])
            for command in (["info"], ["compact"], ["info", "--json"])
        ]
    assert [one.exit_code for one in said] == [0, 0, 0]
    assert "1 messages wait for compaction" in said[0].output
    assert "everything is compacted" in said[1].output
    assert json.loads(said[2].output)["classes"][0]["count"] == 1
