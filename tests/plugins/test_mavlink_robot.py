"""A whole robot with the driver `mavlink`, commanded by its hub, with the limits of its robot.yaml."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pymavlink.dialects.v20.ardupilotmega as mavlink
import pytest

from botyard_plugins.simulation.testing import MakeRobot, Robot, StageClock
from botyard_schemas.virtual import LoopClock
from tests.plugins.mavpeer import HOME, Flavour, Peer
from tests.plugins.test_mavlink import FLAVOURS, free_port, north

SAFETY = """
safety:
  limits: {max_speed: 4 m/s}
  geofence: {frame: field, polygons_m: [[[-100, -100], [100, -100], [100, 100], [-100, 100]]]}
"""

Drone = Callable[..., tuple[Robot, Peer]]


@pytest.fixture
def drone(robot: MakeRobot, virtual_clock: StageClock, tmp_path: Path) -> Iterator[Drone]:
    """A robot and its vehicle, which has been found."""
    peers: list[Peer] = []

    async def launch(port: int, flavour: Flavour) -> Peer:
        return await Peer(LoopClock(asyncio.get_running_loop()), port, flavour).__aenter__()

    def make(flavour: Flavour = "px4", more: str = "") -> tuple[Robot, Peer]:
        port = free_port()
        file = tmp_path / "robot.yaml"
        options = f"{{connection: 'udp:127.0.0.1:{port}', origin: {{lat: {HOME[0]}, lon: {HOME[1]}, frame: field}}}}"
        file.write_text(f"robot: drone-1\ndrivers:\n  mavlink:\n    options: {options}\n{more}")
        made = robot(file)
        peers.append(virtual_clock.run(launch(port, flavour)))
        virtual_clock.advance_until(lambda: made.state.pose is not None, limit=30)
        return made, peers[0]

    yield make
    for peer in peers:
        virtual_clock.run(peer.__aexit__())


@FLAVOURS
def test_drone_is_flown_by_its_hub_and_nothing_is_lost(drone: Drone, flavour: Flavour) -> None:
    flying, peer = drone(flavour)
    for name, args in (
        ("arm", {}),
        ("takeoff", {"altitude": 15}),
        ("goto_local", {"x": 30, "y": 40, "z": 20}),
        ("land", {}),
    ):
        answer = flying.command(name, within=120, **args)
        assert (name, answer.status, answer.reason) == (name, "succeeded", None)
    assert (peer.east, peer.north) == pytest.approx((30, 40), abs=2.5)
    pose = flying.state.pose
    assert pose is not None
    assert pose.frame == "field"
    assert (pose.x, pose.y) == pytest.approx((30, 40), abs=2.5)
    assert flying.state.battery is not None
    assert max(flying.samples("height")) == pytest.approx(20, abs=1.5)
    assert "mavlink.found" in [event.name for event in flying.events()]
    assert flying.finish() == []


def test_limits_of_robot_yaml_reach_the_vehicle(drone: Drone) -> None:
    flying, peer = drone(more=SAFETY)
    assert flying.command("arm").status == "succeeded"
    assert flying.command("takeoff", altitude=15).status == "succeeded"
    beyond = flying.command("goto_local", x=200, y=0)
    assert (beyond.status, "outside of the geofence" in str(beyond.reason)) == ("rejected", True)
    unchecked = flying.command("goto", lat=north(20), lon=HOME[1])
    assert (unchecked.status, "max_speed, geofence cannot be kept" in str(unchecked.reason)) == ("rejected", True)
    for args in ({}, {"speed": 12}):
        flying.command("goto_local", x=len(args) * 20, y=20, **args)
    assert {one.param2 for one in peer.commands(mavlink.MAV_CMD_DO_CHANGE_SPEED)} == {4.0}


def test_stop_that_the_hub_asks_for_holds_the_drone_in_the_air(drone: Drone, virtual_clock: StageClock) -> None:
    flying, peer = drone()
    flying.command("arm")
    flying.command("takeoff", altitude=15)
    going = flying.begin("goto_local", x=500, y=0)
    virtual_clock.advance(5)
    assert flying.command("safety.stop").status == "succeeded"
    at = peer.east
    virtual_clock.advance(10)
    assert peer.east == pytest.approx(at, abs=1)
    assert peer.armed
    assert peer.up == pytest.approx(15, abs=1)
    assert going.answer is not None
    assert going.answer.status == "cancelled"


def test_stop_that_the_vehicle_refuses_has_failed_for_the_hub(drone: Drone, virtual_clock: StageClock) -> None:
    flying, peer = drone()
    flying.command("arm")
    flying.command("takeoff", altitude=15)
    flying.begin("goto_local", x=500, y=0)
    virtual_clock.advance(5)
    peer.denies = {mavlink.MAV_CMD_DO_REPOSITION: mavlink.MAV_RESULT_DENIED}
    assert flying.command("safety.stop").status == "failed"
    assert "mavlink.not_held" in [event.name for event in flying.events()]


def test_position_that_is_none_on_earth_ends_no_driver(drone: Drone, virtual_clock: StageClock) -> None:
    flying, peer = drone()
    nowhere = 2**31 - 1
    peer.send(mavlink.MAVLink_global_position_int_message(0, nowhere, nowhere, 0, 0, 0, 0, 0, 0))
    peer.send(mavlink.MAVLink_home_position_message(nowhere, 0, 0, 0, 0, 0, [1, 0, 0, 0], 0, 0, 0))
    virtual_clock.advance(3)
    assert flying.command("arm").status == "succeeded"
    assert flying.state.geo is not None
    assert flying.state.geo.lat == pytest.approx(HOME[0])
    assert [event.name for event in flying.events()].count("mavlink.found") == 1
    assert flying.finish() == []


def test_drone_in_a_pilots_hands_takes_no_commands(drone: Drone, virtual_clock: StageClock) -> None:
    flying, peer = drone()
    flying.command("arm")
    flying.command("takeoff", altitude=15)
    peer.mode = "POSCTL"
    virtual_clock.advance(3)
    assert flying.state.mode == "manual"
    for name, says in (
        ("rtl", "a person drives it"),
        ("hold", "a pilot flies the vehicle in POSCTL"),
        ("land", "a pilot"),
    ):
        answer = flying.command(name)
        assert answer.status == "rejected"
        assert says in str(answer.reason)
    assert peer.mode == "POSCTL"
