"""What was observed of a vehicle, message by message: samples, state, and the facts that commands wait for.

Units and unknown values are those of https://mavlink.io/en/messages/common.html. Nothing is guessed: a value that the
vehicle marks as unknown is no sample.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from botyard_edge.driver import Battery, Channel, Geo, StateChange
from botyard_plugins.mavlink import geometry
from botyard_plugins.mavlink.modes import PX4, Kind, Modes, kind_of, modes_of
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Health

U16, U8 = 0xFFFF, 0xFF
ON_GROUND = 1  # MAV_LANDED_STATE
ACTIVE, COMPLETE = 3, 5  # MISSION_STATE
AT_REST = 0.3  # m/s
ARMED = 128  # MAV_MODE_FLAG_SAFETY_ARMED
LANDED_FOR = 5.0  # s for which its latest word counts; it is asked for one a second
LANDED = {1: "on the ground", 2: "in the air", 3: "taking off", 4: "landing"}
STATUS = {
    0: "not initialised",
    1: "booting",
    2: "calibrating",
    3: "standby",
    4: "active",
    5: "critical",
    6: "emergency",
    7: "powering off",
    8: "flight terminated",
}


def channels(rate: float, origin: object) -> tuple[Channel, ...]:
    """What a vehicle publishes."""
    found = [
        Channel("flight.mode", "text", description="The autopilot's own name of its mode"),
        Channel("flight.armed", "boolean", description="Whether the motors may turn"),
        Channel("flight.status", "text", description="What the autopilot says of itself"),
        Channel("flight.landed", "text", description="On the ground, taking off, in the air, landing"),
        Channel("geo", "geo", rate=rate, description="Position, WGS 84, metres above mean sea level"),
        Channel("height", unit="m", rate=rate, description="Above home"),
        Channel("velocity.east", unit="m/s", rate=rate),
        Channel("velocity.north", unit="m/s", rate=rate),
        Channel("velocity.up", unit="m/s", rate=rate),
        Channel("attitude.roll", unit="rad", rate=rate, description="About forward; REP-103"),
        Channel("attitude.pitch", unit="rad", rate=rate, description="About left, nose down above 0; REP-103"),
        Channel("attitude.yaw", unit="rad", rate=rate, description="From east, anticlockwise; REP-103"),
        Channel("turn_rate.x", unit="rad/s", rate=rate, description="About forward"),
        Channel("turn_rate.y", unit="rad/s", rate=rate, description="About left"),
        Channel("turn_rate.z", unit="rad/s", rate=rate, description="About up"),
        Channel("speed", unit="m/s", rate=1, description="Over ground"),
        Channel("airspeed", unit="m/s", rate=1),
        Channel("climb", unit="m/s", rate=1),
        Channel("throttle", unit="1", rate=1, description="Share of full throttle"),
        Channel("gps.fix", "integer", rate=1, description="0 to 1 none, 2 2D, 3 3D, 4 DGPS, 5 RTK float, 6 RTK fixed"),
        Channel("gps.satellites", "integer", rate=1, description="Satellites seen"),
        Channel("gps.hdop", unit="1", rate=1, description="Horizontal dilution of precision"),
        Channel("battery.level", unit="1", rate=1),
        Channel("battery.voltage", unit="V", rate=1),
        Channel("battery.current", unit="A", rate=1, description="Drawn from it"),
        Channel("battery.temperature", unit="Cel", rate=1),
        Channel("system.load", unit="1", rate=1, description="Of the autopilot's processor"),
        Channel("mission.current", "integer", rate=1, description="Item that is flown, counted as the autopilot does"),
        Channel("home", "geo", description="Where it returns to"),
    ]
    if origin is not None:
        found.append(Channel("pose", "pose", rate=rate, description="Position on the plan"))
    return tuple(found)


class Vehicle:
    """The latest of everything. `hear` takes a message in; what follows of it is in `values` and `state`, for once."""

    def __init__(self, dialect: Any, origin: geometry.Origin | None, clock: Clock) -> None:
        self.kind: Kind | None = None
        self.modes: Modes | None = None
        self.autopilot = self.mav_type = -1
        self.armed = False
        self.mode = ""
        self.geo: Geo | None = None
        self.home: Geo | None = None
        self.height = 0.0
        self.speed = self.climb = 0.0
        self.mission_current = self.mission_last = 0
        self.mission_state = 0
        # The last item of the mission that we stored, and its command; None while it is not known what was stored.
        self.mission_end: tuple[int, str] | None = None
        self.reached: set[int] = set()
        self._landed: int | None = None
        self._landed_at = 0.0
        self._dialect = dialect
        self._clock = clock
        self._origin = origin
        self._custom = -1
        self._batteries = False
        self._status = -1
        self._hear: dict[str, Callable[[Any], Iterator[tuple[str, Any]]]] = {
            "HEARTBEAT": self._heartbeat,
            "GLOBAL_POSITION_INT": self._position,
            "ATTITUDE": self._attitude,
            "GPS_RAW_INT": self._gps,
            "SYS_STATUS": self._system,
            "BATTERY_STATUS": self._battery,
            "VFR_HUD": self._hud,
            "MISSION_CURRENT": self._mission,
            "MISSION_ITEM_REACHED": self._item_reached,
            "HOME_POSITION": self._home,
            "EXTENDED_SYS_STATE": self._extended,
        }

    @property
    def flies_itself(self) -> bool:
        """Whether it is under way in a mode in which no pilot flies it."""
        return self.armed and self.modes is not None and self.mode in self.modes.own

    @property
    def at_rest(self) -> bool:
        """Whether it stands, or stays where it is in the air."""
        return self.speed < AT_REST and abs(self.climb) < AT_REST

    @property
    def down(self) -> bool:
        """Whether it is seen to have landed."""
        return self.on_ground is True or not self.armed

    @property
    def on_ground(self) -> bool | None:
        """None: it does not say, or has not said so lately; autopilots are free to tell it seldom or no more."""
        if not self._landed or self._clock.monotonic() - self._landed_at > LANDED_FOR:
            return None
        return self._landed == ON_GROUND

    def lost(self) -> None:
        """It has fallen silent. What it does meanwhile is not seen, and another one may come in its place."""
        self._landed = self.mission_end = None

    def hear(self, message: Any) -> tuple[dict[str, Any], StateChange]:
        """Samples and changes of the state that follow of a message."""
        values: dict[str, Any] = {}
        state: StateChange = {}
        hear = self._hear.get(message.get_type())
        for name, value in hear(message) if hear is not None else ():
            if name.startswith("state:"):
                state[name.removeprefix("state:")] = value  # type: ignore[literal-required] # names are those below
            elif not isinstance(value, float) or math.isfinite(value):
                values[name] = value
        return values, state

    def health(self) -> tuple[Health, list[str]]:
        """How the autopilot says it is."""
        if self._status in (5, 6, 8):
            return "warning" if self._status == 5 else "error", [f"the autopilot says: {STATUS[self._status]}"]
        return "ok", []

    def _heartbeat(self, message: Any) -> Iterator[tuple[str, Any]]:
        if (message.autopilot, message.type) != (self.autopilot, self.mav_type):
            self.autopilot, self.mav_type = message.autopilot, message.type
            self.kind = kind_of(message.type)
            self.modes = modes_of(self._dialect, message.autopilot, self.kind)
        self.armed = bool(message.base_mode & ARMED)
        self.mode = self.modes.name(message.custom_mode) if self.modes else f"mode {message.custom_mode}"
        self._status = message.system_status
        yield "flight.mode", self.mode
        yield "flight.armed", self.armed
        yield "flight.status", STATUS.get(message.system_status, f"state {message.system_status}")
        by_hand = self.armed and not self.flies_itself
        yield "state:mode", "manual" if by_hand else "auto"
        yield "state:mode_reason", f"a pilot flies it in {self.mode}" if by_hand else None
        yield "state:busy", self.armed
        yield "state:doing", self.mode if self.armed else None

    def _position(self, message: Any) -> Iterator[tuple[str, Any]]:
        if message.lat == 0 and message.lon == 0:
            return  # what autopilots say while they do not know it
        if not _on_earth(message.lat, message.lon):
            return
        heading = message.hdg / 100 if message.hdg != U16 else None
        self.geo = Geo(message.lat / 1e7, message.lon / 1e7, message.alt / 1000, heading)
        self.height = message.relative_alt / 1000
        self.speed = math.hypot(message.vx, message.vy) / 100
        self.climb = -message.vz / 100
        yield "geo", self.geo
        yield "height", self.height
        yield "velocity.east", message.vy / 100
        yield "velocity.north", message.vx / 100
        yield "velocity.up", self.climb
        yield "state:geo", self.geo
        if self._origin is not None:
            yaw = math.radians(90.0 - heading) if heading is not None else 0.0
            pose = self._origin.pose(self.geo, yaw, self.height)
            yield "pose", pose
            yield "state:pose", pose

    def _attitude(self, message: Any) -> Iterator[tuple[str, Any]]:
        if not all(math.isfinite(angle) for angle in (message.roll, message.pitch, message.yaw)):
            return
        angles = geometry.attitude(message.roll, message.pitch, message.yaw)
        turning = geometry.rates(message.rollspeed, message.pitchspeed, message.yawspeed)
        yield from (("attitude.roll", angles.roll), ("attitude.pitch", angles.pitch), ("attitude.yaw", angles.yaw))
        yield from (("turn_rate.x", turning.roll), ("turn_rate.y", turning.pitch), ("turn_rate.z", turning.yaw))

    def _gps(self, message: Any) -> Iterator[tuple[str, Any]]:
        yield "gps.fix", message.fix_type
        if message.satellites_visible != U8:
            yield "gps.satellites", message.satellites_visible
        if message.eph != U16:
            yield "gps.hdop", message.eph / 100

    def _system(self, message: Any) -> Iterator[tuple[str, Any]]:
        yield "system.load", message.load / 1000
        if self._batteries:
            return  # BATTERY_STATUS says the same, and says it of each battery
        voltage = message.voltage_battery / 1000 if message.voltage_battery not in (0, U16) else None
        yield from self._power(voltage, message.current_battery, message.battery_remaining, None)

    def _battery(self, message: Any) -> Iterator[tuple[str, Any]]:
        if message.id != 0:
            return
        self._batteries = True
        cells = [cell for cell in message.voltages if cell != U16]
        cells += [cell for cell in message.voltages_ext if cell not in (0, U16)]
        voltage = sum(cells) / 1000 if cells else None
        if message.temperature != 0x7FFF:
            yield "battery.temperature", message.temperature / 100
        charging = message.charge_state == self._dialect.MAV_BATTERY_CHARGE_STATE_CHARGING
        yield from self._power(voltage, message.current_battery, message.battery_remaining, charging)

    def _power(
        self, voltage: float | None, current: int, remaining: int, charging: bool | None
    ) -> Iterator[tuple[str, Any]]:
        drawn = current / 100 if current != -1 else None
        if voltage is not None:
            yield "battery.voltage", voltage
        if drawn is not None:
            yield "battery.current", drawn
        if 0 <= remaining <= 100:
            yield "battery.level", remaining / 100
            yield "state:battery", Battery(remaining / 100, voltage, drawn, charging)

    def _hud(self, message: Any) -> Iterator[tuple[str, Any]]:
        yield "speed", message.groundspeed
        yield "airspeed", message.airspeed
        yield "climb", message.climb
        if message.throttle <= 100:
            yield "throttle", message.throttle / 100

    def _mission(self, message: Any) -> Iterator[tuple[str, Any]]:
        self.mission_current, self.mission_state = message.seq, message.mission_state
        if message.total not in (0, U16):
            # ArduPilot's item 0 is home, and is not counted.
            self.mission_last = message.total - (self.autopilot == PX4)
        yield "mission.current", message.seq

    def _item_reached(self, message: Any) -> Iterator[tuple[str, Any]]:
        self.reached.add(message.seq)
        return iter(())

    def _home(self, message: Any) -> Iterator[tuple[str, Any]]:
        if not _on_earth(message.latitude, message.longitude):
            return
        self.home = Geo(message.latitude / 1e7, message.longitude / 1e7, message.altitude / 1000)
        yield "home", self.home

    def _extended(self, message: Any) -> Iterator[tuple[str, Any]]:
        self._landed, self._landed_at = message.landed_state, self._clock.monotonic()
        if message.landed_state in LANDED:
            yield "flight.landed", LANDED[message.landed_state]


def _on_earth(lat: int, lon: int) -> bool:
    """Whether there is such a position, 1e-7 degrees; INT32_MAX among others is sent for one that is not known."""
    return abs(lat) <= 90 * 10**7 and abs(lon) <= 180 * 10**7
