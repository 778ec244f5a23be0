"""The life of a command, through the API and the transport: kept, sent, sent again, answered, or given up."""

from pathlib import Path
from typing import Any

import pytest

from botyard.testing import VirtualClock, running_hub
from tests.hub.command_support import ask, becomes, online, refused, status, told
from tests.hub.support import get, make_flaky, noted


async def test_command_is_kept_sent_and_followed_to_its_end(tmp_path: Path, store: dict[str, Any]) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        robot = await online(running)
        asked = await ask(running, args={"x": 4.0}, expires_in=30)
        assert asked["spec"] == {"name": "goto", "args": {"x": 4.0}, "expires": clock.now() + 30_000_000}
        assert (asked["robot"], asked["created"], asked["actor"]) == ("r", clock.now(), "user:loopback")
        assert asked["status"]["status"] == "queued"
        sent = await becomes(running, asked["id"], "sent")
        assert sent["sent"] == clock.now()
        (command,) = robot.commands
        assert (command.id, command.name, command.args) == (asked["id"], "goto", {"x": 4.0})
        assert (command.expires, command.cause) == (asked["spec"]["expires"], "user:loopback")

        await robot.report(command.id, "accepted")
        await becomes(running, command.id, "accepted")
        await robot.report(command.id, "running", progress=0.5)
        assert (await becomes(running, command.id, "running"))["progress"] == 0.5
        await robot.report(command.id, "succeeded", result={"m": 3})
        done = await becomes(running, command.id, "succeeded")
        assert (done["answered"], done["late"]) == (clock.now(), False)
        detail = await get(running, f"robots/r/commands/{command.id}")
        assert [report["status"] for report in detail["reports"]] == ["accepted", "running", "succeeded"]
        assert detail["reports"][-1]["result"] == {"m": 3}
        assert await told(running) == [
            ("command.queued", "user:loopback"),
            ("command.sent", "hub"),
            ("command.accepted", "robot:r"),
            ("command.running", "robot:r"),
            ("command.succeeded", "robot:r"),
        ]
        await clock.advance(60)
        assert len(robot.commands) == 1


