"""NMEA 0183 as GPS receivers speak it: RMC, GGA and VTG.

Sentence layouts as in IEC 61162-1 (NMEA 0183 version 4), fields counted from 1 after the sentence's name:

* GGA: 1 time, 2-3 latitude, 4-5 longitude, 6 fix quality, 7 satellites used, 8 HDOP, 9 altitude (m, mean sea level)
* RMC: 1 time, 2 status (A valid, V warning), 3-4 latitude, 5-6 longitude, 7 speed (knots), 8 course (degrees true),
  9 date, 10-11 magnetic variation, 12 mode (N: not valid)
* VTG: 1 course (degrees true), 3 course (magnetic), 5 speed (knots), 7 speed (km/h), 9 mode (N: not valid)
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from botyard_edge.driver import Channel, Geo
from botyard_plugins.serial.lines import Reading, UnusableError

KNOT = 1852 / 3600  # m/s

# Seconds for which a sentence that tells more keeps one that tells the same from being used as well.
PREFERRED = 3.0

_SENTENCE = re.compile(r"\$([A-Z0-9]{2,16}),([^*$]*)\*([0-9A-Fa-f]{2})\s*")
_ANGLE = re.compile(r"(\d{1,3})(\d\d(?:\.\d*)?)")
_FIXED = re.compile(r"[+-]?\d{1,12}(?:\.\d*)?|[+-]?\.\d+")


def channels(prefix: str, geo: str) -> tuple[Channel, ...]:
    """The channels of one receiver."""
    return (
        Channel(geo, "geo", description="Position by the receiver, WGS 84"),
        Channel(f"{prefix}.speed", unit="m/s", description="Speed over ground"),
        Channel(f"{prefix}.course", unit="deg", description="Course over ground, clockwise from true north"),
        Channel(
            f"{prefix}.quality",
            "integer",
            description="0 no fix, 1 GPS, 2 differential, 4 RTK fixed, 5 RTK float, 6 dead reckoning, 8 simulated",
        ),
        Channel(f"{prefix}.satellites", "integer", description="Satellites in use"),
        Channel(f"{prefix}.hdop", unit="1", description="Horizontal dilution of precision"),
    )


def checksum(text: str) -> int:
    """Exclusive or of the characters between `$` and `*`."""
    result = 0
    for character in text:
        result ^= ord(character)
    return result


class NmeaDecoder:
    """Positions, speed, course and the quality of the fix. Of sentences that tell the same, the fuller one counts:
    positions of GGA (which has the altitude), speed and course of RMC; the others while those are missing."""

    def __init__(self, prefix: str, geo: str) -> None:
        self.channels: Sequence[Channel] = channels(prefix, geo)
        self._prefix = prefix
        self._geo = geo
        self._position = self._motion = -math.inf  # when GGA and RMC were last used

    def decode(self, line: str, now: float) -> Reading | None:
        """What the sentence says; None for one of another kind, and while there is no fix to tell of."""
        if not line.startswith("$"):
            raise UnusableError("no NMEA sentence")
        match = _SENTENCE.fullmatch(line)
        if match is None:
            raise UnusableError("without a checksum")
        name, body, given = match.groups()
        if checksum(f"{name},{body}") != int(given, 16):
            raise UnusableError("a wrong checksum")
        # `P` begins makers' own sentences; in the others, two letters name the talker and three the kind.
        kind = "" if name.startswith("P") else name[2:]
        fields = body.split(",")
        try:
            if kind == "GGA":
                return self._gga(fields, now)
            if kind == "RMC":
                return self._rmc(fields, now)
            return self._vtg(fields, now) if kind == "VTG" else None
        except (ValueError, IndexError) as error:
            raise UnusableError("a broken sentence") from error

    def _gga(self, fields: list[str], now: float) -> Reading:
        quality = int(_fixed(fields[5]) or 0)
        satellites, hdop = _fixed(fields[6]), _fixed(fields[7])
        values: dict[str, Any] = {f"{self._prefix}.quality": quality}
        if satellites is not None:
            values[f"{self._prefix}.satellites"] = int(satellites)
        if quality == 0:  # receivers repeat the last position, or write 99.99 as dilution
            return Reading(values)
        if hdop is not None:
            values[f"{self._prefix}.hdop"] = hdop
        position = _position(fields[1:5], _fixed(fields[8]))
        if position is None:
            return Reading(values)
        self._position = now
        return Reading({self._geo: position, **values}, {"geo": position})

    def _rmc(self, fields: list[str], now: float) -> Reading | None:
        if fields[1] != "A" or fields[11:12] == ["N"]:
            return None
        position = _position(fields[2:6], None)
        speed = _fixed(fields[6])
        values = self._moving(None if speed is None else speed * KNOT, _course(fields[7]))
        self._motion = now
        if position is None or now - self._position < PREFERRED:
            return Reading(values)
        return Reading({self._geo: position, **values}, {"geo": position})

    def _vtg(self, fields: list[str], now: float) -> Reading | None:
        if fields[8:9] == ["N"] or now - self._motion < PREFERRED:
            return None
        knots, kmh = _fixed(fields[4]), _fixed(fields[6])
        speed = kmh / 3.6 if kmh is not None else None if knots is None else knots * KNOT
        return Reading(self._moving(speed, _course(fields[0])))

    def _moving(self, speed: float | None, course: float | None) -> dict[str, Any]:
        values = {f"{self._prefix}.speed": speed, f"{self._prefix}.course": course}
        return {name: value for name, value in values.items() if value is not None}


def _fixed(text: str) -> float | None:
    """A number without exponent; None for an empty field. Raises ValueError."""
    if not text:
        return None
    if not _FIXED.fullmatch(text):
        raise ValueError(text)
    return float(text)


def _course(text: str) -> float | None:
    course = _fixed(text)
    if course is not None and not 0.0 <= course <= 360.0:
        raise ValueError(text)
    return course


def _position(fields: Sequence[str], altitude: float | None) -> Geo | None:
    """Latitude `ddmm.mmmm` with N or S and longitude `dddmm.mmmm` with E or W. Raises ValueError."""
    latitude, north, longitude, east = fields
    if not latitude and not longitude:
        return None
    return Geo(_angle(latitude, north, "NS", 90), _angle(longitude, east, "EW", 180), altitude)


def _angle(text: str, side: str, sides: str, limit: int) -> float:
    match = _ANGLE.fullmatch(text)
    if match is None or side not in tuple(sides):
        raise ValueError(text)
    minutes = float(match[2])
    degrees = int(match[1]) + minutes / 60.0
    if minutes >= 60.0 or degrees > limit:
        raise ValueError(text)
    return -degrees if side == sides[1] else degrees
