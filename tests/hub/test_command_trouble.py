"""Commands when something goes wrong: the store refuses, a transport hangs, robots are removed or flood the hub."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from botyard.commands import commands, reported, sender, waiting, ways
from botyard.store.base import CommandRow, StoreError
from botyard.testing import FakeRobot, RunningHub, VirtualClock, running_hub, wait_until
from tests.hub.command_support import ask, becomes, online, refused, status, told
from tests.hub.support import get, make_flaky, noted


def held_up(running: RunningHub, monkeypatch: pytest.MonkeyPatch, what: str) -> asyncio.Event:
    """From now on this method of the store waits for the event before it begins."""
    real, go = getattr(running.hub.store, what), asyncio.Event()

    async def waits(*arguments: Any) -> Any:
        await go.wait()
        return await real(*arguments)

    monkeypatch.setattr(running.hub.store, what, waits)
    return go


def refusing(
    running: RunningHub, monkeypatch: pytest.MonkeyPatch, what: str, first: Callable[[], Awaitable[Any]]
) -> None:
    """From now on this method of the store fails, once it has done something else."""

    async def fails(*_arguments: Any) -> Any:
        await first()
        raise StoreError("the disk is full, on purpose")

    monkeypatch.setattr(running.hub.store, what, fails)


async def nothing() -> None:
    """Done."""


async def away(running: RunningHub, robot: str = "r") -> FakeRobot:
    there = await online(running, robot)
    await there.presence("offline")
    await running.transport.committed()
    return there


async def comes_back(running: RunningHub, robot: FakeRobot, clock: VirtualClock, session: str = "s2") -> None:
    await robot.presence(session=session)
    await running.transport.committed()
    await clock.advance(6)
    await noted(running)


async def test_stop_is_sent_however_many_other_commands_wait(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        robot = await online(running)
        for _ in range(waiting.MAX_OF_ROBOT):
            await ask(running)
        await refused(running, 429, "POST", "/api/v1/robots/r/commands", json={"name": "goto"})
        stop = await ask(running, name="safety.stop")
        await becomes(running, stop["id"], "sent")
        assert robot.commands[-1].name == "safety.stop"


async def test_stops_that_wait_are_bounded_apart_from_other_commands(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        await away(running)
        for _ in range(waiting.MAX_STOPS):
            await ask(running, name="safety.stop")
        found = await refused(running, 429, "POST", "/api/v1/robots/r/commands", json={"name": "safety.safe"})
        assert found["detail"] == "64 commands to stop robot 'r' wait already"
        await ask(running)


async def test_bound_holds_for_requests_that_come_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_hub(tmp_path) as running:
        await away(running)
        go = held_up(running, monkeypatch, "add_command")
        asking = [
            asyncio.create_task(running.api.post("/api/v1/robots/r/commands", json={"name": "goto"}))
            for _ in range(waiting.MAX_OF_ROBOT + 10)
        ]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        go.set()
        codes = [answer.status_code for answer in await asyncio.gather(*asking)]
        assert (codes.count(202), codes.count(429)) == (waiting.MAX_OF_ROBOT, 10)


async def test_cancel_that_the_store_refuses_leaves_the_command_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_store = make_flaky(monkeypatch)
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await away(running)
        asked, short = await ask(running, expires_in=600), await ask(running, expires_in=5)
        the_store().broken = True
        for one in (asked, short):
            await refused(running, 503, "POST", f"/api/v1/robots/r/commands/{one['id']}/cancel")
        the_store().broken = False
        await clock.advance(6)
        await becomes(running, short["id"], "expired")
        await comes_back(running, robot, clock)
        await becomes(running, asked["id"], "sent")


async def test_commands_of_a_robot_whose_removal_failed_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await away(running)
        asked, short = await ask(running, expires_in=600), await ask(running, expires_in=60)
        refusing(running, monkeypatch, "remove_robot", nothing)
        await refused(running, 503, "DELETE", "/api/v1/robots/r")
        await clock.advance(61)
        await becomes(running, short["id"], "expired")
        await comes_back(running, robot, clock)
        await becomes(running, asked["id"], "sent")
        assert {command.id for command in robot.commands} == {asked["id"]}


async def test_command_whose_row_went_in_a_removal_that_failed_half_way_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await away(running)
        await ask(running, expires_in=600)
        purge: Any = running.hub.store
        refusing(
            running, monkeypatch, "remove_robot", lambda: purge._writer.change("purge", msgspec.msgpack.encode("r"))
        )
        await refused(running, 503, "DELETE", "/api/v1/robots/r")
        assert (await get(running, "robots/r/commands"))["items"] == []
        await comes_back(running, robot, clock)
        assert robot.commands == []


async def test_nothing_is_sent_and_nothing_asked_while_a_robot_is_being_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await online(running)
        running.transport.disconnect("x")
        await ask(running, expires_in=600)
        go = held_up(running, monkeypatch, "remove_robot")
        removal = asyncio.create_task(running.api.delete("/api/v1/robots/r"))
        await wait_until(lambda: running.hub.fleet.leaving("r"))
        found = await refused(running, 409, "POST", "/api/v1/robots/r/commands", json={"name": "goto"})
        assert found["detail"] == "robot 'r' is being removed, so nothing is asked of it"
        running.transport.connect()
        await clock.advance(10)
        assert robot.commands == []
        go.set()
        assert (await removal).status_code == 204


async def test_command_that_was_asked_for_just_before_a_removal_never_reaches_the_next_robot_of_that_name(
    tmp_path: Path, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        await away(running)
        go = held_up(running, monkeypatch, "add_command")
        asking = asyncio.create_task(
            running.api.post("/api/v1/robots/r/commands", json={"name": "goto", "id": "c", "expires_in": 3600})
        )
        await wait_until(lambda: running.hub.commands and running.hub.commands._outstanding._reserved)
        assert (await running.api.delete("/api/v1/robots/r")).status_code == 204
        go.set()
        assert (await asking).status_code == 409
        robot = running.robot("r", epoch="epoch-2")
        await comes_back(running, robot, clock)
        assert await running.hub.store.command("c") is None
        assert robot.commands == []


async def test_command_that_was_asked_for_just_before_its_robot_retires_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(tmp_path) as running:
        await away(running)
        go = held_up(running, monkeypatch, "add_command")
        asking = asyncio.create_task(ask(running, id="c", expires_in=3600))
        await wait_until(lambda: running.hub.commands and running.hub.commands._outstanding._reserved)
        assert (await running.api.post("/api/v1/robots/r/retire")).status_code == 200
        go.set()
        await asking
        assert (await becomes(running, "c", "cancelled"))["reason"] == "the robot has retired"


async def test_commands_that_a_killed_hub_left_to_a_retired_robot_are_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(tmp_path) as running:
        await away(running)
        asked = await ask(running, expires_in=3600)
        monkeypatch.setattr(sender.Sender, "give_up", lambda *_: None)
        await running.api.post("/api/v1/robots/r/retire")
        assert (await status(running, asked["id"]))["status"] == "queued"
    monkeypatch.undo()
    async with running_hub(tmp_path) as running:
        await becomes(running, asked["id"], "cancelled")


async def test_command_that_hangs_in_its_transport_expires_and_cannot_be_cancelled_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ways, "SEND_WITHIN", 0.01)
    clock, tried = VirtualClock(), 0

    async def hangs(_envelope: Any) -> bool:
        nonlocal tried
        tried += 1
        await asyncio.Event().wait()
        return True

    async with running_hub(tmp_path, clock=clock) as running:
        await online(running)
        monkeypatch.setattr(running.transport, "send", hangs)
        asked = await ask(running, expires_in=30)
        await wait_until(lambda: tried == 1)
        for _ in range(100):
            await clock.advance(0.5)
            await asyncio.sleep(0.01)
        found = await refused(running, 409, "POST", f"/api/v1/robots/r/commands/{asked['id']}/cancel")
        assert "is expired" in found["detail"]
        assert (await status(running, asked["id"]))[
            "reason"
        ] == "nothing could be sent to the robot before the deadline"
        again = await ask(running, expires_in=3600)
        await wait_until(lambda: running.hub.commands and _doubtful(running, again["id"]))
        found = await refused(running, 409, "POST", f"/api/v1/robots/r/commands/{again['id']}/cancel")
        assert found["detail"] == f"command {again['id']!r} is just being sent, or was sent, perhaps"
    said = [line for line in caplog.messages if "cannot send a command to robot r" in line]
    assert len(said) == 1


def _doubtful(running: RunningHub, command: str) -> bool:
    assert running.hub.commands
    one = running.hub.commands._outstanding.get(command)
    return one is not None and one.doubtful


async def test_reports_of_a_robot_that_floods_the_hub_keep_no_other_robot_waiting(
    tmp_path: Path, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reported, "MAX_OF_ROBOT", 4)
    order: list[tuple[str, str]] = []
    real = commands.Commands._take_over

    async def take_over(self: Any, robot: str, command: str, reports: Any) -> None:
        order.append((robot, command))
        await real(self, robot, command, reports)

    monkeypatch.setattr(commands.Commands, "_take_over", take_over)
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        await online(running)
        flood = await online(running, "flood")
        asked, late = await ask(running), [await ask(running, "flood", expires_in=2) for _ in range(8)]
        await becomes(running, asked["id"], "sent")
        await clock.advance(3)
        for one in late:
            await becomes(running, one["id"], "expired", "flood")
        for n in range(50):
            await flood.report(f"unknown-{n}", "running")
        for one in late:
            await flood.report(one["id"], "succeeded")
        await running.robot("r").report(asked["id"], "succeeded")
        await running.transport.committed()
        await becomes(running, asked["id"], "succeeded")
        for one in late:  # they were too many to remember, and are found in the store
            assert (await becomes(running, one["id"], "succeeded", "flood"))["late"] is True
        assert order.index(("r", asked["id"])) <= 2
        assert len([1 for robot, command in order if command.startswith("unknown-")]) == 4


async def test_many_commands_that_wait_for_absent_robots_cost_nothing_until_they_are_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real = sender.Sender._decide

    async def decide(self: Any, one: Any) -> float | None:
        steps.append(one.row.id)
        return await real(self, one)

    monkeypatch.setattr(sender.Sender, "_decide", decide)
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await away(running)
        assert running.hub.commands
        now = clock.now()
        asked = [(await ask(running, expires_in=600))["id"] for _ in range(3)]
        for n in range(2000):
            running.hub.commands._sender.add(
                CommandRow(id=f"c{n}", robot=f"r{n % 400}", name="goto", args={}, created=now, expires=now + 10**9,
                           actor="hub", status="queued", changed=now)
            )  # fmt: skip
        longest, before = 0, len(steps)
        while len(steps) < 2003:
            await asyncio.sleep(0)
            longest, before = max(longest, len(steps) - before), len(steps)
        assert longest <= 2 * sender.STEPS_AT_ONCE, "others get their turn"
        await clock.advance(300)
        assert len(steps) == 2003, "each was looked at once"
        await robot.presence(session="s2")
        for command in asked:
            await becomes(running, command, "sent")
        assert len(steps) == 2006


async def test_robot_that_flaps_gets_its_commands_although_nobody_is_told_that_it_is_back(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await online(running)
        for n in range(12):  # from now on its changes are only counted
            await robot.presence("offline", session=f"s{n}")
            await robot.presence(session=f"s{n + 1}")
        await robot.presence("offline", session="s12")
        asked = await ask(running, expires_in=600)
        await clock.advance(1)
        assert robot.commands == []
        await robot.presence(session="s13")
        await clock.advance(6)
        await becomes(running, asked["id"], "sent")
        assert robot.commands


async def test_event_about_a_command_is_in_the_store_as_soon_as_the_command_is(
    tmp_path: Path, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(tmp_path, **store) as running:
        await away(running)
        go = held_up(running, monkeypatch, "commit")  # as if the hub were killed before its next commit
        asked = await ask(running)
        await running.api.post(f"/api/v1/robots/r/commands/{asked['id']}/cancel")
        events = (await running.hub.store.events(name="command")).items
        assert [event.name for event in events] == ["command.cancelled", "command.queued"]
        assert {event.cause for event in events} == {asked["id"]}
        go.set()


@pytest.mark.parametrize("seconds", ["1e305", "1e300", "-1e305", "0"])
async def test_deadline_that_no_number_holds_is_refused_with_its_field(seconds: str, tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        await online(running)
        body, kind = f'{{"name": "goto", "expires_in": {seconds}}}', {"content-type": "application/json"}
        found = await refused(running, 400, "POST", "/api/v1/robots/r/commands", content=body, headers=kind)
        assert found["field"] == "expires_in"


async def test_id_that_no_command_can_have_is_not_found(tmp_path: Path, store: dict[str, Any]) -> None:
    async with running_hub(tmp_path, **store) as running:
        await online(running)
        for wrong in ("x" * 65, "x" * 1000, "%00", "a%00b"):
            await refused(running, 404, "GET", f"/api/v1/robots/r/commands/{wrong}")
            await refused(running, 404, "POST", f"/api/v1/robots/r/commands/{wrong}/cancel")


async def test_command_that_was_refused_by_the_store_is_told_of_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_store = make_flaky(monkeypatch)
    async with running_hub(tmp_path) as running:
        await online(running)
        the_store().broken = True
        await refused(running, 503, "POST", "/api/v1/robots/r/commands", json={"name": "goto"})
        the_store().broken = False
        assert await told(running) == []
