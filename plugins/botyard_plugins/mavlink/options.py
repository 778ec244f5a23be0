"""The options of the driver `mavlink`, and what is to be said of them beyond their schema."""

from collections.abc import Iterator, Mapping
from typing import Any

from botyard_edge.driver import Found
from botyard_plugins.mavlink import vehicle
from botyard_plugins.mavlink.address import parse


def _number(title: str, description: str, least: float, most: float, default: float) -> dict[str, Any]:
    return {
        "title": title,
        "description": description,
        "type": "number",
        "minimum": least,
        "maximum": most,
        "default": default,
        "examples": [default],
    }


SCHEMA: dict[str, Any] = {
    "title": "Options of the driver mavlink",
    "description": "A vehicle with the autopilot PX4 or ArduPilot.",
    "type": "object",
    "required": ["connection"],
    "additionalProperties": False,
    "properties": {
        "connection": {
            "title": "Connection",
            "description": "udp:ADDRESS:PORT waits for a vehicle that sends there, udpout:HOST:PORT and tcp:HOST:PORT "
            "go to one, serial:FILE:BAUD is a radio or a cable.",
            "type": "string",
            "minLength": 1,
            "examples": ["udp:0.0.0.0:14550"],
        },
        "system": {
            "title": "System",
            "description": "The vehicle's number (SYSID_THISMAV, MAV_SYS_ID); left out, the first one that is heard.",
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": 255,
            "default": None,
            "examples": [1],
        },
        "component": {
            "title": "Component",
            "description": "The autopilot's number within the vehicle.",
            "type": "integer",
            "minimum": 1,
            "maximum": 255,
            "default": 1,
            "examples": [1],
        },
        "own_system": {
            "title": "Own system",
            "description": "Our number, that of a ground station. ArduPilot's failsafe for a lost ground station goes "
            "by the heartbeats of its MAV_GCS_SYSID (SYSID_MYGCS), and where that is enforced so do commands.",
            "type": "integer",
            "minimum": 1,
            "maximum": 255,
            "default": 255,
            "examples": [255],
        },
        "own_component": {
            "title": "Own component",
            "description": "Our number within our system.",
            "type": "integer",
            "minimum": 1,
            "maximum": 255,
            "default": 190,
            "examples": [190],
        },
        "rate": _number(
            "Rate", "How often each second position and attitude are asked for; everything else once.", 0.1, 50, 5
        ),
        "heartbeat_timeout": _number(
            "Heartbeat timeout", "Seconds without a heartbeat after which the vehicle counts as lost.", 1, 60, 5
        ),
        "ack_timeout": _number(
            "Acknowledgement timeout", "Seconds after which what was not answered is sent again.", 0.1, 30, 1
        ),
        "attempts": {
            "title": "Attempts",
            "description": "How often it is sent before it has failed.",
            "type": "integer",
            "minimum": 1,
            "maximum": 50,
            "default": 5,
            "examples": [5],
        },
        "goal_radius": _number(
            "Goal radius",
            "Metres around a goal within which the vehicle has arrived; for planes, more than they circle at.",
            0.1,
            2000,
            2,
        ),
        "origin": {
            "title": "Origin",
            "description": "Where the origin of a site plan is; with it the robot also has a pose on the plan, and the "
            "command goto_local, which geofence and keep-out zones reach.",
            "type": ["object", "null"],
            "required": ["lat", "lon", "frame"],
            "additionalProperties": False,
            "properties": {
                "lat": {"type": "number", "minimum": -85, "maximum": 85},
                "lon": {"type": "number", "minimum": -180, "maximum": 180},
                "bearing": {"type": "number", "minimum": -360, "maximum": 360},
                "frame": {"type": "string", "minLength": 1, "maxLength": 64},
            },
            "default": None,
            "examples": [{"lat": 47.3977, "lon": 8.5456, "frame": "field"}],
        },
    },
    "examples": [{"connection": "udp:0.0.0.0:14550"}],
}


def check(options: Mapping[str, Any]) -> Iterator[Found]:
    """What is wrong although the schema allows it."""
    try:
        parse(options["connection"])
    except ValueError as error:
        yield ("connection",), str(error)
    if options.get("system") is not None and options["system"] == options.get("own_system", 255):
        yield ("system",), f"{options['system']} is our own number (own_system), expected that of the vehicle"


def channels(options: Mapping[str, Any]) -> Iterator[Found]:
    """The names of the channels, with the place that asks for each."""
    for channel in vehicle.channels(1.0, options.get("origin")):
        place = ("origin",) if channel.name == "pose" else ("connection",)
        yield place, channel.name
