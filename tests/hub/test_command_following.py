"""What the hub does about a command that a robot began and says nothing more of."""

from pathlib import Path
from typing import Any

import pytest

from botyard.commands import sender
from botyard.commands.life import FORGOTTEN
from botyard.testing import FakeRobot, RunningHub, VirtualClock, running_hub
from botyard_schemas.messages import Command
from tests.hub.command_support import ask, becomes, online, status
from tests.hub.support import noted


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days pass in these tests, so the hub looks at its clock less often."""
    monkeypatch.setattr(sender, "TICK", 10.0)


async def begun(running: RunningHub, robot: FakeRobot, **fields: Any) -> str:
    """A command that the robot executes."""
    asked: str = (await ask(running, **fields))["id"]
    await becomes(running, asked, "sent")
    await robot.report(asked, "running")
    await becomes(running, asked, "running")
    return asked


async def alive(clock: VirtualClock, robot: FakeRobot, seconds: int) -> None:
    """The robot is there for so long."""
    steps = seconds // 1000 + 1
    for _ in range(steps):
        await robot.presence(interval=3600.0)
        await clock.advance(seconds / steps)


def questions(robot: FakeRobot, command: str) -> list[Command]:
    return [sent for sent in robot.commands if sent.id == command and sent.expires == 0]


async def test_robot_that_knows_nothing_more_of_what_it_began_ends_it(tmp_path: Path, store: dict[str, Any]) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        robot = await online(running)
        asked = await begun(running, robot, expires_in=30)
        await robot.presence("offline")
        await clock.advance(120)
        await robot.presence(session="s2")
        await clock.advance(10)
        (question,) = questions(robot, asked)
        assert question.name == "goto"
        await robot.report(asked, "expired", reason="it came 1763712000.0 s after its deadline")
        found = await becomes(running, asked, "expired")
        assert found["reason"] == FORGOTTEN
        await clock.advance(1000)
        assert len(questions(robot, asked)) == 1


async def test_robot_that_goes_on_executing_is_asked_now_and_then_and_its_end_counts(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await online(running)
        asked = await begun(running, robot, expires_in=30)
        await alive(clock, robot, 60)
        assert questions(robot, asked) == []
        await alive(clock, robot, 900)
        assert len(questions(robot, asked)) == 3
        await robot.report(asked, "succeeded")
        await becomes(running, asked, "succeeded")
        await alive(clock, robot, 600)
        assert len(questions(robot, asked)) == 3


async def test_robot_is_never_asked_before_the_deadline_since_it_might_begin_anew(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await online(running)
        asked = await begun(running, robot, expires_in=3600)
        await robot.presence("offline")
        await clock.advance(60)
        await robot.presence(session="s2")
        await alive(clock, robot, 3480)
        assert [sent.id for sent in robot.commands] == [asked]
        await alive(clock, robot, 180)
        assert len(questions(robot, asked)) == 1


async def test_robot_that_reports_progress_is_not_asked(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await online(running)
        asked = await begun(running, robot, expires_in=5)
        for percent in range(1, 30):
            await robot.report(asked, "running", progress=percent / 100)
            await running.transport.committed()
            await noted(running)
            await alive(clock, robot, 50)
        assert questions(robot, asked) == []


async def test_command_of_a_robot_that_never_comes_back_ends_and_what_it_did_counts_if_it_does(
    tmp_path: Path, store: dict[str, Any]
) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        robot = await online(running)
        asked = await begun(running, robot, expires_in=30)
        await robot.presence("offline")
        await clock.advance(3600)
        assert (await status(running, asked))["status"] == "running"
        await clock.advance(300)
        found = await becomes(running, asked, "expired")
        assert found["reason"] == "the robot had begun it, is away, and was not heard of again"
        await robot.presence(session="s2")
        await robot.report(asked, "succeeded")
        await becomes(running, asked, "succeeded")


async def test_command_that_a_robot_says_nothing_of_for_a_day_ends(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = await online(running)
        asked = await begun(running, robot, expires_in=30)
        await alive(clock, robot, 86_000)
        assert (await status(running, asked))["status"] == "running"
        await alive(clock, robot, 1000)
        found = await becomes(running, asked, "expired")
        assert found["reason"] == "the robot had begun it, and said nothing more of it for a day"


async def test_hub_that_was_restarted_goes_on_asking(tmp_path: Path, store: dict[str, Any]) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        robot = await online(running)
        asked = await begun(running, robot, expires_in=30)
    async with running_hub(tmp_path, clock=clock, **store) as running:
        again = await online(running)
        await alive(clock, again, 120)
        assert len(questions(again, asked)) == 1


async def test_end_that_a_killed_hub_had_committed_counts_for_a_command_that_was_written_off(
    tmp_path: Path, store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        robot = await online(running)
        asked = await begun(running, robot, expires_in=30)
        await robot.presence("offline")
        await clock.advance(4000)
        await becomes(running, asked, "expired")
        monkeypatch.setattr(running.hub.commands, "_note_report", lambda _row: None)
        await robot.report(asked, "failed", reason="stuck")
        await running.transport.committed()
    async with running_hub(tmp_path, clock=clock, **store) as running:
        assert (await becomes(running, asked, "failed"))["reason"] == "stuck"
