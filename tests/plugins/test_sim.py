import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from botyard_edge.driver import Command, CommandFailedError, ConfigurationError, Driver, Pose, Wheels
from botyard_edge.testing import VirtualClock
from botyard_plugins.sim.body import AMBIENT, Battery, Motor
from botyard_plugins.sim.drive import Drive, Limits
from botyard_plugins.sim.plan import Plan, Roads, load_plan
from botyard_plugins.simulation.testing import MakeRobot, StageClock
from botyard_schemas import Geo
from tests.plugins.conftest import ROOT, Notes

WAREHOUSE = ROOT / "plugins" / "botyard_plugins" / "simulation" / "warehouse.yaml"
PLAN = load_plan(WAREHOUSE)
ROADS = Roads(PLAN)
NOISE = 0.06  # m; six times the localisation's, and its rounding
STATIONS = sorted(ROADS.destinations(lambda _: True))

Make = Callable[..., Driver]


class Running:
    def __init__(self, driver: Driver, clock: VirtualClock, notes: Notes) -> None:
        self.driver = driver
        self.clock = clock
        self.notes = notes

    def command(self, name: str, **args: Any) -> "asyncio.Task[Any]":
        async def progress(done: float) -> None: ...

        return asyncio.create_task(self.driver.execute(Command("c1", name, 0, args), progress))

    @property
    def poses(self) -> list[tuple[int, Pose]]:
        return self.notes.samples["pose"]

    @property
    def pose(self) -> Pose:
        pose: Pose = self.notes.samples["pose"][-1][1]
        return pose


@asynccontextmanager
async def running(make_driver: Make, seconds: float = 0.0, rng: int = 1, **given: Any) -> AsyncIterator[Running]:
    clock = VirtualClock()
    notes = Notes(clock)
    async with make_driver("sim", clock, rng, **given) as driver:
        task = asyncio.create_task(driver.run(notes))
        await clock.advance(seconds)
        try:
            yield Running(driver, clock, notes)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def recorded(make_driver: Make, seconds: float, rng: int = 1, **given: Any) -> Notes:
    async with running(make_driver, seconds, rng, **given) as robot:
        return robot.notes


def off_road(x: float, y: float) -> float:
    return ROADS.nearest(x, y)[1]


async def test_same_seed_gives_the_same_samples_and_another_does_not(make_driver: Make) -> None:
    first = await recorded(make_driver, 120, rng=5)
    again = await recorded(make_driver, 120, rng=5)
    other = await recorded(make_driver, 120, rng=6)
    assert first.samples == again.samples
    assert first.states == again.states
    assert first.samples != other.samples


async def test_block_of_any_length_holds_the_samples_that_come_one_by_one(make_driver: Make) -> None:
    """Also while commands come: what happens does not depend on when it is looked at."""

    async def ordered(block: float) -> dict[str, list[tuple[int, Any]]]:
        async with running(make_driver, 3.3, start="dock-1", battery=0.8, block=block) as robot:
            task = robot.command("goto", waypoint="w-12")
            await robot.clock.advance(15.25)
            robot.driver.halt()
            await robot.clock.advance(2.0)
            await robot.driver.stop()
            await robot.clock.advance(9.45)
            await asyncio.gather(task, return_exceptions=True)
            return robot.notes.samples

    one_by_one = await ordered(0.1)
    assert len(one_by_one["gripper.force"]) == 301
    for block in (0.7, 5.0):
        found = await ordered(block)
        assert {name: one_by_one[name][: len(rows)] for name, rows in found.items()} == found
        assert len(found["gripper.force"]) > 290


async def test_suspended_robot_does_not_catch_up_and_its_times_go_on(make_driver: Make) -> None:
    async with running(make_driver, 1.0, start="dock-1") as robot:
        robot.clock._elapsed += 60_000_000  # time passes and nobody gets a turn
        await robot.clock.advance(1.0)
        times = [ts for ts, _ in robot.notes.samples["gripper.force"]]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert [gap for gap in gaps if gap != 100_000] == [pytest.approx(60_100_000, abs=100_000)]


async def test_option_seed_wins_over_the_runtimes_randomness(make_driver: Make) -> None:
    first = await recorded(make_driver, 30, rng=5, seed=7)
    second = await recorded(make_driver, 30, rng=6, seed=7)
    assert first.samples == second.samples


