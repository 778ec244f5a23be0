"""The driver `mavlink` against a vehicle that answers over a real socket, on virtual time."""

import asyncio
import math
import os
import socket
import sys
import threading
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pymavlink.dialects.v20.ardupilotmega as mavlink
import pytest

from botyard_edge.config import load_config
from botyard_edge.driver import (
    Battery,
    Command,
    CommandFailedError,
    CommandRejectedError,
    ConfigurationError,
    Driver,
    DriverError,
    Geo,
)
from botyard_edge.stopping import STOP_WITHIN, Stopper
from botyard_edge.testing import VirtualClock
from botyard_plugins.mavlink.address import EXAMPLES
from botyard_plugins.mavlink.geometry import METRES_PER_DEGREE
from botyard_schemas.settings import SettingsError
from tests.plugins.conftest import Notes
from tests.plugins.mavpeer import HOME, Flavour, Peer

Make = Callable[..., Driver]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Flown:
    """A driver and its vehicle."""

    def __init__(self, driver: Driver, peer: Peer, clock: VirtualClock) -> None:
        self.driver = driver
        self.peer = peer
        self.clock = clock
        self.notes = Notes(clock)
        self.progress: list[float] = []

    def values(self, channel: str) -> list[Any]:
        return [value for _, value in self.notes.samples.get(channel, [])]

    def events(self) -> list[str]:
        return [event[0] for event in self.notes.events]

    def begin(self, name: str, **args: Any) -> "asyncio.Task[Any]":
        async def progress(done: float) -> None:
            self.progress.append(done)

        self.progress.clear()
        return asyncio.create_task(self.driver.execute(Command("c1", name, 0, args), progress), name=name)

    async def command(self, name: str, *, within: float = 300.0, **args: Any) -> Any:
        task = self.begin(name, **args)
        await self.clock.advance_until(task.done, limit=within)
        return task.result()


@asynccontextmanager
async def flown(make_driver: Make, flavour: Flavour = "px4", **options: Any) -> AsyncIterator[Flown]:
    """A driver that waits for the vehicle, and has found it unless that is silent from the start."""
    clock, port = VirtualClock(), free_port()
    peer = Peer(clock, port, flavour)
    async with make_driver("mavlink", clock, connection=f"udp:127.0.0.1:{port}", **options) as driver:
        flight = Flown(driver, peer, clock)
        running = asyncio.create_task(driver.run(flight.notes))
        async with peer:
            await clock.advance_until(lambda: bool(flight.values("gps.fix")), limit=60)
            yield flight
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


FLAVOURS = pytest.mark.parametrize("flavour", ["px4", "copter"])


@FLAVOURS
async def test_vehicle_takes_off_goes_somewhere_and_lands(make_driver: Make, flavour: Flavour) -> None:
    async with flown(make_driver, flavour) as flight:
        peer = flight.peer
        await flight.command("arm")
        assert peer.armed
        await flight.command("takeoff", altitude=20)
        assert peer.up == pytest.approx(20, abs=1)
        result = await flight.command("goto", lat=HOME[0] + 0.001, lon=HOME[1], altitude=30)
        assert peer.north == pytest.approx(111.3, abs=2.5)
        assert peer.up == pytest.approx(30, abs=2)
        assert result["distance"] <= 2
        await flight.command("land")
        assert peer.up == pytest.approx(0, abs=0.2)
        await flight.clock.advance(2.0)
        assert not peer.armed


async def airborne(flight: Flown, height: float = 20) -> None:
    await flight.command("arm")
    await flight.command("takeoff", altitude=height)


def north(metres: float) -> float:
    return HOME[0] + metres / METRES_PER_DEGREE


# --- telemetry


async def test_telemetry_comes_in_si_units_and_the_axes_of_rep_103(make_driver: Make) -> None:
    async with flown(make_driver, origin={"lat": HOME[0], "lon": HOME[1], "frame": "field"}) as flight:
        peer = flight.peer
        peer.east, peer.north, peer.up, peer.velocity = 30.0, 40.0, 5.0, (1.0, 2.0, 3.0)
        peer.armed, peer.mode, peer.goal = True, "LOITER", None
        peer.frozen = True
        await flight.clock.advance(2.0)
        last = {name: samples[-1][1] for name, samples in flight.notes.samples.items()}
        assert (last["velocity.east"], last["velocity.north"], last["velocity.up"]) == (1.0, 2.0, 3.0)
        assert last["height"] == 5.0
        assert last["geo"].lat == pytest.approx(north(40))
        assert last["geo"].alt == pytest.approx(HOME[2] + 5)
        assert last["geo"].heading == 90.0
        assert (last["pose"].frame, last["pose"].z) == ("field", 5.0)
        assert (last["pose"].x, last["pose"].y, last["pose"].yaw) == pytest.approx((30, 40, 0), abs=0.02)
        assert last["attitude.roll"] == pytest.approx(0.1)
        assert last["attitude.pitch"] == pytest.approx(-0.2)
        assert last["attitude.yaw"] == pytest.approx(math.pi / 2 - 0.5)
        assert last["turn_rate.z"] == pytest.approx(-0.03)
        assert (last["gps.fix"], last["gps.satellites"], last["gps.hdop"]) == (3, 12, 1.21)
        assert (last["airspeed"], last["throttle"], last["system.load"]) == (12.5, 0.55, 0.35)
        assert (last["battery.voltage"], last["battery.current"], last["battery.level"]) == (15.8, 12.5, 0.76)
        assert (last["flight.mode"], last["flight.armed"], last["flight.landed"]) == ("LOITER", True, "in the air")
        assert last["home"] == Geo(HOME[0], HOME[1], HOME[2])
        assert flight.notes.state("battery")[-1] == Battery(0.76, 15.8, 12.5)
        assert flight.notes.state("pose")[-1] == last["pose"]
        assert set(flight.notes.samples) <= {channel.name for channel in flight.driver.capabilities.channels}


