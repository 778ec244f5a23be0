"""The calibration of a running robot, through its drivers, the hub's commands and its state."""

import asyncio
import contextlib
import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from botyard_edge.calibration import CalibrationError, Store, read_draft
from botyard_edge.calibration.door import answer_calibration
from botyard_edge.config import CalibrationSettings, Config, OutboxSettings
from botyard_edge.driver import (
    Capabilities,
    Channel,
    Command,
    CommandSpec,
    Motion,
    Port,
    Progress,
    ReadingError,
    Wheels,
)
from botyard_edge.memory import MemoryOutbox
from botyard_edge.outbox import LIMITS
from botyard_edge.runtime import Runtime
from botyard_edge.safety import Policy
from botyard_edge.safety.policy import Limits
from botyard_schemas import Event, Report, State, Telemetry
from tests.edge.conftest import Script, World

Scripted = Callable[..., Config]

FORCE = {"name": "force", "correction": {"kind": "linear", "channel": "f", "offset": -1.0, "scale": 2.0}}
FLOAT = {"type": "number"}
DRIVE = CommandSpec(
    "drive",
    args={"type": "object", "properties": {"v": {"type": "number", "minimum": -1.5, "maximum": 1.5}, "w": FLOAT}},
    motion=Motion("velocity", linear=("v",), angular=("w",)),
)
CAPABILITIES = Capabilities(
    (*(Channel(name) for name in "fxyzr"), Channel("n", "integer"), Channel("t", unit="Cel")),
    (DRIVE,),
    wheels=Wheels(0.1, 0.1, 0.4),
)


class Base(Script):
    """Keeps what it was told."""

    told: list[dict[str, Any]]
    wheels: list[Wheels]

    async def execute(self, command: Command, progress: Progress) -> None:
        del progress
        self.told.append(command.args)

    def measured(self, wheels: Wheels) -> None:
        self.wheels.append(wheels)


class Robot:
    """A robot whose driver publishes `values` once a second."""

    def __init__(self, world: World, scripted: Scripted, **settings: Any) -> None:
        self.world = world
        self.driver: type[Base] = type("Mine", (Base,), {"told": [], "wheels": []})
        self.values: dict[str, Any] = {"f": 3.0}
        self.count = 0
        self.config = scripted(self._run, capabilities=CAPABILITIES, driver=self.driver, **settings)

    async def _run(self, driver: Script, port: Port) -> None:
        while True:
            await port.publish(self.values)
            await driver.context.clock.sleep(1.0)

    async def ask(self, name: str, /, **args: Any) -> Report:
        """Ask as the hub does, and wait for the answer."""
        self.count += 1
        command = Command(f"c{self.count}", name, self.world.clock.now() + 60_000_000, args, "user:anna")
        self.world.hub.command("r1", command)
        await self.world.clock.advance(2.0)
        return [one for one in self.world.hub.bodies("r1", Report) if one.command == command.id][-1]

    def sent(self, channel: str) -> list[Any]:
        """All samples of a channel that reached the hub."""
        return [
            value
            for batch in self.world.hub.bodies("r1", Telemetry)
            for group in batch.groups
            for column in group.channels
            if column.name == channel
            for value in column.values
        ]

    def events(self, name: str) -> list[Event]:
        return [event for event in self.world.hub.bodies("r1", Event) if event.name == name]

    @property
    def state(self) -> State:
        return self.world.hub.bodies("r1", State)[-1]

    def status(self, name: str) -> str:
        """Where a profile stands, as the robot's state tells it."""
        assert self.state.calibration is not None
        return self.state.calibration.profiles[name].status


def memory(world: World) -> MemoryOutbox:
    """An outbox for a robot that keeps the rest on disk: threads know no virtual time."""
    return MemoryOutbox("r1", clock=world.clock, rng=random.Random(world.clock.now()), limits=LIMITS)


@pytest.fixture
def robot(world: World, scripted: Scripted) -> Robot:
    return Robot(world, scripted)


async def test_profile_of_the_hub_is_applied_live_and_told_in_state_and_event(world: World, robot: Robot) -> None:
    async with world.running(robot.config):
        assert robot.world.hub.bodies("r1", State)[-1].calibration is None
        report = await robot.ask("calibration.set", profile={**FORCE, "raw": True})
        assert report.status == "succeeded"
        assert report.result is not None
        await world.clock.advance(5.0)
        calibration = robot.state.calibration
        assert calibration is not None
        assert calibration.hash == report.result["hash"]
        assert (calibration.profiles["force"].version, calibration.profiles["force"].status) == (1, "applied")
        [event] = robot.events("calibration.changed")
        assert event.cause == "c1"
        assert event.data["profile"]["who"] == "hub (user:anna)"
        assert event.data["profile"]["correction"]["scale"] == 2.0
    assert robot.sent("f")[0] == 3.0
    assert robot.sent("f")[-1] == 5.0
    assert set(robot.sent("f.raw")) == {3.0}


