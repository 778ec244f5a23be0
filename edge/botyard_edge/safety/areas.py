"""Areas: where the robot may be, and where a command may lead it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botyard_edge.driver import CommandSpec, Motion, Pose
from botyard_edge.safety.arguments import LimitError, number
from botyard_edge.safety.policy import Area, Limits, Policy
from botyard_edge.safety.polygons import contains, meets, stays
from botyard_schemas.validation import shortened

Point = tuple[float, float]


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


def allowed_goal(
    spec: CommandSpec, args: Mapping[str, Any], policy: Policy, pose: Pose | None, frames: Sequence[str]
) -> None:
    """Whether the places that a goal leads to are where the robot may be. Raises LimitError."""
    motion, limits = spec.motion, policy.limits
    if motion is None or not set_areas(limits):
        return
    goals = list(_goals(motion, args))
    if goals and motion.frame is None and len(frames) > 1:
        _ambiguous(limits, frames)
    if not goals and (trouble := unchecked(spec, policy, args)) is not None:
        raise LimitError(trouble)
    for names, goal in goals:
        _place(motion, names, goal, limits, pose)


def unchecked(spec: CommandSpec, policy: Policy, args: Mapping[str, Any] | None = None) -> str | None:
    """Why areas cannot be kept where a goal is not known before; None: they can. `args` None: of any arguments."""
    motion, areas = spec.motion, set_areas(policy.limits)
    untrusted = [name for name in areas if name not in policy.kept_by_driver.get(spec.name, ())]
    if motion is None or motion.kind != "goal" or not untrusted or motion.ends is not None:
        return None
    if policy.stopping is not None:  # and stops on the way before it leaves
        return None
    if args is None and (motion.goal is not None or motion.places):
        return None
    what = "the position of its goal is"
    if args is not None and motion.place is not None and motion.place in args:
        what = f"args.{motion.place}: the position of {shortened(repr(args[motion.place]))} is"
    return (
        f"{what} not known before it sets out, so {' and '.join(untrusted)} cannot be kept; set safety.stopping, by "
        "which the robot is stopped on the way, or say in safety.kept_by_driver that its driver keeps it"
    )


def set_areas(limits: Limits) -> list[str]:
    """Names of the areas that there are."""
    return [name for name in ("geofence", "keep_out") if getattr(limits, name).polygons]


def _goals(motion: Motion, args: Mapping[str, Any]) -> Iterator[tuple[str, Point]]:
    """All places that the command may lead to, as far as they are known, with the arguments that say so."""
    if motion.goal is not None and all(name in args for name in motion.goal):
        x, y = motion.goal
        yield f"args.{x} and args.{y}: ", (number(args, x), number(args, y))
    elif motion.place is None:
        yield from ((f"{name}: ", place) for name, place in motion.places.items())
    elif isinstance(named := args.get(motion.place), str) and named in motion.places:
        yield f"args.{motion.place}: {named}: ", motion.places[named]


def _ambiguous(limits: Limits, frames: Sequence[str]) -> None:
    if limits.geofence.frame is not None or limits.keep_out.frame is not None:
        told = " and ".join(repr(frame) for frame in frames)
        raise LimitError(
            f"its driver does not declare the frame of its goal, and positions are told in {told}, so geofence and "
            "keep-out zones cannot be kept"
        )


def _place(motion: Motion, names: str, goal: Point, limits: Limits, pose: Pose | None) -> None:
    frame = motion.frame or (pose.frame if pose is not None else None)
    shown = f"({goal[0]:.2f}, {goal[1]:.2f}) m"
    fence, out = limits.geofence, limits.keep_out
    for name, area in (("geofence", fence), ("keep_out", out)):
        if area.polygons and not _applies(area, frame):
            raise LimitError(
                f"{names}the goal is in frame {frame!r} and {name} in {area.frame!r}, so it cannot be kept"
            )
    if _applies(fence, frame) and not any(contains(one, goal) for one in fence.polygons):
        raise LimitError(f"{names}{shown} is outside of the geofence")
    if not _applies(out, frame):
        return
    if any(contains(one, goal) for one in out.polygons):
        raise LimitError(f"{names}{shown} is in a keep-out zone")
    if motion.straight and pose is None:
        raise LimitError(f"{names}the robot's position in frame {frame!r} is not known, so keep_out cannot be kept")
    if motion.straight and pose is not None and any(meets(one, (pose.x, pose.y), goal) for one in out.polygons):
        raise LimitError(f"{names}the straight way to {shown} leads through a keep-out zone")


def _applies(area: Area, frame: str | None) -> bool:
    return bool(area.polygons) and (area.frame is None or frame is None or area.frame == frame)
