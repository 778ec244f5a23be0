"""Commands that lead somewhere, and the limits that could be passed by them unseen."""

import random
from pathlib import Path
from typing import Any

import pytest

from botyard_edge.config import Config, DriverSettings, load_config
from botyard_edge.driver import (
    Capabilities,
    Channel,
    Command,
    CommandSpec,
    DriverContext,
    DriverSpec,
    Motion,
    Pose,
)
from botyard_edge.safety import Policy, SafetyNode
from botyard_edge.safety.policy import Area, Limits, Stopping, Watchdogs
from botyard_edge.testing import VirtualClock
from botyard_schemas import Report, State, Telemetry
from botyard_schemas.settings import SettingsError

from .conftest import Script, World

HALL = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))
PIT = ((4.0, 4.0), (5.0, 4.0), (5.0, 5.0), (4.0, 5.0))
FENCED = Limits(geofence=Area((HALL,)), keep_out=Area((PIT,)))
PLACES = {"in": (1.0, 2.0), "out": (10.0, 2.0), "pit": (4.5, 4.5)}
STOPPING = Stopping(1.0, 0.1, 1.0)


def judged(motion: Motion | None, policy: Policy, schema: dict[str, Any] | None = None, **args: Any) -> str | Any:
    """Why the command is refused, or else the arguments that the driver gets."""
    node = SafetyNode(policy, clock=VirtualClock())
    node.heard("base", {"pose": Pose("hall", 1.0, 1.0, 0.0)})
    for channel in policy.watched:
        node.sampled(channel, 0.0)
    spec = CommandSpec("act", args=schema or {}, motion=motion)
    verdict = node.judge(Command("c1", "act", 2 * 10**15, args), spec, lambda _: None)
    return verdict.args if verdict.report is None else verdict.report.reason


@pytest.mark.parametrize(
    ("motion", "args", "why"),
    [
        (Motion("goal"), {}, "the position of its goal is not known before it sets out, so geofence and keep_out"),
        (Motion("goal", goal=("x", "y")), {"dock": 1}, "the position of its goal is not known"),
        (Motion("goal", goal=("x", "y")), {"x": 1.0}, "the position of its goal is not known"),
        (Motion("goal", place="to"), {"to": "in"}, "the position of its goal is not known"),
        (Motion("goal", place="to", places=PLACES), {"to": "in"}, None),
        (Motion("goal", place="to", places=PLACES), {"to": "out"}, "args.to: out: (10.00, 2.00) m is outside of the"),
        (Motion("goal", place="to", places=PLACES), {"to": "pit"}, "args.to: pit: (4.50, 4.50) m is in a keep-out"),
        (Motion("goal", place="to", places=PLACES), {"to": ["in"]}, "args.to: the position of ['in'] is not known"),
        (Motion("goal", places=PLACES), {}, "out: (10.00, 2.00) m is outside of the geofence"),
        (Motion("goal", places={"in": (1.0, 2.0)}), {}, None),
        (Motion("goal", ends="here"), {}, None),
        (Motion("goal", ends="home"), {}, None),
    ],
)
def test_goal_is_refused_when_it_is_not_known_to_be_where_the_robot_may_be(
    motion: Motion, args: dict[str, Any], why: str | None
) -> None:
    found = judged(motion, Policy(FENCED), **args)
    assert found == args if why is None else found.startswith(why)
    if why is None or "not known" in why:
        assert judged(motion, Policy(FENCED, stopping=STOPPING), **args) == args, "it is stopped on the way"
        trusted = {"act": frozenset({"geofence", "keep_out"})}
        assert judged(motion, Policy(FENCED, kept_by_driver=trusted), **args) == args
        half = {"act": frozenset({"geofence"})}
        if why is not None:
            assert "so keep_out cannot be kept" in judged(motion, Policy(FENCED, kept_by_driver=half), **args)
    else:
        assert judged(motion, Policy(FENCED, stopping=STOPPING), **args) == found, "what is known is not tried"


SPEED, TURNING = Limits(max_speed=1.0), Limits(max_angular_speed=1.0)
NAMED, WHEELED = Motion("goal", places={"in": (1.0, 2.0)}), Motion("velocity", other=("left", "right"))


