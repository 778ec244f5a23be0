"""What is measured, against the limits: battery, temperatures, tilt, speed, and the place with the way that stopping
takes. Pure; what follows goes to `causes`.
"""

import math
from dataclasses import dataclass

from botyard_edge.driver import Pose
from botyard_edge.safety.areas import leaves, outside
from botyard_edge.safety.causes import Causes
from botyard_edge.safety.policy import Policy

# How far a value must come back before its cause has gone: K, share of the charge, share of the tilt's limit.
COOLER, FULLER, FLATTER = 2.0, 0.02, 0.9
# Positions of which a speed is made are so many seconds apart; the robot has moved when they are so many metres apart,
# and is at rest when it has not for so many seconds.
APART, TOO_LONG, MOVED, AT_REST = 0.05, 2.0, 0.01, 0.5


@dataclass(frozen=True, slots=True)
class _Seen:
    """Where the robot was, and when (steady clock)."""

    pose: Pose
    at: float


class Measured:
    """What has been heard of one robot. `now` is hub time in microseconds, `steady` the steady clock in seconds."""

    def __init__(self, policy: Policy, causes: Causes) -> None:
        # The latest of each driver that tells one, the newest last; and whether each area has been known in its frame.
        self._poses: dict[str, Pose] = {}
        self._placed = False
        self._policy = policy
        self._causes = causes
        self._battery_known = False
        self._heard: set[str] = set()
        self._speeds: dict[str, float] = {}
        self._seen: _Seen | None = None

    def blind(self) -> str | None:
        """Which limit cannot be kept, since nothing has been heard yet of what it is about."""
        limits = self._policy.limits
        if astray := self._astray():
            return astray
        if limits.min_battery is not None and not self._battery_known:
            return "the battery's level is not known yet, so min_battery cannot be kept"
        if missing := sorted(self._policy.watched - self._heard):
            return f"nothing has been heard of {', '.join(missing)} yet, so its limit cannot be kept"
        return None

    def pose_in(self, frame: str | None) -> Pose | None:
        """Where the robot is in that frame, or in the one of the latest position; None: that is not known."""
        return next((one for one in reversed(self._poses.values()) if frame in (None, one.frame)), None)

    @property
    def frames(self) -> list[str]:
        """The frames in which positions are told."""
        return sorted({one.frame for one in self._poses.values()})

    def battery(self, level: float, *, now: int) -> None:
        """The battery's charge, from 0 to 1. What is no number says nothing."""
        if not math.isfinite(level):
            return
        self._battery_known = True
        least = self._policy.limits.min_battery
        if least is not None and level < least:
            reason = f"the battery is at {level:.0%}, below min_battery ({least:.0%})"
            self._causes.begin("safe", "battery", "battery", reason, now=now, latched=False)
        elif least is not None and level >= min(1.0, least + FULLER):
            self._causes.end("battery", "battery")

    def sample(self, channel: str, value: float, *, now: int) -> None:
        """A sample of a channel that the policy watches: Cel, rad, m/s or rad/s."""
        if not math.isfinite(value):
            return
        policy, limits = self._policy, self._policy.limits
        self._heard.add(channel)
        if channel in policy.temperatures and (hot := limits.max_temperature) is not None:
            self._temperature(channel, value, hot, now)
        if channel in policy.tilts and (steep := limits.max_tilt) is not None:
            self._tilt(channel, value, steep, now)
        if channel in policy.speeds:
            self._speeds[channel] = abs(value)
            self._speed(channel, value, limits.max_speed, "max_speed", "m/s", now)
        if channel in policy.turning:
            self._speed(channel, value, limits.max_angular_speed, "max_angular_speed", "rad/s", now)

    def place(self, pose: Pose, *, now: int, steady: float, driver: str = "") -> None:
        """Where the robot is, as this driver says. What is no number means that it does not know."""
        self._poses.pop(driver, None)
        known = all(math.isfinite(number) for number in (pose.x, pose.y))
        if known:
            self._poses[driver] = pose
        limits = self._policy.limits
        found = (outside(limits, one) for one in self._poses.values())
        where = next((f"the robot's position {one}" for one in found if one is not None), None)
        astray = self._astray()
        if astray is None:
            self._placed = True
        elif self._placed:  # before, nothing could move it
            where = where or astray
        if where is not None:
            self._causes.begin("safe", "area", "pose", where, now=now, latched=False)
        else:
            self._causes.end("area", "pose")
        areas = [area for area in (limits.geofence, limits.keep_out) if area.polygons]
        if self._policy.stopping is not None and known and any(area.frame in (None, pose.frame) for area in areas):
            self._way(pose, now, steady)

    def _astray(self) -> str | None:
        """Which area cannot be kept, since the position is not known in its frame."""
        limits = self._policy.limits
        areas = {"geofence": limits.geofence, "keep_out": limits.keep_out}
        wanted = {name: area.frame for name, area in areas.items() if area.polygons}
        if wanted and not self._poses:
            return "the robot's position is not known yet, so geofence and keep-out zones cannot be kept"
        for name, frame in wanted.items():
            if self.pose_in(frame) is None:
                told = " and ".join(repr(one) for one in self.frames)
                return f"the robot's position is told in frame {told}, and {name} is in {frame!r}, so it cannot be kept"
        return None

    def _temperature(self, channel: str, value: float, hot: float, now: int) -> None:
        if value > hot:
            reason = f"{channel} is {value:.1f} Cel, above max_temperature ({hot:g} Cel)"
            self._causes.begin("safe", "temperature", channel, reason, now=now, latched=False)
        elif value <= hot - COOLER:
            self._causes.end("temperature", channel)

    def _tilt(self, channel: str, value: float, steep: float, now: int) -> None:
        if abs(value) > steep:
            reason = f"{channel} is {value:.3f} rad, beyond max_tilt ({steep:.3f} rad)"
            self._causes.begin("safe", "tilt", channel, reason, now=now, latched=True)
        elif abs(value) <= steep * FLATTER:
            self._causes.end("tilt", channel)

    def _speed(self, channel: str, value: float, most: float | None, limit: str, unit: str, now: int) -> None:
        """A robot that is faster than it may be does not obey: it is halted, and somebody looks at it first."""
        if most is None:
            return
        if abs(value) > most * (1.0 + self._policy.overspeed):
            reason = f"{channel} is {abs(value):.3g} {unit}, above {limit} ({most:.3g} {unit})"
            self._causes.begin("safe", "overspeed", channel, reason, now=now, latched=True, hard=True)
        elif abs(value) <= most:
            self._causes.end("overspeed", channel)

    def _way(self, pose: Pose, now: int, steady: float) -> None:
        """Whether the robot comes to rest before it leaves its area, if it is stopped now."""
        seen, stopping = self._seen, self._policy.stopping
        if stopping is None or (seen is not None and seen.pose.frame == pose.frame and steady - seen.at < APART):
            return  # too close to the one before to tell a speed
        if seen is None or seen.pose.frame != pose.frame or steady - seen.at > TOO_LONG:
            self._seen = _Seen(pose, steady)
            return
        dx, dy = pose.x - seen.pose.x, pose.y - seen.pose.y
        moved = math.hypot(dx, dy)
        where, speed, needed = None, 0.0, 0.0
        if moved >= MOVED:
            self._seen = _Seen(pose, steady)
            speed = max([moved / (steady - seen.at), *self._speeds.values()])
            needed = stopping.distance(speed)
            where = leaves(self._policy.limits, pose, (pose.x + dx / moved * needed, pose.y + dy / moved * needed))
        elif steady - seen.at < AT_REST:
            return  # it creeps, or has just come to rest
        if where is None:
            self._causes.end("way", "pose")
        else:
            reason = f"at {speed:.2f} m/s the robot needs {needed:.2f} m to stop, which would {where}"
            self._causes.begin("safe", "way", "pose", reason, now=now, latched=False)
