"""Missions: from the command's arguments to MISSION_ITEM_INT, and the upload protocol.

The protocol is https://mavlink.io/en/services/mission.html: we say how many items there are (MISSION_COUNT), the
vehicle asks for one after the other (MISSION_REQUEST_INT, or MISSION_REQUEST, which older ones and ArduPilot send) and
ends with MISSION_ACK. What gets no answer is sent again. An item that comes twice is passed over by PX4; ArduPilot says
that it is out of order, and goes on with the upload all the same (libraries/GCS_MAVLink/MissionItemProtocol.cpp). When
the last acknowledgement is lost, a vehicle that has stored everything may answer the item that is sent again with an
error: then the whole upload begins anew, which does no harm.

PX4 refuses items without a place (speed, return) in any frame but MAV_FRAME_MISSION, and takes 0, 0 for a place off the
coast of Africa (src/modules/mavlink/mavlink_mission.cpp), which to ArduPilot means "here".
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from botyard_plugins.mavlink.link import Link, Mailbox, SilentError
from botyard_plugins.mavlink.protocol import Progress

MAX_ITEMS = 1000
MISSION = 0  # MAV_MISSION_TYPE; others are fences and rally points
ACCEPTED, ERROR, INVALID_SEQUENCE = 0, 1, 13
UPLOADS = 3
ASKED = 20  # times for the same item, and the vehicle does not get on

_MEANINGS = {
    1: "an error",
    2: "it does not know the frame of an item",
    3: "it does not support an item",
    4: "it has no room for so many items",
    5: "an item is not valid",
    **dict.fromkeys(range(6, 13), "an item has a value that is not valid"),
    13: "an item came out of order",
    14: "it takes no mission from us",
    15: "it was cancelled",
}

_PLACE: dict[str, Any] = {
    "lat": {"type": "number", "minimum": -90, "maximum": 90},
    "lon": {"type": "number", "minimum": -180, "maximum": 180},
}
_ALTITUDE = {"type": "number", "minimum": -1000, "maximum": 10000}


def _item(does: str, required: Sequence[str] = (), /, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["do", *required],
        "additionalProperties": False,
        "properties": {"do": {"const": does}, **properties},
    }


ITEMS: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_ITEMS,
    "description": "What is flown, in this order. Altitudes are metres above home, positions WGS 84 degrees.",
    "items": {
        "type": "object",
        "required": ["do"],
        "properties": {"do": {"enum": ["takeoff", "waypoint", "speed", "land", "rtl"]}},
        "allOf": [
            {"if": {"properties": {"do": {"const": one["properties"]["do"]["const"]}}}, "then": one}
            for one in (
                _item("takeoff", ["altitude"], altitude=_ALTITUDE),
                _item(
                    "waypoint",
                    ["lat", "lon", "altitude"],
                    **_PLACE,
                    altitude=_ALTITUDE,
                    hold={"type": "number", "minimum": 0, "maximum": 65535, "description": "Seconds to stay there."},
                ),
                _item("speed", ["speed"], speed={"type": "number", "exclusiveMinimum": 0, "maximum": 1000}),
                _item("land", **_PLACE) | {"dependentRequired": {"lat": ["lon"], "lon": ["lat"]}},
                _item("rtl"),
            )
        ],
    },
}


Place = tuple[float, float]  # degrees north and east


class RefusedMissionError(Exception):
    """The vehicle does not take the mission; says why."""


class Item(NamedTuple):
    """An item as MAVLink has it: positions in degrees, altitude in metres above home."""

    command: str
    params: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    lat: float = 0.0
    lon: float = 0.0
    altitude: float = 0.0
    placed: bool = True  # else it has no position at all


def plan(given: Sequence[Mapping[str, Any]], *, home_first: bool, here: Place | None = None) -> list[Item]:
    """The items of a mission. `home_first`: as ArduPilot wants it, whose item 0 is home and is not flown. PX4 wants a
    place for everything that has one, and what names none is where the item before it is, or the vehicle (`here`).

    Raises RefusedMissionError when that is not known.
    """
    items = [Item("MAV_CMD_NAV_WAYPOINT")] if home_first else []
    place = (0.0, 0.0) if home_first else here
    for item in given:
        items.append(_made(item, place))
        if items[-1].placed and not home_first:
            place = items[-1].lat, items[-1].lon
    return items


def _made(item: Mapping[str, Any], place: Place | None) -> Item:
    as_is = (0.0, 0.0, 0.0, math.nan)  # the heading is the vehicle's own affair
    match item["do"]:
        case "speed":
            return Item("MAV_CMD_DO_CHANGE_SPEED", (1.0, item["speed"], -1.0, 0.0), placed=False)
        case "rtl":
            return Item("MAV_CMD_NAV_RETURN_TO_LAUNCH", placed=False)
        case "waypoint":
            params = (float(item.get("hold", 0.0)), 0.0, 0.0, math.nan)
            return Item("MAV_CMD_NAV_WAYPOINT", params, item["lat"], item["lon"], item["altitude"])
    if "lat" in item:
        place = item["lat"], item["lon"]
    if place is None:
        raise RefusedMissionError(
            f"where to {item['do']} is not known, since the vehicle does not know where it is yet"
        )
    if item["do"] == "land":
        return Item("MAV_CMD_NAV_LAND", as_is, *place)
    return Item("MAV_CMD_NAV_TAKEOFF", as_is, *place, item["altitude"])


async def upload(link: Link, items: Sequence[Item], timeout: float, attempts: int, progress: Progress) -> None:
    """Let the vehicle fetch them. Raises RefusedMissionError, SilentError, GoneError."""
    for left in reversed(range(UPLOADS)):
        if await _Upload(link, items, timeout, attempts, progress).run(last=not left):
            return


async def clear(link: Link, timeout: float, attempts: int) -> None:
    """Let the vehicle forget its mission. Raises RefusedMissionError, SilentError, GoneError."""
    message = link.dialect.MAVLink_mission_clear_all_message(*link.target, MISSION)
    with link.listen("MISSION_ACK") as box:
        for _ in range(attempts):
            link.send(message)
            heard = await _answer(link, box, timeout)
            if heard is not None:
                if heard.type != ACCEPTED:
                    why = _MEANINGS.get(heard.type, "an answer that is not known")
                    raise RefusedMissionError(f"the vehicle refuses: {why} (MAV_MISSION_RESULT {heard.type})")
                return
    raise SilentError(f"the vehicle did not answer, though it was asked {attempts} times")


async def last_stored(link: Link, timeout: float, attempts: int) -> tuple[int, str]:
    """The number and the command of the last item that the vehicle has; -1 when it has none. Raises
    RefusedMissionError, SilentError, GoneError.

    All are asked for, since PX4 tells them in their order only.
    """
    dialect, number, command = link.dialect, -1, ""
    with link.listen("MISSION_COUNT", "MISSION_ITEM_INT", "MISSION_ACK") as box:

        async def told(message: Any, seq: int | None = None) -> Any:
            for _ in range(attempts):
                link.send(message)
                while (heard := await _answer(link, box, timeout)) is not None:
                    if heard.get_type() == "MISSION_ACK":
                        why = _MEANINGS.get(heard.type, "an answer that is not known")
                        raise RefusedMissionError(f"the vehicle refuses: {why} (MAV_MISSION_RESULT {heard.type})")
                    if (heard.seq if heard.get_type() == "MISSION_ITEM_INT" else None) == seq:
                        return heard
            raise SilentError(f"the vehicle did not answer, though it was asked {attempts} times")

        count = (await told(dialect.MAVLink_mission_request_list_message(*link.target, MISSION))).count
        for number in range(count):
            item = await told(dialect.MAVLink_mission_request_int_message(*link.target, number, MISSION), number)
            known = dialect.enums["MAV_CMD"].get(item.command)
            command = known.name if known is not None else f"MAV_CMD {item.command}"
        link.send(dialect.MAVLink_mission_ack_message(*link.target, ACCEPTED, MISSION))
    return number, command


async def _answer(link: Link, box: Mailbox, timeout: float) -> Any:
    """What the vehicle says next to us of its mission; None when that is nothing within so many seconds.

    It tells everybody what it answers others, of their missions and of fences and rally points.
    """
    end = link.clock.monotonic() + timeout
    while (left := end - link.clock.monotonic()) > 0:
        heard = await box.next(left)
        if heard is not None and heard.mission_type == MISSION and heard.target_system in (0, link.own[0]):
            return heard
    return None


class _Upload:
    """One attempt at all items."""

    def __init__(self, link: Link, items: Sequence[Item], timeout: float, attempts: int, progress: Progress) -> None:
        self._link = link
        self._items = items
        self._timeout = timeout
        self._attempts = attempts
        self._progress = progress
        self._asked: Counter[int] = Counter()
        self._in_doubt = False
        self._out_of_order = 0

    async def run(self, *, last: bool) -> bool:
        """Whether the vehicle has it; not so, when it is in doubt and not the `last` attempt."""
        dialect = self._link.dialect
        with self._link.listen("MISSION_REQUEST_INT", "MISSION_REQUEST", "MISSION_ACK") as box:
            message = dialect.MAVLink_mission_count_message(*self._link.target, len(self._items), MISSION)
            self._link.send(message)
            while True:
                heard = await self._heard(box, message)
                if heard.get_type() != "MISSION_ACK":
                    message = await self._item(heard.seq)
                    self._link.send(message)
                elif heard.type == ACCEPTED:
                    if len(self._asked) == len(self._items):  # else it belongs to something earlier
                        return True
                elif self._in_doubt and not last and heard.type in (ERROR, INVALID_SEQUENCE):
                    return False
                elif heard.type == INVALID_SEQUENCE and self._asked and self._out_of_order < ASKED:
                    self._out_of_order += 1  # what was sent twice; it asks for what it wants by itself
                else:
                    raise RefusedMissionError(self._refusal(heard.type))

    async def _heard(self, box: Mailbox, message: Any) -> Any:
        """What the vehicle says next of this mission; what it does not answer is sent again."""
        silent = 0
        while True:
            heard = await _answer(self._link, box, self._timeout)
            if heard is not None:
                return heard
            silent += 1
            if silent >= self._attempts:
                raise SilentError(f"the vehicle did not answer, though it was asked {silent} times")
            self._in_doubt = len(self._asked) == len(self._items)
            self._link.send(message)

    async def _item(self, number: int) -> Any:
        if number >= len(self._items):
            raise RefusedMissionError(f"the vehicle asks for item {number} of {len(self._items)}")
        self._asked[number] += 1
        if self._asked[number] > ASKED:
            raise SilentError(f"the vehicle asked for item {number} {ASKED} times and does not get on")
        if self._asked[number] == 1:
            await self._progress(len(self._asked) / (len(self._items) + 1))
        dialect, item = self._link.dialect, self._items[number]
        return dialect.MAVLink_mission_item_int_message(
            *self._link.target,
            number,
            dialect.MAV_FRAME_GLOBAL_RELATIVE_ALT_INT if item.placed else dialect.MAV_FRAME_MISSION,
            getattr(dialect, item.command),
            int(number == 0),
            1,
            *item.params,
            round(item.lat * 1e7),
            round(item.lon * 1e7),
            item.altitude,
            MISSION,
        )

    def _refusal(self, result: int) -> str:
        why = _MEANINGS.get(result, "an answer that is not known")
        at = f", after item {max(self._asked)} of {len(self._items)}" if self._asked else ""
        return f"the vehicle refuses: {why} (MAV_MISSION_RESULT {result}){at}"
