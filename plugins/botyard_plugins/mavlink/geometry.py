"""From the axes of aviation to those of ROS (REP-103, https://ros.org/reps/rep-0103.html).

MAVLink gives attitudes as Euler angles (yaw, then pitch, then roll) that turn north-east-down into forward-right-down,
REP-103 wants east-north-up turned into forward-left-up. With Rx(π) = diag(1, -1, -1) between FRD and FLU, and
Rz(π/2)·Rx(π) between NED and ENU,

    R' = Rz(π/2) Rx(π) · Rz(ψ) Ry(θ) Rx(φ) · Rx(π) = Rz(π/2 - ψ) Ry(-θ) Rx(φ),

so roll stays, pitch changes its sign, and yaw counts from east, anticlockwise. Rates in the body change their signs in
y and z. The same relations are in PX4's guide (ROS 2, "ROS 2 & PX4 Frame Conventions").
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from botyard_edge.driver import Geo, Pose

METRES_PER_DEGREE = 111_320.0  # of latitude, and of longitude at the equator


class Angles(NamedTuple):
    """Three angles or rates about x, y and z: rad, rad/s."""

    roll: float
    pitch: float
    yaw: float


def wrapped(angle: float) -> float:
    """The angle from -π to π, rad."""
    return math.remainder(angle, math.tau)


def attitude(roll: float, pitch: float, yaw: float) -> Angles:
    """Attitude in ENU/FLU of one in NED/FRD, rad."""
    return Angles(wrapped(roll), wrapped(-pitch), wrapped(math.pi / 2 - yaw))


def rates(p: float, q: float, r: float) -> Angles:
    """Rates about the axes of FLU of those about FRD, rad/s."""
    return Angles(p, -q, -r)


def distance(one: Geo, other: Geo) -> float:
    """Metres over ground between positions that are near each other (equirectangular)."""
    mean = math.radians((one.lat + other.lat) / 2)
    east = math.remainder(other.lon - one.lon, 360.0) * math.cos(mean)
    return METRES_PER_DEGREE * math.hypot(other.lat - one.lat, east)


class Origin:
    """Where a site plan's origin is: WGS 84 degrees, and `bearing`, clockwise from north, of the plan's y axis.

    The same local tangent plane as of simulated robots; good to some millimetres over a few hundred metres.
    """

    def __init__(self, options: Mapping[str, float], frame: str) -> None:
        self.frame = frame
        self._lat = options["lat"]
        self._lon = options["lon"]
        self._bearing = math.radians(options.get("bearing", 0.0))
        self._east = METRES_PER_DEGREE * math.cos(math.radians(self._lat))

    def pose(self, geo: Geo, yaw: float, height: float) -> Pose:
        """The pose on the plan: `yaw` counts from east, anticlockwise, rad; `height` in metres above home."""
        east = math.remainder(geo.lon - self._lon, 360.0) * self._east
        north = (geo.lat - self._lat) * METRES_PER_DEGREE
        cos, sin = math.cos(self._bearing), math.sin(self._bearing)
        x, y = east * cos - north * sin, east * sin + north * cos
        return Pose(self.frame, round(x, 3), round(y, 3), round(wrapped(yaw + self._bearing), 4), round(height, 3))

    def geo(self, x: float, y: float) -> Geo:
        """The position on Earth of a point on the plan."""
        cos, sin = math.cos(self._bearing), math.sin(self._bearing)
        east, north = x * cos + y * sin, y * cos - x * sin
        lon = math.remainder(self._lon + east / self._east, 360.0)
        return Geo(self._lat + north / METRES_PER_DEGREE, lon)
