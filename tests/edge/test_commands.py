import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest

from botyard_edge.commands import END_WITHIN, MAX_WAITING, CommandDesk
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
from botyard_edge.memory import MemoryOutbox
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

    def last(self, id_: str) -> Report | None:
        return next((report for report in reversed(self.reports) if report.command == id_), None)

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

    async def stop() -> bool:
        rested.append(desk.clock.now())
        return True

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


class Free(Arm):
    """Executes `act`, which moves nothing, as a function of the test's says."""

    act: Callable[[Command, Progress], Awaitable[Any]]

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(commands=(CommandSpec("act", args={}, motion=Motion("none")),))

    async def execute(self, command: Command, progress: Progress) -> Any:
        self.executed.append(command.id)
        return await self.act(command, progress)


def free(desk: Desk, act: Callable[[Command, Progress], Awaitable[Any]]) -> Free:
    driver = Free(desk.clock)
    driver.act = act
    desk.desk.offer(driver, driver.capabilities.commands)
    return driver


def nested(depth: int) -> dict[str, Any]:
    return {"deeper": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    ("result", "trouble"),
    [
        ({"map": Path("/m")}, "PosixPath"),
        ({"map": "x" * 300_000}, "bytes"),
        ({"map": b"\xff" * 300_000}, "bytes"),
        (nested(50), "nests deeper than"),
        (["a", "list"], "result: "),
        ({1: {"not": "a name"}}, None),
        ({"huge": 10**400}, None),
        ({"nan": float("nan")}, None),
    ],
)
async def test_command_whose_result_cannot_be_sent_succeeds_without_it_and_ends_nothing_else(
    result: Any, trouble: str | None
) -> None:
    async def act(command: Command, progress: Progress) -> Any:
        return result

    desk = Desk()
    free(desk, act)
    async with MemoryOutbox("r1", clock=desk.clock, rng=random.Random(1)) as outbox:

        async def kept(report: Report) -> None:
            await outbox.put(report)
            desk.reports.append(report)

        desk.desk._report = kept
        async with desk:
            desk.command(id_="other", x=9)
            desk.command("act")
            await desk.clock.advance(2)
            desk.command("act")
            await settle()
            report = desk.last("c1")
            assert report is not None
            assert report.status == "succeeded"
            assert trouble is None or (report.reason is not None and trouble in report.reason)
            assert (desk.reports.count(report), desk.task.done()) == (2, False), "it is remembered, too"
            other = desk.last("other")
            assert other is not None
            assert other.status == "succeeded"


@pytest.mark.parametrize("x", [10**400, -(10**400), 2**1024])
async def test_number_that_is_too_large_for_a_float_is_refused(x: int) -> None:
    desk = Desk()
    desk.desk.offer(desk.arm, (CommandSpec("roll", args={}, motion=Motion("velocity", linear=("x",))),))
    async with desk:
        desk.command("roll", x=x)
        await settle()
        report = desk.last("c1")
        assert report is not None
        assert report.status == "rejected"
        assert (report.reason or "").startswith("args.x: ")
        assert "is no finite number" in (report.reason or "")
        assert len(report.reason or "") < 400


async def test_command_that_cannot_even_be_judged_is_refused_and_the_next_one_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    judge = desk.desk._safety.core.judge

    def failing(command: Command, *args: Any, **more: Any) -> Any:
        verdict = judge(command, *args, **more)
        if command.id == "c1":
            raise ZeroDivisionError("a limit was divided by nothing")
        return verdict

    monkeypatch.setattr(desk.desk._safety.core, "judge", failing)
    async with desk:
        desk.command(x=9)
        desk.command(x=9, id_="c2")
        await desk.clock.advance(2)
        assert [(r.status, r.reason) for r in desk.reports if r.command == "c1"] == [
            ("rejected", "it cannot be judged: ZeroDivisionError: a limit was divided by nothing")
        ]
        assert desk.arm.executed == ["c2"]
        assert desk.desk._safety.unfinished() == ()


