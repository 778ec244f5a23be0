"""The tables of the page *Wire protocol*, from the schema files of the wire contract."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botyard_schemas import topics
from botyard_schemas.messages import SEQUENCED
from botyard_schemas.validation import NAMES, schema
from tools.gen.jsonschema_words import Schema, limits, type_words
from tools.gen.markdown import block, code, table

ROBOT = "picker-7"
UP, DOWN = "robot → hub", "hub → robot"

# Which way each type travels; the topics themselves come from `botyard_schemas.topics`.
DIRECTIONS: dict[str, tuple[str, ...]] = {
    "telemetry": (UP,),
    "state": (UP,),
    "event": (UP,),
    "report": (UP,),
    "presence": (UP,),
    "command": (DOWN,),
    "ack": (DOWN,),
    "time": (UP, DOWN),
}


def page(_root: Path) -> str:
    """Topics, then every message with its fields and an example. Raises KeyError for a type without direction."""
    parts = ["## Topics", _topics()]
    for name in NAMES:
        parts += _message(name)
    return "\n\n".join(parts)


def _topics() -> str:
    travels = [(name, direction) for name in NAMES if name != "envelope" for direction in DIRECTIONS[name]]
    rows = [
        (f"[{schema(name)['title']}](#{name})", direction, f"`{_topic(name, direction)}`", _numbered(name))
        for name, direction in travels
    ]
    return table(("Message", "Direction", f"Topic (robot `{ROBOT}`)", "Numbered"), rows)


def _topic(name: str, direction: str) -> str:
    if name == "presence":
        return topics.presence(ROBOT)
    return topics.up(ROBOT, name) if direction == UP else topics.down(ROBOT, name)


def _numbered(name: str) -> str:
    return "yes" if name in SEQUENCED else "no"


def _message(name: str) -> Iterator[str]:
    message = schema(name)
    definitions: Schema = message.get("$defs", {})
    prefix = "" if name == "envelope" else f"{name}-"
    yield f"## {message['title']} {{ #{name} }}"
    yield message["description"]
    yield from _fields(message, definitions, prefix)
    for key, part in definitions.items():
        yield f"### {part['title']} {{ #{prefix}{key} }}"
        yield part["description"]
        yield from _fields(part, definitions, prefix)
    yield "**Example**" if len(message["examples"]) == 1 else "**Examples**"
    yield from (block(example) for example in message["examples"])


def _fields(part: Schema, definitions: Schema, prefix: str) -> Iterator[str]:
    rows = list(_rows(part, definitions, prefix, ""))
    if rows:
        yield table(("Field", "Type", "Unit", "Required", "Meaning", "Example"), rows)


def _rows(part: Schema, definitions: Schema, prefix: str, path: str) -> Iterator[tuple[str, ...]]:
    """A row per field; fields of nested objects follow with their dotted path, `*` standing for any name."""
    required = part.get("required", [])
    for key, field in part.get("properties", {}).items():
        name = f"{path}{key}"
        words = type_words(field, definitions).replace("](#", f"](#{prefix}")
        meaning = " ".join(filter(None, (field["description"], limits(field))))
        must = "yes" if key in required else "no"
        yield (f"`{name}`", words, _unit(field), must, meaning, code(field["examples"][0]))
        yield from _rows(field, definitions, prefix, f"{name}.")
        if isinstance(field.get("additionalProperties"), dict):
            yield from _rows(field["additionalProperties"], definitions, prefix, f"{name}.*.")


def _unit(field: dict[str, Any]) -> str:
    return f"`{field['unit']}`" if field.get("unit", "1") != "1" else ""