@pytest.mark.parametrize(
    ("channel", "rate"),
    [
        ("gripper.force", 10),
        ("pose", 5),
        ("speed", 5),
        ("motor.left.temperature", 5),
        ("motor.right.current", 5),
        ("battery.level", 1),
        ("camera.front", 1),
        ("wifi.signal", 1),
    ],
)
async def test_channel_is_sampled_at_its_rate_with_even_times(make_driver: Make, channel: str, rate: int) -> None:
    notes = await recorded(make_driver, 59.95)
    times = [ts for ts, _ in notes.samples[channel]]
    assert len(times) == 60 * rate
    assert {b - a for a, b in itertools.pairwise(times)} == {1_000_000 // rate}


async def test_robot_stays_on_roads_and_within_its_limits_for_an_hour(make_driver: Make) -> None:
    notes = await recorded(make_driver, 3600, speed=1.3, acceleration=0.6)
    poses = [pose for _, pose in notes.samples["pose"]]
    assert max(off_road(p.x, p.y) for p in poses[::3]) < NOISE
    steps = [math.dist((a.x, a.y), (b.x, b.y)) for a, b in zip(poses, poses[5:], strict=False)]
    assert max(steps) <= 1.3 + 2 * NOISE
    assert max(steps) > 1.0, "it drives"
    speeds = [value for _, value in notes.samples["speed"]]
    assert min(speeds) >= 0
    assert max(speeds) <= 1.3 + 0.06
    changes = [abs(b - a) for a, b in itertools.pairwise(speeds)]
    assert max(changes) <= 0.6 * 0.2 + 0.1
    assert len({(round(p.x), round(p.y)) for p in poses}) > 60, "it comes around"


async def test_motors_heat_slowly_and_only_as_far_as_is_plausible(make_driver: Make) -> None:
    notes = await recorded(make_driver, 1800)
    temperatures = [value for _, value in notes.samples["motor.left.temperature"]]
    assert min(temperatures) > AMBIENT - 1
    assert AMBIENT + 2 < max(temperatures) < 80
    mean = [sum(temperatures[i : i + 50]) / 50 for i in range(0, len(temperatures) - 50, 50)]
    assert max(abs(b - a) for a, b in itertools.pairwise(mean)) < 1.0


@given(st.floats(0.1, 2.0), st.floats(0.1, 600.0))
def test_motor_at_constant_load_never_passes_its_final_temperature(speed: float, time: float) -> None:
    motor = Motor()
    goal = Motor()
    for _ in range(100):
        goal.step(speed, 0.0, 1000.0)
    before = motor.temperature
    motor.step(speed, 0.0, time)
    assert min(before, goal.temperature) <= motor.temperature <= max(before, goal.temperature)
    assert motor.temperature != before


async def test_low_battery_sends_the_robot_to_a_dock_until_it_is_full(make_driver: Make) -> None:
    notes = await recorded(make_driver, 3000, battery=0.27, battery_drain=20, start="packing-1")
    batteries = notes.state("battery")
    levels = [battery.level for battery in batteries]
    assert min(levels) < 0.25
    charging = [index for index, battery in enumerate(batteries) if battery.charging]
    assert charging
    assert max(levels[charging[0] :]) >= 0.949
    times = [ts for ts, _ in notes.samples["battery.level"]]
    at = next(pose for ts, pose in notes.samples["pose"] if ts >= times[charging[0]])
    docks = [station.point for station in PLAN.stations if station.kind == "dock"]
    assert min(math.dist((at.x, at.y), dock) for dock in docks) < NOISE
    assert all(battery.current < 0 for battery in batteries if battery.charging)
    after = batteries[charging[-1] + 200]
    assert not after.charging


@given(st.floats(0.0, 1.0), st.floats(0.0, 500.0))
def test_battery_under_load_has_less_voltage_and_stays_within_its_bounds(level: float, power: float) -> None:
    battery = Battery(level, 1.0)
    idle = battery.voltage
    battery.step(power, 60.0)
    assert battery.voltage <= idle
    assert 0.0 <= battery.level <= level
    assert 18.0 < battery.voltage < 29.5


async def test_wifi_is_stronger_near_an_access_point(make_driver: Make) -> None:
    notes = await recorded(make_driver, 3600)
    poses = dict(notes.samples["pose"])
    near: list[float] = []
    far: list[float] = []
    for ts, signal in notes.samples["wifi.signal"]:
        assert -95 <= signal <= -20
        distance = min(math.dist((poses[ts].x, poses[ts].y), point) for point in PLAN.access_points)
        (near if distance < 6 else far if distance > 14 else []).append(signal)
    assert sum(near) / len(near) > sum(far) / len(far) + 6


def test_goto_drives_to_the_waypoint_and_reports_progress(robot: MakeRobot) -> None:
    sim = robot("sim", {"start": "dock-1", "battery": 1.0})
    answer = sim.command("goto", within=150, waypoint="packing-2")
    assert answer.status == "succeeded"
    assert answer.result is not None
    assert (answer.result["x"], answer.result["y"]) == (35.5, 12.0)
    assert answer.progress == sorted(answer.progress)
    assert len(answer.progress) >= 5
    poses = sim.samples("pose")
    assert [pose for pose in poses if math.dist((pose["x"], pose["y"]), (35.5, 12.0)) < NOISE]
    assert max(off_road(pose["x"], pose["y"]) for pose in poses) < NOISE


def test_goto_a_point_on_a_road_stops_there(robot: MakeRobot, virtual_clock: StageClock) -> None:
    sim = robot("sim", {"start": "dock-1", "patrol": False})
    answer = sim.command("goto", x=10.0, y=5.1)
    assert answer.result is not None
    assert answer.result["y"] == 5.0
    virtual_clock.advance(30)
    pose = sim.state.pose
    assert pose is not None
    assert math.dist((pose.x, pose.y), (10.0, 5.0)) < 0.01


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"x": 13, "y": 8}, "(13, 8) is 2.0 m from the nearest road"),
        ({"waypoint": "nowhere"}, "no road leads to a station 'nowhere', known are aisle-1-a"),
    ],
)
def test_goto_where_no_road_leads_is_rejected_with_the_reason(
    robot: MakeRobot, args: dict[str, Any], says: str
) -> None:
    answer = robot().command("goto", **args)
    assert answer.status == "rejected"
    assert says in str(answer.reason)