async def test_rollback_restores_content_and_hash_as_a_new_version(world: World, robot: Robot) -> None:
    async with world.running(robot.config) as runtime:
        first = await robot.ask("calibration.set", profile=FORCE)
        correction = {**FORCE["correction"], "scale": 3.0}  # type: ignore[dict-item]
        second = await robot.ask("calibration.set", profile={**FORCE, "correction": correction})
        third = await robot.ask("calibration.rollback", name="force", version=1)
        hashes = [report.result["hash"] for report in (first, second, third) if report.result]
        assert hashes[0] == hashes[2] != hashes[1]
        assert [one.version for one in runtime.calibration.history("force")] == [1, 2, 3]
        assert runtime.calibration.history("force")[-1].restores == 1
        assert (await robot.ask("calibration.remove", name="force")).status == "succeeded"
        assert runtime.calibration.corrector is None
        assert (await robot.ask("calibration.rollback", name="force", version=9)).reason == (
            "version 9 of force is not kept, known are 1 to 4"
        )
    assert robot.sent("f")[-1] == 3.0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scale": -1.0}, "args.profile.correction.scale: -1 would invert the sign of f, expected above 0"),
        ({"scale": 0}, "args.profile.correction.scale: 0 would make every value of f the same"),
        ({"channel": "q"}, "correction: no driver publishes the channel q"),
        ({"channel": "n"}, "correction: the channel n is of type integer, only channels of type number are corrected"),
        ({"scala": 1.0}, "args.profile.correction: Additional properties are not allowed ('scala' was unexpected)"),
    ],
)
async def test_profile_that_cannot_be_is_refused_and_the_last_good_one_stays(
    world: World, robot: Robot, changes: dict[str, Any], sentence: str
) -> None:
    async with world.running(robot.config) as runtime:
        await robot.ask("calibration.set", profile=FORCE)
        before = runtime.calibration.hash
        correction = {**FORCE["correction"], **changes}  # type: ignore[dict-item]
        report = await robot.ask("calibration.set", profile={**FORCE, "correction": correction})
        assert report.status == "rejected"
        assert str(report.reason).startswith(sentence)
        assert runtime.calibration.hash == before
    assert robot.sent("f")[-1] == 5.0


async def test_calibration_survives_a_restart_and_is_told_again(
    world: World, scripted: Scripted, tmp_path: Path
) -> None:
    settings = {"folder": tmp_path, "outbox": OutboxSettings("box.db")}
    first = Robot(world, scripted, **settings)
    async with world.running(first.config, memory(world)) as runtime:
        await first.ask("calibration.set", profile=FORCE)
        known = runtime.calibration.hash
    second = Robot(world, scripted, **settings)
    async with world.running(second.config, memory(world)) as runtime:
        assert runtime.calibration.hash == known
        await world.clock.advance(2.0)
        assert second.sent("f")[-1] == 5.0
        [event] = second.events("calibration.loaded")
        assert [one["name"] for one in event.data["profiles"]] == ["force"]


async def test_profile_whose_channel_has_gone_is_told_in_the_robots_health(
    world: World, scripted: Scripted, tmp_path: Path
) -> None:
    settings = {"folder": tmp_path, "outbox": OutboxSettings("box.db")}
    robot = Robot(world, scripted, **settings)
    async with world.running(robot.config, memory(world)):
        await robot.ask("calibration.set", profile=FORCE)
    robot.values = {"other": 1.0}
    robot.config = scripted(robot._run, capabilities=Capabilities((Channel("other"),)), **settings)
    async with world.running(robot.config, memory(world)):
        await world.clock.advance(2.0)
        assert robot.status("force") == "unused"
        assert robot.state.health_reasons == [
            "calibration of force corrects nothing: no driver publishes the channel f"
        ]


async def test_motor_is_compensated_and_exceeds_no_limit(world: World, scripted: Scripted) -> None:
    robot = Robot(world, scripted, safety=Policy(limits=Limits(max_speed=1.0)))
    motor = {"kind": "motor", "command": "drive", "argument": "v", "gain": 1.5, "gain_reverse": 0.5, "dead_band": 0.1}
    async with world.running(robot.config):
        report = await robot.ask("calibration.set", profile={"name": "left", "correction": motor})
        assert report.status == "succeeded"
        for wanted in (0.4, 0.9, 1.0, -1.0, 0.0):
            await robot.ask("drive", v=wanted, w=0.3)
        assert [told["v"] for told in robot.driver.told] == [pytest.approx(0.7), 1.0, 1.0, -0.5, 0.0]
        assert [told["w"] for told in robot.driver.told] == [0.3] * 5


