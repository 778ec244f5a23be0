"""Limits on the arguments of one motion command. Pure: what comes out never exceeds a limit, or is a refusal."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botyard_edge.driver import Motion, Pose
from botyard_edge.safety.policy import Area, Limits
from botyard_edge.safety.polygons import contains, meets, stays
from botyard_schemas.validation import shortened

# Seconds between two commands of a stream of velocities at most, where no watchdog says it.
BETWEEN = 0.5
# What the last digits of a velocity may differ by, as a share of it.
ROUNDING = 1e-9


class LimitError(ValueError):
    """The command breaks a limit and is not to be executed. The sentence names argument, value and limit."""


@dataclass(frozen=True, slots=True)
class Commanded:
    """The velocity that was asked for last, m/s by argument, and when, in seconds of the steady clock."""

    velocity: Mapping[str, float] = field(default_factory=dict)
    at: float = 0.0

    @classmethod
    def of(cls, motion: Motion, args: Mapping[str, Any], steady: float) -> "Commanded":
        """What these arguments ask for."""
        return cls({name: _number(args, name) for name in motion.linear}, steady)

    def towards(self, velocity: Mapping[str, float], change: float) -> float:
        """The greatest speed in the direction of the new velocity that can be reached with this change of it, in m/s.

        Braking costs nothing, so whatever lies between standing still and the velocity so far is where the change may
        begin: the speed is that at which the direction leaves the points within `change` of that line.
        """
        before, wanted = math.hypot(*self.velocity.values()), math.hypot(*velocity.values())
        if self.velocity.keys() != velocity.keys() or not before or not wanted:
            return change
        ahead = sum(self.velocity[name] * value for name, value in velocity.items()) / wanted
        aside = math.hypot(*(self.velocity[name] - value / wanted * ahead for name, value in velocity.items()))
        change += ROUNDING * before  # slowing down on a straight line is never refused for the last digit
        if ahead <= 0.0:
            return change  # it turns round, and stands still before
        if aside * before > change * ahead:
            return change * before / aside  # it leaves beside the line
        return ahead + math.sqrt(max(0.0, change**2 - aside**2))


def limited(
    motion: Motion | None,
    args: Mapping[str, Any],
    limits: Limits,
    *,
    pose: Pose | None,
    last: Commanded,
    steady: float,
    timeout: float | None = None,
    speed_watched: bool = False,
    frames: Sequence[str] = (),
) -> dict[str, Any]:
    """The arguments that the driver may get. `speed_watched`: what the robot measures is kept within max_speed, too.
    `frames` are those in which positions are told, and `pose` is the latest. Raises LimitError."""
    kept = dict(args)
    if motion is None:
        _unknown(limits)
    elif motion.kind in ("velocity", "goal"):
        # A goal that is named is reached at the vehicle's own speed, which no command has a say in.
        if motion.goal is not None and not motion.linear and limits.max_speed is not None and not speed_watched:
            raise LimitError(
                "none of its arguments is declared as a speed, so max_speed cannot be kept; name the channels of the "
                "measured speed in safety.speed_channels"
            )
        if motion.goal is not None and motion.frame is None and len(frames) > 1:
            _ambiguous(limits, frames)
        _speed(motion, kept, limits, last, steady, timeout)
        _magnitude(kept, motion.angular, limits.max_angular_speed, "max_angular_speed", "rad/s", motion.kind, limits)
        _place(motion, kept, limits, pose)
    return kept


def capped(
    motion: Motion,
    args: Mapping[str, Any],
    limits: Limits,
    *,
    last: Commanded,
    steady: float,
    timeout: float | None = None,
) -> dict[str, Any]:
    """A velocity command's arguments after something has corrected them, cut down to what the limits allow.

    A correction is a claim about a motor, and may be wrong. With the limits kept before it (of what is wanted) and
    after it (of what the driver gets, `last` being what it got before), the robot is too slow at worst. Raises
    LimitError for what is no number.
    """
    kept = dict(args)
    for names, most in ((motion.linear, limits.max_speed), (motion.angular, limits.max_angular_speed)):
        if most is not None:
            _shrink(kept, names, most)
    if (most := _reachable(motion, kept, limits, last, steady, timeout)) is not None:
        _shrink(kept, motion.linear, most)
    return kept


def at_rest(motion: Motion, args: Mapping[str, Any]) -> bool:
    """Whether a velocity command asks for standing still."""
    names = (*motion.linear, *motion.angular, *motion.other)
    return bool(names) and all(_number(args, name) == 0.0 for name in names)


def inside_limits(limits: Limits, pose: Pose) -> bool:
    """Whether the robot may be there."""
    return outside(limits, pose) is None


def outside(limits: Limits, pose: Pose) -> str | None:
    """Why the robot must not be where it is; None: it may."""
    point = (pose.x, pose.y)
    fence, out = limits.geofence, limits.keep_out
    if _applies(fence, pose.frame) and not any(contains(one, point) for one in fence.polygons):
        return f"({pose.x:.2f}, {pose.y:.2f}) m is outside of the geofence"
    if _applies(out, pose.frame) and any(contains(one, point) for one in out.polygons):
        return f"({pose.x:.2f}, {pose.y:.2f}) m is in a keep-out zone"
    return None


def leaves(limits: Limits, pose: Pose, end: tuple[float, float]) -> str | None:
    """What the straight way from the pose to `end` would do that it must not; None: nothing. A pose that is not where
    it may be says nothing more."""
    start = (pose.x, pose.y)
    fence, out = limits.geofence, limits.keep_out
    if outside(limits, pose) is not None:
        return None
    if _applies(fence, pose.frame) and not stays(fence.polygons, start, end):
        return "take it out of the geofence"
    if _applies(out, pose.frame) and any(meets(one, start, end) for one in out.polygons):
        return "take it into a keep-out zone"
    return None


def _unknown(limits: Limits) -> None:
    named = [
        name for name in ("max_speed", "max_angular_speed", "max_acceleration") if getattr(limits, name) is not None
    ]
    named += [name for name in ("geofence", "keep_out") if getattr(limits, name).polygons]
    if named:
        raise LimitError(f"its driver does not declare how it moves the robot, so {', '.join(named)} cannot be kept")


def _ambiguous(limits: Limits, frames: Sequence[str]) -> None:
    if limits.geofence.frame is not None or limits.keep_out.frame is not None:
        told = " and ".join(repr(frame) for frame in frames)
        raise LimitError(
            f"its driver does not declare the frame of its goal, and positions are told in {told}, so geofence and "
            "keep-out zones cannot be kept"
        )


def _speed(
    motion: Motion, kept: dict[str, Any], limits: Limits, last: Commanded, steady: float, timeout: float | None
) -> None:
    _magnitude(kept, motion.linear, limits.max_speed, "max_speed", "m/s", motion.kind, limits)
    most = _reachable(motion, kept, limits, last, steady, timeout) if motion.kind == "velocity" else None
    if most is not None:
        _magnitude(kept, motion.linear, most, "max_acceleration", "m/s for now", motion.kind, limits)


def _reachable(
    motion: Motion, args: Mapping[str, Any], limits: Limits, last: Commanded, steady: float, timeout: float | None
) -> float | None:
    """The speed, m/s, that these arguments exceed and max_acceleration allows in their direction; None: they do not."""
    if limits.max_acceleration is None:
        return None
    # Slowing down is always allowed. What was asked for long ago has been stopped by the watchdog.
    wanted = {name: _number(args, name) for name in motion.linear}
    since, longest = max(0.0, steady - last.at), timeout if timeout is not None else BETWEEN
    change = limits.max_acceleration * min(since, longest)
    most = last.towards(wanted, change) if since <= longest else change
    return most if math.hypot(*wanted.values()) > most else None


def _magnitude(
    kept: dict[str, Any], names: tuple[str, ...], most: float | None, limit: str, unit: str, kind: str, limits: Limits
) -> None:
    if most is None:
        return
    if kind == "goal" and (missing := [name for name in names if name not in kept]):
        # Or the driver would take a speed of its own.
        kept.update(dict.fromkeys(missing, 0.0))
        if len(missing) == len(names):
            kept[names[0]] = most
    if kind == "velocity":
        if missing := [name for name in names if name not in kept]:
            raise LimitError(f"args.{missing[0]}: is missing, so {limit} cannot be kept")
        if not names and limit == "max_speed":
            raise LimitError(f"none of its arguments is declared as a speed, so {limit} cannot be kept")
    values = [_number(kept, name) for name in names]
    size = math.hypot(*values)
    if size <= most:
        return
    if not limits.clamps(limit):
        what = " and ".join(f"args.{name}" for name in names)
        raise LimitError(f"{what}: {size:.4g} exceeds {limit}, at most {most:.4g} {unit} are allowed")
    _shrink(kept, names, most)


def _shrink(kept: dict[str, Any], names: tuple[str, ...], most: float) -> None:
    values = [_number(kept, name) for name in names]
    size = math.hypot(*values)
    if size <= most:
        return
    factor = most / size
    # Rounding must not bring it over the limit again.
    while math.hypot(*(value * factor for value in values)) > most:
        factor = math.nextafter(factor, 0.0)
    kept.update({name: value * factor for name, value in zip(names, values, strict=True) if name in kept})


def _place(motion: Motion, kept: Mapping[str, Any], limits: Limits, pose: Pose | None) -> None:
    if motion.goal is None or any(name not in kept for name in motion.goal):
        return
    frame = motion.frame or (pose.frame if pose is not None else None)
    goal = (_number(kept, motion.goal[0]), _number(kept, motion.goal[1]))
    names, shown = " and ".join(f"args.{name}" for name in motion.goal), f"({goal[0]:.2f}, {goal[1]:.2f}) m"
    fence, out = limits.geofence, limits.keep_out
    for name, area in (("geofence", fence), ("keep_out", out)):
        if area.polygons and not _applies(area, frame):
            raise LimitError(
                f"{names}: the goal is in frame {frame!r} and {name} in {area.frame!r}, so it cannot be kept"
            )
    if _applies(fence, frame) and not any(contains(one, goal) for one in fence.polygons):
        raise LimitError(f"{names}: {shown} is outside of the geofence")
    if not _applies(out, frame):
        return
    if any(contains(one, goal) for one in out.polygons):
        raise LimitError(f"{names}: {shown} is in a keep-out zone")
    if motion.straight and pose is None:
        raise LimitError(f"{names}: the robot's position in frame {frame!r} is not known, so keep_out cannot be kept")
    if motion.straight and pose is not None and any(meets(one, (pose.x, pose.y), goal) for one in out.polygons):
        raise LimitError(f"{names}: the straight way to {shown} leads through a keep-out zone")


def _applies(area: Area, frame: str | None) -> bool:
    return bool(area.polygons) and (area.frame is None or frame is None or area.frame == frame)


def _number(args: Mapping[str, Any], name: str) -> float:
    value = args.get(name, 0.0)
    if not isinstance(value, bool) and isinstance(value, int | float):
        # An integer may be too large for a float.
        with contextlib.suppress(OverflowError):
            if math.isfinite(value):
                return float(value)
    raise LimitError(f"args.{name}: {shortened(repr(value))} is no finite number")
