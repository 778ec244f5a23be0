"""The JSON Schemas of the wire contract, loaded and compiled once.

`jsonschema_rs` (compiled) does the checking at run time; the tests prove that it agrees with the reference
implementation `jsonschema`.
"""

import functools
import json
from importlib.resources import files
from typing import Any

import jsonschema_rs

NAMES = ("envelope", "telemetry", "state", "event", "report", "presence", "command", "ack", "time")


@functools.cache
def schema(name: str) -> dict[str, Any]:
    """The schema file `v1/<name>.schema.json` as a JSON object. Do not change what you get.

    Raises KeyError for a name that is not in `NAMES`.
    """
    if name not in NAMES:
        raise KeyError(name)
    text = files("botyard_schemas").joinpath("v1", f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@functools.cache
def validator(name: str) -> jsonschema_rs.Validator:
    """The compiled validator of one schema. Raises KeyError for a name that is not in `NAMES`."""
    return jsonschema_rs.Draft202012Validator(schema(name))


def first_error(compiled: jsonschema_rs.Validator, instance: Any) -> str | None:
    """One sentence that names the field, the value and what was expected; None when the instance is valid."""
    error = next(iter(compiled.iter_errors(instance)), None)
    return None if error is None else describe(error)


def describe(error: jsonschema_rs.ValidationError) -> str:
    """The sentence for one validation error, without quoting more than a line of the offending value."""
    path = field_path(error.instance_path)
    message = error.message
    if len(message) > 300:
        message = message[:140] + " … " + message[-140:]
    return f"{path}: {message}" if path else message


def field_path(path: list[str | int]) -> str:
    """`["groups", 0, "dt"]` as people write it: `groups[0].dt`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