async def test_motor_gives_no_more_than_its_command_allows(world: World, robot: Robot) -> None:
    motor = {"kind": "motor", "command": "drive", "argument": "v", "gain": 2.0}
    async with world.running(robot.config):
        await robot.ask("calibration.set", profile={"name": "left", "correction": motor})
        await robot.ask("drive", v=1.0, w=0.0)
        assert robot.driver.told == [{"v": 1.5, "w": 0.0}]


async def test_motors_and_wheels_are_not_changed_while_the_robot_moves(world: World, robot: Robot) -> None:
    wheels = {"kind": "wheels", "driver": "base", "radius_left": 0.101, "radius_right": 0.099, "track": 0.41}
    async with world.running(robot.config):
        await robot.ask("drive", v=1.0, w=0.0)
        report = await robot.ask("calibration.set", profile={"name": "wheels", "correction": wheels})
        assert report.reason == "correction: the robot moves (drive); motors and wheels are set at rest"
        await robot.ask("drive", v=0.0, w=0.0)
        report = await robot.ask("calibration.set", profile={"name": "wheels", "correction": wheels})
        assert report.status == "succeeded"
        assert robot.driver.wheels == [Wheels(0.101, 0.099, 0.41)]
        await robot.ask("calibration.remove", name="wheels")
        assert robot.driver.wheels[-1] == Wheels(0.1, 0.1, 0.4)


WHEELS = {"kind": "wheels", "driver": "base", "radius_left": 0.1, "radius_right": 0.1, "track": 0.4}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"radius_left": 0.07, "radius_right": 0.08}, "radius_left: 0.07 m differs by more than 25% from the 0.1 m"),
        ({"radius_left": 0.11, "radius_right": 0.13}, "radius_right: 0.13 m differs by more than 25% from the 0.1 m"),
        ({"track": 0.2}, "track: 0.2 m differs by more than 25% from the 0.4 m"),
        ({"radius_left": 0.075, "radius_right": 0.08, "track": 0.5}, None),
    ],
)
async def test_wheels_far_from_those_of_the_driver_are_refused(
    world: World, robot: Robot, changed: dict[str, float], problem: str | None
) -> None:
    async with world.running(robot.config):
        report = await robot.ask("calibration.set", profile={"name": "wheels", "correction": {**WHEELS, **changed}})
        if problem is None:
            assert report.status == "succeeded"
        else:
            assert str(report.reason).startswith(f"correction: {problem} that the driver base is made for")
            assert robot.driver.wheels == []


async def test_wheels_that_are_set_at_the_robot_make_it_slower_and_never_faster_than_its_limit(
    world: World, scripted: Scripted
) -> None:
    robot = Robot(world, scripted, safety=Policy(Limits(max_speed=1.0)))
    async with world.running(robot.config) as runtime:

        async def told(v: float) -> float:
            assert (await robot.ask("drive", v=v, w=0.0)).status == "succeeded"
            return float(robot.driver.told[-1]["v"])

        assert await told(1.0) == 1.0
        await robot.ask("drive", v=0.0, w=0.0)
        smaller = {**WHEELS, "radius_left": 0.075, "radius_right": 0.075}  # so they turn faster for the same speed
        await runtime.calibration.set(read_draft({"name": "wheels", "correction": smaller}), who="anna")
        assert robot.driver.wheels[-1].radius_left == 0.075
        assert await told(1.0) == pytest.approx(0.75)
        assert await told(1.0) <= 0.75, "1 m/s, should the wheels be those of the design after all"
        assert await told(0.6) == 0.6
        await robot.ask("drive", v=0.0, w=0.0)
        larger = {**WHEELS, "radius_left": 0.125, "radius_right": 0.125}
        await runtime.calibration.set(read_draft({"name": "wheels", "correction": larger}), who="anna")
        assert await told(1.0) == 1.0


