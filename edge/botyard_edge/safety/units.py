"""Quantities with units, as they stand in `robot.yaml`: `1.2 m/s`, `90 deg/s`, `15 %`."""

import math
import re

# Each dimension's units (UCUM codes, and how people write them), as factors of the first one.
UNITS: dict[str, dict[str, float]] = {
    "speed": {"m/s": 1.0, "km/h": 1 / 3.6, "mm/s": 1e-3, "cm/s": 1e-2},
    "angular speed": {"rad/s": 1.0, "deg/s": math.pi / 180.0},
    "acceleration": {"m/s2": 1.0, "m/s^2": 1.0, "m/s²": 1.0, "mm/s2": 1e-3, "cm/s2": 1e-2},
    "share": {"1": 1.0, "%": 1e-2},
    "temperature": {"Cel": 1.0, "°C": 1.0},
    "angle": {"rad": 1.0, "deg": math.pi / 180.0, "°": math.pi / 180.0},
    "time": {"s": 1.0, "ms": 1e-3, "min": 60.0},
}
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*")
EXAMPLES = {
    "speed": "1.2 m/s",
    "angular speed": "90 deg/s",
    "acceleration": "0.5 m/s2",
    "share": "15 %",
    "temperature": "80 Cel",
    "angle": "20 deg",
    "time": "500 ms",
}


def quantity(value: object, dimension: str) -> float:
    """The quantity in the dimension's first unit. Raises ValueError with what is wrong with it."""
    units, example = UNITS[dimension], EXAMPLES[dimension]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is no {dimension}, expected one such as '{example}'")
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is no {dimension}, expected one such as '{example}'")
    number, unit = float(match[1]), match[2]
    if not unit:
        raise ValueError(f"{value!r} has no unit, expected a {dimension} such as '{example}'")
    if unit not in units:
        raise ValueError(f"{value!r} has a unit that is none of {', '.join(units)}, expected one such as '{example}'")
    found = number * units[unit]
    if not math.isfinite(found):
        raise ValueError(f"{value!r} is too large for a {dimension}")
    return found
