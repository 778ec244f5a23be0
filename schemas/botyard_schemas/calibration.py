"""Calibration profiles: what a robot's values and commands are corrected by, as versioned objects.

The meaning of each field, with units and examples, is in `calibration.schema.json`; these classes carry it. Times are
microseconds since 1970 in hub time. A profile is made from a *draft*, which people and programs write; the robot adds
who, when and the version.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import msgspec

from botyard_schemas.messages import Message

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

# What the robot itself says of a profile; everything else is a draft's.
STAMPED = ("schema", "version", "when", "who", "restores")


class Linear(Message, frozen=True, tag_field="kind", tag="linear", omit_defaults=False):
    """corrected = scale * raw + offset."""

    channel: str
    offset: float = 0.0
    scale: float = 1.0


class Polynomial(Message, frozen=True, tag_field="kind", tag="polynomial", omit_defaults=False):
    """corrected = c0 + c1 raw + c2 raw^2 …, for raw values within `range`; outside, the tangent at its end."""

    channel: str
    coefficients: list[float]
    range: tuple[float, float]


class Axes(Message, frozen=True, tag_field="kind", tag="axes", omit_defaults=False):
    """corrected = matrix * (raw - offset), over x, y and z of one vector (axes as in ROS REP-103)."""

    channels: tuple[str, str, str]
    matrix: Matrix
    offset: Vector = (0.0, 0.0, 0.0)


class Motor(Message, frozen=True, tag_field="kind", tag="motor", omit_defaults=False):
    """What the driver gets for a wanted value v: gain * v + dead_band forwards, the same backwards; 0 stays 0."""

    command: str
    argument: str
    gain: float = 1.0
    gain_reverse: float = 1.0
    dead_band: float = 0.0
    dead_band_reverse: float = 0.0


class Wheels(Message, frozen=True, tag_field="kind", tag="wheels", omit_defaults=False):
    """Metres: the radius of each wheel, and the distance between the points where they touch the floor."""

    driver: str
    radius_left: float
    radius_right: float
    track: float


Correction = Linear | Polynomial | Axes | Motor | Wheels


class Residuals(Message, frozen=True, omit_defaults=False):
    """What was left of the reference after the fit, over `count` samples, in the unit of what is corrected."""

    rms: float
    max: float
    count: int


class Drift(Message, frozen=True, omit_defaults=False):
    """The mean over `window` seconds of value minus `reference` has to stay within `band`; without a reference, that
    of the value itself (of a vector its length)."""

    band: tuple[float, float]
    reference: str | None = None
    window: float = 10.0


class Draft(Message, frozen=True):
    """What somebody wants a profile to be. Without a correction nothing is corrected."""

    name: str
    correction: Correction | None = None
    raw: bool = False
    method: str = ""
    note: str = ""
    residuals: Residuals | None = None
    valid_until: int | None = None
    drift: Drift | None = None


class Profile(Draft, frozen=True, omit_defaults=False):
    """A version of a profile. `restores` is the version whose content it has again."""

    version: int = 1
    when: int = 0
    who: str = ""
    restores: int | None = None
    schema: int = 1


def applied_hash(profiles: Iterable[Profile]) -> str:
    """Names what is applied: the first 16 hexadecimal digits of SHA-256 over canonical JSON, which is an object of the
    profiles by name with `correction` and `raw`, keys sorted, no spaces, numbers in their shortest form.

    Who, when and why do not count, so robots that are corrected alike have the same hash, and a robot that was rolled
    back has that of before.
    """
    applied = {
        one.name: {"correction": msgspec.to_builtins(one.correction), "raw": one.raw}
        for one in profiles
        if one.correction is not None
    }
    canonical = json.dumps(applied, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@functools.cache
def profile_schema() -> dict[str, Any]:
    """The JSON Schema of a profile; the kinds of corrections are its `$defs`. Do not change what you get."""
    text = files("botyard_schemas").joinpath("calibration.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def draft_schema(written: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a draft: a profile without what the robot says of it, with the correction of the kind that was
    written, so that what is wrong with it is told of that kind alone."""
    whole = profile_schema()
    properties = {key: part for key, part in whole["properties"].items() if key not in STAMPED}
    correction = written.get("correction")
    kind = correction.get("kind") if isinstance(correction, Mapping) else None
    if isinstance(kind, str) and kind in whole["$defs"]:
        properties["correction"] = whole["$defs"][kind]
    else:
        properties["correction"] = {
            "type": ["object", "null"],
            "required": ["kind"],
            "properties": {"kind": {"enum": list(whole["$defs"])}},
        }
    return {
        "type": "object",
        "required": ["name", "correction"],
        "additionalProperties": False,
        "properties": properties,
    }