@pytest.mark.parametrize("limits", [Limits(max_speed=1.0), Limits(max_angular_speed=1.0), Limits(max_acceleration=1.0)])
async def test_hub_sets_no_wheels_and_no_unlimited_motors_of_a_robot_with_limits(
    world: World, scripted: Scripted, limits: Limits
) -> None:
    robot = Robot(world, scripted, safety=Policy(limits=limits))
    properties = {"v": FLOAT, "w": FLOAT, "left": FLOAT}
    drive = CommandSpec(
        "drive",
        args={"type": "object", "properties": properties},
        motion=Motion("velocity", linear=("v",), angular=("w",), other=("left",)),
    )
    capabilities = Capabilities((), (drive,), wheels=Wheels(0.1, 0.1, 0.4))
    robot.config = scripted(robot._run, capabilities=capabilities, driver=robot.driver, safety=robot.config.safety)
    robot.values = {}
    left = {"kind": "motor", "command": "drive", "argument": "left", "gain": 1.2}
    async with world.running(robot.config) as runtime:
        report = await robot.ask("calibration.set", profile={"name": "wheels", "correction": WHEELS})
        assert str(report.reason).startswith("correction: the safety node limits speeds that the driver reckons")
        report = await robot.ask("calibration.set", profile={"name": "left", "correction": left})
        assert str(report.reason).startswith("correction: the safety node cannot keep its limits on drive.left")
        report = await robot.ask("calibration.set", profile={"name": "v", "correction": {**left, "argument": "v"}})
        assert report.status == "succeeded"
        for name, correction in (("wheels", WHEELS), ("left", left)):
            await runtime.calibration.set(read_draft({"name": name, "correction": correction}), who="anna")


@pytest.mark.parametrize(
    ("key", "argument", "band", "most"),
    [
        ("dead_band", "v", 0.76, "1.5"),
        ("dead_band_reverse", "v", 0.76, "1.5"),
        ("dead_band", "w", 1.1, "2"),
        ("dead_band_reverse", "w", 1e9, "2"),
    ],
)
async def test_dead_band_of_more_than_half_of_what_a_motor_may_be_told_is_refused(
    world: World, scripted: Scripted, key: str, argument: str, band: float, most: str
) -> None:
    robot = Robot(world, scripted, safety=Policy(limits=Limits(max_angular_speed=2.0)))
    motor = {"kind": "motor", "command": "drive", "argument": argument, key: band}
    async with world.running(robot.config):
        report = await robot.ask("calibration.set", profile={"name": "m", "correction": motor})
        assert f"{key}: {band:g} is more than half of {most}, which is the most that drive." in str(report.reason)


@pytest.mark.parametrize(
    ("schema", "limits", "key", "band", "problem"),
    [
        ({}, Limits(), "dead_band", 0.06, "0.06 cannot be judged, since nothing says how much drive.v may be at most"),
        ({}, Limits(), "dead_band_reverse", 0.06, "0.06 cannot be judged, since nothing says how much drive.v may be"),
        ({"maximum": 0}, Limits(), "dead_band", 0.06, "0.06 cannot be judged"),
        ({"maximum": 2}, Limits(), "dead_band_reverse", 1.1, "1.1 is more than half of 2"),
        ({"exclusiveMaximum": 2}, Limits(), "dead_band", 1.1, "1.1 is more than half of 2"),
        ({}, Limits(), "dead_band", 0.0, None),
        ({}, Limits(max_speed=1.0), "dead_band", 0.06, None),
        ({"minimum": -1}, Limits(), "dead_band", 0.06, None),
    ],
)
async def test_dead_band_is_refused_where_nothing_says_how_much_its_motor_may_be_told(
    world: World, scripted: Scripted, schema: Any, limits: Limits, key: str, band: float, problem: str | None
) -> None:
    robot = Robot(world, scripted)
    drive = CommandSpec("drive", args={"properties": {"v": schema}}, motion=Motion("velocity", linear=("v",)))
    can = Capabilities((), (drive,))
    robot.config = scripted(robot._run, capabilities=can, driver=robot.driver, safety=Policy(limits))
    robot.values = {}
    motor = {"kind": "motor", "command": "drive", "argument": "v", key: band}
    async with world.running(robot.config):
        report = await robot.ask("calibration.set", profile={"name": "m", "correction": motor})
        assert report.status == ("succeeded" if problem is None else "rejected")
        assert problem is None or f"{key}: {problem}" in str(report.reason)


