"""One sample: whether it is a value of its channel's type, how it goes on the wire, and how large it becomes there."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from botyard_edge.driver import Channel, ReadingError
from botyard_schemas.messages import Geo, Pose

MAX_INTEGER = 2**53 - 1
MAX_TEXT = 65536

# Upper bounds of encoded sizes, each with its comma: a float has up to 24 characters.
_FLOAT, _INT, _NULL = 26, 18, 5

_FLOATS = {float}

_encode = msgspec.json.encode


def checked(channel: Channel, value: Any) -> tuple[Any, int]:
    """The sample as it goes on the wire (None: there is none), and an upper bound of its encoded size.

    A number that is not finite is no sample. Raises ReadingError.
    """
    if value is None:
        return None, _NULL
    try:
        sample, size = _CHECKS[channel.type](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ReadingError(
            f"channel {channel.name!r}: {_short(value)} is not a value of type {channel.type}: {error}"
        ) from error
    return sample, size


def checked_column(channel: Channel, values: Sequence[Any]) -> tuple[list[Any], int] | None:
    """All samples of a column as they go on the wire, and an upper bound of each one's encoded size; None when there is
    one missing, or the column has to be looked at value by value. Raises ReadingError."""
    if channel.type == "number":
        # Of finite numbers the sum is finite, as long as they are not astronomical.
        if set(map(type, values)) <= _FLOATS and math.isfinite(sum(values)):
            return list(values), _FLOAT
        return None
    samples, sizes = [], [0]
    for value in values:
        sample, size = checked(channel, value)
        if sample is None:
            return None
        samples.append(sample)
        sizes.append(size)
    return samples, max(sizes)


def _number(value: Any) -> tuple[Any, int]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("expected a number")
    number = float(value)
    return (number if math.isfinite(number) else None), _FLOAT


def _integer(value: Any) -> tuple[Any, int]:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("expected an integer")
    if abs(value) > MAX_INTEGER:
        raise ValueError("expected an integer of at most 53 bits")
    return value, _INT


def _boolean(value: Any) -> tuple[Any, int]:
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value, 6


def _text(value: Any) -> tuple[Any, int]:
    if not isinstance(value, str):
        raise TypeError("expected text")
    if len(value) > MAX_TEXT:
        raise ValueError(f"expected at most {MAX_TEXT} characters, these are {len(value)}")
    return value, len(_encode(value)) + 1


def _object(value: Any) -> tuple[Any, int]:
    if not isinstance(value, (dict, list)):
        raise TypeError("expected an object or a list")
    # The driver may go on changing its own object; what was sampled is what is sent.
    encoded = _encode(value)
    return msgspec.Raw(encoded), len(encoded) + 1


def _pose(value: Any) -> tuple[Any, int]:
    if not isinstance(value, Pose):
        raise TypeError("expected a Pose")
    if not all(math.isfinite(number) for number in (value.x, value.y, value.z, value.yaw)):
        return None, _NULL
    return value, len(value.frame) * 6 + 4 * _FLOAT + 40


def _geo(value: Any) -> tuple[Any, int]:
    if not isinstance(value, Geo):
        raise TypeError("expected a Geo")
    if not (math.isfinite(value.lat) and math.isfinite(value.lon)):
        return None, _NULL
    if abs(value.lat) > 90 or abs(value.lon) > 180:
        raise ValueError("expected a latitude within 90 and a longitude within 180 degrees")
    return clean_geo(value), 4 * _FLOAT + 50


def clean_geo(value: Geo) -> Geo:
    """The position without parts that are not finite, and with the heading between 0 and 360 degrees."""
    alt = value.alt if value.alt is not None and math.isfinite(value.alt) else None
    heading = value.heading % 360.0 if value.heading is not None and math.isfinite(value.heading) else None
    return Geo(value.lat, value.lon, alt, heading)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


_CHECKS = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "text": _text,
    "object": _object,
    "pose": _pose,
    "geo": _geo,
}
