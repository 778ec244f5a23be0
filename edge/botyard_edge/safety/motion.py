"""Limits on the arguments of one motion command. Pure: what comes out never exceeds a limit, or is a refusal."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botyard_edge.driver import CommandSpec, Motion, Pose
from botyard_edge.safety.areas import allowed_goal, set_areas, unchecked
from botyard_edge.safety.arguments import LimitError, most_of, number
from botyard_edge.safety.policy import Limits, Policy

# Seconds between two commands of a stream of velocities at most, where no watchdog says it.
BETWEEN = 0.5
# What the last digits of a velocity may differ by, as a share of it.
ROUNDING = 1e-9
# Limits of the arguments of commands: what they are about, and the settings that name channels which measure it.
SPEEDS: Mapping[str, tuple[str, str | None]] = {
    "max_speed": ("a speed", "speed_channels"),
    "max_angular_speed": ("an angular speed", "angular_speed_channels"),
    "max_acceleration": ("a speed", None),
}
_CANNOT, _SAY = "cannot be kept", "say in safety.kept_by_driver that its driver keeps it"

# From a motion, its arguments, and rad/s at which a robot may turn where they do not say it, to the velocity, m/s by
# component, and the angular speed, rad/s, to which they may lead.
Real = Callable[[Motion, Mapping[str, float], float], tuple[dict[str, float], float]]


@dataclass(frozen=True, slots=True)
class Commanded:
    """The velocity that was asked for last, m/s by argument, and when, in seconds of the steady clock."""

    velocity: Mapping[str, float] = field(default_factory=dict)
    at: float = 0.0

    @classmethod
    def of(cls, motion: Motion, args: Mapping[str, Any], steady: float) -> "Commanded":
        """What these arguments ask for."""
        return cls({name: number(args, name) for name in motion.linear}, steady)

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
    spec: CommandSpec,
    args: Mapping[str, Any],
    policy: Policy,
    *,
    pose: Pose | None,
    last: Commanded,
    steady: float,
    frames: Sequence[str] = (),
) -> dict[str, Any]:
    """The arguments that the driver may get. `frames` are those in which positions are told, and `pose` is the latest.
    Raises LimitError, also where a limit that is set cannot be kept."""
    kept, motion, limits = dict(args), spec.motion, policy.limits
    asks_for_rest = motion is not None and motion.kind == "velocity" and at_rest(motion, args)
    if not asks_for_rest and (trouble := unkept(spec, policy)) is not None:
        raise LimitError(trouble)
    if motion is not None and motion.kind in ("velocity", "goal"):
        fill = functools.partial(most_of, spec.args) if motion.kind == "goal" else None
        _magnitude(kept, motion.linear, limits.max_speed, "max_speed", "m/s", limits, fill)
        timeout = policy.watchdogs.command_timeout
        most = _reachable(motion, kept, limits, last, steady, timeout) if motion.kind == "velocity" else None
        if most is not None:
            _magnitude(kept, motion.linear, most, "max_acceleration", "m/s for now", limits, None)
        _magnitude(kept, motion.angular, limits.max_angular_speed, "max_angular_speed", "rad/s", limits, fill)
        if motion.kind == "goal":
            allowed_goal(spec, kept, policy, pose, frames)
    return kept


def unkept(spec: CommandSpec, policy: Policy) -> str | None:
    """Why a command is refused whatever its arguments are: a limit is set that could not be kept on it. None: all can.

    A limit is kept on the arguments that are declared for it, or by what is measured, or else the settings say that the
    driver keeps it. How fast a vehicle is on its way `home` is its own affair, since one that must not return is in
    greater danger; and what ends `here` does not go anywhere.
    """
    motion, limits, trusted = spec.motion, policy.limits, policy.kept_by_driver.get(spec.name, ())
    speeds = [name for name in SPEEDS if getattr(limits, name) is not None and name not in trusted]
    if motion is None:
        named = speeds + [name for name in set_areas(limits) if name not in trusted]
        return f"its driver does not declare how it moves the robot, so {_both(named)}" if named else None
    if motion.kind not in ("velocity", "goal") or motion.ends is not None:
        return None
    kept = {
        "max_speed": bool(motion.linear or policy.speeds),
        # A velocity with linear components alone is one of a robot that does not turn by it.
        "max_angular_speed": bool(motion.angular or policy.turning or (motion.kind == "velocity" and motion.linear)),
        "max_acceleration": bool(motion.linear or motion.kind == "goal"),
    }
    for name in speeds:
        if not kept[name]:
            what, channels = SPEEDS[name]
            measured = f" name the channels that measure it in safety.{channels}, or" if channels else ""
            return f"none of its arguments is declared as {what}, so {name} {_CANNOT};{measured} {_SAY}"
    return unchecked(spec, policy)


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


def doubted(
    motion: Motion,
    args: Mapping[str, Any],
    real: Real,
    limits: Limits,
    *,
    last: Commanded,
    steady: float,
    timeout: float | None = None,
) -> dict[str, Any]:
    """A command's arguments cut down, all by one share, so that what the robot may do by them keeps the limits, too.

    As with `capped`: the robot may not do what is wanted, but what `real` says, and `last` is what it did before.
    """
    if all(getattr(limits, name) is None for name in SPEEDS):
        return dict(args)
    told = values(motion, args)
    velocity, turning = real(motion, told, limits.max_angular_speed or 0.0)
    speed, share = math.hypot(*velocity.values()), 1.0
    if limits.max_speed is not None and speed > limits.max_speed:
        share = limits.max_speed / speed
    if limits.max_angular_speed is not None and abs(turning) > limits.max_angular_speed:
        share = min(share, limits.max_angular_speed / abs(turning))
    if motion.kind == "velocity":
        velocity = {name: value * share for name, value in velocity.items()}
        if (most := _within_reach(velocity, limits, last, steady, timeout)) is not None:
            share *= most / math.hypot(*velocity.values())
    if share >= 1.0:
        return dict(args)
    share *= 1.0 - ROUNDING
    return {**args, **{name: value * share for name, value in told.items() if name in args}}


def values(motion: Motion, args: Mapping[str, Any]) -> dict[str, float]:
    """The speeds and angular speeds that the arguments say, 0 where they do not. Raises LimitError."""
    return {name: number(args, name) for name in (*motion.linear, *motion.angular)}


def at_rest(motion: Motion, args: Mapping[str, Any]) -> bool:
    """Whether a velocity command asks for standing still."""
    names = (*motion.linear, *motion.angular, *motion.other)
    return bool(names) and all(number(args, name) == 0.0 for name in names)


def _both(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {_CANNOT}; {_SAY}"


def _reachable(
    motion: Motion, args: Mapping[str, Any], limits: Limits, last: Commanded, steady: float, timeout: float | None
) -> float | None:
    """The speed, m/s, that these arguments exceed and max_acceleration allows in their direction; None: they do not."""
    return _within_reach({name: number(args, name) for name in motion.linear}, limits, last, steady, timeout)


def _within_reach(
    wanted: Mapping[str, float], limits: Limits, last: Commanded, steady: float, timeout: float | None
) -> float | None:
    if limits.max_acceleration is None:
        return None
    # Slowing down is always allowed. What was asked for long ago has been stopped by the watchdog.
    since, longest = max(0.0, steady - last.at), timeout if timeout is not None else BETWEEN
    change = limits.max_acceleration * min(since, longest)
    most = last.towards(wanted, change) if since <= longest else change
    return most if math.hypot(*wanted.values()) > most else None


def _magnitude(
    kept: dict[str, Any],
    names: tuple[str, ...],
    most: float | None,
    limit: str,
    unit: str,
    limits: Limits,
    fill: Callable[[str, float], float] | None,
) -> None:
    """Cut what is too large. What is missing is filled in by `fill`: a goal's driver would take a speed of its own."""
    if most is None:
        return
    if missing := [name for name in names if name not in kept]:
        if fill is None:
            raise LimitError(f"args.{missing[0]}: is missing, so {limit} {_CANNOT}")
        kept.update(dict.fromkeys(missing, 0.0))
        if len(missing) == len(names):
            kept[names[0]] = fill(names[0], most)
    values = [number(kept, name) for name in names]
    size = math.hypot(*values)
    if size <= most:
        return
    if not limits.clamps(limit):
        what = " and ".join(f"args.{name}" for name in names)
        raise LimitError(f"{what}: {size:.4g} exceeds {limit}, at most {most:.4g} {unit} are allowed")
    _shrink(kept, names, most)


def _shrink(kept: dict[str, Any], names: tuple[str, ...], most: float) -> None:
    values = [number(kept, name) for name in names]
    size = math.hypot(*values)
    if size <= most:
        return
    factor = most / size
    # Rounding must not bring it over the limit again.
    while math.hypot(*(value * factor for value in values)) > most:
        factor = math.nextafter(factor, 0.0)
    kept.update({name: value * factor for name, value in zip(names, values, strict=True) if name in kept})