@pytest.mark.parametrize("profile", [{"gain": 5.0}, {"dead_band": 0.7}])
async def test_motor_accelerates_no_faster_than_the_limit_allows(
    world: World, scripted: Scripted, profile: dict[str, float]
) -> None:
    limits = Limits(max_speed=2.0, max_acceleration=0.5, on_violation={"max_acceleration": "clamp"})
    robot = Robot(world, scripted, safety=Policy(limits=limits))
    motor = {"kind": "motor", "command": "drive", "argument": "v", **profile}
    async with world.running(robot.config):
        await robot.ask("calibration.set", profile={"name": "m", "correction": motor})
        for number in range(20):
            if number == 15:
                # Braking is not limited, and after it the ramp begins anew.
                for turn, v in enumerate((0.0, 1.5)):
                    world.hub.command("r1", Command(f"z{turn}", "drive", world.clock.now() + 10**7, {"v": v, "w": 0.0}))
                    await world.clock.advance(0.1)
            world.hub.command("r1", Command(f"d{number}", "drive", world.clock.now() + 10**7, {"v": 1.5, "w": 0.0}))
            await world.clock.advance(0.1)
    told = [one["v"] for one in robot.driver.told]
    assert len(told) == 22
    assert told[0] == pytest.approx(0.25)
    assert told[15] == 0.0
    assert told[16] == pytest.approx(0.25)
    steps = [after - before for before, after in itertools.pairwise(told[:15])]
    assert all(0.0 < step <= 0.0501 for step in steps), steps


async def test_hub_cannot_change_what_the_safety_node_judges_by(world: World, scripted: Scripted) -> None:
    policy = Policy(limits=Limits(max_temperature=80.0), temperatures=frozenset({"t"}))
    robot = Robot(world, scripted, safety=policy)
    robot.values = {"t": 60.0}
    hot = {"name": "t", "correction": {"kind": "linear", "channel": "t", "offset": 30.0}}
    async with world.running(robot.config) as runtime:
        report = await robot.ask("calibration.set", profile=hot)
        assert report.reason == "correction: the safety node judges by t, so it is calibrated at the robot alone"
        assert runtime.safety.reason is None
        await runtime.calibration.set(read_draft(hot), who="anna")
        await world.clock.advance(2.0)
        assert "t is 90.0 Cel, above max_temperature" in str(runtime.safety.reason)


async def test_robot_that_is_calibrated_locally_alone_refuses_the_hub(world: World, scripted: Scripted) -> None:
    robot = Robot(world, scripted, calibration=CalibrationSettings(from_hub=False))
    async with world.running(robot.config):
        report = await robot.ask("calibration.set", profile=FORCE)
        assert report.reason == "this robot is calibrated at the robot alone (calibration.from_hub)"


async def test_axes_are_turned_and_a_missing_one_is_no_sample(world: World, robot: Robot) -> None:
    turn = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    axes = {"kind": "axes", "channels": ["x", "y", "z"], "matrix": turn, "offset": [0.5, 0, 0]}
    robot.values = {"x": 1.5, "y": 2.0, "z": 3.0}
    async with world.running(robot.config):
        await robot.ask("calibration.set", profile={"name": "imu", "correction": axes})
        await world.clock.advance(2.0)
        robot.values = {"x": 1.5, "y": float("nan"), "z": 3.0}
        await world.clock.advance(2.0)
    assert [robot.sent(name)[-1] for name in "xyz"] == [-2.0, 1.0, 3.0]


async def test_drift_warns_once_and_settles_once(world: World, robot: Robot) -> None:
    drift = {"band": [-0.5, 0.5], "reference": "r", "window": 5}
    robot.values = {"f": 3.0, "r": 5.2}
    async with world.running(robot.config):
        await robot.ask("calibration.set", profile={**FORCE, "drift": drift})
        await world.clock.advance(20.0)
        assert robot.events("calibration.drifted") == []
        robot.values = {"f": 3.0, "r": 8.0}
        await world.clock.advance(30.0)
        assert len(robot.events("calibration.drifted")) == 1
        assert robot.state.health_reasons
        assert robot.status("force") == "drifted"
        robot.values = {"f": 3.0, "r": 5.0}
        await world.clock.advance(40.0)
        assert len(robot.events("calibration.settled")) == 1
        assert robot.state.health_reasons == []


@pytest.mark.parametrize("columns", [False, True])
async def test_integer_that_no_double_holds_is_no_sample_and_ends_no_driver(
    columns: bool, world: World, scripted: Scripted
) -> None:
    async def run(driver: Script, port: Port) -> None:
        while True:
            now = driver.context.clock.now()
            for values in ({"f": 3.0, "r": 10**400}, {"f": 10**400, "r": 5.0}, {"f": 3.0, "r": 5.0}):
                with contextlib.suppress(ReadingError):
                    if columns:
                        await port.publish_columns([now], {key: [one] for key, one in values.items()})
                    else:
                        await port.publish(values)
            await driver.context.clock.sleep(1.0)

    robot = Robot(world, scripted)
    policy = Policy(limits=Limits(max_speed=9.0), speeds=frozenset({"f"}))
    capabilities = Capabilities((Channel("f", unit="m/s"), Channel("r")))
    robot.config = scripted(run, capabilities=capabilities, safety=policy)
    drift = {"band": [-0.5, 0.5], "reference": "r", "window": 5}
    async with world.running(robot.config) as runtime:
        draft = read_draft({**FORCE, "drift": drift})
        await runtime.calibration.set(draft, who="anna")
        wish = {"do": "samples", "channels": ["f"], "seconds": 0.4}
        sampled = asyncio.create_task(answer_calibration(runtime.calibration, runtime.bus, wish, ""))
        await world.clock.advance(5.0)
        answer, refused = await sampled
        assert refused is None
        assert answer is not None
        assert {value for _, value in answer["samples"]["f"]} == {3.0}
        assert not robot.events("node.failed")
        count = len(robot.sent("f"))
        await world.clock.advance(5.0)
        assert len(robot.sent("f")) > count
        assert robot.status("force") == "applied"


