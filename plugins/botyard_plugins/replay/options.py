"""The options of the driver `replay`."""

from typing import Any

SCHEMA: dict[str, Any] = {
    "title": "Options of the driver replay",
    "description": "Plays a recorded file as if it were the robot.",
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {
        "file": {
            "title": "File",
            "description": "PX4 ULog (.ulg) or CSV (.csv), relative to robot.yaml.",
            "type": "string",
            "minLength": 1,
            "examples": ["flight.ulg"],
        },
        "format": {
            "title": "Format",
            "description": "What the file is; auto goes by its name.",
            "type": "string",
            "enum": ["auto", "ulog", "csv"],
            "default": "auto",
            "examples": ["csv"],
        },
        "speed": {
            "title": "Speed",
            "description": "1 is as it was, 10 is ten times faster, max is as fast as the hub takes it in.",
            "anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 1000}, {"const": "max"}],
            "default": 1,
            "examples": ["max", 10],
        },
        "start": {
            "title": "Start",
            "description": "now: the samples get times of today (with speed max the last sample is now); "
            "recorded: they keep the times of the file.",
            "type": "string",
            "enum": ["now", "recorded"],
            "default": "now",
            "examples": ["recorded"],
        },
        "loop": {
            "title": "Loop",
            "description": "Begin again at the end; not with start: recorded or speed: max.",
            "type": "boolean",
            "default": False,
            "examples": [True],
        },
        "topics": {
            "title": "Topics",
            "description": "Of a ULog: default plays what people look at, all plays every field of every topic.",
            "type": "string",
            "enum": ["default", "all"],
            "default": "default",
            "examples": ["all"],
        },
    },
    "examples": [{"file": "flight.ulg", "speed": "max", "start": "recorded"}],
}
