"""Hypothesis strategies that make messages of the wire contract from its schema files.

(The package hypothesis-jsonschema reaches into private parts of Hypothesis that have changed since.)
"""

import json
from typing import Any

from hypothesis import strategies as st

from botyard_schemas import Envelope, decode
from botyard_schemas.messages import BODIES, SEQUENCED
from botyard_schemas.validation import schema

# Text that can stand in JSON: no lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)

# The conditions of the schemas, which `instances` does not read.
_SAMPLES: dict[str, dict[str, Any]] = {
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "text": {"type": "string"},
    "object": {"type": "object"},
    "pose": {"$ref": "#/$defs/pose"},
    "geo": {"$ref": "#/$defs/geo"},
}


def instances(part: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema allows, if it has no conditions; `root` is the document that `$ref` refers to."""
    if "$ref" in part:
        name = part["$ref"].rsplit("/", 1)[-1]
        return _groups(root) if name == "group" else instances(root["$defs"][name], root)
    if "const" in part:
        return st.just(part["const"])
    if "enum" in part:
        return st.sampled_from(part["enum"])
    match part.get("type"):
        case "object":
            return _objects(part, root)
        case "array":
            items = instances(part["items"], root)
            return st.lists(
                items,
                min_size=part.get("minItems", 0),
                max_size=min(part.get("minItems", 0) + 3, part.get("maxItems", 1000)),
            )
        case "string" if "pattern" in part:
            return st.from_regex(part["pattern"].removesuffix("$") + r"\Z")
        case "string":
            limit = min(part.get("maxLength", 20), 20)
            return st.text(st.characters(exclude_categories=["Cs"]), min_size=part.get("minLength", 0), max_size=limit)
        case "integer":
            return st.integers(part.get("minimum"), part.get("maximum"))
        case "number":
            low, high = part.get("minimum", part.get("exclusiveMinimum")), part.get("maximum")
            open_below = "exclusiveMinimum" in part
            return st.floats(low, high, exclude_min=open_below, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
    raise AssertionError(f"no strategy for {part}")


def bodies(name: str) -> st.SearchStrategy[Any]:
    """Valid bodies of one message type, as JSON values."""
    return instances(schema(name), schema(name))


@st.composite
def messages(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Valid whole messages of one type, as JSON values."""
    fields = schema("envelope")["properties"]
    raw: dict[str, Any] = {key: draw(instances(fields[key], {})) for key in ("v", "robot", "ts")}
    for key in ("epoch", "seq"):
        if name in SEQUENCED:
            raw[key] = draw(instances(fields[key], {}))
    if draw(st.booleans()):
        raw["robot_ts"] = draw(instances(fields["robot_ts"], {}))
    return {**raw, "type": name, "body": draw(bodies(name))}


def envelopes(name: str | None = None) -> st.SearchStrategy[Envelope]:
    """Typed messages, of one type or of any."""
    raw = messages(name) if name else st.sampled_from(sorted(BODIES)).flatmap(messages)
    return raw.map(lambda message: decode(json.dumps(message).encode()))


@st.composite
def _objects(draw: st.DrawFn, part: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    required = part.get("required", [])
    value = {
        key: draw(instances(field, root))
        for key, field in part.get("properties", {}).items()
        if key in required or draw(st.booleans())
    }
    extra = part.get("additionalProperties")
    if isinstance(extra, dict):
        value |= draw(st.dictionaries(TEXT, instances(extra, root), max_size=3))
    elif "properties" not in part:
        value |= draw(st.dictionaries(TEXT, ANYTHING, max_size=3))
    return value


@st.composite
def _groups(draw: st.DrawFn, root: dict[str, Any]) -> dict[str, Any]:
    """Groups of telemetry: each column as long as the times, its values of its type."""
    definitions = root["$defs"]
    dt = draw(instances(definitions["group"]["properties"]["dt"], root))
    channels = []
    for _ in range(draw(st.integers(1, 3))):
        fields = definitions["channel"]["properties"]
        channel = {
            key: draw(instances(fields[key], root)) for key in ("name", "unit") if key == "name" or draw(st.booleans())
        }
        kind = draw(st.sampled_from(sorted(_SAMPLES)))
        if kind != "number" or draw(st.booleans()):
            channel["type"] = kind
        sample = st.none() | instances(_SAMPLES[kind] | _bounds(kind), root)
        channel["values"] = draw(st.lists(sample, min_size=len(dt), max_size=len(dt)))
        channels.append(channel)
    return {"dt": dt, "channels": channels}


def _bounds(kind: str) -> dict[str, Any]:
    return {"minimum": -(2**53) + 1, "maximum": 2**53 - 1} if kind == "integer" else {}
