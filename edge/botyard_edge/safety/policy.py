"""What the section `safety` of `robot.yaml` asks for, read and checked."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from botyard_edge.safety.polygons import Polygon, fault
from botyard_edge.safety.units import quantity

OnViolation = Literal["clamp", "reject"]
LinkPolicy = Literal["continue", "stop", "finish_step", "finish_mission", "return_to_dock"]

# Keys of `safety.limits`, what they are, and the smallest and largest that make sense.
QUANTITIES: dict[str, tuple[str, float, float]] = {
    "max_speed": ("speed", 0.0, 1000.0),
    "max_angular_speed": ("angular speed", 0.0, 1000.0),
    "max_acceleration": ("acceleration", 1e-3, 1000.0),
    "min_battery": ("share", 0.0, 1.0),
    "max_temperature": ("temperature", -273.15, 2000.0),
    "max_tilt": ("angle", 0.0, math.pi),
}
# Keys of `safety.watchdogs`.
TIMES: dict[str, tuple[float, float]] = {
    "command_timeout": (0.05, 60.0),
    "link_timeout": (0.1, 86400.0),
    "clock_jump": (0.1, 86400.0),
    "event_loop": (0.1, 60.0),
}

# Keys of `safety.stopping`, as those of the limits.
STOPPING: dict[str, tuple[str, float, float]] = {
    "deceleration": ("acceleration", 1e-3, 1000.0),
    "reaction": ("time", 0.0, 60.0),
}
# Which channels measure what a limit is about, where there is no other way to know it.
MEASURED_BY = {"max_temperature": "temperature_channels", "max_tilt": "tilt_channels"}

# A place in the section, and what is wrong with it.
Problem = tuple[tuple[str | int, ...], str]


@dataclass(frozen=True, slots=True)
class Area:
    """Polygons in metres on the plan `frame` (None: whichever frame the pose is in)."""

    polygons: tuple[Polygon, ...] = ()
    frame: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """m/s, rad/s, m/s2, share, Cel, rad; None: no limit. `on_violation` by the name of the limit."""

    max_speed: float | None = None
    max_angular_speed: float | None = None
    max_acceleration: float | None = None
    min_battery: float | None = None
    max_temperature: float | None = None
    max_tilt: float | None = None
    geofence: Area = field(default_factory=Area)
    keep_out: Area = field(default_factory=Area)
    on_violation: Mapping[str, OnViolation] = field(default_factory=dict)

    def clamps(self, name: str) -> bool:
        """Whether a command that exceeds the limit is cut down to it; else it is refused."""
        return self.on_violation.get(name, "reject") == "clamp"


@dataclass(frozen=True, slots=True)
class Watchdogs:
    """Seconds. `required` names nodes without which the robot does not move."""

    command_timeout: float | None = None
    link: LinkPolicy = "continue"
    link_timeout: float = 10.0
    clock_jump: float | None = None
    event_loop: float | None = None
    required: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Stopping:
    """How the robot comes to rest: m/s2, and the seconds until it begins to, in which it may still gain speed."""

    deceleration: float
    reaction: float
    acceleration: float

    def distance(self, speed: float) -> float:
        """The metres that it needs from this speed: v t + a t^2 / 2, and then w^2 / 2 d with w = v + a t."""
        t, gained = self.reaction, self.acceleration * self.reaction
        return speed * t + gained * t / 2.0 + (speed + gained) ** 2 / (2.0 * self.deceleration)


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it. `temperatures`, `tilts`, `speeds` and `turning` name channels that are watched. A measured speed may
    exceed its limit by the share `overspeed`. `stopping` None: areas are kept without the way that stopping takes.
    `kept_by_driver` names, by command, limits that cannot be kept here, and that its driver is trusted to keep."""

    limits: Limits = field(default_factory=Limits)
    watchdogs: Watchdogs = field(default_factory=Watchdogs)
    temperatures: frozenset[str] = frozenset()
    tilts: frozenset[str] = frozenset()
    speeds: frozenset[str] = frozenset()
    turning: frozenset[str] = frozenset()
    overspeed: float = 0.1
    stopping: Stopping | None = None
    kept_by_driver: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def watched(self) -> frozenset[str]:
        """Channels whose samples matter here."""
        return self.temperatures | self.tilts | self.speeds | self.turning


