"""Bringing the robot to rest while some of its drivers hang, on virtual time and through the runtime."""

import asyncio
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from botyard_edge.config import Config, DriverSettings
from botyard_edge.driver import Capabilities, Channel, Command, CommandSpec, DriverSpec, Motion, Progress
from botyard_edge.safety.policy import Limits, Policy, Watchdogs
from botyard_edge.stopping import MAX_STOPS, STOP_WITHIN, Stopper
from botyard_edge.testing import VirtualClock
from botyard_schemas import Report

from .conftest import Script, World

DRIVE = CommandSpec("drive", args={"type": "object"}, motion=Motion("velocity", linear=("v",)))
WATCHED = Policy(Limits(max_speed=1.0), Watchdogs(command_timeout=0.5))


class Moving(Script):
    """Drives at the speed it was told last. How its `stop` ends is up to the test."""

    made: ClassVar[list["Moving"]] = []

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.speed, self.stops, self.halts = 0.0, 0, 0
        Moving.made.append(self)

    async def execute(self, command: Command, progress: Progress) -> None:
        self.speed = command.args["v"]

    async def stop(self) -> None:
        self.stops += 1
        self.speed = 0.0

    def halt(self) -> None:
        self.halts += 1
        self.speed = 0.0


class Hanging(Moving):
    """Its `stop` waits for the answer of a device that is gone."""

    async def stop(self) -> None:
        self.stops += 1
        await asyncio.Event().wait()


class Deaf(Moving):
    """Its `stop` hangs, and does not even end when it is cancelled."""

    async def stop(self) -> None:
        self.stops += 1
        while self.halts < 100:
            try:
                await self.context.clock.sleep(1e6)
            except asyncio.CancelledError:
                continue


class Broken(Moving):
    async def stop(self) -> None:
        self.stops += 1
        raise OSError("the cable is out")


@pytest.fixture(autouse=True)
def made() -> list[Moving]:
    Moving.made = []
    return Moving.made


async def idle(driver: Any, port: Any) -> None:
    await driver.context.clock.sleep(1e9)


def robot(*arms: type[Moving], base: type[Moving] = Moving, run: Any = idle, hang_after: float | None = None) -> Config:
    """A base that drives, and arms beside it."""

    def settings(name: str, kind: type[Moving], run: Any, *commands: CommandSpec) -> DriverSettings:
        can = Capabilities((Channel(f"{name}.x"),), commands)
        return DriverSettings(name, DriverSpec(name, "", lambda context: kind(context, run, can), {}), {})

    first = replace(settings("base", base, run, DRIVE), hang_after=hang_after)
    others = tuple(settings(f"arm{at}", kind, idle) for at, kind in enumerate(arms))
    return Config("r1", (first, *others), safety=WATCHED)


def driver(kind: type[Moving]) -> Moving:
    return next(one for one in Moving.made if type(one) is kind)


async def drive(world: World, name: str, v: float) -> None:
    world.hub.command("r1", Command(name, "drive", world.clock.now() + 60_000_000, {"v": v}))
    await world.clock.advance(0.01)


@pytest.mark.parametrize("arm", [Hanging, Deaf, Broken])
async def test_driver_whose_stop_hangs_keeps_no_other_in_motion_however_often(arm: type[Moving], world: World) -> None:
    async with world.running(robot(arm)):
        base = driver(Moving)
        for turn in range(3 * MAX_STOPS):
            await drive(world, f"d{turn}", 0.8)
            assert base.speed == 0.8
            await world.clock.advance(0.6)
            assert base.speed == 0.0, f"the watchdog stops it the {turn + 1}th time, too"
        await world.clock.advance(STOP_WITHIN + 1)
        hung = driver(arm)
        assert hung.halts > 0, "what does not stop is halted"
        assert hung.stops <= 3 * MAX_STOPS
        hung.halts = 100


async def test_driver_that_hung_once_is_stopped_again_when_it_is_told_to_move_meanwhile(world: World) -> None:
    class Once(Moving):
        async def stop(self) -> None:
            self.stops += 1
            if self.stops == 1:
                await asyncio.Event().wait()
            self.speed = 0.0

    async with world.running(robot(base=Once)):
        base = driver(Once)
        await drive(world, "d1", 0.8)
        await world.clock.advance(0.6)
        assert (base.stops, base.speed) == (1, 0.8)
        await drive(world, "d2", 0.5)
        await world.clock.advance(0.6)
        assert (base.stops, base.speed) == (2, 0.0), "before the first call's time is over"


@pytest.mark.parametrize("name", ["safety.stop", "safety.safe"])
@pytest.mark.parametrize(("arm", "status"), [(Moving, "succeeded"), (Broken, "failed"), (Hanging, "failed")])
async def test_stop_of_the_hub_succeeds_only_when_every_driver_says_that_it_rests(
    name: str, arm: type[Moving], status: str, world: World
) -> None:
    async with world.running(robot(arm)):
        world.hub.command("r1", Command("s1", name, world.clock.now() + 60_000_000, {}))
        await world.clock.advance(STOP_WITHIN + 1)
        reports = [one for one in world.hub.bodies("r1", Report) if one.command == "s1"]
        assert [one.status for one in reports] == ["accepted", status]
        assert (reports[-1].reason or "").startswith("not every driver says" if status == "failed" else "")


async def test_end_of_the_edge_waits_for_no_stop_for_ever(world: World) -> None:
    async with world.running(robot(Hanging, Deaf)):
        await drive(world, "d1", 0.8)
        driver(Deaf).halts = 99
    assert driver(Moving).speed == 0.0
    assert driver(Hanging).halts == 1


async def test_abandoned_driver_is_halted_with_the_others_until_it_has_ended(world: World) -> None:
    ends = asyncio.Event()

    async def run(driver: Any, port: Any) -> None:
        while len(Moving.made) == 1 and not ends.is_set():
            try:
                await ends.wait()
            except asyncio.CancelledError:
                continue
        while len(Moving.made) > 1:
            port.alive()
            await driver.context.clock.sleep(1.0)

    async with world.running(robot(run=run, hang_after=5.0)) as runtime:
        await world.clock.advance(20)
        assert runtime.abandoned == ["driver.base"]
        old, new = Moving.made
        before = old.halts, new.halts
        runtime.safety.estop("a child on the floor")
        assert old.halts > before[0], "at once: it may still move the robot"
        assert new.halts > before[1]
        await world.clock.advance(1)
        ends.set()
        await world.clock.advance(1)
        assert runtime.abandoned == []
        before = old.halts, new.halts
        runtime.safety.estop("another one")
        assert old.halts == before[0], "it has ended"
        assert new.halts > before[1]


async def test_calls_of_stop_that_are_under_way_are_bounded() -> None:
    clock, count = VirtualClock(), 10 * MAX_STOPS

    class Sulking(Moving):
        def __init__(self) -> None:
            self.stops = self.halts = 0
            self.sulks = True

        async def stop(self) -> None:
            self.stops += 1
            while self.sulks:
                try:
                    await clock.sleep(60)
                except asyncio.CancelledError:
                    continue

    stopper, driver = Stopper(clock), Sulking()
    tasks = [asyncio.create_task(stopper.stop("arm", driver)) for _ in range(count)]
    await clock.advance(STOP_WITHIN + 1)
    assert [task.result() for task in tasks] == [False] * count
    assert (driver.stops, driver.halts) == (MAX_STOPS, count)
    driver.sulks = False
    await clock.advance(60)
    assert await stopper.stop("arm", driver)
