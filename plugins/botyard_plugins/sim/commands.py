"""What a simulated robot can be told, and what the safety node has to know of it."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from botyard_edge.driver import CommandSpec, Motion
from botyard_plugins.sim.plan import Roads

DOCK = "dock"
_SPEEDS = {
    "speed": {"type": "number", "exclusiveMinimum": 0, "description": "At most, in m/s."},
    "turn_speed": {"type": "number", "exclusiveMinimum": 0, "description": "At most, in rad/s."},
}
_POINT = {
    "waypoint": {"type": "string", "description": "Name of a station."},
    "x": {"type": "number", "description": "Metres on the plan."},
    "y": {"type": "number", "description": "Metres on the plan."},
}
_VELOCITY = {
    "x": {"type": "number", "description": "Ahead, m/s."},
    "y": {"type": "number", "description": "To the left, m/s; only a holonomic robot can."},
    "yaw": {"type": "number", "description": "Counter-clockwise, rad/s."},
}


@functools.lru_cache(maxsize=8)  # robots on one plan share them
def commands_of(roads: Roads, *, holonomic: bool) -> tuple[CommandSpec, ...]:
    """All commands on these roads. A goal is at a station, and which one that may be is declared."""
    stations, docks = roads.destinations(lambda _: True), roads.destinations(lambda one: one.kind == "dock")
    return (
        CommandSpec(
            "goto",
            "Drive along the roads to a station, or to a point on a road.",
            _schema({**_POINT, **_SPEEDS}) | {"oneOf": [{"required": ["waypoint"]}, {"required": ["x", "y"]}]},
            _goal(roads, stations, goal=("x", "y"), place="waypoint"),
        ),
        CommandSpec(DOCK, "Drive to the nearest dock along the roads.", _schema(_SPEEDS), _goal(roads, docks)),
        CommandSpec("stop", "Come to rest and stay there until the next command.", motion=Motion("stop")),
        CommandSpec(
            "patrol",
            "Drive between stations again, of one's own accord.",
            _schema(_SPEEDS),
            _goal(roads, stations, lasting=True),
        ),
        CommandSpec(
            "drive",
            "Move with a velocity, wherever that leads, until the next command.",
            _schema(_VELOCITY) | {"required": ["x", "yaw"]},
            Motion("velocity", linear=("x", "y") if holonomic else ("x",), angular=("yaw",)),
        ),
    )


def _schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": dict(properties)}


def _goal(roads: Roads, names: Iterable[str], **more: Any) -> Motion:
    places = {name: roads.at(name).point for name in names}
    return Motion("goal", linear=("speed",), angular=("turn_speed",), places=places, **more)
