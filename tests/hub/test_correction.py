"""Stamps that robots made before they knew the hub's time, corrected."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from botyard.ingest.correction import MAX_BOOTS, Correction, Uncertain
from botyard.testing import FakeRobot, RunningHub, VirtualClock, running_hub
from botyard_schemas import Envelope, Event, Time
from botyard_schemas.messages import BootTime, Unsynced
from tests.hub.support import counters, get, noted, quarantine, stored

NOW = 1_763_712_000_000_000
DAY = 86_400_000_000


def message(steady: int, boot: str = "b", *, ts: int = 5, robot_ts: int | None = None) -> Envelope:
    return Envelope("r", ts, Event("e", "info"), "epoch", 1, robot_ts, Unsynced(boot, steady))


def request(steady: int, boot: str = "b", ahead: int | None = None, *earlier: BootTime) -> Time:
    return Time(1, boot=boot, steady=steady, ahead=ahead, boots=list(earlier))


def test_message_in_hub_time_is_left_as_it_is() -> None:
    synced = Envelope("r", 5, Event("e", "info"), "epoch", 1)
    assert Correction().correct(synced) is synced


def test_message_of_a_boot_that_was_not_heard_of_waits() -> None:
    correction = Correction()
    assert correction.correct(message(10)) is None
    correction.learn("another", request(100), NOW)
    correction.learn("r", Time(1), NOW)
    assert correction.correct(message(10)) is None
    correction.learn("r", request(100), NOW)
    corrected = correction.correct(message(10))
    assert corrected is not None
    assert (corrected.ts, corrected.unsynced) == (NOW - 90, None)
    correction.forget("r")
    assert correction.correct(message(10)) is None


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=20), st.integers(0, 10**12))
def test_message_is_off_by_no_more_than_the_shortest_way_of_a_request(delays: list[int], steady: int) -> None:
    correction = Correction()
    for n, delay in enumerate(delays):
        correction.learn("r", request(10**12 + n), NOW + 10**12 + n + delay)
    corrected = correction.correct(message(steady))
    assert corrected is not None
    assert 0 <= corrected.ts - (NOW + steady) <= min(delays)


def test_what_the_robot_measured_counts_more_than_what_was_heard() -> None:
    correction = Correction()
    correction.learn("r", request(100, "b", NOW - 7), NOW)
    correction.learn("r", request(200), NOW)  # as if sent before the answer came
    corrected = correction.correct(message(10))
    assert corrected is not None
    assert corrected.ts == NOW + 3


def test_offset_of_one_boot_is_not_applied_to_another() -> None:
    said: list[Uncertain] = []
    correction = Correction(said.append)
    known, guessed = BootTime("known", NOW - 9 * DAY), BootTime("guessed", NOW - 5 * DAY, estimated=True)
    correction.learn("r", request(100, "b", NOW, known, guessed), NOW)
    times = {}
    for boot in ("b", "known", "guessed", "lost", "lost"):
        corrected = correction.correct(message(1000, boot, ts=5, robot_ts=77))
        assert corrected is not None
        times[boot] = corrected.ts
    assert times == {"b": NOW + 1000, "known": NOW - 9 * DAY + 1000, "guessed": NOW - 5 * DAY + 1000, "lost": 77}
    assert said == [Uncertain("r", "guessed", NOW - 5 * DAY), Uncertain("r", "lost", None)]


def test_boots_that_are_remembered_are_bounded_and_the_present_one_is_kept() -> None:
    correction = Correction()
    for n in range(100):
        earlier = [BootTime(f"x{n}-{k}", k) for k in range(16)]
        correction.learn("r", request(100, f"b{n}", NOW, *earlier), NOW)
    assert len(correction._robots["r"].anchors) == MAX_BOOTS
    corrected = correction.correct(message(1, "b99"))
    assert corrected is not None
    assert corrected.ts == NOW + 1


# --- through the hub


async def ask(robot: FakeRobot, **body: Any) -> None:
    await robot.send("time", {"origin": 1, **body})


async def post(running: RunningHub, robot: FakeRobot, value: int, *, steady: int, boot: str = "b") -> Any:
    group = {"dt": [-1_000_000, 0], "channels": [{"name": "x", "values": [value, value + 1]}]}
    mark = {"boot": boot, "steady": steady}
    return await robot.send("telemetry", {"groups": [group]}, ts=3_600_000_000, robot_ts=3_600_000_000, unsynced=mark)


async def test_robot_that_starts_in_1970_is_stored_in_hub_time_once_it_has_asked(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = running.robot("r")
        receipt = await post(running, robot, 1, steady=10_000_000)
        assert receipt.outcome == "waiting"
        assert await quarantine(running) == []
        robot.seq -= 1
        await ask(robot, boot="b", steady=70_000_000)
        receipt = await post(running, robot, 1, steady=10_000_000)
        assert receipt.outcome == "committed"
        await running.transport.committed()
        assert robot.acknowledged == 1
        assert (await counters(running))["waits_for_time"] == 1
        page = await get(running, "readings", robot="r", channel="x")
        assert [item["ts"] - clock.now() for item in page["items"]] == [-61_000_000, -60_000_000]


async def test_message_of_a_boot_that_the_robot_forgot_is_checked_with_its_own_time_and_that_is_said(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await ask(robot, boot="b", steady=70_000_000)
        receipt = await post(running, robot, 1, steady=10, boot="lost")
        assert receipt.outcome == "waiting", "the robot has not had the chance to tell of earlier boots"
        robot.seq -= 1
        await ask(robot, boot="b", steady=71_000_000, ahead=NOW)
        await post(running, robot, 1, steady=10, boot="lost")
        await noted(running)
        assert await stored(running, "r") == []
        assert [row["reason"] for row in await quarantine(running, robot="r")] == ["absurd_time"]
        (event,) = (await get(running, "events", robot="r", name="robot.time_uncertain"))["items"]
        assert event["data"] == {"boot": "lost", "ahead": None}
