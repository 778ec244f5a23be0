"""A hub whose own clock is behind: what its robots say is not refused as being from the future."""

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard.ingest.clockwatch import HOLD, REVIEW, SPREAD, WINDOW, agreeing
from botyard.store.base import Batch, EventRow
from botyard.store.factory import open_store
from botyard.testing import RunningHub, VirtualClock, running_hub
from tests.hub.support import counters, database, get, noted, quarantine, samples

HOUR = 3600 * 1_000_000
SECOND = 1_000_000


class Settable(VirtualClock):
    """A clock that somebody can set; what is steady goes on."""

    def set(self, forward: int) -> None:
        self._start += forward


async def say(running: RunningHub, robot: str, ahead: int = 0) -> str:
    """A robot, whose clock is ahead of the hub's, sends a sample; gives what became of it."""
    sender = running.robot(robot, epoch="e")
    sender.seq = len(SENT.setdefault((str(running.hub.config.base), robot), []))
    message = samples(sender, 1, ts=running.hub.clock.now() + ahead)
    SENT[str(running.hub.config.base), robot].append(message)
    return (await sender.post(message)).outcome


SENT: dict[tuple[str, str], list[dict[str, Any]]] = {}  # by the hub's folder and the robot


async def clock_events(running: RunningHub) -> list[str]:
    await noted(running)
    items = (await get(running, "events", name="hub"))["items"]
    return [item["name"] for item in items[::-1] if item["name"].startswith("hub.clock_")]


async def suspected(running: RunningHub, *robots: str) -> None:
    """Three robots, or these, agree that it is two hours later."""
    for robot in robots or ("a", "b", "c"):
        await say(running, robot, 2 * HOUR)


