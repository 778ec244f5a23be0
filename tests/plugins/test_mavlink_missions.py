"""Missions of the driver `mavlink`: what is uploaded over a bad radio, and how it is flown."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pymavlink.dialects.v20.ardupilotmega as mavlink
import pytest

from botyard_edge.driver import CommandFailedError, CommandRejectedError, Driver
from botyard_edge.testing import VirtualClock
from botyard_schemas.validation import first_error
from tests.plugins.mavpeer import HOME, Flavour
from tests.plugins.test_mavlink import FLAVOURS, Flown, airborne, flown, north

Make = Callable[..., Driver]

ITEMS: list[dict[str, Any]] = [
    {"do": "takeoff", "altitude": 20},
    {"do": "speed", "speed": 8},
    {"do": "waypoint", "lat": north(60), "lon": HOME[1], "altitude": 25, "hold": 2},
    {"do": "waypoint", "lat": north(20), "lon": HOME[1], "altitude": 15},
    {"do": "land"},
]
NUMBERS = [
    mavlink.MAV_CMD_NAV_TAKEOFF,
    mavlink.MAV_CMD_DO_CHANGE_SPEED,
    mavlink.MAV_CMD_NAV_WAYPOINT,
    mavlink.MAV_CMD_NAV_WAYPOINT,
    mavlink.MAV_CMD_NAV_LAND,
]


def stored(flight: Flown) -> list[int]:
    """The commands of the items that the vehicle has, without ArduPilot's home."""
    return [item.command for item in flight.peer.mission][0 if flight.peer.flavour == "px4" else 1 :]


@FLAVOURS
@pytest.mark.parametrize("requests_int", [True, False])
async def test_mission_is_uploaded_as_the_autopilot_counts_its_items(
    make_driver: Make, flavour: Flavour, requests_int: bool
) -> None:
    async with flown(make_driver, flavour) as flight:
        flight.peer.requests_int = requests_int
        assert await flight.command("mission_upload", items=ITEMS) == {"items": 5}
        assert stored(flight) == NUMBERS
        home_first = flavour == "copter"
        items = flight.peer.mission
        assert [item.seq for item in items] == list(range(len(items)))
        assert [item.current for item in items] == [1] + [0] * (len(items) - 1)
        waypoint = items[2 + home_first]
        assert (waypoint.x, waypoint.y, waypoint.z) == (round(north(60) * 1e7), round(HOME[1] * 1e7), 25)
        assert (waypoint.param1, waypoint.frame) == (2, mavlink.MAV_FRAME_GLOBAL_RELATIVE_ALT_INT)
        assert math.isnan(waypoint.param4)


@FLAVOURS
@pytest.mark.parametrize("seed", range(5))
async def test_mission_is_uploaded_whole_although_the_radio_loses_a_third(
    make_driver: Make, flavour: Flavour, seed: int
) -> None:
    async with flown(make_driver, flavour, attempts=15, heartbeat_timeout=30) as flight:
        flight.peer.rng.seed(seed)
        flight.peer.loss = 0.33
        many = [*ITEMS[:3], *[ITEMS[3]] * 20, ITEMS[4]]
        assert await flight.command("mission_upload", items=many) == {"items": 24}
        assert stored(flight) == [*NUMBERS[:3], *[NUMBERS[3]] * 20, NUMBERS[4]]


@pytest.mark.parametrize(("flavour", "uploads"), [("px4", 1), ("copter", 2)])
async def test_upload_whose_last_acknowledgement_is_lost_succeeds(
    make_driver: Make, flavour: Flavour, uploads: int
) -> None:
    async with flown(make_driver, flavour) as flight:
        flight.peer.forgets_last_ack = 1
        await flight.command("mission_upload", items=ITEMS)
        counts = [one for one in flight.peer.received if one.get_type() == "MISSION_COUNT"]
        assert len(counts) == uploads, "ArduPilot answers the item that is sent again with an error, PX4 says yes"
        assert stored(flight) == NUMBERS


