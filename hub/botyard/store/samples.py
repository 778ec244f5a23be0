"""How a value becomes a row of the table `sample` and comes back as it was.

The row itself says what its value is, since a channel may change its type with a software update. Imported by the
helper processes, so: standard library and msgspec only.
"""

import math
from collections.abc import Iterable
from itertools import repeat
from typing import Any

import msgspec

NUMBER, INTEGER, BOOLEAN, DOCUMENT = range(4)
EXACT = 2**53 - 1  # the largest integer that a double holds without a neighbour

Cells = tuple[int, float | None, str | None]

_json = msgspec.json.Encoder()


def cells(values: list[Any], declared: str) -> Iterable[Cells]:
    """`kind`, `num` and `doc` for each value of a column whose type is said to be `declared`."""
    types = set(map(type, values))
    if types == {float} and declared != "integer" and math.isfinite(sum(values)):
        return zip(repeat(NUMBER), values, repeat(None))
    if types == {int} and max(values) <= EXACT and min(values) >= -EXACT:
        return zip(repeat(INTEGER), values, repeat(None))
    if types == {bool}:
        return zip(repeat(BOOLEAN), values, repeat(None))
    return [_cell(value, declared) for value in values]


def value_of(kind: int, num: float | None, doc: str | None) -> Any:
    """The value as it was committed; documents as `msgspec.Raw`, ready to be part of a JSON answer."""
    if num is None or kind == DOCUMENT:
        return msgspec.Raw((doc or "null").encode())
    if kind == INTEGER:
        return int(num)
    return bool(num) if kind == BOOLEAN else num


def _cell(value: Any, declared: str) -> Cells:
    match value:
        case bool():
            return BOOLEAN, float(value), None
        case int() if abs(value) <= EXACT:
            return INTEGER, float(value), None
        case int():  # exact in `doc`, and near enough in `num` for aggregates
            return DOCUMENT, _near(value), str(value)
        case float() if declared == "integer" and value.is_integer() and abs(value) <= EXACT:
            return INTEGER, value, None
        case float() if math.isfinite(value):
            return NUMBER, value, None
    return DOCUMENT, None, _json.encode(value).decode()  # NaN and infinities become null, as on the wire


def _near(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None