def test_stop_cancels_a_goto_brakes_and_stays_until_patrol(robot: MakeRobot, virtual_clock: StageClock) -> None:
    sim = robot("sim", {"start": "dock-1", "battery": 1.0})
    going = sim.begin("goto", waypoint="packing-2")
    virtual_clock.advance(15)
    sim.command("stop")
    virtual_clock.advance(5)
    assert going.answer is not None
    assert going.answer.status == "cancelled"
    assert "stopped" in str(going.answer.reason)
    before = sim.state.pose
    assert before is not None
    assert off_road(before.x, before.y) < NOISE
    virtual_clock.advance(60)
    assert sim.state.pose == before
    assert set(sim.samples("speed")[-200:]) == {0.0}
    sim.command("patrol")
    virtual_clock.advance(30)
    assert sim.state.pose != before


def test_second_goto_replaces_the_first(robot: MakeRobot) -> None:
    sim = robot("sim", {"start": "dock-1"})
    first = sim.begin("goto", waypoint="packing-2")
    assert sim.command("goto", within=90, waypoint="dock-5").status == "succeeded"
    assert first.answer is not None
    assert (first.answer.status, first.answer.reason) == ("cancelled", "replaced by an order to dock-5")


async def test_geographic_robot_reports_where_it_is_on_earth(make_driver: Make) -> None:
    origin = {"lat": 47.0, "lon": 8.0, "alt": 400.0}
    notes = await recorded(make_driver, 60, start="dock-1", geo=origin, position="geo")
    assert "pose" not in notes.samples
    assert not notes.state("pose")
    geo = notes.samples["geo"][0][1]
    assert isinstance(geo, Geo)
    north = (geo.lat - 47.0) * 111_320
    east = (geo.lon - 8.0) * 111_320 * math.cos(math.radians(47.0))
    assert (round(east, 2), round(north, 2)) == (2.0, 8.0)
    assert (geo.alt, geo.heading) == (400.0, 90.0)


