"""Robots that leave the fleet and come back: from either side, and what becomes of what they have and send."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from botyard.core.events import RobotRetired, RobotSeen
from botyard.testing import FakeRobot, RunningHub, VirtualClock, running_hub
from tests.hub.support import counters, get, make_flaky, noted, problem, quarantine, samples, stored


async def ids(running: RunningHub, **query: Any) -> list[str]:
    return [robot["id"] for robot in (await get(running, "robots", **query))["items"]]


async def post(running: RunningHub, path: str) -> dict[str, Any]:
    answer = await running.api.post(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.text
    robot: dict[str, Any] = answer.json()
    return robot


async def audit(running: RunningHub, robot: str = "r") -> list[tuple[str, str]]:
    """Name and actor of the events about leaving and returning, the oldest first."""
    await noted(running)
    events = (await get(running, "events", robot=robot))["items"][::-1]
    return [(e["name"], e["actor"]) for e in events if e["name"] in ("robot.retired", "robot.returned")]


async def said_and_retired(running: RunningHub) -> FakeRobot:
    robot = running.robot("r")
    await robot.presence("online")
    await robot.post(samples(robot, 1))
    await robot.state(battery={"level": 0.5})
    await running.transport.committed()
    await post(running, "robots/r/retire")
    return robot


async def test_retired_robot_leaves_the_list_and_its_history_stays(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        await running.robot("other").presence()
        await said_and_retired(running)
        assert await ids(running) == ["other"]
        assert await ids(running, registration="accepted") == ["other"]
        assert await ids(running, registration="retired") == ["r"]
        assert await ids(running, registration="any") == ["other", "r"]
        assert (await get(running, "hub"))["robots"] == 1
        status = (await get(running, "robots/r"))["status"]
        assert (status["registration"], status["retired"], status["logical"]) == ("retired", clock.now(), "offline")
        assert (status["presence"]["status"], status["presence"]["reason"]) == ("offline", "retired")
        assert status["state"]["battery"]["level"] == 0.5
        assert await stored(running, "r") == [1]
        assert (await get(running, "robots/r/state"))["state"]["battery"]["level"] == 0.5
        assert await audit(running) == [("robot.retired", "user:loopback")]


async def test_retired_robot_is_still_retired_after_a_restart_and_says_nothing_with_time(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        await said_and_retired(running)
        retired = (await get(running, "robots/r"))["status"]["retired"]
    async with running_hub(tmp_path, clock=clock, fleet={"offline_after": 5}) as running:
        await clock.advance(3600)
        status = (await get(running, "robots/r"))["status"]
        assert (status["registration"], status["retired"], status["presence"]["since"]) == ("retired", retired, retired)
        assert await ids(running) == []
        assert "robot.offline" not in [e["name"] for e in (await get(running, "events", robot="r"))["items"]]


async def test_message_of_a_retired_robot_is_refused_and_comes_in_once_it_has_returned(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = await said_and_retired(running)
        seen: list[str] = []
        running.hub.bus.subscribe(RobotSeen, lambda event: seen.append(event.robot))
        kept = samples(robot, 2)
        await robot.presence("online", reason="heartbeat")
        receipt = await robot.post(kept)
        assert receipt.problem == "the robot is retired; `botyard robots return r` lets it take part again"
        await running.transport.committed()
        acknowledged = robot.acknowledged
        assert acknowledged == 2, "what is refused is not settled: the robot keeps it"
        assert {row["reason"] for row in await quarantine(running, robot="r")} == {"retired_robot"}
        assert (await counters(running))["refused.retired_robot"] == 2
        assert await ids(running) == []
        assert seen == []

        returned = await post(running, "robots/r/return")
        assert (returned["status"]["registration"], returned["status"]["retired"]) == ("accepted", None)
        assert returned["status"]["presence"]["status"] == "unknown"
        await robot.post(kept)
        await running.transport.committed()
        assert (await stored(running, "r"), robot.acknowledged) == ([1, 2], 3)
        assert (await get(running, "robots/r"))["status"]["presence"]["reason"] == "message"
        assert await audit(running) == [("robot.retired", "user:loopback"), ("robot.returned", "user:loopback")]


async def test_robot_retires_itself_and_comes_back_only_when_it_says_so(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        left: list[tuple[str, str]] = []
        running.hub.bus.subscribe(RobotRetired, lambda event: left.append((event.robot, str(event.actor))))
        await robot.presence("online", session="one")
        await robot.presence("offline", session="another", reason="retired")
        assert left == [("r", "robot:r")]
        await robot.presence("online", session="two", reason="connected")
        assert await ids(running) == []
        await robot.presence("online", session="three", reason="returned")
        assert await ids(running) == ["r"]
        assert (await get(running, "robots/r"))["status"]["presence"]["status"] == "online"
        assert await audit(running) == [("robot.retired", "robot:r"), ("robot.returned", "robot:r")]
    async with running_hub(tmp_path) as running:
        assert await ids(running) == ["r"]


async def test_robot_that_retired_does_not_come_back_by_itself_where_people_accept_robots(tmp_path: Path) -> None:
    async with running_hub(tmp_path, fleet={"auto_accept": False}) as running:
        await running.api.post("/api/v1/robots", json={"id": "r"})
        robot = await said_and_retired(running)
        receipt = await robot.presence("online", session="new", reason="returned")
        assert "do not come back by themselves" in (receipt.problem or "")
        assert await ids(running) == []


async def test_retirement_that_the_broker_remembers_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.presence("online")
        raw = robot.message("presence", {"status": "offline", "session": "s1", "reason": "retired"})
        await running.transport.deliver("botyard/v1/r/presence", msgspec.json.encode(raw), retained=True)
        assert await ids(running) == ["r"]
        await post(running, "robots/r/retire")
        before = await counters(running)
        await running.transport.deliver("botyard/v1/r/presence", msgspec.json.encode(raw), retained=True)
        assert (await counters(running))["retained_ignored"] == before.get("retained_ignored", 0) + 1


async def test_retirement_while_the_store_fails_changes_nothing_for_people_and_waits_for_robots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky = make_flaky(monkeypatch)
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        for robot in ("a", "b"):
            await running.robot(robot).presence("online")
        await running.transport.committed()
        flaky().broken = True
        assert (await running.api.post("/api/v1/robots/a/retire")).status_code >= 500
        await running.robot("b").presence("offline", reason="retired")
        assert await ids(running) == ["a"]
        flaky().broken = False
        await clock.advance(2)
    async with running_hub(tmp_path, clock=clock) as running:
        assert await ids(running) == ["a"]


async def test_retire_twice_is_one_retirement_and_of_nobody_is_not_found(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        await said_and_retired(running)
        await post(running, "robots/r/retire")
        assert await audit(running) == [("robot.retired", "user:loopback")]
        for what in ("retire", "return"):
            assert (await problem(running, "POST", f"/api/v1/robots/nobody/{what}"))["status"] == 404
        taken = await problem(running, "POST", "/api/v1/robots", json={"id": "r"})
        assert taken["detail"] == "id: there is a robot 'r' already (retired; it can be returned)"
