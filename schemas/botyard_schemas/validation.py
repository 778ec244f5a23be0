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


def first_error(compiled: jsonschema_rs.Validator, instance: Any, *, root: str = "") -> str | None:
    """One sentence that names the field, the value and what was expected; None when the instance is valid.

    `root` is put before the field's path, when the instance is itself a field of something.
    """
    error = next(iter(compiled.iter_errors(instance)), None)
    return None if error is None else describe(error, root=root)


def describe(error: jsonschema_rs.ValidationError, *, root: str = "") -> str:
    """The sentence for one validation error, without quoting more than a line of the offending value."""
    error = _deepest(error)
    path = field_path([root, *error.instance_path] if root else error.instance_path)
    message = shortened(_alternatives(error) or error.message)
    return f"{path}: {message}" if path else message


def _alternatives(error: jsonschema_rs.ValidationError) -> str | None:
    """What each alternative would have asked for, when the value fits none of them."""
    branches: list[list[jsonschema_rs.ValidationError]] = getattr(error.kind, "context", None) or []
    wanted = list(dict.fromkeys(branch[0].message for branch in branches if branch))
    if not wanted:
        return None
    shown = json.dumps(error.instance, separators=(",", ":"), ensure_ascii=False)
    return f"{shown} fits none of the alternatives: {', or '.join(wanted)}"


def shortened(text: str) -> str:
    """At most a few lines of the text, with its beginning and its end."""
    return text if len(text) <= 300 else text[:140] + " … " + text[-140:]


def _deepest(error: jsonschema_rs.ValidationError) -> jsonschema_rs.ValidationError:
    """The error inside the alternative that was meant most likely: "matches none of these" helps nobody."""
    branches: list[list[jsonschema_rs.ValidationError]] = getattr(error.kind, "context", None) or []
    inner = [found for branch in branches for found in branch]
    best = max(inner, key=lambda found: len(found.instance_path), default=error)
    return _deepest(best) if len(best.instance_path) > len(error.instance_path) else error


def field_path(path: list[str | int]) -> str:
    """`["groups", 0, "dt"]` as people write it: `groups[0].dt`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
