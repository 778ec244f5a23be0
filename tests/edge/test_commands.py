import asyncio
from typing import Any, Self

import pytest

from botyard_edge.commands import CommandDesk
from botyard_edge.driver import (
    Capabilities,
    Command,
    CommandFailedError,
    CommandRejectedError,
    CommandSpec,
    Driver,
    Motion,
    Port,
    Progress,
)
from botyard_edge.testing import VirtualClock, settle
from botyard_schemas import Report

ARGS = {"type": "object", "required": ["x"], "properties": {"x": {"type": "number"}}}


class Arm(Driver):
    """Executes `move`, in a way that its argument says."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.executed: list[str] = []

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(commands=(CommandSpec("move", args=ARGS),))

    async def run(self, port: Port) -> None: ...

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        self.executed.append(command.id)
        x = command.args["x"]
        if x == 1:
            raise CommandRejectedError("the arm is folded")
        if x == 2:
            raise CommandFailedError("the arm is stuck")
        if x == 3:
            raise CommandFailedError("somebody pressed stop", cancelled=True)
        if x == 4:
            raise ZeroDivisionError("oops")
        await progress(0.5)
        await self.clock.sleep(1.0)
        return {"x": x}


class Desk:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.reports: list[Report] = []
        self.desk = CommandDesk(self._report, clock=self.clock)
        self.arm = Arm(self.clock)
        self.desk.offer(self.arm, self.arm.capabilities.commands)

    async def _report(self, report: Report) -> None:
        self.reports.append(report)

    def command(self, name: str = "move", *, id_: str = "c1", seconds: float = 60.0, **args: Any) -> None:
        self.desk.take(Command(id_, name, self.clock.now() + round(seconds * 1e6), args))

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.desk.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @property
    def statuses(self) -> list[str]:
        return [report.status for report in self.reports]


async def test_command_that_works_is_reported_from_acceptance_to_result() -> None:
    async with Desk() as desk:
        desk.command(x=9)
        await desk.clock.advance(2)
        assert desk.statuses == ["accepted", "running", "running", "succeeded"]
        assert desk.reports[2].progress == 0.5
        assert desk.reports[3].result == {"x": 9}


@pytest.mark.parametrize(
    ("x", "status", "reason"),
    [
        (1, "rejected", "the arm is folded"),
        (2, "failed", "the arm is stuck"),
        (3, "cancelled", "somebody pressed stop"),
        (4, "failed", "ZeroDivisionError: oops"),
    ],
)
async def test_command_that_ends_badly_says_why_and_the_next_one_works(x: int, status: str, reason: str) -> None:
    async with Desk() as desk:
        desk.command(x=x)
        desk.command(x=9, id_="c2")
        await desk.clock.advance(2)
        last = {report.command: report for report in desk.reports}
        assert (last["c1"].status, last["c1"].reason) == (status, reason)
        assert last["c2"].status == "succeeded"


async def test_command_that_comes_twice_is_executed_once_and_answered_with_the_report_it_had() -> None:
    async with Desk() as desk:
        desk.command(x=9)
        await desk.clock.advance(2)
        desk.command(x=9)
        await desk.clock.advance(2)
        assert desk.arm.executed == ["c1"]
        assert desk.reports[3:] == [Report("c1", "succeeded", result={"x": 9})] * 2


async def test_command_that_comes_again_while_it_is_executed_does_nothing_more() -> None:
    async with Desk() as desk:
        desk.command(x=9)
        await desk.clock.advance(0.5)
        desk.command(x=9)
        await desk.clock.advance(2)
        assert desk.arm.executed == ["c1"]
        assert desk.statuses == ["accepted", "running", "running", "succeeded"]


async def test_motion_that_is_cancelled_says_why_and_what_moves_nothing_goes_on() -> None:
    async with Desk() as desk:
        desk.desk.offer(desk.arm, (CommandSpec("blink", args=ARGS, motion=Motion("none")),))
        desk.command(x=9)
        desk.command("blink", x=9, id_="c2")
        await desk.clock.advance(0.5)
        desk.desk.cancel_motion("the gate is open")
        await desk.clock.advance(2)
        last = {report.command: report for report in desk.reports}
        assert (last["c1"].status, last["c1"].reason) == ("cancelled", "the gate is open")
        assert last["c2"].status == "succeeded"


async def test_command_that_is_cancelled_before_its_first_step_is_answered_all_the_same() -> None:
    async with Desk() as desk:
        desk.command(x=9)
        for _ in range(10):
            if "edge.command.c1" not in {task.get_name() for task in asyncio.all_tasks()}:
                await asyncio.sleep(0)
        desk.desk.cancel_motion("the gate is open")
        await desk.clock.advance(2)
        assert desk.reports[-1] == Report("c1", "cancelled", reason="the gate is open")


async def test_command_after_its_deadline_is_expired_and_not_executed() -> None:
    async with Desk() as desk:
        desk.command(x=9, seconds=-2.5)
        await settle()
        assert [(r.status, r.reason) for r in desk.reports] == [("expired", "it came 2.5 s after its deadline")]
        assert desk.arm.executed == []


async def test_unknown_command_is_rejected_with_the_known_ones() -> None:
    async with Desk() as desk:
        desk.command("dance")
        await settle()
        assert desk.reports == [
            Report("c1", "rejected", reason="this robot has no command 'dance', known are move"),
        ]


async def test_command_with_wrong_arguments_is_rejected_with_the_field() -> None:
    async with Desk() as desk:
        desk.command(x="far")
        await settle()
        assert desk.reports == [Report("c1", "rejected", reason='args.x: "far" is not of type "number"')]


async def test_command_for_a_driver_that_is_down_is_rejected() -> None:
    async with Desk() as desk:
        desk.desk.withdraw(desk.arm)
        desk.command(x=9)
        await settle()
        assert desk.reports[0].reason == "this robot has no command 'move', known are none now"


async def test_two_drivers_cannot_offer_the_same_command() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="command 'move' is offered by two drivers"):
        desk.desk.offer(Arm(desk.clock), desk.arm.capabilities.commands)


async def test_stop_that_the_hub_asks_for_brings_the_whole_robot_to_rest_whatever_its_drivers_offer() -> None:
    desk, rested = Desk(), []

    async def stop() -> None:
        rested.append(desk.clock.now())

    desk.desk = CommandDesk(desk._report, clock=desk.clock, stop=stop)
    async with desk:
        desk.command("safety.stop")
        desk.command("safety.stop")
        desk.command("safety.clear", id_="c2")
        await settle()
        assert len(rested) == 1
        assert [(r.command, r.status) for r in desk.reports if r.command == "c1"] == [
            ("c1", "accepted"),
            ("c1", "succeeded"),
        ]
        assert [r.status for r in desk.reports if r.command == "c2"] == ["rejected"]


def test_names_of_the_robots_own_commands_are_not_for_drivers() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match=r"below 'safety\.' are the robot's own"):
        desk.desk.offer(desk.arm, (CommandSpec("safety.stop"),))
