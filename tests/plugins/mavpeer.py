"""A MAVLink peer: a small vehicle that answers over a real socket as PX4 or ArduPilot does, with a bad radio.

It flies on the test's clock. What it must get right is what the autopilots differ in: modes, what altitudes are counted
from, who asks whom for a mission, and what is refused when.
"""

import asyncio
import math
import random
import socket
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

import pymavlink.dialects.v20.ardupilotmega as mavlink

from botyard_plugins.mavlink.geometry import METRES_PER_DEGREE
from botyard_schemas.clock import Clock

HOME = (47.3977, 8.5456, 488.0)  # degrees, metres above the sea
STEP = 0.1
SPEED, CLIMB = 10.0, 4.0  # m/s
PX4_AUTO = {"TAKEOFF": 2, "LOITER": 3, "MISSION": 4, "RTL": 5, "LAND": 6}
PX4_MAIN = {"MANUAL": 1, "POSCTL": 3, "STABILIZED": 7}
COPTER = {"STABILIZE": 0, "AUTO": 3, "GUIDED": 4, "LOITER": 5, "RTL": 6, "LAND": 9, "BRAKE": 17}
ROVER = {"MANUAL": 0, "HOLD": 4, "AUTO": 10, "RTL": 11, "GUIDED": 15}
PLANE = {"MANUAL": 0, "AUTO": 10, "RTL": 11, "LOITER": 12, "GUIDED": 15}
Flavour = Literal["px4", "copter", "rover", "plane"]
TYPES = {"px4": 2, "copter": 2, "rover": 10, "plane": 1}