@pytest.mark.parametrize(
    ("motion", "limits", "why"),
    [
        (NAMED, SPEED, "none of its arguments is declared as a speed, so max_speed cannot be kept; name"),
        (NAMED, TURNING, "none of its arguments is declared as an angular speed, so max_angular_speed cannot be kept"),
        (WHEELED, SPEED, "none of its arguments is declared as a speed, so max_speed cannot be kept; name"),
        (WHEELED, TURNING, "none of its arguments is declared as an angular speed, so max_angular_speed cannot be"),
        (WHEELED, Limits(max_acceleration=1.0), "none of its arguments is declared as a speed, so max_acceleration"),
        (None, SPEED, "its driver does not declare how it moves the robot, so max_speed cannot be kept; say in"),
    ],
)
def test_command_on_which_a_limit_cannot_be_kept_is_refused_unless_the_driver_is_said_to_keep_it(
    motion: Motion | None, limits: Limits, why: str
) -> None:
    args: dict[str, Any] = {"left": 1.0, "right": -1.0} if motion is WHEELED else {}
    assert judged(motion, Policy(limits), **args).startswith(why)
    named = frozenset({name for name in ("max_speed", "max_angular_speed", "max_acceleration") if name in why})
    assert judged(motion, Policy(limits, kept_by_driver={"act": named}), **args) == args
    assert isinstance(judged(motion, Policy(limits, kept_by_driver={"other": named}), **args), str)
    if motion is not None and limits.max_acceleration is None:
        watched = Policy(limits, speeds=frozenset({"v"}), turning=frozenset({"w"}))
        assert judged(motion, watched, **args) == args, "by what the robot measures"
    if motion is WHEELED:
        rest = dict.fromkeys(args, 0.0)
        assert judged(motion, Policy(limits), None, **rest) == rest, "to rest it always may"


@pytest.mark.parametrize("ends", ["here", "home"])
def test_return_and_takeoff_are_never_refused_for_a_limit_that_only_the_vehicle_keeps(ends: Any) -> None:
    limits = Limits(1.0, 1.0, 1.0, geofence=FENCED.geofence)
    assert judged(Motion("goal", ends=ends), Policy(limits)) == {}


@pytest.mark.parametrize(
    ("schema", "speed"),
    [
        ({}, 2.5),
        ({"maximum": 5}, 2.5),
        ({"maximum": 1.5}, 1.5),
        ({"exclusiveMaximum": 1.5}, pytest.approx(1.5)),
        ({"type": "integer"}, 2),
    ],
)
def test_speed_that_a_goal_did_not_name_is_filled_in_as_far_as_the_command_allows(
    schema: dict[str, Any], speed: float
) -> None:
    motion = Motion("goal", linear=("speed",), ends="here")
    found = judged(motion, Policy(Limits(max_speed=2.5)), {"properties": {"speed": schema}})
    assert found == {"speed": speed}
    assert found["speed"] < schema.get("exclusiveMaximum", 9)


# --- a whole robot

CAN = Capabilities((Channel("speed", unit="m/s"),), (CommandSpec("home", motion=Motion("goal")),))


def robot(policy: Policy) -> Config:
    async def idle(driver: Any, port: Any) -> None:
        await driver.context.clock.sleep(1e9)

    spec = DriverSpec("base", "", lambda context: Script(context, idle, CAN), {}, dock=lambda _: "home")
    return Config("r1", (DriverSettings("base", spec, {}),), safety=policy)


@pytest.mark.parametrize("kept", [True, False])
async def test_return_to_dock_that_would_be_refused_is_found_out_at_the_start_and_not_when_the_link_is_lost(
    kept: bool, world: World
) -> None:
    trusted = {"home": frozenset({"max_speed"})} if kept else {}
    watch = Watchdogs(link="return_to_dock", link_timeout=3.0)
    async with world.running(robot(Policy(SPEED, watch, kept_by_driver=trusted))):
        await world.clock.advance(1)
        node = world.hub.bodies("r1", State)[-1].nodes["driver.base"]
        if kept:
            assert node.status == "running"
            return
        assert node.status == "failed"
        assert node.error is not None
        assert node.error.startswith(
            "link_lost is return_to_dock, and the command for that, home, would be refused: none of its arguments"
        )


