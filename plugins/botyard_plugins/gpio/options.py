"""The options of the driver `gpio`, and what is to be said of them beyond their schema."""

from collections.abc import Iterator, Mapping
from typing import Any

from botyard_edge.driver import Channel, CommandSpec, Found, Motion

# Of each kind, the options that name pins, and those that may stand beside them.
PINS = {
    "input": ("pin",),
    "bumper": ("pin",),
    "estop": ("pin",),
    "output": ("pin",),
    "motor": ("forward", "backward"),
    "distance": ("trigger", "echo"),
}
MORE = {
    "input": {"pull", "bounce"},
    "bumper": {"bounce"},
    "estop": {"normally_closed"},
    "output": {"active_high"},
    "motor": {"timeout"},
    "distance": {"rate", "max_distance"},
}
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,47}$"

_PIN = {"type": "integer", "minimum": 0, "maximum": 27}
_DEVICE: dict[str, Any] = {
    "type": "object",
    "required": ["kind"],
    "additionalProperties": False,
    "properties": {
        "kind": {"enum": list(PINS)},
        **{pin: _PIN for pins in PINS.values() for pin in pins},
        "pull": {"enum": ["up", "down"]},
        "bounce": {"type": "number", "minimum": 0, "maximum": 1},
        "normally_closed": {"type": "boolean"},
        "active_high": {"type": "boolean"},
        "timeout": {"type": "number", "minimum": 0.05, "maximum": 60},
        "rate": {"type": "number", "minimum": 0.1, "maximum": 20},
        "max_distance": {"type": "number", "minimum": 0.1, "maximum": 10},
    },
}

SCHEMA: dict[str, Any] = {
    "title": "Options of the driver gpio",
    "description": "What is wired to the pins of a single-board computer.",
    "type": "object",
    "required": ["devices"],
    "additionalProperties": False,
    "properties": {
        "devices": {
            "title": "Devices",
            "description": "What is wired, by the name of its channel: kind (input, output, motor, bumper, estop, "
            "distance), the pins by their GPIO numbers, and what the kind asks for.",
            "type": "object",
            "minProperties": 1,
            "maxProperties": 64,
            "propertyNames": {"pattern": NAME},
            "additionalProperties": _DEVICE,
            "examples": [{"bumper.front": {"kind": "bumper", "pin": 17}}],
        },
        "rate": {
            "title": "Rate",
            "description": "How often each second switches and motors are told, besides at each change.",
            "type": "number",
            "minimum": 0.01,
            "maximum": 10,
            "default": 1,
            "examples": [0.2],
        },
    },
    "examples": [{"devices": {"estop": {"kind": "estop", "pin": 4}}}],
}


def channel(name: str, part: Mapping[str, Any]) -> Channel:
    """The channel of a device."""
    kind = part["kind"]
    if kind == "estop":
        return Channel(f"{name}.input", "boolean", description="Whether the emergency stop is pressed")
    if kind == "motor":
        return Channel(name, unit="1", description="Share of full speed, backwards below 0")
    if kind == "distance":
        return Channel(name, unit="m", rate=part.get("rate", 5.0))
    return Channel(name, "boolean")


def command(name: str, part: Mapping[str, Any]) -> CommandSpec | None:
    """The command of a device that does something."""
    if part["kind"] == "output":
        value: dict[str, Any] = {"type": "boolean"}
    elif part["kind"] == "motor":
        value = {"type": "number", "minimum": -1, "maximum": 1, "description": "Share of full speed."}
    else:
        return None
    schema = {"type": "object", "additionalProperties": False, "required": ["value"], "properties": {"value": value}}
    motion = Motion("velocity", other=("value",)) if part["kind"] == "motor" else None
    return CommandSpec(name, f"Set the {part['kind']}.", schema, motion)


def check(options: Mapping[str, Any]) -> Iterator[Found]:
    """What is wrong although the schema allows it."""
    taken: dict[int, str] = {}
    for name, part in options["devices"].items():
        kind, keys = part["kind"], ("devices", name)
        pins = PINS[kind]
        for missing in [pin for pin in pins if pin not in part]:
            yield keys, f"a {kind} needs {missing}"
        for key in sorted(set(part) - {"kind", *pins} - MORE[kind]):
            yield (*keys, key), f"has no meaning for a {kind}"
        for pin in pins:
            if part.get(pin) in taken:
                yield (*keys, pin), f"GPIO {part[pin]} is used by {taken[part[pin]]} already"
            elif pin in part:
                taken[part[pin]] = f"{name}.{pin}"


def channels(options: Mapping[str, Any]) -> Iterator[Found]:
    """The names of the channels, with the place that asks for each."""
    for name, part in options["devices"].items():
        yield ("devices", name), channel(name, part).name