NO_POLICY = Policy()


def read_policy(section: Mapping[str, Any] | None) -> tuple[Policy, list[Problem]]:
    """The policy, and what is wrong with a section that keeps the schema. Without a section nothing is limited."""
    if section is None:
        return NO_POLICY, []
    problems: list[Problem] = []
    limits = _quantities(section["limits"], "limits", QUANTITIES, problems.append)
    times = _quantities(
        section["watchdogs"], "watchdogs", {key: ("time", *span) for key, span in TIMES.items()}, problems.append
    )
    areas = {key: _area(section[key], key, problems.append) for key in ("geofence", "keep_out")}
    stopping = _stopping(section, limits.get("max_acceleration"), problems.append)
    overspeed = _quantities(section, "safety", {"overspeed": ("share", 0.0, 10.0)}, problems.append).get("overspeed")
    for name, key in MEASURED_BY.items():
        if limits.get(name) is not None and not section[key]:
            problems.append((("limits", name), f"nothing is measured: name the channels in safety.{key}"))
    if problems:
        return NO_POLICY, problems
    watchdogs = section["watchdogs"]
    policy = Policy(
        Limits(
            **limits,
            geofence=areas["geofence"],
            keep_out=areas["keep_out"],
            on_violation=dict(section["on_violation"]),
        ),
        Watchdogs(link=watchdogs["link_lost"], required=frozenset(watchdogs["required_nodes"]), **times),
        temperatures=frozenset(section["temperature_channels"]),
        tilts=frozenset(section["tilt_channels"]),
        speeds=frozenset(section["speed_channels"]),
        turning=frozenset(section["angular_speed_channels"]),
        overspeed=overspeed or 0.0,
        stopping=stopping,
        kept_by_driver={name: frozenset(limits) for name, limits in section["kept_by_driver"].items()},
    )
    return policy, []


def _stopping(
    section: Mapping[str, Any], acceleration: float | None, complain: Callable[[Problem], None]
) -> Stopping | None:
    part = section["stopping"]
    found = _quantities(part, "stopping", STOPPING, complain)
    if found.get("deceleration") is None:
        return None
    if not section["geofence"]["polygons_m"] and not section["keep_out"]["polygons_m"]:
        complain((("stopping", "deceleration"), "there is neither a geofence nor a keep-out zone to stop before"))
    return Stopping(found["deceleration"], found["reaction"] or 0.0, acceleration or found["deceleration"])


def _quantities(
    part: Mapping[str, Any],
    name: str,
    known: Mapping[str, tuple[str, float, float]],
    complain: Callable[[Problem], None],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, (dimension, least, most) in known.items():
        place: tuple[str | int, ...] = (key,) if name == "safety" else (name, key)
        if part.get(key) is None:
            if name == "limits" or key != "link_timeout":
                found[key] = None
            continue
        try:
            found[key] = quantity(part[key], dimension)
        except ValueError as error:
            complain((place, str(error)))
            continue
        if not least <= found[key] <= most:
            complain((place, f"{part[key]!r} is not from {least:g} to {most:g}, counted in its first unit"))
    return found


def _area(part: Mapping[str, Any], name: str, complain: Callable[[Problem], None]) -> Area:
    polygons = []
    for index, corners in enumerate(part["polygons_m"]):
        polygon = tuple((float(x), float(y)) for x, y in corners)
        if trouble := fault(polygon):
            complain(((name, "polygons_m", index), f"the polygon {trouble}"))
        polygons.append(polygon)
    return Area(tuple(polygons), part["frame"])
