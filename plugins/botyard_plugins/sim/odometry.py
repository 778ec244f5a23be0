"""Dead reckoning from wheel encoders, with wheels that are not quite what the robot takes them for.

Equations of a differential drive: Siegwart, Nourbakhsh, Scaramuzza, Introduction to Autonomous Mobile Robots, 5.2.4.
"""

import math
from collections.abc import Mapping
from typing import Any

from botyard_edge.driver import Channel, Pose, Wheels
from botyard_plugins.sim.drive import Drive, wrap

FRAME = "odom"  # ROS REP-105: it drifts, and never jumps
CHANNELS = (
    Channel("odometry", "pose", rate=5, description="Where the robot takes itself to be, by its wheels alone."),
    Channel("wheel.left.angle", unit="rad", rate=5, description="Turned since the start."),
    Channel("wheel.right.angle", unit="rad", rate=5, description="Turned since the start."),
)


class Odometry:
    """Follows a drive. `real` wheels turn the encoders, `wheels` are those that the robot reckons with."""

    def __init__(self, options: Mapping[str, Any], drive: Drive) -> None:
        radius, track = options["radius"], options["track"]
        self.designed = Wheels(radius, radius, track)
        self.wheels = self.designed
        self._real = Wheels(
            options["real_left"] or radius, options["real_right"] or radius, options["real_track"] or track
        )
        self._drive = drive
        self._driven, self._yaw = drive.driven, drive.yaw
        self._x, self._y, self._heading = drive.x, drive.y, drive.yaw
        self._left = self._right = 0.0

    def values(self) -> tuple[Pose, float, float]:
        """Pose and encoders now, as the channels are; to be called before the robot has turned by half a circle."""
        drive, real, wheels = self._drive, self._real, self.wheels
        way, turn = drive.driven - self._driven, wrap(drive.yaw - self._yaw)
        self._driven, self._yaw = drive.driven, drive.yaw
        left = (way - turn * real.track / 2.0) / real.radius_left
        right = (way + turn * real.track / 2.0) / real.radius_right
        self._left += left
        self._right += right
        along = (left * wheels.radius_left + right * wheels.radius_right) / 2.0
        turned = (right * wheels.radius_right - left * wheels.radius_left) / wheels.track
        self._x += along * math.cos(self._heading + turned / 2.0)
        self._y += along * math.sin(self._heading + turned / 2.0)
        self._heading = wrap(self._heading + turned)
        pose = Pose(FRAME, round(self._x, 4), round(self._y, 4), round(self._heading, 5))
        return pose, round(self._left, 4), round(self._right, 4)