async def test_profile_past_its_date_is_applied_with_a_warning(world: World, robot: Robot) -> None:
    until = world.clock.now() + 30_000_000
    async with world.running(robot.config):
        await robot.ask("calibration.set", profile={**FORCE, "valid_until": until})
        await world.clock.advance(20.0)
        assert robot.status("force") == "applied"
        assert robot.state.health_reasons == []
        await world.clock.advance(40.0)
        assert len(robot.events("calibration.expired")) == 1
        assert robot.status("force") == "expired"
        assert robot.state.health_reasons == ["calibration of force is past its date"]
        assert robot.sent("f")[-1] == 5.0


async def test_change_is_in_the_state_at_once_and_not_when_it_is_sent_next_anyway(world: World, robot: Robot) -> None:
    async with world.running(robot.config):
        await world.clock.advance(5.0)
        for version in (1, 2):
            await robot.ask("calibration.set", profile={**FORCE, "note": f"{version}"})
            assert robot.state.calibration is not None
            assert robot.state.calibration.profiles["force"].version == version


async def test_profile_that_expires_again_after_it_was_renewed_is_told_again(world: World, robot: Robot) -> None:
    async with world.running(robot.config):
        for number in (1, 2):
            until = world.clock.now() + 5_000_000
            await robot.ask("calibration.set", profile={**FORCE, "valid_until": until})
            await world.clock.advance(30.0)
            assert len(robot.events("calibration.expired")) == number
        await robot.ask("calibration.remove", name="force")
        await world.clock.advance(5.0)
        assert robot.state.health_reasons == []
        await robot.ask("calibration.rollback", name="force", version=2)
        await world.clock.advance(30.0)
        assert len(robot.events("calibration.expired")) == 3


async def test_profile_that_is_set_anew_is_judged_anew_and_by_its_own_band(world: World, robot: Robot) -> None:
    robot.values = {"f": 3.0, "r": 8.0}
    drift = {"band": [-0.5, 0.5], "reference": "r", "window": 5}
    async with world.running(robot.config):
        await robot.ask("calibration.set", profile={**FORCE, "drift": drift})
        await world.clock.advance(30.0)
        assert robot.status("force") == "drifted"
        await robot.ask("calibration.set", profile={**FORCE, "drift": {**drift, "band": [-5, 5]}})
        await world.clock.advance(30.0)
        assert robot.status("force") == "applied"
        assert robot.state.health_reasons == []


async def test_two_profiles_for_one_channel_are_refused(world: World, robot: Robot) -> None:
    async with world.running(robot.config):
        await robot.ask("calibration.set", profile=FORCE)
        report = await robot.ask("calibration.set", profile={**FORCE, "name": "other"})
        assert report.reason == "correction: f is corrected by the profile force already"


