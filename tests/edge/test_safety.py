"""The safety node in a running robot, on virtual time."""

import asyncio
import math
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard_edge.config import Config, OutboxSettings
from botyard_edge.driver import Battery, Capabilities, Channel, Command, CommandSpec, Motion, Pose, Progress
from botyard_edge.memory import MemoryOutbox
from botyard_edge.runtime import Runtime
from botyard_edge.safety import ClearRefusedError, LoopWatch, SafetyNode, Store, Watchdog
from botyard_edge.safety.arguments import LimitError
from botyard_edge.safety.motion import Commanded, limited
from botyard_edge.safety.policy import Area, Limits, Policy, Watchdogs
from botyard_edge.testing import VirtualClock, settle
from botyard_schemas import Event, Report, State

from .conftest import Script, World

Scripted = Callable[..., Config]
DRIVE = CommandSpec("drive", args={"type": "object"}, motion=Motion("velocity", linear=("v",)))
GOTO = CommandSpec("goto", args={"type": "object"}, motion=Motion("goal", goal=("x", "y")))
LAMP = CommandSpec("lamp", args={"type": "object"}, motion=Motion("none"))
CAN = Capabilities((Channel("heat", unit="Cel"), Channel("roll", unit="deg")), (DRIVE, GOTO, LAMP))


class Base(Script):
    """Drives at the speed it was told last, until it is stopped."""

    made: ClassVar[list["Base"]] = []

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.speed = 0.0
        self.halts = 0
        self.stops = 0
        Base.made.append(self)

    async def execute(self, command: Command, progress: Progress) -> None:
        if command.name == "drive":
            self.speed = command.args["v"]
        elif command.name == "goto":
            self.speed = 1.0
            await self.context.clock.sleep(10.0)
            self.speed = 0.0

    async def stop(self) -> None:
        self.stops += 1
        self.speed = 0.0

    def halt(self) -> None:
        self.halts += 1
        self.speed = 0.0


@pytest.fixture(autouse=True)
def made() -> list[Base]:
    Base.made = []
    return Base.made


