"""The options of the driver `serial`, and what is to be said of them beyond their schema."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from botyard_edge.driver import Found
from botyard_plugins.serial import nmea

NAME = {"type": "string", "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.\[\]-]{0,127}$"}
PLACEHOLDER = re.compile(r"\{(\w+)\}")

_CHANNEL: dict[str, Any] = {
    "type": ["object", "null"],
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": NAME,
        "type": {"enum": ["number", "integer", "boolean", "text"]},
        "unit": {"type": "string", "minLength": 1, "maxLength": 32},
        "scale": {"type": "number"},
        "offset": {"type": "number"},
    },
}

_RULE: dict[str, Any] = {
    "type": "object",
    "required": ["channels"],
    "additionalProperties": False,
    "properties": {
        "pattern": {"type": "string", "minLength": 1},
        "separator": {"type": "string", "minLength": 1},
        "prefix": {"type": "string"},
        "channels": {"type": "array", "minItems": 1, "maxItems": 256, "items": _CHANNEL},
    },
}

_ARGUMENT: dict[str, Any] = {
    "type": "object",
    "required": ["type"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["number", "integer", "boolean", "string"]},
        "description": {"type": "string"},
        "minimum": {"type": "number"},
        "maximum": {"type": "number"},
        "maxLength": {"type": "integer", "minimum": 1},
        "enum": {"type": "array", "minItems": 1},
    },
}

_NAMES: dict[str, Any] = {"type": "array", "maxItems": 16, "items": {"type": "string"}}

# As `botyard_edge.driver.Motion`.
_MOTION: dict[str, Any] = {
    "type": "object",
    "required": ["kind"],
    "additionalProperties": False,
    "properties": {
        "kind": {"enum": ["none", "stop", "velocity", "goal"]},
        "linear": _NAMES,
        "angular": _NAMES,
        "other": _NAMES,
        "goal": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}},
        "frame": {"type": "string", "minLength": 1},
        "straight": {"type": "boolean"},
        "lasting": {"type": "boolean"},
        "ends": {"enum": ["here", "home"]},
    },
}

_COMMAND: dict[str, Any] = {
    "type": "object",
    "required": ["write"],
    "additionalProperties": False,
    "properties": {
        "write": {"type": "string", "minLength": 1, "maxLength": 512},
        "description": {"type": "string"},
        "args": {"type": "object", "additionalProperties": _ARGUMENT},
        "motion": _MOTION,
    },
}

SCHEMA: dict[str, Any] = {
    "title": "Options of the driver serial",
    "description": "A device on a serial port that speaks in lines.",
    "type": "object",
    "required": ["port"],
    "additionalProperties": False,
    "properties": {
        "port": {
            "title": "Port",
            "description": "The device's file. Names under /dev/serial/by-id stay the same when it is plugged in anew.",
            "type": "string",
            "minLength": 1,
            "examples": ["/dev/serial/by-id/usb-Arduino_Uno-if00"],
        },
        "baud": {
            "title": "Baud rate",
            "description": "Bits per second; 8 data bits, no parity, one stop bit.",
            "type": "integer",
            "minimum": 50,
            "maximum": 4000000,
            "default": 9600,
            "examples": [115200],
        },
        "protocol": {
            "title": "Protocol",
            "description": "What the device says: lines as the option lines tells, or NMEA 0183 as GPS receivers do.",
            "type": "string",
            "enum": ["lines", "nmea"],
            "default": "lines",
            "examples": ["nmea"],
        },
        "lines": {
            "title": "Lines",
            "description": "How lines become channels: of each line, the first entry that matches it.",
            "type": "array",
            "maxItems": 64,
            "items": _RULE,
            "default": [],
            "examples": [[{"separator": ",", "channels": [{"name": "motor.temperature", "unit": "Cel"}]}]],
        },
        "ignore": {
            "title": "Ignored lines",
            "description": "Regular expression of lines that mean nothing, and are not counted as unusable.",
            "type": ["string", "null"],
            "default": None,
            "examples": ["^#"],
        },
        "prefix": {
            "title": "Prefix",
            "description": "With protocol nmea: what the names of the channels begin with, except geo.",
            **NAME,
            "default": "gps",
            "examples": ["gps.rear"],
        },
        "geo": {
            "title": "Position channel",
            "description": "With protocol nmea: the name of the channel of positions.",
            **NAME,
            "default": "geo",
            "examples": ["geo.rear"],
        },
        "commands": {
            "title": "Commands",
            "description": "Commands by name, each of which writes one line to the device. The safety node goes by "
            "`motion`: its `kind` (none, stop, velocity, goal), the arguments that are `linear` speeds in m/s or "
            "`angular` ones in rad/s, and the two of a `goal` in metres; a goal without these `ends` `here`, or at "
            "`home` where the robot set out, or may be anywhere. A command without it is refused in safe mode, and "
            "where limits are set.",
            "type": "object",
            "propertyNames": {"pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"},
            "maxProperties": 64,
            "additionalProperties": _COMMAND,
            "default": {},
            "examples": [{"lamp": {"write": "LAMP {level}", "args": {"level": {"type": "integer"}}}}],
        },
        "dock": {
            "title": "Dock",
            "description": "The command, without arguments, that brings the robot home; `link_lost: return_to_dock` "
            "gives it.",
            "type": ["string", "null"],
            "default": None,
            "examples": ["home"],
        },
        "on_stop": {
            "title": "Line for a stop",
            "description": "Line that brings the device to rest, written when the robot stops; left out, none is.",
            "type": ["string", "null"],
            "maxLength": 512,
            "default": None,
            "examples": ["M 0 0"],
        },
        "line_end": {
            "title": "End of a written line",
            "description": "What ends each line that is written.",
            "type": "string",
            "enum": ["\n", "\r\n", "\r", ""],
            "default": "\n",
            "examples": ["\r\n"],
        },
    },
    "examples": [{"port": "/dev/ttyUSB0", "baud": 9600, "protocol": "nmea"}],
}


def check(options: Mapping[str, Any]) -> Iterator[Found]:
    """What is wrong although the schema allows it."""
    rules = options["lines"]
    if options["protocol"] == "lines" and not rules and not options["commands"]:
        yield ("lines",), "there are none, expected at least one entry that says what a line means"
    if options["protocol"] == "nmea" and rules:
        yield ("lines",), "has no meaning with protocol: nmea"
    if options["ignore"] is not None and (trouble := _compiles(options["ignore"])):
        yield ("ignore",), trouble
    known: dict[str, tuple[str, Any]] = {}
    for index, rule in enumerate(rules):
        yield from _check_rule(("lines", index), rule)
        yield from _check_channels(("lines", index, "channels"), rule["channels"], known)
    for name, command in options["commands"].items():
        yield from _check_command(("commands", name), command)
    dock = options["dock"]
    if dock is not None and (dock not in options["commands"] or options["commands"][dock].get("args")):
        yield ("dock",), f"{dock!r} is none of the commands without arguments"


def channels(options: Mapping[str, Any]) -> Iterator[Found]:
    """The names of the channels, each once, with the place that asks for it."""
    if options["protocol"] == "nmea":
        for channel in nmea.channels(options["prefix"], options["geo"]):
            yield ("geo" if channel.type == "geo" else "prefix",), channel.name
        return
    seen = set()
    for index, rule in enumerate(options["lines"]):
        for at, channel in enumerate(rule["channels"]):
            if channel is not None and channel["name"] not in seen:
                seen.add(channel["name"])
                yield ("lines", index, "channels", at, "name"), channel["name"]


def _check_rule(keys: tuple[str | int, ...], rule: Mapping[str, Any]) -> Iterator[Found]:
    if ("pattern" in rule) == ("separator" in rule):
        yield keys, "expected either pattern or separator"
        return
    if "separator" in rule:
        return
    if "prefix" in rule:
        yield (*keys, "prefix"), "belongs to separator; write it into the pattern"
    if trouble := _compiles(rule["pattern"]):
        yield (*keys, "pattern"), trouble
    elif (groups := re.compile(rule["pattern"]).groups) != (count := len(rule["channels"])):
        yield (*keys, "channels"), f"there are {count}, and the pattern has {groups} groups; write null for one to skip"


def _check_channels(
    keys: tuple[str | int, ...], wanted: list[dict[str, Any] | None], known: dict[str, tuple[str, Any]]
) -> Iterator[Found]:
    mine = set()
    for at, channel in enumerate(wanted):
        if channel is None:
            continue
        name, kind = channel["name"], (channel.get("type", "number"), channel.get("unit"))
        if name in mine:
            yield (*keys, at, "name"), f"{name!r} stands twice in one line"
        elif known.setdefault(name, kind) != kind:
            yield (*keys, at), f"{name!r} has another type or unit in an entry above"
        mine.add(name)
        if kind[0] in ("boolean", "text") and ("scale" in channel or "offset" in channel):
            yield (*keys, at), f"scale and offset have no meaning for a channel of type {kind[0]}"


def _check_command(keys: tuple[str | int, ...], command: Mapping[str, Any]) -> Iterator[Found]:
    declared = set(command.get("args", ()))
    used = set(PLACEHOLDER.findall(command["write"]))
    if missing := sorted(used - declared):
        yield (*keys, "write"), f"{{{missing[0]}}} is no argument; declare it under args"
    motion = command.get("motion", {})
    for part in ("linear", "angular", "other", "goal"):
        for at, name in enumerate(motion.get(part, ())):
            if command.get("args", {}).get(name, {}).get("type") not in ("number", "integer"):
                yield (*keys, "motion", part, at), f"{name!r} is no argument that is a number; declare it under args"
    if idle := sorted(declared - used):
        yield (*keys, "args", idle[0]), f"is not used; expected {{{idle[0]}}} in write"


def _compiles(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is no regular expression: {error}"
    return None