async def test_disk_that_fails_leaves_the_calibration_as_it_was(
    world: World, scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = Robot(world, scripted, folder=tmp_path, outbox=OutboxSettings("box.db"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with world.running(robot.config, memory(world)) as runtime:
        await robot.ask("calibration.set", profile=FORCE)
        monkeypatch.setattr(Store, "save", full)
        report = await robot.ask("calibration.remove", name="force")
        assert "cannot be written" in str(report.reason)
        assert runtime.calibration.profiles[0].version == 1


async def test_what_is_asked_for_twice_makes_one_version(world: World, robot: Robot) -> None:
    async with world.running(robot.config) as runtime:
        for _ in range(3):
            assert (await robot.ask("calibration.set", profile=FORCE)).status == "succeeded"
        assert len(runtime.calibration.history("force")) == 1
        report = await robot.ask("calibration.history")
        assert report.result == {"versions": 1}
        [event] = robot.events("calibration.versions")
        assert [(one["name"], one["version"]) for one in event.data["profiles"]] == [("force", 1)]


async def test_robot_that_is_not_calibrated_pays_nothing(world: World, robot: Robot) -> None:
    async with world.running(robot.config) as runtime:
        assert runtime.calibration.corrector is None
        assert runtime.calibration.state() is None


def test_unknown_names_are_told_with_those_that_are_known(world: World, robot: Robot) -> None:
    runtime = Runtime(robot.config, clock=world.clock, rng=random.Random(1), transport=world.broker.transport("r1"))
    with pytest.raises(CalibrationError, match="there is no profile 'x', known are none"):
        runtime.calibration.history("x")


async def test_profile_waits_for_a_driver_that_was_not_open_yet(world: World, robot: Robot) -> None:
    runtime = world.runtime(robot.config)
    await runtime.calibration.set(read_draft(FORCE), who="anna")
    state = runtime.calibration.state()
    assert state is not None
    assert (state.profiles["force"].status, state.profiles["force"].problem) == (
        "unused",
        "no driver publishes the channel f",
    )
    async with runtime:
        await world.clock.advance(5.0)
        assert robot.status("force") == "applied"
        assert robot.sent("f")[-1] == 5.0
        task = asyncio.ensure_future(runtime.__aexit__(None, None, None))
        await world.finish(task)


async def test_file_that_cannot_be_read_is_told_and_the_robot_works_uncalibrated(
    world: World, scripted: Scripted, tmp_path: Path
) -> None:
    (tmp_path / "box.db.calibration").write_text("rubbish\n{}")
    robot = Robot(world, scripted, folder=tmp_path, outbox=OutboxSettings("box.db"))
    async with world.running(robot.config, memory(world)):
        await world.clock.advance(2.0)
        [event] = robot.events("calibration.loaded")
        assert event.severity == "error"
        [reason] = robot.state.health_reasons
        assert "box.db.calibration cannot be read: its checksum does not match" in reason
        assert robot.sent("f")[-1] == 3.0
        await robot.ask("calibration.set", profile=FORCE)
        assert robot.state.health_reasons == []


async def test_bus_has_corrected_samples_and_what_the_driver_said_beside(world: World, robot: Robot) -> None:
    async with world.running(robot.config) as runtime:
        await robot.ask("calibration.set", profile={**FORCE, "raw": True})
        await world.clock.advance(2.0)
        assert runtime.bus.latest("samples/base/f")[1] == 5.0
        assert runtime.bus.latest("samples/base/f.raw")[1] == 3.0
        assert runtime.bus.latest("drivers/base/sample").values == {"f": 3.0}


async def test_columns_are_corrected_and_judged_by_their_last_row(world: World, scripted: Scripted) -> None:
    async def run(driver: Script, port: Port) -> None:
        while True:
            now = driver.context.clock.now()
            await port.publish_columns([now - 500_000, now], {"f": [1.0, 3.0]})
            await driver.context.clock.sleep(1.0)

    robot = Robot(world, scripted)
    robot.config = scripted(run, capabilities=CAPABILITIES)
    async with world.running(robot.config):
        await robot.ask("calibration.set", profile={**FORCE, "raw": True, "drift": {"band": [0, 4], "window": 3}})
        await world.clock.advance(10.0)
        assert robot.status("force") == "drifted"
    assert robot.sent("f")[-2:] == [1.0, 5.0]
    assert robot.sent("f.raw")[-2:] == [1.0, 3.0]


async def test_motor_that_does_not_do_what_was_wanted_drifts_while_it_is_driven(world: World, robot: Robot) -> None:
    motor = {"kind": "motor", "command": "drive", "argument": "v"}
    drift = {"band": [-0.1, 0.1], "reference": "r", "window": 3}
    robot.values = {"r": 0.2}
    async with world.running(robot.config):
        await robot.ask("calibration.set", profile={"name": "left", "correction": motor, "drift": drift})
        await world.clock.advance(20.0)  # it rests, which tells nothing
        assert robot.status("left") == "applied"
        for _ in range(20):
            world.hub.command("r1", Command(f"d{_}", "drive", world.clock.now() + 60_000_000, {"v": 0.5, "w": 0.0}))
            await world.clock.advance(0.5)
        assert robot.status("left") == "drifted"
        assert "mean difference from r" in str(robot.events("calibration.drifted")[0].message)


@pytest.mark.parametrize(
    ("profile", "sentence"),
    [
        ({"name": "a b", "correction": None}, "args.profile.name: "),
        ({"name": "x"}, 'args.profile: "correction" is a required property'),
        ({"name": "x", "correction": {"kind": "magic"}}, "args.profile.correction.kind: "),
        ({"name": "x", "correction": {"channel": "f"}}, 'args.profile.correction: "kind" is a required property'),
        (
            {"name": "x", "correction": {"kind": "motor", "command": "fly", "argument": "v"}},
            "correction: no driver has",
        ),
        (
            {"name": "x", "correction": {"kind": "motor", "command": "drive", "argument": "q"}},
            "correction: drive has no",
        ),
        (
            {
                "name": "x",
                "correction": {"kind": "wheels", "driver": "q", "radius_left": 1, "radius_right": 1, "track": 1},
            },
            "correction: the driver q has no wheels, known are base",
        ),
        ({**FORCE, "version": 7}, "args.profile: Additional properties are not allowed ('version' was unexpected)"),
        ({**FORCE, "valid_until": "soon"}, "args.profile.valid_until: 'soon' is no date"),
    ],
)
async def test_profile_that_is_no_profile_is_refused_in_one_sentence(
    world: World, robot: Robot, profile: dict[str, Any], sentence: str
) -> None:
    async with world.running(robot.config):
        report = await robot.ask("calibration.set", profile=profile)
        assert report.status == "rejected"
        assert str(report.reason).startswith(sentence)
        assert "\n" not in str(report.reason)


async def test_axes_that_come_apart_are_held_back_and_told(world: World, scripted: Scripted) -> None:
    async def run(driver: Script, port: Port) -> None:
        while True:
            await port.publish({"x": 1.0, "y": 2.0})
            await port.publish({"z": 3.0})
            await driver.context.clock.sleep(1.0)

    robot = Robot(world, scripted)
    robot.config = scripted(run, capabilities=CAPABILITIES)
    axes = {"kind": "axes", "channels": ["x", "y", "z"], "matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    async with world.running(robot.config):
        await robot.ask("calibration.set", profile={"name": "imu", "correction": axes, "raw": True})
        count = len(robot.sent("x"))
        await world.clock.advance(12.0)
        assert len(robot.sent("x")) <= count + 2
        assert robot.sent("x.raw")[-1] == 1.0
        assert robot.status("imu") == "unused"


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("values", [{"x": 0.8}, {"x": 0.8, "y": None, "z": 0.0}, {"x": 0.8, "y": math.nan, "z": 0.0}])
async def test_axes_that_cannot_be_aligned_hide_nothing_from_the_safety_node(
    values: dict[str, Any], columns: bool, world: World, scripted: Scripted
) -> None:
    said = {"x": 0.1}

    async def run(driver: Script, port: Port) -> None:
        while True:
            now = driver.context.clock.now()
            await (
                port.publish_columns([now], {key: [one] for key, one in said.items()})
                if columns
                else port.publish(said)
            )
            await driver.context.clock.sleep(1.0)

    robot = Robot(world, scripted)
    capabilities = Capabilities(tuple(Channel(name, unit="rad") for name in "xyz"))
    policy = Policy(limits=Limits(max_tilt=1.0), tilts=frozenset({"x"}))
    robot.config = scripted(run, capabilities=capabilities, safety=policy)
    axes = {"kind": "axes", "channels": ["x", "y", "z"], "matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    async with world.running(robot.config) as runtime:
        await runtime.calibration.set(read_draft({"name": "imu", "correction": axes}), who="anna")
        double = {"kind": "linear", "channel": "x", "scale": 2.0}
        await runtime.calibration.set(read_draft({"name": "x", "correction": double}), who="anna")
        await world.clock.advance(2.0)
        assert runtime.safety.reason is None
        said = values
        await world.clock.advance(2.0)
        assert "x is 1.600 rad, beyond max_tilt" in str(runtime.safety.reason), "corrected as far as it can be"


async def test_raw_channel_that_a_driver_has_already_is_refused(world: World, scripted: Scripted) -> None:
    robot = Robot(world, scripted)
    capabilities = Capabilities((Channel("f"), Channel("f.raw")))
    robot.config = scripted(robot._run, capabilities=capabilities)
    async with world.running(robot.config):
        report = await robot.ask("calibration.set", profile={**FORCE, "raw": True})
        assert report.reason == "raw: there is a channel f.raw of a driver already"


async def test_long_history_is_sent_in_messages_that_the_hub_takes(world: World, robot: Robot) -> None:
    async with world.running(robot.config) as runtime:
        for number in range(150):
            draft = read_draft({**FORCE, "note": "n" * 1000, "method": f"attempt {number}"})
            await runtime.calibration.set(draft, who="anna")
        await world.clock.advance(5.0)
        await robot.ask("calibration.history", name="force")
        sent = [one["version"] for event in robot.events("calibration.versions") for one in event.data["profiles"]]
        assert sent == list(range(119, 151))
        runtime.calibration.tell_history()
    assert all(len(msgspec.json.encode(event)) < 150_000 for event in robot.events("calibration.versions"))