async def test_messages_wait_while_three_robots_agree_that_it_is_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Settable()
    async with running_hub(tmp_path, clock=clock) as running:
        assert await say(running, "a", 2 * HOUR) == "quarantined"
        assert await say(running, "b", 2 * HOUR + 20 * SECOND) == "quarantined"
        assert await say(running, "c", 2 * HOUR - 20 * SECOND) == "waiting"
        assert await say(running, "a", 2 * HOUR) == "waiting"
        assert await clock_events(running) == ["hub.clock_suspect"]
        assert [item["robot"] for item in await quarantine(running)] == ["a", "b"]
        assert (await counters(running))["waits_for_clock"] == 2
        assert running.robot("c", epoch="e").acknowledged == 0
        (event,) = (await get(running, "events", name="hub.clock_suspect"))["items"]
        assert (event["severity"], event["data"]) == ("error", {"robots": 3, "sane": 0, "behind": 7220.0})
        (said,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
        assert said.startswith("this hub's clock seems to be 7220 s behind: 3 robots agree on a later time, 0 do not;")


async def test_clock_that_was_set_is_trusted_and_what_waited_is_taken_in(tmp_path: Path) -> None:
    clock = Settable()
    async with running_hub(tmp_path, clock=clock) as running:
        await suspected(running)
        assert await say(running, "c", 2 * HOUR) == "waiting"
        clock.set(2 * HOUR)
        await clock.advance(REVIEW)
        assert await clock_events(running) == ["hub.clock_suspect", "hub.clock_trusted"]
        robot = running.robot("c", epoch="e")
        for message in SENT[str(tmp_path), "c"]:
            assert (await robot.post(message)).outcome == "committed"
        await running.transport.committed()
        assert robot.acknowledged == 2


async def test_robots_that_fall_silent_are_believed_for_a_while(tmp_path: Path) -> None:
    clock = Settable()
    async with running_hub(tmp_path, clock=clock) as running:
        await suspected(running)
        await clock.advance(HOLD - 1)
        assert await say(running, "d", 2 * HOUR) == "waiting"
        await clock.advance(REVIEW + 1)
        assert await clock_events(running) == ["hub.clock_suspect", "hub.clock_trusted"]
        assert await say(running, "d", 2 * HOUR) == "quarantined"


@pytest.mark.parametrize(
    "aheads",
    [
        (2 * HOUR, 2 * HOUR),  # too few
        (2 * HOUR, 2 * HOUR + 61 * SECOND, 2 * HOUR + 122 * SECOND),  # no two of them agree
        (2 * HOUR, 2 * HOUR, 2 * HOUR, 0, 0, 0),  # as many say otherwise
        (HOUR, HOUR, HOUR),  # nothing is beyond what is allowed
        (-HOUR, -HOUR, -HOUR),
    ],
)
async def test_clock_is_not_suspected_without_enough_who_agree(tmp_path: Path, aheads: tuple[int, ...]) -> None:
    async with running_hub(tmp_path, clock=Settable()) as running:
        for _ in range(2):
            for robot, ahead in reversed(list(enumerate(aheads))):
                expected = "quarantined" if ahead > HOUR else "committed"
                assert await say(running, f"r{robot}", ahead) == expected
        assert await clock_events(running) == []


async def test_robots_that_agree_have_to_do_so_within_a_minute(tmp_path: Path) -> None:
    clock = Settable()
    async with running_hub(tmp_path, clock=clock) as running:
        await suspected(running, "a", "b")
        await clock.advance(WINDOW + 1)
        assert await say(running, "c", 2 * HOUR) == "quarantined"
        assert await clock_events(running) == []


async def test_robots_that_are_silent_do_not_speak_for_the_clock(tmp_path: Path) -> None:
    clock = Settable()
    async with running_hub(tmp_path, clock=clock) as running:
        for n in range(5):
            assert await say(running, f"sane{n}") == "committed"
        await suspected(running)
        assert await clock_events(running) == []
        await clock.advance(WINDOW + 1)
        await suspected(running)
        assert await clock_events(running) == ["hub.clock_suspect"]


async def test_presence_says_nothing_for_the_clock(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=Settable()) as running:
        for n in range(5):
            await running.robot(f"r{n}").presence()
        await suspected(running, "r0", "r1", "r2")
        assert await clock_events(running) == ["hub.clock_suspect"]


async def test_other_bad_stamps_are_refused_all_the_same(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=Settable()) as running:
        await suspected(running)
        assert await say(running, "a", 100 * 365 * 24 * HOUR) == "quarantined"
        assert await say(running, "a", -50 * 365 * 24 * HOUR) == "quarantined"
        mixed = samples(running.robot("m"), 1, ts=running.hub.clock.now() + 2 * HOUR)
        mixed["body"]["groups"][0]["dt"] = [-50 * 365 * 24 * HOUR]
        assert (await running.robot("m").post(mixed)).outcome == "quarantined"
        assert await say(running, "a", 2 * HOUR) == "waiting"
        assert await say(running, "a") == "committed"


async def test_message_of_which_only_a_part_is_in_the_future_waits_whole(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=Settable()) as running:
        await suspected(running)
        robot = running.robot("p")
        message = samples(robot, 1, 2)
        message["body"]["groups"].append({"dt": [2 * HOUR], "channels": [{"name": "y", "values": [1]}]})
        assert (await robot.post(message)).outcome == "waiting"
        assert robot.acknowledged == 0


async def test_backlog_of_robots_that_agree_does_not_hide_what_they_say_of_now(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=Settable()) as running:
        for robot in ("a", "b", "c"):
            await say(running, robot, 2 * HOUR)
            await say(running, robot, HOUR + 60 * SECOND)
            await say(running, robot, 0)
        assert await clock_events(running) == ["hub.clock_suspect"]


async def test_removed_robot_is_forgotten(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=Settable()) as running:
        await suspected(running, "a", "b")
        time = {"origin": 1, "boot": "b", "steady": 1}
        await running.robot("a").send("time", time)
        ingest = running.hub.ingest
        assert ingest is not None
        assert "a" in ingest._correction._robots
        assert (await running.api.delete("/api/v1/robots/a")).status_code == 204
        assert "a" not in ingest._correction._robots
        assert await say(running, "c", 2 * HOUR) == "quarantined"
        assert await clock_events(running) == []


async def test_events_later_than_the_clock_are_warned_of_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock):
        pass
    event = EventRow(ts=clock.now() + 90 * SECOND, robot=None, actor="hub", name="e", severity="info")
    async with open_store(f"sqlite:///{database(tmp_path)}") as store:
        await store.commit(Batch(events=[event]))
    for at, expected in ((clock, True), (VirtualClock(clock.now() + 31 * SECOND), False)):
        caplog.clear()
        async with running_hub(tmp_path, clock=at):
            pass
        warned = "the newest event in the store is 90 s later than this machine's clock: is the clock right?"
        assert (warned in [record.message for record in caplog.records]) is expected


@given(st.lists(st.integers(-(10**15), 10**15) | st.integers(0, 3 * SPREAD), max_size=30))
def test_largest_group_is_one_that_agrees_and_no_other_is_larger(aheads: list[int]) -> None:
    count, least, most = agreeing(aheads)
    inside = [ahead for ahead in aheads if least <= ahead <= most]
    assert count == (len(inside) if aheads else 0)
    assert most - least <= SPREAD
    assert all(count >= sum(one <= ahead <= one + SPREAD for ahead in aheads) for one in aheads)