async def test_report_that_cannot_be_kept_ends_nothing_else() -> None:
    desk = Desk()

    async def full(report: Report) -> None:
        if report.command == "c1":
            raise OSError("no room")
        desk.reports.append(report)

    desk.desk._report = full
    async with desk:
        desk.command(x=9)
        desk.command(x=9, id_="c2")
        await desk.clock.advance(2)
        assert desk.arm.executed == ["c1", "c2"]
        assert desk.statuses == ["accepted", "running", "running", "succeeded"]


@pytest.mark.parametrize("swallows", [False, True])
async def test_driver_that_ends_while_it_executes_fails_its_commands_and_no_others(swallows: bool) -> None:
    async def act(command: Command, progress: Progress) -> None:
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:
                if not swallows:
                    raise

    desk, done = Desk(), asyncio.Event()
    driver = free(desk, act)
    async with desk:
        desk.command("act")
        desk.command(id_="other", x=9)
        await desk.clock.advance(0.5)
        desk.desk.withdraw(driver)
        await desk.clock.advance(END_WITHIN + 0.1)
        assert desk.last("c1") == Report("c1", "failed", reason="its driver ended while it executed this")
        assert desk.last("other") == Report("other", "succeeded", result={"x": 9})
        assert desk.desk._safety.unfinished() == ()
        desk.command("act")
        await settle()
        assert desk.last("c1") == Report("c1", "failed", reason="its driver ended while it executed this")
        assert driver.executed == ["c1"]
        done.set()
        await settle()


async def test_driver_that_cancels_its_own_command_is_answered_for() -> None:
    async def act(command: Command, progress: Progress) -> None:
        raise asyncio.CancelledError

    desk = Desk()
    free(desk, act)
    async with desk:
        desk.command("act")
        await settle()
        assert desk.last("c1") == Report("c1", "failed", reason="its driver gave it up without a reason")


class Rested(Desk):
    """A desk of a robot that counts how often it was brought to rest."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = CommandDesk(self._report, clock=self.clock, stop=self._stop)
        self.stopped = 0

    async def _stop(self) -> bool:
        self.stopped += 1
        return True

    @property
    def rests(self) -> int:
        return self.desk._safety.rests


async def test_stop_is_obeyed_at_once_however_many_commands_wait_before_it() -> None:
    desk = Rested()
    for number in range(2 * MAX_WAITING):
        desk.command("dance", id_=f"c{number}")
    desk.command("safety.stop", id_="stop")
    assert desk.rests == 1, "before the desk has even begun"
    async with desk:
        await settle()
        assert [r.status for r in desk.reports if r.command == "stop"] == ["accepted", "succeeded"]
        assert desk.stopped == 1


async def test_stop_does_not_wait_for_the_report_on_another_command() -> None:
    desk, disk = Rested(), asyncio.Event()

    async def slow(report: Report) -> None:
        await disk.wait()
        desk.reports.append(report)

    desk.desk._report = slow
    async with desk:
        desk.command("dance")
        await settle()
        desk.command("safety.safe", id_="safe", reason="people on the floor")
        assert (desk.rests, desk.desk._safety.mode) == (1, "safe")
        disk.set()
        await settle()
        assert [r.status for r in desk.reports if r.command == "safe"] == ["accepted", "succeeded"]


async def test_flood_of_stops_is_obeyed_and_what_is_kept_of_it_is_bounded() -> None:
    desk = Rested()
    for number in range(10 * MAX_WAITING):
        desk.command("safety.stop", id_=f"s{number}")
        desk.command("safety.clear", id_=f"x{number}")
    assert desk.rests == 10 * MAX_WAITING
    async with desk:
        await settle()
        assert len(desk.reports) <= 3 * MAX_WAITING
        assert desk.desk._safety.unfinished() == ()