async def test_position_and_attitude_are_asked_for_at_their_rate_and_the_rest_once_a_second(make_driver: Make) -> None:
    async with flown(make_driver, rate=8) as flight:
        before = {name: len(samples) for name, samples in flight.notes.samples.items()}
        await flight.clock.advance(10.0)
        told = {name: len(samples) - before.get(name, 0) for name, samples in flight.notes.samples.items()}
        assert told["attitude.yaw"] in range(45, 101)  # the vehicle keeps to steps of a tenth of a second
        assert told["battery.voltage"] in (9, 10, 11)


async def test_battery_status_replaces_what_the_system_status_says_of_the_battery(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        cells = [4100, 4000, 65535, *[65535] * 7]
        flight.peer.send(
            mavlink.MAVLink_battery_status_message(0, 0, 0, 2150, cells, -1, -1, -1, 42, 0, 7, [0, 0, 0, 0])
        )
        await flight.clock.advance(3.0)
        assert flight.values("battery.voltage")[-1] == 8.1
        assert flight.values("battery.level")[-1] == 0.42
        assert flight.values("battery.temperature") == [21.5]
        assert flight.notes.state("battery")[-1] == Battery(0.42, 8.1, None, True)


async def test_values_that_the_vehicle_marks_as_unknown_are_no_samples(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        flight.notes.samples.clear()
        peer = flight.peer
        peer._intervals.clear()
        peer.send(mavlink.MAVLink_gps_raw_int_message(0, 0, 0, 0, 0, 65535, 65535, 65535, 65535, 255))
        peer.send(mavlink.MAVLink_sys_status_message(0, 0, 0, 0, 65535, -1, -1, 0, 0, 0, 0, 0, 0))
        peer.send(mavlink.MAVLink_global_position_int_message(0, 0, 0, 0, 0, 0, 0, 0, 65535))
        nan = math.nan
        peer.send(mavlink.MAVLink_attitude_message(0, nan, nan, nan, nan, nan, nan))
        peer.send(mavlink.MAVLink_vfr_hud_message(nan, 1.0, 0, 65535, 0.0, nan))
        await flight.clock.advance(0.5)
        told = {name: samples[0][1] for name, samples in flight.notes.samples.items()}
        assert {name: value for name, value in told.items() if not name.startswith("flight.")} == {
            "gps.fix": 0,
            "system.load": 0.0,
            "speed": 1.0,
        }


@pytest.mark.parametrize(("lat", "lon"), [(2**31 - 1, 2**31 - 1), (900_000_001, 0), (1, -1_800_000_001)])
async def test_position_that_is_none_on_earth_is_no_sample(make_driver: Make, lat: int, lon: int) -> None:
    async with flown(make_driver, origin={"lat": HOME[0], "lon": HOME[1], "frame": "field"}) as flight:
        flight.peer._intervals.clear()
        await flight.clock.advance(1.0)
        flight.notes.samples.clear()
        flight.peer.send(mavlink.MAVLink_global_position_int_message(0, lat, lon, 0, 0, 0, 0, 0, 0))
        flight.peer.send(mavlink.MAVLink_home_position_message(lat, lon, 0, 0, 0, 0, [1, 0, 0, 0], 0, 0, 0))
        await flight.clock.advance(0.5)
        assert not {"geo", "pose", "home", "height"} & set(flight.notes.samples)


async def test_text_of_the_autopilot_becomes_an_event_whole_and_with_its_severity(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        long = "PreArm: Compass not healthy, and this sentence is too long for a single chunk of it"
        flight.peer.say(mavlink.MAV_SEVERITY_CRITICAL, long)
        flight.peer.say(mavlink.MAV_SEVERITY_NOTICE, "Ready to fly")
        await flight.clock.advance(0.5)
        told = [(event[1], event[2]) for event in flight.notes.events if event[0] == "mavlink.text"]
        assert told == [("critical", long), ("info", "Ready to fly")]


async def test_texts_without_end_are_told_within_a_budget_and_the_others_counted(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        for number in range(100):
            flight.peer.say(mavlink.MAV_SEVERITY_WARNING, f"number {number}")
        await flight.clock.advance(1.0)
        assert flight.events().count("mavlink.text") == 20
        await flight.clock.advance(10.0)
        flight.peer.say(mavlink.MAV_SEVERITY_WARNING, "the last")
        await flight.clock.advance(0.5)
        name, _, text, _, data = flight.notes.events[-1]
        assert (name, text, data) == ("mavlink.text", "the last", {"skipped": 80})


async def test_ground_station_sends_its_heartbeat_once_a_second(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        before = flight.peer.gcs_heartbeats
        await flight.clock.advance(10.0)
        assert flight.peer.gcs_heartbeats - before == 10


@pytest.mark.parametrize(
    ("status", "health"), [(mavlink.MAV_STATE_CRITICAL, "warning"), (mavlink.MAV_STATE_EMERGENCY, "error")]
)
async def test_health_follows_what_the_autopilot_says_of_itself(make_driver: Make, status: int, health: str) -> None:
    async with flown(make_driver) as flight:
        flight.peer.status = status
        await flight.clock.advance(2.0)
        assert flight.notes.state("health")[-1] == health
        flight.peer.status = mavlink.MAV_STATE_ACTIVE
        await flight.clock.advance(2.0)
        assert flight.notes.state("health")[-1] == "ok"


async def test_vehicle_in_the_hands_of_a_pilot_is_in_manual_mode(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        assert flight.notes.state("mode")[-1] == "auto"  # on the ground nobody flies it
        flight.peer.armed = True
        await flight.clock.advance(2.0)
        assert flight.notes.state("mode")[-1] == "manual"
        assert flight.notes.state("mode_reason")[-1] == "a pilot flies it in POSCTL"


# --- commands and their answers


@FLAVOURS
async def test_flight_succeeds_although_the_radio_loses_a_third_of_everything(
    make_driver: Make, flavour: Flavour
) -> None:
    async with flown(make_driver, flavour, ack_timeout=0.5, attempts=20, heartbeat_timeout=20) as flight:
        flight.peer.loss = 0.33
        await airborne(flight)
        await flight.command("goto", lat=north(50), lon=HOME[1])
        await flight.command("rtl")
        await flight.command("land")
        assert not flight.peer.armed


async def test_command_without_an_answer_is_sent_again_with_a_growing_confirmation(make_driver: Make) -> None:
    async with flown(make_driver, attempts=4) as flight:
        flight.peer.late = 2.5
        await flight.command("arm")
        sent = [one.confirmation for one in flight.peer.commands(mavlink.MAV_CMD_COMPONENT_ARM_DISARM)]
        assert sent == [0, 1, 2]


async def test_command_that_is_never_answered_fails_and_says_how_often_it_was_sent(make_driver: Make) -> None:
    async with flown(make_driver, attempts=3) as flight:
        flight.peer.deaf = True
        with pytest.raises(CommandFailedError, match=r"arm: MAV_CMD_DO_SET_MODE: .* asked 3 times; whether"):
            await flight.command("arm")
        assert len(flight.peer.commands(mavlink.MAV_CMD_DO_SET_MODE)) == 3


@pytest.mark.parametrize(
    ("result", "error", "says"),
    [
        (mavlink.MAV_RESULT_TEMPORARILY_REJECTED, CommandRejectedError, "not now"),
        (mavlink.MAV_RESULT_DENIED, CommandRejectedError, "the vehicle refuses"),
        (mavlink.MAV_RESULT_UNSUPPORTED, CommandRejectedError, "does not know this command"),
        (mavlink.MAV_RESULT_FAILED, CommandFailedError, "failed at it"),
        (6, CommandFailedError, "cancelled"),
        (77, CommandRejectedError, "an answer that is not known"),
    ],
)
async def test_refusal_becomes_the_report_with_what_the_autopilot_said(
    make_driver: Make, result: int, error: type[Exception], says: str
) -> None:
    async with flown(make_driver) as flight:
        peer = flight.peer
        peer.mode, peer.denies = "LOITER", {mavlink.MAV_CMD_COMPONENT_ARM_DISARM: result}
        peer.says = [(mavlink.MAV_SEVERITY_CRITICAL, "PreArm: GPS 1: Bad fix")]
        await flight.clock.advance(2.0)
        with pytest.raises(error, match=rf"arm: MAV_CMD_COMPONENT_ARM_DISARM: .*{says}.*it said: PreArm: GPS 1: Bad"):
            await flight.command("arm")


async def test_refusal_after_something_was_begun_is_a_failure_and_no_rejection(make_driver: Make) -> None:
    async with flown(make_driver, "copter") as flight:
        flight.peer.denies = {mavlink.MAV_CMD_COMPONENT_ARM_DISARM: mavlink.MAV_RESULT_DENIED}
        with pytest.raises(CommandFailedError, match="the vehicle refuses"):
            await flight.command("arm")  # which has changed the mode before
        assert flight.peer.mode == "GUIDED"


async def test_command_at_work_is_waited_for_and_its_progress_reported(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        peer = flight.peer
        arming = mavlink.MAV_CMD_COMPONENT_ARM_DISARM
        peer.mode, peer.works, peer.denies = "LOITER", {arming: 3}, {arming: mavlink.MAV_RESULT_IN_PROGRESS}
        await flight.clock.advance(2.0)
        task = flight.begin("arm")
        await flight.clock.advance(20.0)  # much longer than an answer may take
        assert not task.done()
        assert flight.progress == [0.0, 0.1, 0.2, 0.0]
        assert len(peer.commands(arming)) == 1
        peer.armed = True
        peer._ack(arming, mavlink.MAV_RESULT_ACCEPTED)
        await flight.clock.advance_until(task.done)
        task.result()


async def test_command_at_work_that_is_not_heard_of_again_fails(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        arming = mavlink.MAV_CMD_COMPONENT_ARM_DISARM
        flight.peer.mode, flight.peer.denies = "LOITER", {arming: mavlink.MAV_RESULT_IN_PROGRESS}
        await flight.clock.advance(2.0)
        with pytest.raises(CommandFailedError, match="it was at work, and then nothing for 30 s"):
            await flight.command("arm")


async def test_acknowledged_mode_that_is_never_seen_fails(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        flight.peer._set_mode = lambda *_: True  # type: ignore[method-assign]
        with pytest.raises(CommandFailedError, match="after 5 s it is not in mode LOITER, but in POSCTL"):
            await flight.command("mode", mode="LOITER")


async def test_unknown_mode_is_refused_with_those_that_are_known(make_driver: Make) -> None:
    async with flown(make_driver, "copter") as flight:
        with pytest.raises(CommandRejectedError, match=r"ArduPilot has no mode 'BRAK' .* known are ALT_HOLD, .*BRAKE"):
            await flight.command("mode", mode="BRAK")


@pytest.mark.parametrize(
    ("flavour", "mode"),
    [
        *(("px4", mode) for mode in ("TERMINATION", "ACRO", "STABILIZED", "MANUAL")),
        *(("copter", mode) for mode in ("FLIP", "ACRO", "STABILIZE", "THROW", "TURTLE")),
        *(("plane", mode) for mode in ("MANUAL", "ACRO", "STABILIZE")),
    ],
)
async def test_mode_that_ends_the_flight_or_needs_a_pilot_is_refused_and_ends_nothing(
    make_driver: Make, flavour: Flavour, mode: str
) -> None:
    async with flown(make_driver, flavour) as flight:
        await flight.command("arm")
        before = len(flight.peer.commands(mavlink.MAV_CMD_DO_SET_MODE))
        with pytest.raises(CommandRejectedError, match=f"mode: {mode} is not commanded from afar"):
            await flight.command("mode", mode=mode)
        assert len(flight.peer.commands(mavlink.MAV_CMD_DO_SET_MODE)) == before


async def test_rover_may_be_put_into_manual(make_driver: Make) -> None:
    async with flown(make_driver, "rover") as flight:
        await flight.command("arm")
        await flight.command("mode", mode="MANUAL")
        assert flight.peer.mode == "MANUAL"


# --- flying


async def test_takeoff_needs_motors_that_are_armed(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        with pytest.raises(CommandRejectedError, match="takeoff: the vehicle is not armed; send arm first"):
            await flight.command("takeoff", altitude=10)


async def test_goto_from_the_ground_is_refused(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await flight.command("arm")
        with pytest.raises(CommandRejectedError, match="on the ground; send takeoff first"):
            await flight.command("goto", lat=HOME[0], lon=HOME[1])


async def test_disarm_in_the_air_is_refused_and_never_sent(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await airborne(flight)
        sent = len(flight.peer.received)
        with pytest.raises(CommandRejectedError, match="disarm: the vehicle flies; send land first"):
            await flight.command("disarm")
        assert not [one for one in flight.peer.received[sent:] if one.get_type().startswith("COMMAND")]


async def test_disarm_is_never_forced_where_the_vehicle_does_not_say_whether_it_flies(make_driver: Make) -> None:
    async with flown(make_driver, "copter") as flight:
        flight.peer._intervals.pop(mavlink.MAVLINK_MSG_ID_EXTENDED_SYS_STATE)
        await flight.clock.advance(6.0)
        await airborne(flight)
        with pytest.raises(CommandFailedError, match="failed at it"):
            await flight.command("disarm")
        assert flight.peer.armed
        asked = flight.peer.commands(mavlink.MAV_CMD_COMPONENT_ARM_DISARM)
        assert {one.param2 for one in asked} == {0.0}


async def test_goto_with_a_speed_sets_it_first(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await airborne(flight)
        await flight.command("goto", lat=north(30), lon=HOME[1], speed=3)
        (speed,) = flight.peer.commands(mavlink.MAV_CMD_DO_CHANGE_SPEED)
        assert (speed.param1, speed.param2) == (1, 3)
        assert flight.progress == sorted(flight.progress)
        assert len(flight.progress) >= 5


async def test_second_goto_takes_the_place_of_the_first(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await airborne(flight)
        first = flight.begin("goto", lat=north(500), lon=HOME[1])
        await flight.clock.advance(5.0)
        await flight.command("goto", lat=north(10), lon=HOME[1])
        with pytest.raises(CommandFailedError, match="goto: another command took its place") as failure:
            first.result()
        assert failure.value.cancelled


@FLAVOURS
@pytest.mark.parametrize("command", ["rtl", "land"])
async def test_return_and_landing_are_done_although_their_acknowledgement_is_lost(
    make_driver: Make, flavour: Flavour, command: str
) -> None:
    async with flown(make_driver, flavour) as flight:
        await airborne(flight)
        peer, lost = flight.peer, {mavlink.MAV_CMD_NAV_RETURN_TO_LAUNCH, mavlink.MAV_CMD_NAV_LAND}
        tell = peer._ack

        def acknowledge(number: int, result: int, progress: int = 0) -> None:
            if number in lost:
                lost.discard(number)
            else:
                tell(number, result, progress)

        peer._ack = acknowledge  # type: ignore[method-assign, assignment]
        await flight.command(command)
        assert not peer.armed
        assert peer.up == pytest.approx(0, abs=0.2)


@FLAVOURS
async def test_hold_ends_a_goto_and_the_vehicle_stays_where_it_is(make_driver: Make, flavour: Flavour) -> None:
    async with flown(make_driver, flavour) as flight:
        await airborne(flight)
        going = flight.begin("goto", lat=north(500), lon=HOME[1])
        await flight.clock.advance(5.0)
        await flight.command("hold")
        at = flight.peer.north
        await flight.clock.advance(10.0)
        assert 10 < flight.peer.north == pytest.approx(at, abs=1)
        assert flight.peer.mode == {"px4": "LOITER", "copter": "BRAKE"}[flavour]
        with pytest.raises(CommandFailedError):
            going.result()


async def test_goto_ends_as_cancelled_when_a_pilot_takes_over(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await airborne(flight)
        going = flight.begin("goto", lat=north(500), lon=HOME[1])
        await flight.clock.advance(5.0)
        flight.peer.mode = "POSCTL"
        await flight.clock.advance_until(going.done)
        with pytest.raises(CommandFailedError, match="the vehicle changed to POSCTL") as failure:
            going.result()
        assert failure.value.cancelled


async def test_goto_that_does_not_get_on_fails(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await airborne(flight)
        flight.peer.pace = 0.0
        with pytest.raises(CommandFailedError, match=r"it gets no nearer for 3[01] s"):
            await flight.command("goto", lat=north(500), lon=HOME[1])


def says_no_more_whether_it_flies(peer: Peer) -> None:
    peer.denies = {mavlink.MAV_CMD_SET_MESSAGE_INTERVAL: mavlink.MAV_RESULT_DENIED}
    del peer._intervals[mavlink.MAVLINK_MSG_ID_EXTENDED_SYS_STATE]


async def lands_from_20_metres(flight: Flown) -> bool:
    landing = flight.begin("land")
    await flight.clock.advance(1.0)
    early = landing.done()
    await flight.clock.advance_until(landing.done, limit=60)
    return not early and flight.peer.up < 0.6


async def test_vehicle_that_told_long_ago_that_it_is_on_the_ground_has_not_landed(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        says_no_more_whether_it_flies(flight.peer)
        await airborne(flight)
        assert await lands_from_20_metres(flight)


async def test_vehicle_that_was_on_the_ground_before_it_fell_silent_has_not_landed(make_driver: Make) -> None:
    async with flown(make_driver, heartbeat_timeout=2) as flight:
        peer = flight.peer
        says_no_more_whether_it_flies(peer)
        peer.silent = True
        await flight.clock.advance(2.6)
        assert flight.events()[-1] == "mavlink.missing"
        peer.armed, peer.mode, peer.up, peer.silent = True, "LOITER", 20.0, False  # a pilot took off with it
        await flight.clock.advance(1.2)
        assert await lands_from_20_metres(flight)


@FLAVOURS
async def test_rtl_is_done_when_the_vehicle_has_landed_at_home(make_driver: Make, flavour: Flavour) -> None:
    async with flown(make_driver, flavour) as flight:
        await airborne(flight)
        await flight.command("goto", lat=north(80), lon=HOME[1])
        assert await flight.command("rtl") == {"landed": True}
        assert math.hypot(flight.peer.north, flight.peer.east) < 2


async def test_rover_holds_and_cannot_fly(make_driver: Make) -> None:
    async with flown(make_driver, "rover") as flight:
        await flight.command("arm")
        await flight.command("goto", lat=north(20), lon=HOME[1])
        assert flight.peer.north == pytest.approx(20, abs=2.5)
        await stopped(flight)
        assert flight.peer.mode == "HOLD"
        for name, args in (("takeoff", {"altitude": 5}), ("land", {})):
            with pytest.raises(CommandRejectedError, match=f"{name}: a rover cannot fly"):
                await flight.command(name, **args)


async def test_plane_of_ardupilot_says_what_it_does_not_do_on_command(make_driver: Make) -> None:
    async with flown(make_driver, "plane") as flight:
        await flight.command("arm")
        with pytest.raises(CommandRejectedError, match="takes off in its mode TAKEOFF, or in a mission"):
            await flight.command("takeoff", altitude=50)
        with pytest.raises(CommandRejectedError, match="lands in a mission only"):
            await flight.command("land")


async def test_autopilot_that_is_not_known_gives_telemetry_and_takes_no_commands(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        flight.peer.autopilot = mavlink.MAV_AUTOPILOT_GENERIC
        await flight.clock.advance(2.0)
        assert flight.values("flight.mode")[-1] == f"mode {3 << 16}"
        with pytest.raises(CommandRejectedError, match="only PX4 and ArduPilot are known, and this is MAV_AUTOPILOT 0"):
            await flight.command("arm")


# --- stop


async def stopped(flight: Flown) -> None:
    task = asyncio.create_task(flight.driver.stop())
    await flight.clock.advance_until(task.done)
    task.result()


async def at_rest(flight: Flown) -> bool:
    """What the runtime takes a stop for."""
    task = asyncio.create_task(Stopper(flight.clock).stop("mavlink", flight.driver))
    await flight.clock.advance_until(task.done, limit=60)
    return task.result()


@FLAVOURS
async def test_stop_holds_in_the_air_and_disarms_nothing(make_driver: Make, flavour: Flavour) -> None:
    async with flown(make_driver, flavour) as flight:
        await airborne(flight)
        flight.begin("goto", lat=north(500), lon=HOME[1]).add_done_callback(lambda task: task.exception())
        await flight.clock.advance(5.0)
        armed = len(flight.peer.commands(mavlink.MAV_CMD_COMPONENT_ARM_DISARM))
        await stopped(flight)
        at = flight.peer.north
        await flight.clock.advance(10.0)
        assert flight.peer.north == pytest.approx(at, abs=1)
        assert flight.peer.armed
        assert flight.peer.up > 15
        assert len(flight.peer.commands(mavlink.MAV_CMD_COMPONENT_ARM_DISARM)) == armed


@pytest.mark.parametrize(("flavour", "mode"), [("px4", "POSCTL"), ("copter", "STABILIZE"), ("copter", "LAND")])
async def test_stop_leaves_a_vehicle_to_its_pilot_and_lets_one_that_lands_land(
    make_driver: Make, flavour: Flavour, mode: str
) -> None:
    async with flown(make_driver, flavour) as flight:
        await airborne(flight)
        flight.peer.mode = mode
        await flight.clock.advance(2.0)
        await stopped(flight)
        flight.driver.halt()
        await flight.clock.advance(1.0)
        assert flight.peer.mode == mode


async def test_stop_that_the_vehicle_refuses_is_told(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await airborne(flight)
        flight.peer.denies = {mavlink.MAV_CMD_DO_REPOSITION: mavlink.MAV_RESULT_DENIED}
        assert not await at_rest(flight)
        name, severity, text, *_ = flight.notes.events[-1]
        assert (name, severity) == ("mavlink.not_held", "critical")
        assert text is not None
        assert text.startswith("the vehicle does not hold its position: stop: MAV_CMD_DO_REPOSITION: the vehicle ref")


@FLAVOURS
@pytest.mark.parametrize("trouble", ["deaf", "obstinate", "slow disk"])
async def test_stop_that_is_not_seen_to_hold_is_told_before_the_runtime_loses_patience(
    make_driver: Make, flavour: Flavour, trouble: str
) -> None:
    async with flown(make_driver, flavour, ack_timeout=2.0) as flight:
        await airborne(flight)
        if trouble == "obstinate":  # it says yes, and does not
            flight.peer.ignores = {mavlink.MAV_CMD_DO_REPOSITION, mavlink.MAV_CMD_DO_SET_MODE}
            flight.peer.mode = "RTL"
        else:
            flight.peer.deaf = True
        plain = flight.notes.event

        async def slow(*args: Any, **rest: Any) -> None:
            await flight.clock.sleep(60.0)
            await plain(*args, **rest)

        if trouble == "slow disk":
            flight.notes.event = slow  # type: ignore[method-assign]
        asked = flight.clock.monotonic()
        with pytest.raises(DriverError, match="does not hold its position: it was told to, and is not seen to"):
            await stopped(flight)
        assert flight.clock.monotonic() - asked < STOP_WITHIN
        if trouble == "slow disk":
            await flight.clock.advance(60.0)
        assert flight.events()[-1] == "mavlink.not_held"


async def test_stop_of_a_vehicle_that_is_away_is_no_rest_only_where_it_was_under_way(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        flight.peer.silent = True
        await flight.clock.advance(10.0)
        assert await at_rest(flight)  # on the ground with its motors off, when it was heard last
        flight.peer.silent = False
        await flight.clock.advance(5.0)
        await airborne(flight)
        flight.peer.silent = True
        await flight.clock.advance(10.0)
        with pytest.raises(DriverError, match=r"the vehicle is away, and was under way in [A-Z]+; whether it holds"):
            await flight.driver.stop()


async def test_stop_that_is_made_good_and_refused_is_told_and_the_telemetry_asked_for(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await airborne(flight)
        flight.peer.silent = True
        await flight.clock.advance(10.0)
        assert not await at_rest(flight)
        flight.peer.denies = {mavlink.MAV_CMD_DO_REPOSITION: mavlink.MAV_RESULT_DENIED}
        flight.peer._intervals.clear()
        flight.peer.silent = False
        await flight.clock.advance(5.0)
        assert flight.events()[-2:] == ["mavlink.found", "mavlink.not_held"]
        assert len(flight.peer._intervals) == 9


@FLAVOURS
async def test_halt_holds_from_another_thread_while_the_loop_is_blocked(make_driver: Make, flavour: Flavour) -> None:
    async with flown(make_driver, flavour) as flight:
        await airborne(flight)
        flight.begin("goto", lat=north(500), lon=HOME[1]).add_done_callback(lambda task: task.exception())
        await flight.clock.advance(5.0)
        thread = threading.Thread(target=flight.driver.halt)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
        await flight.clock.advance(1.0)
        assert flight.peer.mode == {"px4": "LOITER", "copter": "BRAKE"}[flavour]
        assert flight.peer.goal is None


@pytest.mark.parametrize(("mode", "after"), [("GUIDED", "BRAKE"), ("RTL", "RTL")])
async def test_stop_that_could_not_reach_the_vehicle_is_made_good_unless_it_returns(
    make_driver: Make, mode: str, after: str
) -> None:
    async with flown(make_driver, "copter") as flight:
        await airborne(flight)
        flight.peer.silent = True
        await flight.clock.advance(10.0)
        assert not await at_rest(flight)
        flight.peer.mode, flight.peer.goal = mode, (5000.0, 0.0, 20.0)
        flight.peer.east = 3000.0
        flight.peer.silent = False
        await flight.clock.advance(5.0)
        assert flight.peer.mode == after


# --- the connection


async def test_vehicle_that_falls_silent_is_told_once_and_so_is_its_return(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        flight.peer.silent = True
        await flight.clock.advance(60.0)
        assert flight.events() == ["mavlink.found", "mavlink.missing"]
        assert "no heartbeat for 5 s; it is waited for" in str(flight.notes.events[-1][2])
        assert flight.notes.state("health")[-1] == "warning"
        flight.peer.silent = False
        flight.peer._intervals.clear()  # it was switched off and on
        await flight.clock.advance(5.0)
        assert flight.events() == ["mavlink.found", "mavlink.missing", "mavlink.found"]
        assert flight.notes.state("health")[-1] == "ok"
        assert flight.peer._intervals  # and was asked anew for its telemetry


async def test_command_under_way_fails_when_the_vehicle_is_lost_and_others_are_refused(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        await airborne(flight)
        going = flight.begin("goto", lat=north(500), lon=HOME[1])
        await flight.clock.advance(3.0)
        flight.peer.silent = True
        await flight.clock.advance_until(going.done)
        with pytest.raises(CommandFailedError, match="the connection to the vehicle was lost"):
            going.result()
        with pytest.raises(CommandRejectedError, match="hold: the vehicle is not connected"):
            await flight.command("hold")


@asynccontextmanager
async def waiting(make_driver: Make, **options: Any) -> AsyncIterator[tuple[VirtualClock, Notes]]:
    """A driver that runs, and whatever the test puts in the vehicle's place."""
    clock = VirtualClock()
    notes = Notes(clock)
    async with make_driver("mavlink", clock, **options) as driver:
        running = asyncio.create_task(driver.run(notes))
        yield clock, notes
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.mark.parametrize(
    ("heard", "says"),
    [
        (b"", "nothing was heard for 5 s"),
        (b"\x55" * 40, "bytes come, but no MAVLink; is the baud rate right?"),
        (
            mavlink.MAVLink_heartbeat_message(2, 12, 0, 0, 3, 3).pack(mavlink.MAVLink(None, 9, 1)),
            "system 1 is not heard, but 9; is the option system right?",
        ),
        (
            mavlink.MAVLink_heartbeat_message(6, 8, 0, 0, 3, 3).pack(mavlink.MAVLink(None, 1, 190)),
            "MAVLink is heard, but no autopilot with the component 1",
        ),
    ],
)
async def test_vehicle_that_is_not_there_is_told_with_what_is_heard_instead(
    make_driver: Make, heard: bytes, says: str
) -> None:
    port = free_port()
    async with waiting(make_driver, connection=f"udp:127.0.0.1:{port}", system=1) as (clock, notes):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            for _ in range(60):
                other.sendto(heard, ("127.0.0.1", port))
                await clock.advance(1.0)
        assert [event[:2] for event in notes.events] == [("mavlink.missing", "warning")]
        assert notes.events[0][2] == f"udp:127.0.0.1:{port}: no vehicle: {says}; it is waited for"


async def test_port_that_is_taken_is_told_and_tried_again(make_driver: Make) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        async with waiting(make_driver, connection=f"udp:127.0.0.1:{port}") as (clock, notes):
            await clock.advance(10.0)
            assert "Address already in use; does another program wait there?" in str(notes.events[0][2])
            other.close()
            async with Peer(clock, port):
                await clock.advance(40.0)
            assert [event[0] for event in notes.events][:2] == ["mavlink.missing", "mavlink.found"]


async def test_udpout_goes_to_a_vehicle_that_waits(make_driver: Make) -> None:
    port = free_port()
    async with waiting(make_driver, connection=f"udpout:127.0.0.1:{port}") as (clock, notes):
        async with Peer(clock, port, listens=True):
            await clock.advance(5.0)
        assert "mavlink.found" in [event[0] for event in notes.events]
        assert "geo" in notes.samples


async def test_tcp_connection_that_ends_is_made_anew(make_driver: Make) -> None:
    heartbeat = mavlink.MAVLink_heartbeat_message(2, 12, 0, 0, 3, 3).pack(mavlink.MAVLink(None, 1, 1))
    visits: list[asyncio.StreamWriter] = []

    async def visited(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(writer)
        writer.write(heartbeat)

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with waiting(make_driver, connection=f"tcp:127.0.0.1:{port}") as (clock, notes):
        await _until(clock, lambda: [event[0] for event in notes.events] == ["mavlink.found"])
        visits[0].close()
        await _until(clock, lambda: [event[0] for event in notes.events][1:] == ["mavlink.missing", "mavlink.found"])
        assert "the other side closed the connection" in str(notes.events[1][2])
        visits[1].close()
    server.close()
    await server.wait_closed()


async def test_tcp_connection_that_is_refused_says_so(make_driver: Make) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # and does not listen
        port = probe.getsockname()[1]
        async with waiting(make_driver, connection=f"tcp:127.0.0.1:{port}") as (clock, notes):
            await _until(clock, lambda: bool(notes.events))
            assert "no vehicle: Connection refused; it is waited for" in str(notes.events[0][2])


async def test_serial_port_is_read_and_waited_for_when_it_is_unplugged(make_driver: Make, tmp_path: Path) -> None:
    heartbeat = mavlink.MAVLink_heartbeat_message(2, 12, 0, 0, 3, 3).pack(mavlink.MAVLink(None, 1, 1))
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    path = tmp_path / "ttyTEST"
    path.symlink_to(os.ttyname(theirs))
    async with waiting(make_driver, connection=f"serial:{path}:57600") as (clock, notes):
        # Opening a port throws away what came before, so it is said until it is heard.
        await _until(clock, lambda: os.write(ours, b"noise" + heartbeat) and "mavlink.found" in _names(notes))
        await _until(clock, lambda: b"\xfd" in os.read(ours, 4096))  # our own heartbeat
        os.close(ours)
        os.close(theirs)
        path.unlink()
        await _until(clock, lambda: _names(notes)[-1] == "mavlink.missing")


def _names(notes: Notes) -> list[str]:
    return [event[0] for event in notes.events]


async def _until(clock: VirtualClock, condition: Callable[[], object]) -> None:
    """Sockets and threads are real: wait for them while virtual time passes."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)
            await clock.advance(0.05)


async def test_driver_without_its_package_says_what_to_install(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pymavlink.dialects.v20.ardupilotmega", None)
    driver = make_driver("mavlink", VirtualClock(), connection="udp:127.0.0.1:14550")
    with pytest.raises(ConfigurationError, match=r"needs the package pymavlink: pip install 'botyard\[mavlink\]'"):
        async with driver:
            pass


def test_robot_yaml_with_a_wrong_connection_says_where_and_what_was_expected(tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(
        "robot: drone-1\ndrivers:\n  mavlink:\n    options:\n      connection: udp:14550x\n      system: 255\n"
    )
    with pytest.raises(SettingsError) as error:
        load_config(file, {})
    assert [str(line).split("robot.yaml")[1] for line in str(error.value).splitlines()] == [
        f":5: drivers.mavlink.options.connection: 'udp:14550x' does not end with a port, expected {EXAMPLES}",
        ":6: drivers.mavlink.options.system: 255 is our own number (own_system), expected that of the vehicle",
    ]


async def test_vehicle_that_was_restarted_within_the_timeout_is_asked_anew_for_its_telemetry(make_driver: Make) -> None:
    async with flown(make_driver) as flight:
        flight.peer._intervals.clear()
        await flight.clock.advance(60.0)
        assert flight.events() == ["mavlink.found"]
        assert len(flight.peer._intervals) == 9


async def test_arming_leaves_a_mode_in_which_ardupilot_does_not_arm(make_driver: Make) -> None:
    async with flown(make_driver, "copter") as flight:
        flight.peer.mode = "BRAKE"
        await flight.clock.advance(2.0)
        await flight.command("arm")
        assert flight.peer.mode == "GUIDED"
