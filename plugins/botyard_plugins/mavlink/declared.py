"""How the driver's commands are declared: their arguments, and what the safety node has to know of them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botyard_edge.driver import CommandSpec, Motion
from botyard_plugins.mavlink import actions as do
from botyard_plugins.mavlink import missions
from botyard_plugins.mavlink.order import Order


@dataclass(frozen=True, slots=True)
class Action:
    """A command: how it is declared, and what it does."""

    spec: CommandSpec
    do: Callable[[Order, Mapping[str, Any]], Awaitable[dict[str, Any] | None]]


def _schema(*required: str, **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    return schema | ({"required": list(required)} if required else {})


def _number(description: str, least: float, most: float) -> dict[str, Any]:
    return {"type": "number", "minimum": least, "maximum": most, "description": description}


_NOTHING: dict[str, Any] = {"type": "object", "maxProperties": 0}
_SPEED = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": 200,
    "description": "m/s over ground; left out, the autopilot's own.",
}
_LAT, _LON = _number("Degrees north.", -90, 90), _number("Degrees east.", -180, 180)
_UP = _number("Metres above home; left out, as high as it is.", -1000, 10000)
_COORDINATE = {"type": "number", "minimum": -1e6, "maximum": 1e6, "description": "Metres on the plan."}


def actions(frame: str | None) -> tuple[Action, ...]:
    """All of them. `frame` names the plan whose origin is known.

    What leads to places that are not checked declares no motion: it is refused where there are limits that could not be
    kept. Arming and taking off end above the place where the vehicle is, which is inside of its area, or they would be
    refused; so is home, where it set out.
    """
    home = Motion("goal", ends="home")
    on_plan = Motion("goal", linear=("speed",), goal=("x", "y"), frame=frame, straight=True)
    found = [
        Action(CommandSpec("arm", "Let the motors turn.", _NOTHING, Motion("goal", lasting=True, ends="here")), do.arm),
        Action(CommandSpec("disarm", "Switch the motors off, on the ground.", _NOTHING, Motion("stop")), do.disarm),
        Action(
            CommandSpec(
                "takeoff",
                "Climb to a height.",
                _schema("altitude", altitude=_number("Metres above home.", 0.5, 1000)),
                Motion("goal", lasting=True, ends="here"),
            ),
            do.takeoff,
        ),
        Action(
            CommandSpec(
                "goto",
                "Go to a position on Earth.",
                _schema("lat", "lon", lat=_LAT, lon=_LON, altitude=_UP, speed=_SPEED),
            ),
            do.goto,
        ),
        Action(CommandSpec("hold", "Stay where it is; a plane circles.", _NOTHING, Motion("stop")), do.hold),
        Action(CommandSpec("rtl", "Return home, and land if it is set to.", _NOTHING, home), do.rtl),
        Action(CommandSpec("land", "Land where it is.", _NOTHING, Motion("stop")), do.land),
        Action(
            CommandSpec(
                "mode",
                "Change the autopilot's mode.",
                _schema("mode", mode={"type": "string", "description": "As the autopilot calls it, such as LOITER."}),
            ),
            do.mode,
        ),
        Action(
            CommandSpec(
                "mission_upload",
                "Store a mission in the vehicle, in place of the one that is there.",
                _schema("items", items=missions.ITEMS),
                Motion("none"),
            ),
            do.mission_upload,
        ),
        Action(CommandSpec("mission_start", "Fly the mission that is stored.", _NOTHING), do.mission_start),
        Action(CommandSpec("mission_clear", "Remove the mission.", _NOTHING, Motion("none")), do.mission_clear),
    ]
    if frame is not None:
        args = _schema("x", "y", x=_COORDINATE, y=_COORDINATE, z=_UP, speed=_SPEED)
        found.append(Action(CommandSpec("goto_local", "Go to a point on the plan.", args, on_plan), do.goto_local))
    return tuple(found)