class Peer:
    """Sends to `port` on loopback, or waits there when it `listens`. `loss` is the share of datagrams that are lost,
    each way; `late` how many seconds each of its answers takes; `denies` the result of commands that it refuses."""

    def __init__(self, clock: Clock, port: int, flavour: Flavour = "px4", *, listens: bool = False, system: int = 1):
        self.flavour = flavour
        self.system = system
        self.loss = 0.0
        self.late = 0.0
        self.silent = self.deaf = self.frozen = False
        self.denies: dict[int, int] = {}
        self.works: dict[int, int] = {}
        self.ignores: set[int] = set()  # what it says yes to, and does not do
        self.says: list[tuple[int, str]] = []
        self.received: list[Any] = []
        self.requests_int = True
        # Whether it says how its mission stands, as newer ones do, instead of the items that it reaches.
        self.tells_state = False
        self.forgets_last_ack = 0
        self.autopilot = mavlink.MAV_AUTOPILOT_PX4 if flavour == "px4" else mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA
        self.mav_type = TYPES[flavour]
        self.modes = {"copter": COPTER, "rover": ROVER, "plane": PLANE}.get(flavour, {})
        self.mode = {"px4": "POSCTL", "copter": "STABILIZE", "rover": "MANUAL", "plane": "MANUAL"}[flavour]
        self.armed = False
        self.east = self.north = self.up = 0.0
        self.velocity = (0.0, 0.0, 0.0)
        self.goal: tuple[float, float, float] | None = None
        self.pace = SPEED
        self.mission: list[Any] = []
        self.current = 0
        self.status = mavlink.MAV_STATE_STANDBY
        self.rng = random.Random(7)
        self.gcs_heartbeats = 0
        self._clock = clock
        self._port = port
        self._listens = listens
        self._encoder = mavlink.MAVLink(None, system, 1)
        self._decoder = mavlink.MAVLink(None)
        self._decoder.robust_parsing = True
        self._intervals: dict[int, float] = {}
        self._due: dict[int, float] = {mavlink.MAVLINK_MSG_ID_HEARTBEAT: 0.0}
        self._incoming: list[Any] | None = None
        self._expected = self._told = 0
        self._asked_at = 0.0
        self._peer: Any = None if listens else ("127.0.0.1", port)

    async def __aenter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", self._port if self._listens else 0))
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
        self._tasks = [asyncio.create_task(self._live(), name="peer")]
        return self

    async def __aexit__(self, *exc: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.close()

    @property
    def custom_mode(self) -> Any:
        if self.flavour != "px4":
            return self.modes[self.mode]
        if self.mode in PX4_MAIN:
            return PX4_MAIN[self.mode] << 16
        return 4 << 16 | PX4_AUTO[self.mode] << 24

    @property
    def mission_state(self) -> Any:
        if self.mode in ("MISSION", "AUTO"):
            return mavlink.MISSION_STATE_ACTIVE
        done = self.current == len(self.mission) - 1
        return mavlink.MISSION_STATE_COMPLETE if done else mavlink.MISSION_STATE_PAUSED

    def commands(self, number: int) -> list[Any]:
        """The commands of one kind that came."""
        return [message for message in self.received if getattr(message, "command", None) == number]

    def say(self, severity: int, text: str) -> None:
        """A STATUSTEXT, in chunks when it is long."""
        data = text.encode()
        pieces = [data[at : at + 50] for at in range(0, len(data), 50)]
        for number, piece in enumerate(pieces):
            self.send(mavlink.MAVLink_statustext_message(severity, piece, 1 if len(pieces) > 1 else 0, number))

    def send(self, message: Any) -> None:
        self._transmit(message.pack(self._encoder))
        self._encoder.seq = (self._encoder.seq + 1) % 256

    def _transmit(self, data: bytes) -> None:
        if self._peer is not None and not self.silent and self.rng.random() >= self.loss:
            self._socket.sendto(data, self._peer)

    # --- flying

    async def _live(self) -> None:
        began = self._clock.monotonic()
        ticks = 0
        while True:
            if not self.frozen:
                self._fly(STEP)
            self._tell(self._clock.monotonic())
            ticks += 1
            await self._clock.sleep(max(0.0, began + ticks * STEP - self._clock.monotonic()))

    def _fly(self, seconds: float) -> None:
        if not self.armed:
            self.velocity = (0.0, 0.0, 0.0)
            return
        goal = self._goal()
        if goal is None:
            self.velocity = (0.0, 0.0, 0.0)
            return
        de, dn, du = goal[0] - self.east, goal[1] - self.north, goal[2] - self.up
        far = math.hypot(de, dn)
        step = min(far, self.pace * seconds)
        rise = max(-CLIMB * seconds, min(CLIMB * seconds, du))
        moved = (de / far * step if far else 0.0, dn / far * step if far else 0.0, rise)
        self.east, self.north, self.up = self.east + moved[0], self.north + moved[1], self.up + moved[2]
        self.velocity = (moved[0] / seconds, moved[1] / seconds, moved[2] / seconds)
        if far < 0.5 and abs(du) < 0.5:
            self._arrived()

    def _goal(self) -> tuple[float, float, float] | None:
        if self.mode in ("RTL",):
            near = math.hypot(self.east, self.north) < 0.5
            return (0.0, 0.0, 0.0 if near else max(self.up, 15.0 if self.mav_type != 10 else 0.0))
        if self.mode == "LAND":
            return (self.east, self.north, 0.0)
        if self.mode in ("MISSION", "AUTO"):
            return self._item_goal()
        return self.goal

    def _item_goal(self) -> tuple[float, float, float] | None:
        if self.current >= len(self.mission):
            return None
        item = self.mission[self.current]
        if item.command == mavlink.MAV_CMD_NAV_WAYPOINT:
            return (*self._metres(item.x / 1e7, item.y / 1e7), item.z)
        here = (self.east, self.north)
        # PX4 goes where the item says, ArduPilot takes 0, 0 for the place where it is.
        place = self._metres(item.x / 1e7, item.y / 1e7) if self.flavour == "px4" or item.x or item.y else here
        if item.command == mavlink.MAV_CMD_NAV_TAKEOFF:
            return (*place, item.z)
        if item.command == mavlink.MAV_CMD_NAV_LAND:
            return (*place, 0.0 if math.dist(place, here) < 1.0 else self.up)
        return (self.east, self.north, self.up)

    def _arrived(self) -> None:
        if self.mode in ("MISSION", "AUTO") and self.current < len(self.mission):
            item = self.mission[self.current]
            if not self.tells_state:
                self.send(mavlink.MAVLink_mission_item_reached_message(self.current))
            if item.command == mavlink.MAV_CMD_NAV_RETURN_TO_LAUNCH:
                self.mode = "RTL"
            elif self.current < len(self.mission) - 1:
                self.current += 1
            elif self.flavour == "px4":
                self.mode = "LOITER"
            if item.command == mavlink.MAV_CMD_NAV_LAND:
                self.armed = False
        elif self.mode in ("LAND", "RTL") and self.up < 0.5 and self.mav_type != 10:
            self.up, self.armed = 0.0, False
        elif self.mode == "TAKEOFF":
            self.mode = "LOITER"

    def _metres(self, lat: float, lon: float) -> tuple[float, float]:
        east = (lon - HOME[1]) * METRES_PER_DEGREE * math.cos(math.radians(HOME[0]))
        return east, (lat - HOME[0]) * METRES_PER_DEGREE

    # --- telling

    def _tell(self, now: float) -> None:
        for number, interval in [(mavlink.MAVLINK_MSG_ID_HEARTBEAT, 1.0), *self._intervals.items()]:
            if now >= self._due.get(number, 0.0) - 1e-6:
                self._due[number] = now + interval
                if (make := self._telemetry.get(number)) is not None:
                    self.send(make(self))
        if self._incoming is not None and now - self._asked_at >= 0.25:
            self._ask_item()

    def heartbeat(self) -> Any:
        base = mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED | (mavlink.MAV_MODE_FLAG_SAFETY_ARMED if self.armed else 0)
        return mavlink.MAVLink_heartbeat_message(self.mav_type, self.autopilot, base, self.custom_mode, self.status, 3)

    def position(self) -> Any:
        lat = HOME[0] + self.north / METRES_PER_DEGREE
        lon = HOME[1] + self.east / (METRES_PER_DEGREE * math.cos(math.radians(HOME[0])))
        east, north, up = (round(v * 100) for v in self.velocity)
        alt = (round((HOME[2] + self.up) * 1000), round(self.up * 1000))
        place = (round(lat * 1e7), round(lon * 1e7), *alt)
        return mavlink.MAVLink_global_position_int_message(0, *place, north, east, -up, 9000)

    def _extended(self) -> Any:
        return mavlink.MAVLink_extended_sys_state_message(0, 1 if self.up < 0.2 else 2)

    _telemetry: ClassVar[dict[int, Callable[["Peer"], Any]]] = {
        mavlink.MAVLINK_MSG_ID_HEARTBEAT: heartbeat,
        mavlink.MAVLINK_MSG_ID_GLOBAL_POSITION_INT: position,
        mavlink.MAVLINK_MSG_ID_EXTENDED_SYS_STATE: _extended,
        mavlink.MAVLINK_MSG_ID_ATTITUDE: lambda _: mavlink.MAVLink_attitude_message(0, 0.1, 0.2, 0.5, 0.01, 0.02, 0.03),
        mavlink.MAVLINK_MSG_ID_GPS_RAW_INT: lambda _: mavlink.MAVLink_gps_raw_int_message(
            0, 3, 0, 0, 0, 121, 65535, 0, 0, 12
        ),
        mavlink.MAVLINK_MSG_ID_VFR_HUD: lambda self: mavlink.MAVLink_vfr_hud_message(
            12.5, math.hypot(*self.velocity[:2]), 90, 55, 0.0, self.velocity[2]
        ),
        mavlink.MAVLINK_MSG_ID_SYS_STATUS: lambda _: mavlink.MAVLink_sys_status_message(
            0, 0, 0, 350, 15800, 1250, 76, 0, 0, 0, 0, 0, 0
        ),
        mavlink.MAVLINK_MSG_ID_MISSION_CURRENT: lambda self: mavlink.MAVLink_mission_current_message(
            self.current, *((len(self.mission), self.mission_state) if self.tells_state else ())
        ),
        mavlink.MAVLINK_MSG_ID_HOME_POSITION: lambda _: mavlink.MAVLink_home_position_message(
            round(HOME[0] * 1e7), round(HOME[1] * 1e7), round(HOME[2] * 1000), 0, 0, 0, [1, 0, 0, 0], 0, 0, 0
        ),
    }

    # --- hearing

    def _read(self) -> None:
        data, sender = self._socket.recvfrom(65536)
        if self.rng.random() < self.loss:
            return
        self._peer = sender
        for message in self._decoder.parse_buffer(data) or ():
            if message.get_type() == "HEARTBEAT":
                self.gcs_heartbeats += 1
            elif not self.silent and getattr(message, "target_system", self.system) == self.system:
                self.received.append(message)
                if self.deaf:
                    continue
                if self.late:
                    self._tasks.append(asyncio.create_task(self._answer_late(message), name="peer.late"))
                else:
                    self._answer(message)

    async def _answer_late(self, message: Any) -> None:
        await self._clock.sleep(self.late)
        self._answer(message)

    def _answer(self, message: Any) -> None:
        match message.get_type():
            case "COMMAND_LONG":
                params = [getattr(message, f"param{number}") for number in range(1, 8)]
                self._command(message, params)
            case "COMMAND_INT":
                place = [message.x / 1e7, message.y / 1e7, message.z]
                self._command(message, [message.param1, message.param2, message.param3, message.param4, *place])
            case "MISSION_COUNT":
                self._incoming, self._expected = [], message.count
                self._ask_item()
            case "MISSION_ITEM_INT":
                self._take_item(message)
            case "MISSION_REQUEST_LIST":
                self._told = 0
                self.send(mavlink.MAVLink_mission_count_message(255, 190, len(self.mission)))
            case "MISSION_REQUEST_INT":
                self._tell_item(message.seq)
            case "MISSION_CLEAR_ALL":
                self.mission = []
                self.send(mavlink.MAVLink_mission_ack_message(255, 190, 0))

    def _command(self, message: Any, params: list[float]) -> None:
        command = message.command
        for severity, text in self.says if command in self.denies else ():
            self.say(severity, text)
        for number in range(self.works.get(command, 0)):
            self._ack(command, mavlink.MAV_RESULT_IN_PROGRESS, 10 * number)
        result = self.denies.get(command)
        if result is None and command in self.ignores:
            result = mavlink.MAV_RESULT_ACCEPTED
        if result is None:
            frame = getattr(message, "frame", mavlink.MAV_FRAME_GLOBAL)
            result = self._do(command, params, frame)
        self._ack(command, result)

    def _ack(self, command: int, result: int, progress: int = 0) -> None:
        self.send(mavlink.MAVLink_command_ack_message(command, result, progress, 0, 255, 190))

    def _do(self, command: int, params: list[float], frame: int) -> Any:
        ok, denied, failed = (
            mavlink.MAV_RESULT_ACCEPTED,
            mavlink.MAV_RESULT_DENIED,
            mavlink.MAV_RESULT_FAILED,
        )
        match command:
            case mavlink.MAV_CMD_SET_MESSAGE_INTERVAL:
                self._intervals[int(params[0])] = params[1] / 1e6
                return ok
            case mavlink.MAV_CMD_DO_SET_MODE:
                return ok if self._set_mode(int(params[1]), int(params[2])) else denied
            case mavlink.MAV_CMD_COMPONENT_ARM_DISARM:
                if params[0] == 0 and self.up > 0.2:
                    return denied if self.flavour == "px4" else failed
                self.armed = params[0] == 1
                return ok
            case mavlink.MAV_CMD_NAV_TAKEOFF:
                return self._take_off(params[6])
            case mavlink.MAV_CMD_DO_CHANGE_SPEED:
                self.pace = params[1]
                return ok
            case mavlink.MAV_CMD_DO_REPOSITION:
                return self._reposition(params, frame)
            case mavlink.MAV_CMD_NAV_RETURN_TO_LAUNCH:
                return self._change("RTL")
            case mavlink.MAV_CMD_NAV_LAND if self.flavour == "px4":
                return self._change("LAND")
            case mavlink.MAV_CMD_MISSION_START if self.flavour != "px4":
                self.mode, self.current = "AUTO", 1
                return ok if len(self.mission) > 1 else failed
        return mavlink.MAV_RESULT_UNSUPPORTED

    def _change(self, mode: str) -> Any:
        """PX4 takes a mode that it is in already for one that it cannot change to now."""
        was, self.mode = self.mode, mode
        again = self.flavour == "px4" and was == mode
        return mavlink.MAV_RESULT_TEMPORARILY_REJECTED if again else mavlink.MAV_RESULT_ACCEPTED

    def _set_mode(self, mode: int, sub: int) -> bool:
        if self.flavour != "px4":
            found = [name for name, number in self.modes.items() if number == mode]
        elif mode == 4:
            found = [name for name, number in PX4_AUTO.items() if number == sub]
        else:
            found = [name for name, number in PX4_MAIN.items() if number == mode]
        if not found:
            return False
        if found[0] != self.mode and found[0] in ("GUIDED", "LOITER", "BRAKE", "HOLD"):
            self.goal = None  # PX4 in LOITER flies on to where it was sent, although it is told to hold
        if found[0] == "MISSION":
            self.current = 0
        self.mode = found[0]
        return True

    def _take_off(self, altitude: float) -> Any:
        if self.flavour == "px4":
            self.goal, self.mode = (self.east, self.north, altitude - HOME[2]), "TAKEOFF"
            return mavlink.MAV_RESULT_ACCEPTED
        if self.mode != "GUIDED" or not self.armed:
            return mavlink.MAV_RESULT_FAILED
        self.goal = (self.east, self.north, altitude)
        return mavlink.MAV_RESULT_ACCEPTED

    def _reposition(self, params: list[float], frame: int) -> Any:
        if math.isnan(params[4]):
            self.goal = None
        else:
            height = params[6] if frame == mavlink.MAV_FRAME_GLOBAL_RELATIVE_ALT else params[6] - HOME[2]
            self.goal = (*self._metres(params[4], params[5]), height if self.mav_type != 10 else 0.0)
        self.mode = "LOITER" if self.flavour == "px4" else "GUIDED"
        return mavlink.MAV_RESULT_ACCEPTED

    # --- missions

    def _ask_item(self) -> None:
        assert self._incoming is not None
        self._asked_at = self._clock.monotonic()
        kind = (
            mavlink.MAVLink_mission_request_int_message
            if self.requests_int
            else mavlink.MAVLink_mission_request_message
        )
        self.send(kind(255, 190, len(self._incoming)))

    def _tell_item(self, seq: int) -> None:
        if self.flavour == "px4" and seq not in (self._told - 1, self._told):
            self.send(mavlink.MAVLink_mission_ack_message(255, 190, mavlink.MAV_MISSION_ERROR))
            return
        self._told = seq + 1
        one = self.mission[seq]
        params = (one.param1, one.param2, one.param3, one.param4, one.x, one.y, one.z)
        whose = (one.seq, one.frame, one.command, one.current, one.autocontinue)
        self.send(mavlink.MAVLink_mission_item_int_message(255, 190, *whose, *params))

    def _take_item(self, item: Any) -> None:
        if self._incoming is None:
            again = self.flavour == "px4" and item.seq == len(self.mission) - 1 and not self.forgets_last_ack
            result = mavlink.MAV_MISSION_ACCEPTED if again else mavlink.MAV_MISSION_ERROR
            self.send(mavlink.MAVLink_mission_ack_message(255, 190, result))
            return
        if item.seq != len(self._incoming):
            if self.flavour != "px4":  # which passes it over
                self.send(mavlink.MAVLink_mission_ack_message(255, 190, mavlink.MAV_MISSION_INVALID_SEQUENCE))
            return
        self._incoming.append(item)
        placeless = item.command in (mavlink.MAV_CMD_DO_CHANGE_SPEED, mavlink.MAV_CMD_NAV_RETURN_TO_LAUNCH)
        if self.flavour == "px4" and placeless != (item.frame == mavlink.MAV_FRAME_MISSION):
            self._incoming = None
            self.send(mavlink.MAVLink_mission_ack_message(255, 190, mavlink.MAV_MISSION_UNSUPPORTED))
        elif item.command in self.denies:
            self._incoming = None
            self.send(mavlink.MAVLink_mission_ack_message(255, 190, self.denies[item.command]))
        elif len(self._incoming) < self._expected:
            self._ask_item()
        else:
            self.mission, self._incoming = self._incoming, None
            if self.forgets_last_ack:
                self.forgets_last_ack -= 1
            else:
                self.send(mavlink.MAVLink_mission_ack_message(255, 190, 0))