SETTINGS = """\
robot: r1
outbox: {path: null}
local: {page: false}
drivers: {base: {type: sim, options: {seed: 3, patrol: false, start: dock-1, speed: 1.5}}}
safety:
  limits: {max_speed: 0.5 m/s, max_angular_speed: 0.5 rad/s}
  on_violation: {max_speed: clamp, max_angular_speed: clamp}
  geofence: {polygons_m: [[[-100, -100], [100, -100], [100, 100], [-100, 100]]]}
  watchdogs: {link_lost: return_to_dock}
"""


def read(folder: Path, text: str) -> Config:
    path = folder / "robot.yaml"
    path.write_text(text)
    return load_config(path, {})


@pytest.mark.parametrize("name", ["dock", "patrol", "goto"])
async def test_simulated_robot_keeps_its_limits_on_goals_that_are_named_too(
    name: str, world: World, tmp_path: Path
) -> None:
    async with world.running(read(tmp_path, SETTINGS)):
        await world.clock.advance(2)
        args = {"waypoint": "dock-3"} if name == "goto" else {}
        world.hub.command("r1", Command("c1", name, world.clock.now() + 10**9, args))
        await world.clock.advance(30)
    reports = [report for report in world.hub.bodies("r1", Report) if report.command == "c1"]
    assert reports[-1].status in ("running", "succeeded", "cancelled"), reports[-1].reason
    columns = [one for batch in world.hub.bodies("r1", Telemetry) for group in batch.groups for one in group.channels]
    speeds = [speed for one in columns if one.name == "speed" for speed in one.values if speed is not None]
    assert max(speeds) < 0.55
    assert max(speeds) > 0.3 or name == "dock", "it is at one already"


async def test_station_outside_of_the_geofence_is_refused_before_the_robot_sets_out(
    world: World, tmp_path: Path
) -> None:
    dock = (await _docks(world, tmp_path))["dock-1"]
    corners = [[dock[0] + x, dock[1] + y] for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    fenced = SETTINGS.replace("[[-100, -100], [100, -100], [100, 100], [-100, 100]]", str(corners))
    async with world.running(read(tmp_path, fenced.replace("return_to_dock", "stop"))):
        await world.clock.advance(2)
        for number, (name, args) in enumerate(
            [("goto", {"waypoint": "dock-3"}), ("dock", {}), ("patrol", {}), ("goto", {"waypoint": "dock-1"})]
        ):
            world.hub.command("r1", Command(f"s{number}", name, world.clock.now() + 10**9, args))
        await world.clock.advance(3)
    ends = {report.command: report for report in world.hub.bodies("r1", Report)}
    assert [ends[f"s{number}"].status for number in range(3)] == ["rejected"] * 3
    assert (ends["s0"].reason or "").startswith("args.waypoint: dock-3: (")
    assert all("is outside of the geofence" in (ends[f"s{number}"].reason or "") for number in range(3))
    assert ends["s3"].status == "succeeded"


async def _docks(world: World, folder: Path) -> dict[str, tuple[float, float]]:
    """Where the stations of the simulated robot are."""
    driver = read(folder, SETTINGS).drivers[0]
    made = driver.spec.factory(DriverContext("r1", "base", driver.options, folder, world.clock, random.Random(1)))
    async with made as opened:
        motion = next(spec.motion for spec in opened.capabilities.commands if spec.name == "dock")
        assert motion is not None
        return dict(motion.places)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("{patrol: [max_sped]}", "robot.yaml:10: safety.kept_by_driver.patrol[0]: "),
        ("{patrol: max_speed}", "robot.yaml:10: safety.kept_by_driver.patrol: "),
    ],
)
def test_limit_that_nobody_knows_is_not_kept_by_a_driver_either(kept: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, f"{SETTINGS}  kept_by_driver: {kept}\n")
    assert said in str(caught.value)
    assert read(tmp_path, f"{SETTINGS}  kept_by_driver: {{patrol: [max_speed]}}\n").safety is not None