class Robot:
    """A running robot, and the hub's side of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.port: Any = None
        self.count = 0

    async def run(self, driver: Any, port: Any) -> None:
        self.port = port
        await driver.context.clock.sleep(1e9)

    @property
    def base(self) -> Base:
        return Base.made[-1]

    async def send(self, name: str, **args: Any) -> str:
        self.count += 1
        command = Command(f"c{self.count}", name, self.world.clock.now() + 60_000_000, args)
        self.world.hub.command("r1", command)
        await self.world.clock.advance(0.01)
        return command.id

    def report(self, command: str) -> Report:
        return [report for report in self.world.hub.bodies("r1", Report) if report.command == command][-1]

    @property
    def state(self) -> State:
        return self.world.hub.bodies("r1", State)[-1]

    @property
    def mode(self) -> str:
        return self.state.mode

    @property
    def events(self) -> list[str]:
        return [event.name for event in self.world.hub.bodies("r1", Event) if event.name.startswith("safety.")]


@pytest.fixture
def robot(world: World) -> Robot:
    return Robot(world)


def mode_of(runtime: Runtime) -> str:
    return runtime.safety.mode


def config(scripted: Scripted, robot: Robot, policy: Policy | None = None, **more: Any) -> Config:
    return scripted(robot.run, capabilities=CAN, driver=Base, safety=policy, **more)


async def test_robot_without_a_section_safety_moves_as_it_is_told(
    world: World, robot: Robot, scripted: Scripted
) -> None:
    async with world.running(config(scripted, robot)):
        await robot.send("drive", v=9.0)
        await world.clock.advance(5)
        assert robot.base.speed == 9.0
        assert (robot.mode, robot.events) == ("auto", [])
        refused = robot.report(await robot.send("drive", v="fast"))
        assert (refused.status, refused.reason) == ("rejected", "args.v: 'fast' is no finite number")
        assert robot.report(await robot.send("drive", v=1.0)).status == "succeeded"


async def test_emergency_stop_halts_ends_motion_and_stays_until_it_is_cleared_at_the_robot(
    world: World, robot: Robot, scripted: Scripted
) -> None:
    async with world.running(config(scripted, robot)) as runtime:
        going = await robot.send("goto", x=1, y=1)
        robot.port.update_state(estop_inputs={"red": True})
        assert (robot.base.halts, robot.base.speed) == (1, 0.0), "at once, before the loop goes on"
        await world.clock.advance(0.1)
        assert robot.base.stops == 1
        assert (robot.report(going).status, robot.report(going).reason) == ("cancelled", "base/red is pressed")
        assert (robot.mode, robot.state.mode_reason) == ("estop", "base/red is pressed")
        refused = robot.report(await robot.send("drive", v=1.0))
        assert (refused.status, refused.reason) == ("rejected", "the robot is in estop mode: base/red is pressed")
        assert robot.report(await robot.send("lamp")).status == "succeeded"
        with pytest.raises(ClearRefusedError, match="while its cause lasts: base/red is pressed"):
            runtime.safety.clear("Kim")
        robot.port.update_state(estop_inputs={"red": False})
        await world.clock.advance(0.1)
        assert robot.mode == "estop"
        assert robot.report(await robot.send("safety.clear")).status == "rejected"
        runtime.safety.clear("Kim")
        await world.clock.advance(0.1)
        assert robot.mode == "auto"
        assert robot.report(await robot.send("drive", v=1.0)).status == "succeeded"
        assert robot.events == ["safety.estop", "safety.cause_gone", "safety.cleared"]


async def test_hub_asks_for_stop_and_safe_mode_and_can_lift_neither(
    world: World, robot: Robot, scripted: Scripted
) -> None:
    async with world.running(config(scripted, robot)):
        await robot.send("drive", v=1.0)
        assert robot.report(await robot.send("safety.stop")).status == "succeeded"
        assert (robot.base.speed, robot.mode) == (0.0, "auto")
        assert robot.report(await robot.send("safety.safe", reason="people on the floor")).status == "succeeded"
        await world.clock.advance(0.1)
        assert (robot.mode, robot.state.mode_reason) == (
            "safe",
            "the hub asked for safe mode: people on the floor",
        )
        lifted = robot.report(await robot.send("safety.clear"))
        assert lifted.status == "rejected"
        assert lifted.reason is not None
        assert "stops are lifted at the robot alone" in lifted.reason
        assert robot.report(await robot.send("drive", v=1.0)).status == "rejected"


async def test_speed_is_clamped_or_refused_before_the_driver_gets_it(
    world: World, robot: Robot, scripted: Scripted
) -> None:
    limits = Limits(max_speed=1.2, on_violation={"max_speed": "clamp"})
    async with world.running(config(scripted, robot, Policy(limits))):
        await robot.send("drive", v=9.0)
        assert robot.base.speed == 1.2
        await robot.send("drive", v=-9.0)
        assert robot.base.speed == -1.2
    async with world.running(config(scripted, robot, Policy(Limits(max_speed=1.2)))):
        refused = robot.report(await robot.send("drive", v=9.0))
        assert refused.reason == "args.v: 9 exceeds max_speed, at most 1.2 m/s are allowed"
        assert robot.base.speed == 0.0


async def test_velocity_that_is_not_repeated_in_time_is_stopped(world: World, robot: Robot, scripted: Scripted) -> None:
    policy = Policy(watchdogs=Watchdogs(command_timeout=0.5))
    async with world.running(config(scripted, robot, policy)):
        for _ in range(10):
            await robot.send("drive", v=1.0)
            await world.clock.advance(0.39)
            assert robot.base.speed == 1.0
        await world.clock.advance(0.09)
        assert robot.base.speed == 1.0
        await world.clock.advance(0.03)
        assert robot.base.speed == 0.0
        await world.clock.advance(0.1)
        assert (robot.events, robot.mode) == (["safety.command_timeout"], "auto")


@pytest.mark.parametrize(("policy", "stopped_after"), [("stop", 3.0), ("finish_step", 10.0)])
async def test_lost_link_leads_to_safe_mode_by_the_policy_and_ends_with_the_outage(
    policy: Any, stopped_after: float, world: World, robot: Robot, scripted: Scripted
) -> None:
    watch = Policy(watchdogs=Watchdogs(link=policy, link_timeout=3.0))
    async with world.running(config(scripted, robot, watch)) as runtime:
        going = await robot.send("goto", x=1, y=1)
        world.broker.cut(down=True)
        await world.clock.advance(stopped_after - 0.2)
        assert (robot.base.speed, runtime.safety.mode) == (1.0, "auto")
        await world.clock.advance(0.4)
        assert (robot.base.speed, runtime.safety.mode) == (0.0, "safe")
        world.broker.down = False
        await world.clock.advance(60)
        assert robot.report(going).status == ("cancelled" if policy == "stop" else "succeeded")
        assert (robot.mode, robot.events) == ("auto", ["safety.safe", "safety.cause_gone"])


async def test_battery_temperature_tilt_and_place_lead_to_safe_mode(
    world: World, robot: Robot, scripted: Scripted
) -> None:
    limits = Limits(
        min_battery=0.15, max_temperature=80.0, max_tilt=0.35, geofence=Area((((0, 0), (9, 0), (9, 9), (0, 9)),))
    )
    policy = Policy(limits, temperatures=frozenset({"heat"}), tilts=frozenset({"roll"}))
    async with world.running(config(scripted, robot, policy)) as runtime:
        blind = robot.report(await robot.send("drive", v=1.0))
        assert blind.reason is not None
        assert "position is not known yet" in blind.reason
        inside, outside = Pose("hall", 1, 1, 0), Pose("hall", -1, 1, 0)

        async def told(battery: float, heat: float, roll: float, pose: Pose) -> tuple[str, str | None]:
            await robot.port.publish({"heat": heat, "roll": roll})
            robot.port.update_state(battery=Battery(battery), pose=pose)
            await world.clock.advance(0.1)
            return robot.state.mode, robot.state.mode_reason

        assert await told(0.5, 20.0, 3.0, inside) == ("auto", None)
        assert robot.report(await robot.send("drive", v=1.0)).status == "succeeded"
        assert await told(0.1, 20.0, 3.0, inside) == ("safe", "the battery is at 10%, below min_battery (15%)")
        assert robot.base.speed == 0.0
        assert (await told(0.16, 20.0, 3.0, inside))[0] == "safe", "not before it is clearly better"
        assert await told(0.5, 81.0, 3.0, inside) == ("safe", "heat is 81.0 Cel, above max_temperature (80 Cel)")
        assert (await told(0.5, 20.0, 3.0, outside))[1] == (
            "the robot's position (-1.00, 1.00) m is outside of the geofence"
        )
        assert (await told(0.5, 20.0, 3.0, inside))[0] == "auto"
        assert (await told(0.5, 20.0, -30.0, inside))[0] == "safe"
        with pytest.raises(ClearRefusedError, match=r"roll is -0\.524 rad, beyond max_tilt"):
            runtime.safety.clear("Kim")
        assert (await told(0.5, 20.0, 0.0, inside))[0] == "safe", "a robot that fell over is looked at first"
        runtime.safety.clear("Kim")
        assert (await told(0.5, 20.0, 0.0, inside))[0] == "auto"


async def test_required_node_that_fails_leads_to_safe_mode_until_it_runs(
    world: World, robot: Robot, scripted: Scripted
) -> None:
    watch = Policy(watchdogs=Watchdogs(required=frozenset({"driver.base"})))

    async def run(driver: Any, port: Any) -> None:
        robot.port = port
        await driver.context.clock.sleep(5.0 if len(Base.made) == 1 else 1e9)
        raise OSError("the cable is out")

    settings = scripted(run, capabilities=CAN, driver=Base, safety=watch)
    async with world.running(settings) as runtime:
        await world.clock.advance(5.1)
        assert mode_of(runtime) == "safe"
        assert runtime.safety.reason == "driver.base does not work: OSError: the cable is out"
        await world.clock.advance(10)
        assert mode_of(runtime) == "auto"
        assert robot.base.halts == 1, "the new one began at rest"


async def test_clock_that_jumps_stops_the_robot(world: World, robot: Robot, scripted: Scripted) -> None:
    watch = Policy(watchdogs=Watchdogs(clock_jump=2.0))
    async with world.running(config(scripted, robot, watch)):
        await world.clock.advance(5)
        await robot.send("drive", v=1.0)
        world.clock._start += 1_500_000
        await world.clock.advance(3)
        assert robot.base.speed == 1.0
        world.clock._start -= 60_000_000
        await world.clock.advance(2)
        assert robot.base.speed == 0.0
        assert robot.events == ["safety.clock_jumped"]


def latched(path: Path, clock: VirtualClock) -> SafetyNode:
    node = SafetyNode(clock=clock, store=Store(path), drivers=["base"])
    node.open()
    return node


def test_latch_survives_and_one_that_cannot_be_read_counts_as_latched(tmp_path: Path) -> None:
    path, clock = tmp_path / "latch", VirtualClock()
    latched(path, clock).estop("the gate is open")
    again = latched(path, clock)
    assert (again.mode, again.reason) == ("estop", "the gate is open")
    assert [cause.reason for cause in again.clear("Kim")] == ["the gate is open"]
    assert latched(path, clock).mode == "auto"
    for rubbish in (b"", b"{}", b"[]", b"\0" * 64, b'{"causes": [{}]}'):
        path.write_bytes(rubbish)
        node = latched(path, clock)
        assert node.mode == "estop"
        assert node.reason is not None
        assert "cannot be read" in node.reason


def test_input_that_was_pressed_before_a_restart_counts_as_pressed_until_its_driver_says_otherwise(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    latched(tmp_path / "latch", clock).heard("base", {"estop_inputs": {"red": True}})
    node = latched(tmp_path / "latch", clock)
    with pytest.raises(ClearRefusedError):
        node.clear("Kim")
    node.heard("base", {"estop_inputs": {"red": False}})
    assert node.clear("Kim")


async def test_robot_that_was_killed_in_motion_starts_at_rest_and_tells_the_hub(
    world: World, robot: Robot, scripted: Scripted, tmp_path: Path
) -> None:
    settings = config(scripted, robot, folder=tmp_path, outbox=OutboxSettings("out.db"), flush_timeout=0.0)
    assert settings.latch_file is not None
    before = SafetyNode(clock=world.clock, store=Store(settings.latch_file))
    before.open()
    command = Command("c1", "goto", world.clock.now() + 600_000_000, {"x": 1, "y": 1})
    assert before.judge(command, GOTO, lambda _: None).args is not None
    before.close()

    runtime = Runtime(
        settings,
        clock=world.clock,
        rng=random.Random(1),
        transport=world.broker.transport("r1"),
        outbox=MemoryOutbox("r1", clock=world.clock, rng=random.Random(2)),
    )
    task = asyncio.create_task(runtime.run())
    await world.clock.advance(1)
    assert robot.base.halts == 1
    assert robot.base.stops >= 1
    assert robot.mode == "safe"
    assert robot.state.mode_reason == "the edge ended without warning while the robot moved (goto)"
    assert robot.report("c1").reason == "the edge ended while it executed this"
    assert robot.events == ["safety.safe"]
    world.hub.command("r1", command)
    await world.clock.advance(0.1)
    assert robot.report("c1").status == "failed"
    assert robot.base.speed == 0.0
    runtime.stop()
    await world.finish(task)


def test_stream_of_velocities_does_not_make_the_robot_forget_what_else_it_has_done(tmp_path: Path) -> None:
    clock = VirtualClock()
    node = latched(tmp_path / "latch", clock)
    goto = Command("goto-1", "goto", clock.now() + 1_000_000)
    assert node.judge(goto, GOTO, lambda _: None).args is not None
    node.finish(Report("goto-1", "succeeded"), GOTO)
    for number in range(5000):
        drive = Command(f"v{number}", "drive", clock.now() + 1_000_000, {"v": 0.5})
        assert node.judge(drive, DRIVE, lambda _: None).args is not None
        node.finish(Report(drive.id, "succeeded"), DRIVE)
    node.at_rest()
    node.close()
    for known in (node, latched(tmp_path / "latch", clock)):
        assert known.judge(goto, GOTO, lambda _: None).report == Report("goto-1", "succeeded")
        assert known.judge(drive, DRIVE, lambda _: None).report == Report(drive.id, "succeeded")
        known.close()


# --- required nodes, inputs, causes, and people


async def test_required_node_must_have_begun_and_must_not_have_ended(
    world: World, robot: Robot, scripted: Scripted
) -> None:
    class Slow(Base):
        async def __aenter__(self) -> Any:
            await self.context.clock.sleep(5.0)
            return self

    async def run(driver: Any, port: Any) -> None:
        robot.port = port
        port.update_state(estop_inputs={"red": False})
        await driver.context.clock.sleep(10.0)

    policy = Policy(watchdogs=Watchdogs(required=frozenset({"driver.base"})))
    settings = scripted(run, capabilities=CAN, driver=Slow, safety=policy)
    async with world.running(settings) as runtime:
        await world.clock.advance(1)
        assert (robot.mode, robot.state.mode_reason) == ("safe", "driver.base does not work yet")
        assert robot.report(await robot.send("lamp")).status == "rejected", "nobody offers it yet"
        await world.clock.advance(5)
        assert robot.mode == "auto"
        assert robot.events == [], "that a robot starts is no news"
        assert robot.report(await robot.send("drive", v=1.0)).status == "succeeded"
        await world.clock.advance(10)
        assert mode_of(runtime) == "safe"
        assert runtime.safety.reason == (
            "driver.base does not work, it is stopped; driver.base does not work, so its emergency stop cannot be heard"
        )
        assert robot.events == ["safety.safe", "safety.safe"]


def test_node_that_is_required_is_missed_whatever_its_status_is() -> None:
    policy = Policy(watchdogs=Watchdogs(required=frozenset({"driver.lidar"})))
    node = SafetyNode(policy, clock=VirtualClock())
    node.open()
    assert node.reason == "driver.lidar does not work yet"
    for status in ("starting", "backoff", "failed", "stopped", "as nobody knows it"):
        node.node("driver.lidar", "running", None)
        assert not node.reason
        node.node("driver.lidar", status, None)
        assert node.reason == f"driver.lidar does not work, it is {status}"


def test_input_that_the_driver_does_not_have_any_more_can_be_cleared(tmp_path: Path) -> None:
    clock = VirtualClock()
    latched(tmp_path / "latch", clock).heard("base", {"estop_inputs": {"red": True, "rear": True}})
    node = latched(tmp_path / "latch", clock)
    node.heard("base", {"estop_inputs": {"front": False, "rear": True}})
    with pytest.raises(ClearRefusedError, match="base/rear is pressed"):
        node.clear("Kim")
    node.heard("base", {"estop_inputs": {"rear": False}})
    assert len(node.clear("Kim")) == 2
    latched(tmp_path / "latch", clock).heard("base", {"estop_inputs": {"front": True}})
    node = latched(tmp_path / "latch", clock)
    node.heard("base", {"estop_inputs": {}})
    assert node.clear("Kim")


@pytest.mark.parametrize("order", [1, -1])
def test_emergency_stop_among_very_many_causes_is_neither_lowered_nor_there_for_ever(order: int) -> None:
    node = SafetyNode(clock=VirtualClock())
    many = {f"i{number}": True for number in range(300)}
    node.heard("io", {"estop_inputs": many})
    with pytest.raises(ClearRefusedError, match=r"io/i\d+ is pressed"):
        node.clear("Kim")
    steps: list[Callable[[], None]] = [
        lambda: node.estop("a child on the floor"),
        lambda: node.blocked("the loop is blocked"),
    ]
    for step in steps[::order]:
        step()
    node.back()
    for name in list(many)[:-1]:
        node.heard("io", {"estop_inputs": {name: False}})
    with pytest.raises(ClearRefusedError, match="io/i299 is pressed"):
        node.clear("Kim")
    node.heard("io", {"estop_inputs": {"i299": False}})
    cleared = node.clear("Kim")
    assert len(cleared) <= 260
    assert any(one.level == "estop" and "a child" in one.reason for one in cleared)
    assert node.reason is None


async def test_person_who_takes_over_ends_what_moves_the_robot_and_nobody_takes_it_from_them(
    world: World, robot: Robot, scripted: Scripted
) -> None:
    policy = Policy(watchdogs=Watchdogs(command_timeout=0.5))
    async with world.running(config(scripted, robot, policy)):
        going = await robot.send("goto", x=1, y=1)
        await robot.send("drive", v=1.0)
        robot.port.update_state(mode="manual")
        await world.clock.advance(5)
        assert robot.report(going).status == "cancelled"
        assert robot.report(going).reason == "base says that a person drives the robot now (manual mode)"
        assert (robot.base.stops, robot.base.halts) == (0, 0), "which would end the person's driving, too"
        refused = robot.report(await robot.send("drive", v=1.0))
        assert refused.reason == "the robot is in manual mode: a person drives it"
        robot.port.update_state(mode="auto")
        assert robot.report(await robot.send("drive", v=1.0)).status == "succeeded"


# --- limits


def allowed(motion: Motion, limits: Limits, args: dict[str, Any], last: Commanded | None = None) -> dict[str, Any]:
    spec = CommandSpec("c", args={}, motion=motion)
    return limited(spec, args, Policy(limits), pose=None, last=last or Commanded(), steady=10.1)


@pytest.mark.parametrize("clamps", [True, False])
@pytest.mark.parametrize("args", [{"vy": 50.0}, {"vx": 0.9, "vy": 0.9}, {"vx": -3.0}, {"vy": -1.0000001}, {}])
def test_goal_keeps_max_speed_whichever_of_its_components_are_given(args: dict[str, float], clamps: bool) -> None:
    limits = Limits(max_speed=1.0, on_violation={"max_speed": "clamp"} if clamps else {})
    motion = Motion("goal", linear=("vx", "vy"))
    if args and not clamps:
        with pytest.raises(LimitError, match="exceeds max_speed"):
            allowed(motion, limits, args)
        return
    kept = allowed(motion, limits, args)
    assert kept.keys() == {"vx", "vy"}, "or the driver would choose the rest of it"
    assert math.hypot(kept["vx"], kept["vy"]) <= 1.0
    assert math.hypot(kept["vx"], kept["vy"]) == pytest.approx(1.0)


async def test_goal_without_a_speed_is_refused_unless_the_measured_speed_is_watched(
    world: World, robot: Robot, scripted: Scripted
) -> None:
    async with world.running(config(scripted, robot, Policy(Limits(max_speed=1.0)))):
        refused = robot.report(await robot.send("goto", x=1, y=1, speed=50))
        assert refused.status == "rejected"
        assert "max_speed cannot be kept; name the channels that measure it" in (refused.reason or "")
    watched = Policy(Limits(max_speed=1.0), speeds=frozenset({"fast"}))
    settings = scripted(
        robot.run,
        capabilities=Capabilities((Channel("fast", unit="m/s"),), CAN.commands),
        driver=Base,
        safety=watched,
    )
    async with world.running(settings) as runtime:
        await robot.port.publish({"fast": 0.0})
        going = await robot.send("goto", x=1, y=1)
        assert robot.base.speed == 1.0
        await robot.port.publish({"fast": 50.0})
        assert (runtime.safety.mode, robot.base.speed) == ("safe", 0.0)
        await world.clock.advance(1)
        assert robot.report(going).status == "cancelled"


SQUARE = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))


@pytest.mark.parametrize("area", ["geofence", "keep_out"])
async def test_area_is_kept_in_its_own_frame_or_nothing_moves(
    area: str, world: World, robot: Robot, scripted: Scripted
) -> None:
    polygon = SQUARE if area == "geofence" else tuple((x + 100, y) for x, y in SQUARE)
    limits = Limits(**{area: Area((polygon,), "hall")})  # type: ignore[arg-type]
    async with world.running(config(scripted, robot, Policy(limits))) as runtime:

        async def told(frame: str, x: float = 1.0) -> tuple[str, str]:
            """The mode, and what becomes of a command that moves the robot."""
            robot.port.update_state(pose=Pose(frame, x, 1.0, 0.0))
            await world.clock.advance(0.1)
            report = robot.report(await robot.send("drive", v=1.0))
            return runtime.safety.mode, report.reason or report.status

        astray = f"the robot's position is told in frame 'map', and {area} is in 'hall', so it cannot be kept"
        assert await told("map") == ("auto", astray), "never in that frame: refused, and that is all"
        assert await told("hall") == ("auto", "succeeded")
        assert await told("map") == ("safe", f"the robot is in safe mode: {astray}"), "it may be anywhere"
        assert robot.base.speed == 0.0
        assert await told("hall") == ("auto", "succeeded")
        unknown = "the robot's position is not known yet, so geofence and keep-out zones cannot be kept"
        assert await told("hall", math.nan) == ("safe", f"the robot is in safe mode: {unknown}")
        assert await told("hall") == ("auto", "succeeded")


def test_positions_of_several_drivers_are_told_apart_and_a_goal_must_say_its_frame() -> None:
    node = SafetyNode(Policy(Limits(geofence=Area((SQUARE,), "hall"))), clock=VirtualClock())

    def judged(x: float, frame: str | None) -> str | None:
        spec = CommandSpec("goto", args={}, motion=Motion("goal", goal=("x", "y"), frame=frame))
        command = Command(f"{x} {frame} {len(told)}", "goto", 2 * 10**15, {"x": x, "y": 1.0})
        told.append(node.judge(command, spec, lambda _: None).report)
        return report.reason if (report := told[-1]) is not None else None

    told: list[Report | None] = []
    node.heard("odometry", {"pose": Pose("odom", 500.0, 0.0, 0.0)})
    assert "is told in frame 'odom'" in (judged(1.0, "hall") or "")
    for _ in range(3):
        node.heard("odometry", {"pose": Pose("odom", 500.0, 0.0, 0.0)})
        node.heard("lidar", {"pose": Pose("hall", 1.0, 1.0, 0.0)})
        assert node.mode == "auto"
        assert judged(1.0, "hall") is None
        assert "outside of the geofence" in (judged(10.0, "hall") or "")
        assert "the goal is in frame 'odom' and geofence in 'hall'" in (judged(1.0, "odom") or "")
        assert "does not declare the frame of its goal" in (judged(1.0, None) or "")
    node.heard("lidar", {"pose": Pose("hall", 50.0, 1.0, 0.0)})
    node.heard("odometry", {"pose": Pose("odom", 1.0, 1.0, 0.0)})
    assert node.mode != "auto", "another driver does not lift it"


@pytest.mark.parametrize("level", [math.nan, math.inf, -math.inf])
def test_battery_that_is_no_number_says_nothing(level: float) -> None:
    node = SafetyNode(Policy(Limits(min_battery=0.15)), clock=VirtualClock())
    drive = Command("c1", "drive", 2 * 10**15, {"v": 0.1})
    node.heard("base", {"battery": Battery(level)})
    report = node.judge(drive, DRIVE, lambda _: None).report
    assert report is not None
    assert "the battery's level is not known yet" in (report.reason or "")
    node.heard("base", {"battery": Battery(0.1)})
    node.heard("base", {"battery": Battery(level)})
    assert node.mode == "safe", "nor that it is charged again"


velocities = st.tuples(st.floats(-3, 3), st.floats(-3, 3))


@given(before=velocities, wanted=velocities, ago=st.floats(0, 0.5), most=st.floats(0.01, 5))
def test_acceleration_is_limited_in_every_direction_and_braking_is_not(
    before: tuple[float, float], wanted: tuple[float, float], ago: float, most: float
) -> None:
    motion = Motion("velocity", linear=("vx", "vy"))
    limits = Limits(max_acceleration=most, on_violation={"max_acceleration": "clamp"})
    last = Commanded({"vx": before[0], "vy": before[1]}, 10.1 - ago)
    kept = allowed(motion, limits, {"vx": wanted[0], "vy": wanted[1]}, last)
    got = kept["vx"], kept["vy"]
    shares = [number / 1000 for number in range(1001)]
    nearest = min(math.hypot(got[0] - before[0] * k, got[1] - before[1] * k) for k in shares)
    assert nearest <= most * ago + 0.01
    slower = allowed(motion, limits, {"vx": before[0] * 0.3, "vy": before[1] * 0.3}, last)
    assert (slower["vx"], slower["vy"]) == pytest.approx((before[0] * 0.3, before[1] * 0.3), abs=1e-9)
    if math.hypot(wanted[0] - before[0], wanted[1] - before[1]) <= most * ago * 0.99:
        assert got == pytest.approx(wanted), "what can be reached is not cut"


# --- the event loop


def test_blocked_loop_is_found_within_its_time_and_its_return_too() -> None:
    for blocks_at in range(0, 50, 3):
        watch, waiting, blocked = LoopWatch(0.25), False, None
        for tick in range(0, 200, 5):
            now = tick / 100
            finding = watch.step(now) if tick % 5 == 0 else None
            if finding == "ask":
                waiting = True
            if waiting and tick < blocks_at:
                watch.beat()
                waiting = False
            if finding == "blocked" and blocked is None:
                blocked = now
        assert blocked is not None
        assert blocked - blocks_at / 100 <= 0.25 + 1e-9
        assert watch.beat()


def test_process_that_stood_still_is_told_from_a_loop_that_answers_late() -> None:
    watch = LoopWatch(0.25)
    assert watch.step(0.0) == "ask"
    watch.beat()
    assert watch.step(5.0) == "stalled"
    assert watch.step(5.05) is None


async def test_blocked_event_loop_halts_the_drivers_from_the_watchdogs_thread_and_latches() -> None:
    clock = VirtualClock()
    node = SafetyNode(clock=clock)
    halted = threading.Event()

    class Wheels:
        def halt(self) -> None:
            assert threading.current_thread().name == "edge.safety"
            halted.set()

    loops_again = asyncio.Event()

    def back() -> None:
        node.back()
        if node.mode == "safe":
            loops_again.set()

    def block(until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not until() and time.monotonic() < deadline:
            time.sleep(0.01)

    node.enter("base", Wheels())  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    dog = Watchdog(0.25, ask=loop.call_soon_threadsafe, on_blocked=node.blocked, on_back=back)
    dog.start()
    try:
        await asyncio.sleep(0.3)
        assert node.mode == "auto" or halted.is_set()
        block(halted.is_set)
        assert halted.is_set()
        block(lambda: node.mode != "auto")
        assert node.mode == "safe"
        with pytest.raises(ClearRefusedError):
            node.clear("Kim")
        await asyncio.wait_for(loops_again.wait(), 10)
        assert node.clear("Kim")
    finally:
        dog.stop()
    await settle()