@FLAVOURS
async def test_takeoff_and_landing_without_a_place_are_where_the_vehicle_and_the_item_before_are(
    make_driver: Make, flavour: Flavour
) -> None:
    async with flown(make_driver, flavour) as flight:
        flight.peer.north = flight.peer.east = 30.0
        await flight.clock.advance(1.0)
        await flight.command("mission_upload", items=[ITEMS[0], {"do": "speed", "speed": 7}, FAR, {"do": "land"}])
        items = flight.peer.mission[flavour == "copter" :]
        assert [item.frame == mavlink.MAV_FRAME_MISSION for item in items] == [False, True, False, False]
        places = [(item.x / 1e7, item.y / 1e7) for item in items]
        if flavour == "px4":  # which would fly to 0, 0
            assert places[0] == pytest.approx(
                (north(30), HOME[1] + (north(30) - HOME[0]) / math.cos(math.radians(HOME[0]))), abs=1e-6
            )
            assert places[3] == pytest.approx((FAR["lat"], FAR["lon"]), abs=1e-6)
        else:
            assert places[0] == places[3] == (0, 0), "which is where it is"
        await flight.command("arm")
        await flight.command("mission_start")
        assert (flight.peer.north, flight.peer.up) == pytest.approx((400, 0), abs=1.5)


@FLAVOURS
async def test_upload_over_a_radio_that_is_slower_than_the_repetitions_succeeds(
    make_driver: Make, flavour: Flavour
) -> None:
    async with flown(make_driver, flavour, ack_timeout=0.3) as flight:
        flight.peer.late = 0.7  # so whatever is sent comes twice or three times
        await flight.command("mission_upload", items=ITEMS)
        assert stored(flight) == NUMBERS


async def test_upload_to_a_vehicle_that_finds_everything_out_of_order_ends(make_driver: Make) -> None:
    async with flown(make_driver, "copter") as flight:
        peer, taken = flight.peer, flight.peer._take_item
        wrong = mavlink.MAVLink_mission_ack_message(255, 190, mavlink.MAV_MISSION_INVALID_SEQUENCE)
        peer._take_item = lambda item: peer.send(wrong) if item.seq else taken(item)  # type: ignore[method-assign]
        with pytest.raises(CommandFailedError, match="does not get on"):
            await flight.command("mission_upload", items=ITEMS)