async def test_position_on_earth_without_an_origin_is_a_mistake(make_driver: Make) -> None:
    with pytest.raises(ConfigurationError, match="needs the option geo"):
        async with make_driver("sim", VirtualClock(), position="geo"):
            pass


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        ("{", "plan.yaml: not YAML"),
        ("id: x", "plan.yaml: Object missing required field `name`"),
        ("{id: x, name: x, width: 1, height: 1}", "roads: there are none"),
        ("{id: x, name: x, width: 1, height: 1, roads: [[a, b]]}", r"roads\[0\]: there is no station 'a'"),
    ],
)
async def test_plan_that_cannot_be_used_is_a_configuration_error(
    make_driver: Make, tmp_path: Path, plan: str, problem: str
) -> None:
    (tmp_path / "plan.yaml").write_text(plan)
    with pytest.raises(ConfigurationError, match=problem):
        async with make_driver("sim", VirtualClock(), plan="plan.yaml"):
            pass


async def test_station_that_no_road_reaches_from_the_start_is_a_configuration_error(
    make_driver: Make, tmp_path: Path
) -> None:
    stations = [{"name": name, "kind": "waypoint", "x": x, "y": 0} for x, name in enumerate("abcd")]
    plan = {"id": "p", "name": "p", "width": 4, "height": 1, "stations": stations, "roads": [["a", "b"], ["c", "d"]]}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    with pytest.raises(ConfigurationError, match="no road leads from near 'a' to near 'c'"):
        async with make_driver("sim", VirtualClock(), plan="plan.yaml", start="a"):
            pass


@given(st.sampled_from(STATIONS), st.sampled_from(STATIONS), st.floats(0.2, 3.0), st.floats(0.1, 2.0))
def test_drive_follows_every_route_exactly_and_within_limits(a: str, b: str, speed: float, acceleration: float) -> None:
    start, goal = ROADS.at(a), ROADS.at(b)
    drive = Drive(start.x, start.y, 0.0, Limits(speed, acceleration))
    drive.follow(ROADS.route(start, goal))
    for _ in range(200_000):
        x, y, before, yaw = drive.x, drive.y, drive.speed, drive.yaw
        drive.step(0.05)
        assert math.dist((x, y), (drive.x, drive.y)) <= speed * 0.05 + 1e-9
        assert abs(drive.speed - before) <= acceleration * 0.05 + 1e-6
        assert not (drive.speed > 0 and abs(math.remainder(drive.yaw - yaw, math.tau)) > 1e-9)
        if drive.arrived:
            break
        assert off_road(drive.x, drive.y) < 1e-6
    assert math.dist((drive.x, drive.y), goal.point) < 1e-6
    assert drive.driven == pytest.approx(ROADS.length(start, goal), abs=0.05)


def _crosses(plan: Plan, a: tuple[float, float], b: tuple[float, float]) -> bool:
    def side(p: Any, q: Any, r: Any) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    def cut(p: Any, q: Any) -> bool:
        return side(a, b, p) * side(a, b, q) < 0 and side(p, q, a) * side(p, q, b) < 0

    edges = [(w[i], w[i + 1]) for w in plan.walls for i in range(len(w) - 1)]
    for zone in plan.zones:
        if zone.kind in ("rack", "keepout"):
            edges += list(zip(zone.polygon, zone.polygon[1:] + zone.polygon[:1], strict=True))
    return any(cut(p, q) for p, q in edges)


def test_roads_of_the_warehouse_keep_off_walls_and_racks_and_reach_every_station_on_them() -> None:
    for a, b in PLAN.roads:
        assert not _crosses(PLAN, ROADS.stations[a].point, ROADS.stations[b].point), (a, b)
    for name in STATIONS:
        ROADS.route(ROADS.at("dock-1"), ROADS.at(name))
    on_roads = {name for road in PLAN.roads for name in road}
    assert {s.name for s in PLAN.stations} == on_roads
    assert all(0 <= s.x <= PLAN.width and 0 <= s.y <= PLAN.height for s in PLAN.stations)


def test_warehouse_is_a_site_of_the_hub() -> None:
    import msgspec

    from botyard.fleet.sites import Site

    site = msgspec.convert(yaml.safe_load(WAREHOUSE.read_text()), Site)
    assert (site.id, site.width, site.height) == ("warehouse", 40, 24)


def test_robot_on_the_demo_plan_keeps_the_contract(robot: MakeRobot, virtual_clock: StageClock) -> None:
    sim = robot("sim", {"start": "dock-3", "geo": {"lat": 47.0, "lon": 8.0}})
    virtual_clock.advance(120)
    assert sim.state.pose is not None
    assert sim.state.geo is not None
    assert sim.state.battery is not None
    assert len(sim.samples("gripper.force")) > 1150
    assert len(sim.samples("geo")) > 550
    assert sim.finish() == []  # the hub has checked every message against the schemas


