"""What the arguments of a command say in numbers. Pure."""

import contextlib
import math
from collections.abc import Mapping
from typing import Any

from botyard_schemas.validation import shortened


class LimitError(ValueError):
    """The command breaks a limit and is not to be executed. The sentence names argument, value and limit."""


def number(args: Mapping[str, Any], name: str) -> float:
    """The argument's value; 0 for one that is missing. Raises LimitError for what is no finite number."""
    value = args.get(name, 0.0)
    if not isinstance(value, bool) and isinstance(value, int | float):
        # An integer may be too large for a float.
        with contextlib.suppress(OverflowError):
            if math.isfinite(value):
                return float(value)
    raise LimitError(f"args.{name}: {shortened(repr(value))} is no finite number")


def most_of(schema: Mapping[str, Any], name: str, wanted: float) -> float:
    """The largest value up to `wanted` that the schema of the arguments allows for the one that is called so."""
    known: Any = schema.get("properties", {}).get(name, {})
    top = known.get("exclusiveMaximum")
    tops = (wanted, known.get("maximum", wanted), math.inf if top is None else math.nextafter(top, -math.inf))
    found = float(min(tops))
    return math.floor(found) if known.get("type") == "integer" else found