async def test_upload_whose_last_acknowledgement_never_comes_is_given_up(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        flight.peer.forgets_last_ack = 100
        with pytest.raises(CommandFailedError, match="mission_upload: the vehicle refuses: an error"):
            await flight.command("mission_upload", items=ITEMS)


async def test_mission_that_the_vehicle_refuses_says_why_and_where(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        flight.peer.denies = {mavlink.MAV_CMD_DO_CHANGE_SPEED: mavlink.MAV_MISSION_UNSUPPORTED}
        with pytest.raises(CommandFailedError, match=r"it does not support an item \(.* 3\), after item 1 of 5"):
            await flight.command("mission_upload", items=ITEMS)


async def test_upload_to_a_vehicle_that_does_not_answer_says_how_often_it_was_asked(make_driver: Make) -> None:
    async with flown(make_driver, attempts=3) as flight:
        flight.peer.deaf = True
        with pytest.raises(CommandFailedError, match="though it was asked 3 times"):
            await flight.command("mission_upload", items=ITEMS)


async def test_upload_to_a_vehicle_that_asks_for_the_same_for_ever_ends(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        flight.peer._take_item = lambda item: flight.peer._ask_item()  # type: ignore[method-assign] # noqa: ARG005
        with pytest.raises(CommandFailedError, match="asked for item 0 20 times and does not get on"):
            await flight.command("mission_upload", items=ITEMS)


@pytest.mark.parametrize(("name", "args"), [("mission_upload", {"items": ITEMS}), ("mission_clear", {})])
async def test_mission_is_neither_replaced_nor_cleared_while_it_is_flown(
    make_driver: Make, name: str, args: dict[str, Any]
) -> None:
    async with flown(make_driver) as flight:
        await flight.command("mission_upload", items=ITEMS)
        await airborne(flight)
        flight.peer.mode = "MISSION"
        await flight.clock.advance(2.0)
        with pytest.raises(CommandRejectedError, match="the vehicle flies a mission; send hold first"):
            await flight.command(name, **args)
        assert stored(flight) == NUMBERS


@FLAVOURS
async def test_mission_is_flown_to_its_last_item(make_driver: Make, flavour: Flavour) -> None:
    async with flown(make_driver, flavour) as flight:
        await flight.command("mission_upload", items=ITEMS)
        await flight.command("arm")
        await flight.command("mission_start")
        assert flight.progress == sorted(flight.progress)
        assert len(flight.progress) >= 3
        assert flight.peer.north == pytest.approx(20, abs=1)
        assert flight.peer.up == pytest.approx(0, abs=0.6)
        first = 0 if flavour == "px4" else 1
        reached = [event[4]["item"] for event in flight.notes.events if event[0] == "mission.reached" and event[4]]
        assert reached == list(range(first, first + 5))


@FLAVOURS
async def test_mission_that_ends_with_the_return_is_done_when_the_vehicle_returns(
    make_driver: Make, flavour: Flavour
) -> None:
    async with flown(make_driver, flavour) as flight:
        await flight.command("mission_upload", items=[*ITEMS[:3], {"do": "rtl"}])
        await flight.command("arm")
        await flight.command("mission_start")
        assert flight.peer.mode == "RTL"


async def test_mission_is_done_when_the_vehicle_says_so_and_not_while_it_is_active(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        flight.peer.tells_state = True
        await flight.command("mission_upload", items=[*ITEMS[:2], FAR])
        await flight.command("arm")
        await flight.command("mission_start")
        assert flight.peer.north == pytest.approx(400, abs=1)


async def test_mission_that_a_pilot_ends_is_cancelled_and_says_where(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await flight.command("mission_upload", items=ITEMS)
        await flight.command("arm")
        flying = flight.begin("mission_start")
        await flight.clock.advance(10.0)
        flight.peer.mode = "POSCTL"
        await flight.clock.advance_until(flying.done)
        with pytest.raises(CommandFailedError, match="the vehicle changed to POSCTL at item 2 of 4") as failure:
            flying.result()
        assert failure.value.cancelled


@FLAVOURS
@pytest.mark.parametrize("seed", range(4))
async def test_mission_is_flown_twice_although_the_radio_loses_a_fifth(
    make_driver: Make, flavour: Flavour, seed: int
) -> None:
    async with flown(make_driver, flavour, attempts=15, heartbeat_timeout=20) as flight:
        flight.peer.rng.seed(seed)
        flight.peer.loss = 0.2
        await flight.command("mission_upload", items=ITEMS)
        for _ in range(2):
            await flight.command("arm")
            began = flight.clock.monotonic()
            await flight.command("mission_start")
            assert flight.clock.monotonic() - began > 15
            assert flight.peer.up == pytest.approx(0, abs=0.6)
            await flight.clock.advance(10.0)  # its motors are seen to have stopped


async def on_the_way_to_its_last_item(flight: Flown, last: dict[str, Any]) -> "asyncio.Task[Any]":
    """A mission under way, 370 m before its end or as high as it flies."""
    await flight.command("mission_upload", items=[*ITEMS[:2], last])
    await flight.command("arm")
    flying = flight.begin("mission_start")
    at = 2 + (flight.peer.flavour == "copter")
    await flight.clock.advance_until(lambda: flight.peer.current == at, limit=120)
    await flight.clock.advance(3.0)
    assert not flying.done()
    return flying


FAR = {"do": "waypoint", "lat": north(400), "lon": HOME[1], "altitude": 25}


@FLAVOURS
async def test_mission_that_a_pilot_ends_on_the_way_to_its_last_item_is_cancelled(
    make_driver: Make, flavour: Flavour
) -> None:
    async with flown(make_driver, flavour) as flight:
        flying = await on_the_way_to_its_last_item(flight, FAR)
        mode = flight.peer.mode = {"px4": "POSCTL", "copter": "LOITER"}[flavour]
        await flight.clock.advance_until(flying.done, limit=30)
        with pytest.raises(CommandFailedError, match=f"changed to {mode} at item") as failure:
            flying.result()
        assert failure.value.cancelled


@FLAVOURS
@pytest.mark.parametrize("mode", ["RTL", "LAND"])
async def test_mission_whose_last_item_is_a_place_is_not_done_when_the_vehicle_returns_or_lands_before(
    make_driver: Make, flavour: Flavour, mode: str
) -> None:
    async with flown(make_driver, flavour) as flight:
        flying = await on_the_way_to_its_last_item(flight, FAR)
        flight.peer.mode = mode
        await flight.clock.advance_until(flying.done, limit=60)
        with pytest.raises(CommandFailedError, match=f"the vehicle changed to {mode} at item"):
            flying.result()


@FLAVOURS
@pytest.mark.parametrize("falls", [False, True])
async def test_mission_whose_motors_are_cut_on_the_way_to_its_last_item_has_failed(
    make_driver: Make, flavour: Flavour, falls: bool
) -> None:
    async with flown(make_driver, flavour) as flight:
        flying = await on_the_way_to_its_last_item(flight, FAR)
        flight.peer.armed = False
        await flight.clock.advance(1.2)  # it is seen without its motors, and then on the ground
        flight.peer.up = 0.0 if falls else flight.peer.up
        await flight.clock.advance_until(flying.done, limit=60)
        with pytest.raises(CommandFailedError, match="the vehicle switched its motors off at item") as failure:
            flying.result()
        assert not failure.value.cancelled


async def test_mission_that_never_left_the_ground_is_not_done_when_its_motors_are_cut(make_driver: Make) -> None:
    async with flown(make_driver, "copter") as flight:
        await flight.command("mission_upload", items=ITEMS[:1])  # which is the first item, and the last
        await flight.command("arm")
        flight.peer.frozen = True
        flying = flight.begin("mission_start")
        await flight.clock.advance(5.0)
        flight.peer.armed = False
        await flight.clock.advance_until(flying.done, limit=30)
        with pytest.raises(CommandFailedError, match="the vehicle switched its motors off at item 1 of 1"):
            flying.result()


async def test_mission_that_is_begun_again_is_not_where_the_last_one_ended(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await flight.command("mission_upload", items=[*ITEMS[:3], {"do": "rtl"}])
        await flight.command("arm")
        await flight.command("mission_start")
        await flight.command("hold")
        flight.peer.denies = {mavlink.MAV_CMD_SET_MESSAGE_INTERVAL: mavlink.MAV_RESULT_DENIED}
        del flight.peer._intervals[mavlink.MAVLINK_MSG_ID_MISSION_CURRENT]
        again = flight.begin("mission_start")
        await flight.clock.advance(1.5)
        flight.peer.mode = "RTL"  # as its own failsafe does, with everything still to be flown
        await flight.clock.advance_until(again.done, limit=30)
        with pytest.raises(CommandFailedError, match="the vehicle changed to RTL at item 0 of 3"):
            again.result()


@FLAVOURS
async def test_mission_that_ends_on_the_ground_is_done_although_its_last_message_is_lost(
    make_driver: Make, flavour: Flavour
) -> None:
    async with flown(make_driver, flavour) as flight:
        flying = await on_the_way_to_its_last_item(flight, {"do": "land"})
        flight.peer.up, flight.peer.armed = 1.0, False  # and does not say that the item is reached
        await flight.clock.advance(1.2)
        flight.peer.up = 0.0  # the ground is told later than the motors
        await flight.clock.advance_until(flying.done, limit=60)
        assert flying.result()


async def test_mission_is_cleared(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await flight.command("mission_upload", items=ITEMS)
        await flight.command("mission_clear")
        assert flight.peer.mission == []


@pytest.mark.parametrize(
    ("system", "mission_type"),
    [(254, mavlink.MAV_MISSION_TYPE_MISSION), (255, mavlink.MAV_MISSION_TYPE_FENCE)],
)
async def test_answer_that_is_for_others_or_of_something_else_clears_no_mission(
    make_driver: Make, system: int, mission_type: int
) -> None:
    async with flown(make_driver, attempts=3) as flight:
        await flight.command("mission_upload", items=ITEMS)
        flight.peer.deaf = True
        clearing = flight.begin("mission_clear")
        for _ in range(20):  # without end, which must not lengthen what is waited for
            await flight.clock.advance(0.5)
            if not clearing.done():
                flight.peer.send(mavlink.MAVLink_mission_ack_message(system, 190, 0, mission_type))
        assert clearing.done()
        with pytest.raises(CommandFailedError, match="though it was asked 3 times"):
            clearing.result()


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([], "args.items"),
        ([{"do": "somersault"}], "args.items[0].do"),
        ([{"do": "waypoint", "lat": 91, "lon": 8, "altitude": 10}], "args.items[0].lat"),
        ([{"do": "land"}, {"do": "waypoint", "lat": 47, "lon": 8}], "args.items[1]"),
        ([{"do": "rtl", "altitude": 20}], "args.items[0]"),
        ([{"do": "land", "lat": 47.0}], "args.items[0]"),
    ],
)
def test_mission_that_is_wrong_is_refused_with_the_place(make_driver: Make, items: Any, says: str) -> None:
    driver = make_driver("mavlink", VirtualClock(), connection="udp:127.0.0.1:14550")
    (spec,) = [one for one in driver.capabilities.commands if one.name == "mission_upload"]
    found = first_error(jsonschema_rs.Draft202012Validator(dict(spec.args)), {"items": items}, root="args")
    assert found is not None
    assert says in found


@FLAVOURS
@pytest.mark.parametrize(
    ("last", "loss"), [({"do": "land"}, 0.0), ({"do": "land"}, 0.3), ({"do": "rtl"}, 0.0), (FAR, 0.0)]
)
async def test_mission_that_was_stored_before_the_edge_was_started_is_flown_to_its_end(
    make_driver: Make, flavour: Flavour, last: dict[str, Any], loss: float
) -> None:
    async with flown(make_driver, flavour) as flight:
        await flight.command("mission_upload", items=[*ITEMS[:4], last])
        mission = flight.peer.mission
    async with flown(make_driver, flavour, attempts=15, heartbeat_timeout=30) as flight:
        flight.peer.mission, flight.peer.loss = mission, loss
        await flight.command("arm")
        await flight.command("mission_start")
        assert flight.peer.current == len(mission) - 1


@FLAVOURS
async def test_mission_that_is_not_there_or_cannot_be_read_is_not_begun(make_driver: Make, flavour: Flavour) -> None:
    async with flown(make_driver, flavour) as flight:
        await flight.command("mission_upload", items=ITEMS)
        home = flight.peer.mission[: flavour == "copter"]  # which is all that ArduPilot has without a mission
    async with flown(make_driver, flavour, attempts=2) as flight:
        flight.peer.mission = home
        await flight.command("arm")
        with pytest.raises(CommandRejectedError, match="no mission is stored; send mission_upload first"):
            await flight.command("mission_start")
        flight.peer.deaf = True
        with pytest.raises(CommandRejectedError, match="cannot be read: the vehicle did not answer, though it was"):
            await flight.command("mission_start")
        assert flight.peer.mode not in ("MISSION", "AUTO")