async def test_signals_are_declared_and_come_at_their_rate_within_their_range(make_driver: Make) -> None:
    for rate in (10, 5, 1):
        async with running(make_driver, 30, signals=20, signal_rate=rate) as robot:
            names = [f"signal.{number}" for number in range(1, 21)]
            declared = {channel.name: channel.rate for channel in robot.driver.capabilities.channels}
            assert all(declared[name] == rate for name in names)
            for name in names:
                times, values = zip(*robot.notes.samples[name], strict=True)
                assert {later - earlier for earlier, later in itertools.pairwise(times)} == {1_000_000 // rate}
                assert max(abs(value) for value in values) < 1.2
                assert max(values) - min(values) > 0.3
    quiet = await recorded(make_driver, 5)
    assert not any(name.startswith("signal") for name in quiet.samples)


async def test_odometry_drifts_with_wrong_wheels_and_is_right_with_measured_ones(make_driver: Make) -> None:
    real = {"real_left": 0.104, "real_right": 0.097, "real_track": 0.43}
    ends = []
    for wheels in (None, Wheels(0.104, 0.097, 0.43)):
        async with running(make_driver, start="dock-1", patrol=False, seed=1, odometry=real) as robot:
            assert robot.driver.capabilities.wheels == Wheels(0.1, 0.1, 0.4)
            if wheels is not None:
                robot.driver.measured(wheels)
            task = robot.command("goto", waypoint="shipping")
            await robot.clock.advance(120.0)
            assert task.done()
            reckoned = robot.notes.samples["odometry"][-1][1]
            assert reckoned.frame == "odom"
            ends.append(math.dist((reckoned.x, reckoned.y), (robot.pose.x, robot.pose.y)))
    assert ends[0] > 0.5
    assert ends[1] < 0.05


async def test_holonomic_robot_sets_out_at_once_and_turns_while_it_drives(make_driver: Make) -> None:
    async with running(make_driver, 1, start="dock-3", patrol=False, kinematics="holonomic") as robot:
        task = robot.command("goto", waypoint="w-16")
        await robot.clock.advance(60)
        assert task.result()["y"] == 16.0
        assert robot.driver.capabilities.about.type == "holonomic"
        poses = [pose for _, pose in robot.poses]
        moved = [
            b.yaw for a, b in itertools.pairwise(poses) if math.dist((a.x, a.y), (b.x, b.y)) > 0.05 and a.yaw != b.yaw
        ]
        assert moved, "it turns while it drives"


async def test_robot_with_a_load_gains_speed_more_slowly_and_needs_more_current() -> None:
    empty, laden = (Drive(0.0, 0.0, 0.0, Limits(1.0, 0.5)) for _ in range(2))
    laden.mass = 2.0
    for drive in (empty, laden):
        drive.follow([(10.0, 0.0)])
        for _ in range(10):
            drive.step(0.1)
    assert empty.speed == pytest.approx(2 * laden.speed, rel=0.01)
    light, heavy = Motor(), Motor()
    light.step(1.0, 0.2, 0.1)
    heavy.step(1.0, 0.2, 0.1, 2.0)
    assert heavy.current > light.current


@given(st.lists(st.tuples(*[st.floats(-3, 3)] * 3, st.integers(1, 30)), max_size=8), st.booleans())
def test_drive_by_velocity_keeps_its_limits_and_comes_to_rest(wishes: list[Any], holonomic: bool) -> None:
    drive = Drive(0.0, 0.0, 0.0, Limits(1.0, 0.5), holonomic=holonomic)
    for ahead, left, turning, steps in [*wishes, (0.0, 0.0, 0.0, 40)]:
        drive.go(ahead, left, turning)
        for _ in range(steps):
            speed, turned = drive.speed, drive.turning
            x, y = drive.x, drive.y
            drive.step(0.1)
            assert drive.speed <= 1.0 + 1e-9
            assert abs(drive.speed - speed) <= 0.05 + 1e-9
            assert abs(drive.turning) <= 1.2 + 1e-9
            assert abs(drive.turning - turned) <= 0.2 + 1e-9
            assert math.dist((x, y), (drive.x, drive.y)) <= 0.1 + 1e-9
    assert drive.arrived


async def test_stalled_robot_says_so_fails_its_order_and_goes_on_when_it_can(make_driver: Make) -> None:
    async with running(make_driver, 1, start="dock-3", patrol=False) as robot:
        driver: Any = robot.driver
        task = robot.command("goto", waypoint="aisle-3-b")
        await robot.clock.advance(8)
        driver.afflict("motor_stall", 1.0)
        await robot.clock.advance(4)
        with pytest.raises(CommandFailedError, match="the motors are stalled"):
            task.result()
        assert robot.notes.state("health")[-1] == "error"
        assert robot.notes.state("health_reasons")[-1] == ["the motors are stalled"]
        assert max(value for _, value in robot.notes.samples["motor.left.current"]) > 15
        rest = robot.pose
        driver.afflict("motor_stall", None)
        task = robot.command("goto", waypoint="aisle-3-b")
        await robot.clock.advance(60)
        assert task.result()["x"] == 24.0
        assert robot.pose != rest
        assert robot.notes.state("health")[-1] == "ok"


async def test_robot_without_power_stops_and_goes_on_with_a_fresh_battery(make_driver: Make) -> None:
    async with running(make_driver, 1, start="dock-3", patrol=False, battery=0.9) as robot:
        driver: Any = robot.driver
        robot.command("goto", waypoint="aisle-3-b")
        await robot.clock.advance(8)
        driver.afflict("battery_failure", 0.0)
        await robot.clock.advance(5)
        rest = robot.pose
        refused = robot.command("goto", waypoint="aisle-3-b")
        await robot.clock.advance(5)
        assert robot.pose == rest
        with pytest.raises(CommandFailedError, match="the battery is empty"):
            refused.result()
        driver.afflict("battery_failure", None)
        task = robot.command("goto", waypoint="aisle-3-b")
        await robot.clock.advance(60)
        assert task.result()["x"] == 24.0


GATED = {
    "id": "gated",
    "name": "gated",
    "width": 20,
    "height": 10,
    "stations": [
        {"name": "a", "kind": "station", "x": 0, "y": 0},
        {"name": "gate", "kind": "door", "x": 10, "y": 0},
        {"name": "b", "kind": "station", "x": 20, "y": 0},
    ],
    "roads": [["a", "gate"], ["gate", "b"]],
}


@pytest.mark.parametrize(("kind", "opens"), [("door", 3.0), ("lift", 12.0)])
async def test_door_lets_one_robot_through_at_a_time_and_takes_its_time(
    make_driver: Make, tmp_path: Path, kind: str, opens: float
) -> None:
    GATED["stations"][1]["kind"] = kind  # type: ignore[index]
    (tmp_path / "gated.yaml").write_text(yaml.safe_dump(GATED))
    given_ = {"plan": "gated.yaml", "start": "a", "patrol": False}
    async with running(make_driver, 0, rng=1, **given_) as first:
        clock, notes = first.clock, Notes(first.clock)
        async with make_driver("sim", clock, 2, **given_) as other:
            task = asyncio.create_task(other.run(notes))
            second = Running(other, clock, notes)
            await clock.advance(0.5)
            done = [robot.command("goto", waypoint="b") for robot in (first, second)]
            await clock.advance(120)
            assert [one.result()["x"] for one in done] == [20.0, 20.0]
            inside = [{ts for ts, pose in robot.poses if abs(pose.x - 10.0) < 0.9} for robot in (first, second)]
            assert inside[0]
            assert inside[1]
            assert not inside[0] & inside[1]
            waited = [ts for ts, pose in first.poses if abs(pose.x - 9.0) < 0.02]
            assert max(waited) - min(waited) >= opens * 1e6 - 300_000
            assert "waiting for gate" in second.notes.state("doing")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_dock_is_taken_by_one_robot_at_a_time(make_driver: Make) -> None:
    from botyard_plugins.sim.facilities import Facilities

    docks = Facilities(ROADS.stations)
    assert docks.claim("dock-1", "a", 1.0)
    assert not docks.claim("dock-1", "b", 2.0)
    docks.leave("dock-1", "b", 3.0)
    assert docks.taken("dock-1", "b", 3.0)
    docks.leave("dock-1", "a", 5.0)
    assert not docks.claim("dock-1", "b", 4.5), "at that moment it was still taken"
    assert docks.claim("dock-1", "b", 5.0)