async def test_command_for_a_robot_that_is_away_is_sent_when_it_is_back(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await online(running)
        await robot.presence("offline")
        asked = await ask(running, expires_in=600)
        await clock.advance(60)
        assert (await status(running, asked["id"]))["status"] == "queued"
        assert robot.commands == []
        await robot.presence(session="s2")
        await becomes(running, asked["id"], "sent")
        assert [command.id for command in robot.commands] == [asked["id"]]


async def test_command_is_sent_again_until_the_robot_answers(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await online(running)
        asked = await ask(running)
        await becomes(running, asked["id"], "sent")
        for sendings, pause in ((1, 2.5), (2, 1.0), (2, 5.0), (3, 1.5)):
            await clock.advance(pause)
            await noted(running)
            await clock.advance(0)
            assert len(robot.commands) == sendings
        await robot.report(asked["id"], "accepted")
        await becomes(running, asked["id"], "accepted")
        await clock.advance(30)
        assert len(robot.commands) == 3
        assert {command.id for command in robot.commands} == {asked["id"]}


async def test_command_that_nobody_answers_expires_and_says_why(tmp_path: Path, store: dict[str, Any]) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        await running.api.post("/api/v1/robots", json={"id": "away"})
        await online(running)
        never, unheard = await ask(running, "away", expires_in=5), await ask(running, expires_in=5)
        await becomes(running, unheard["id"], "sent")
        await clock.advance(6)
        found = await becomes(running, never["id"], "expired", "away")
        assert found["reason"] == "the robot was not connected before the deadline"
        found = await becomes(running, unheard["id"], "expired")
        assert found["reason"] == "the robot got it, perhaps, and did not answer before the deadline"
        assert found["answered"] is None
        assert ("command.expired", "hub") in await told(running)


async def test_robot_that_executed_a_command_before_it_heard_of_the_expiry_wins(
    tmp_path: Path, store: dict[str, Any]
) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        robot = await online(running)
        asked = await ask(running, expires_in=5)
        await becomes(running, asked["id"], "sent")
        await clock.advance(6)
        await becomes(running, asked["id"], "expired")
        await robot.report(asked["id"], "succeeded", result={})
        found = await becomes(running, asked["id"], "succeeded")
        assert found["late"] is True
        assert (await told(running))[-1] == ("command.succeeded", "robot:r")


async def test_hub_that_was_restarted_goes_on_with_what_it_had(tmp_path: Path, store: dict[str, Any]) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        robot = await online(running)
        sent = await ask(running, expires_in=600)
        await becomes(running, sent["id"], "sent")
        await robot.presence("offline")
        queued = await ask(running, name="wait", expires_in=600)
        await running.transport.committed()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        robot = await online(running)
        await becomes(running, queued["id"], "sent")
        assert [command.name for command in robot.commands] == ["wait"]  # the other one may be answered yet
        robot.seq = 1
        await robot.report(sent["id"], "accepted")
        await becomes(running, sent["id"], "accepted")
        await clock.advance(2.0)
        assert [command.name for command in robot.commands] == ["wait"]


async def test_report_that_the_last_hub_committed_without_taking_it_over_counts(
    tmp_path: Path, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        robot = await online(running)
        asked, expired = await ask(running), await ask(running, expires_in=2)
        await becomes(running, asked["id"], "sent")
        await clock.advance(2.5)
        await becomes(running, expired["id"], "expired")
        # as if it were killed between the two transactions
        monkeypatch.setattr(running.hub.commands, "_note_report", lambda _row: None)
        await robot.report(asked["id"], "succeeded")
        await robot.report(expired["id"], "failed", reason="stuck")
        await running.transport.committed()
        assert (await status(running, asked["id"]))["status"] == "sent"
    async with running_hub(tmp_path, clock=clock, **store) as running:
        await becomes(running, asked["id"], "succeeded")
        found = await becomes(running, expired["id"], "failed")
        assert (found["reason"], found["late"]) == ("stuck", True)


async def test_command_asked_for_twice_with_the_same_id_is_one(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = await online(running)
        first = await ask(running, id="mine-1", args={"x": 1})
        await becomes(running, "mine-1", "sent")
        again = await ask(running, id="mine-1", args={"x": 1}, expires_in=5)
        assert {**again, "status": None} == {**first, "status": None}
        assert len(robot.commands) == 1
        taken = {"name": "goto", "id": "mine-1", "args": {"x": 2}}
        found = await refused(running, 409, "POST", "/api/v1/robots/r/commands", json=taken)
        assert found["detail"] == "'mine-1' is the id of another command already"


async def test_commands_are_listed_newest_first_in_pages(tmp_path: Path, store: dict[str, Any]) -> None:
    async with running_hub(tmp_path, **store) as running:
        for robot in ("a", "b"):
            await running.api.post("/api/v1/robots", json={"id": robot})
        asked = [(await ask(running, "a", f"n{number}"))["id"] for number in range(5)]
        await ask(running, "b")
        found, cursor = [], None
        while True:
            page = await get(running, "robots/a/commands", limit=2, **({"cursor": cursor} if cursor else {}))
            found += [item["id"] for item in page["items"]]
            if (cursor := page["next"]) is None:
                break
        assert found == asked[::-1]
        assert (await refused(running, 404, "GET", f"/api/v1/robots/b/commands/{asked[0]}"))["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "go to"}, "name"),
        ({"name": "goto", "expires_in": 0.5}, "expires_in"),
        ({"name": "goto", "expires_in": 604_801}, "expires_in"),
        ({"name": "goto", "id": "a b"}, "id"),
        ({"name": "goto", "args": {"x": "y" * 70_000}}, "args"),
        ({"name": "goto", "args": []}, "args"),
        ({"name": "goto", "args": {"x": 2**53}}, "args.x"),
        ({"name": "goto", "args": {"path": [{"x": 1}, {"x": -(10**400)}]}}, "args.path[1].x"),
        ({"name": "goto", "unknown": 1}, "body"),
        ({}, "body"),
    ],
)
async def test_command_that_no_robot_could_read_is_refused_with_its_field(
    body: dict[str, Any], field: str, tmp_path: Path
) -> None:
    async with running_hub(tmp_path) as running:
        await online(running)
        found = await refused(running, 400, "POST", "/api/v1/robots/r/commands", json=body)
        assert found["field"] == field, found
        assert (await get(running, "robots/r/commands"))["items"] == []


async def test_commands_of_a_robot_that_does_not_answer_are_bounded(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        await running.api.post("/api/v1/robots", json={"id": "r"})
        for _ in range(64):
            await ask(running)
        found = await refused(running, 429, "POST", "/api/v1/robots/r/commands", json={"name": "goto"})
        assert found["detail"] == "64 commands wait for robot 'r' already"


async def test_command_is_cancelled_while_it_is_queued_and_not_once_it_was_sent(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        await running.api.post("/api/v1/robots", json={"id": "r"})
        asked = await ask(running)
        answer = await running.api.post(f"/api/v1/robots/r/commands/{asked['id']}/cancel")
        assert answer.json()["status"]["reason"] == "cancelled by user:loopback before it was sent"
        robot = await online(running)
        sent = await ask(running)
        await becomes(running, sent["id"], "sent")
        assert [command.id for command in robot.commands] == [sent["id"]]
        await refused(running, 409, "POST", f"/api/v1/robots/r/commands/{sent['id']}/cancel")
        assert ("command.cancelled", "user:loopback") in await told(running)


async def test_commands_of_a_robot_that_retires_are_cancelled_and_nothing_more_is_asked_of_it(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        await running.api.post("/api/v1/robots", json={"id": "r"})
        asked = await ask(running)
        await running.api.post("/api/v1/robots/r/retire")
        found = await becomes(running, asked["id"], "cancelled")
        assert found["reason"] == "the robot was retired by user:loopback"
        await refused(running, 409, "POST", "/api/v1/robots/r/commands", json={"name": "goto"})


async def test_commands_of_a_removed_robot_go_with_it(tmp_path: Path, store: dict[str, Any]) -> None:
    async with running_hub(tmp_path, **store) as running:
        await running.api.post("/api/v1/robots", json={"id": "r"})
        await ask(running)
        assert (await running.api.delete("/api/v1/robots/r")).status_code == 204
        robot = await online(running)
        await noted(running)
        assert (await get(running, "robots/r/commands"))["items"] == []
        assert robot.commands == []


async def test_report_of_another_robot_changes_nothing(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot, stranger = await online(running), await online(running, "stranger")
        asked = await ask(running)
        await becomes(running, asked["id"], "sent")
        await stranger.report(asked["id"], "succeeded")
        await running.transport.committed()
        await noted(running)
        assert (await status(running, asked["id"]))["status"] == "sent"
        await clock.advance(3.5)
        await noted(running)
        assert len(robot.commands) == 2


async def test_command_is_refused_while_it_cannot_be_kept_and_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_store = make_flaky(monkeypatch)
    async with running_hub(tmp_path) as running:
        robot = await online(running)
        the_store().broken = True
        await refused(running, 503, "POST", "/api/v1/robots/r/commands", json={"name": "goto"})
        the_store().broken = False
        assert robot.commands == []
        asked = await ask(running)
        await becomes(running, asked["id"], "sent")


async def test_hub_knows_no_command_that_clears_an_emergency_stop(tmp_path: Path) -> None:
    from botyard.commands.request import WELL_KNOWN

    assert set(WELL_KNOWN) == {"safety.stop", "safety.safe"}
    async with running_hub(tmp_path) as running:
        paths = (await get(running, "openapi.json"))["paths"]
        assert not [path for path in paths if "clear" in path or "estop" in path]
