"""Columns of values as few bytes, and back exactly as they were.

A column is first described in numbers as small as can be (differences, decimal fractions as integers, single instead of
double precision: each only when it gives back every bit), then its bytes are sorted by significance ("shuffled", as in
Blosc), and then deflated (RFC 1951). Imported by the helper processes, so: standard library and msgspec only.
"""

import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate
from operator import sub
from typing import Any

import msgspec

LEVEL = 6  # of deflate: more takes twice the time for a hundredth of the size
EXACT = 2**53 - 1  # the largest integer that a double holds without a neighbour

CONSTANT, INTEGERS, DECIMALS, SINGLES, DOUBLES, MIXED, BOOLEANS, DOCUMENTS, HOLES, EMPTY, ZEROS = range(11)

_WIDTHS = {1: "b", 2: "h", 4: "i", 8: "q"}
_POWERS = [10.0**k for k in range(1, 10)]

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder().decode


def encode(values: Sequence[Any]) -> bytes:
    """The column as bytes. Values are what JSON knows; None is a hole. Raises TypeError for anything else."""
    return _pack(_column(list(values)))


def decode(data: bytes) -> list[Any]:
    """The values that `encode` got, each of the same type."""
    return _values(_unpack(data))


def encode_times(times: list[int]) -> bytes:
    """Times in microseconds, in order: regular steps take next to nothing."""
    return _pack(_integers(times, orders=(1, 2))) if times else _pack([EMPTY])


def _column(values: list[Any]) -> list[Any]:
    if not values:
        return [EMPTY]
    if None in values:
        present = [value is not None for value in values]
        return [HOLES, _bits(present), len(values), _column([value for value in values if value is not None])]
    types = set(map(type, values))
    if len(types) == 1 and _constant(values):
        return [CONSTANT, len(values), _json(values[0])]
    if types == {float}:
        return _floats(values)
    if types == {int} and max(values) <= 2**63 - 1 and min(values) >= -(2**63):
        return _integers(values)
    if types == {bool}:
        return [BOOLEANS, _bits(values), len(values)]
    if types == {int, float} and max(map(abs, values)) <= EXACT:
        return [MIXED, _bits([type(value) is int for value in values]), _floats(list(map(float, values)))]
    return [DOCUMENTS, _deflated(_json(values))]


def _constant(values: list[Any]) -> bool:
    """Whether all values, of one type, are the same to the last bit: 0.0 and -0.0, or 1 and true inside of documents,
    are equal and not the same."""
    first = values[0]
    if values.count(first) != len(values):
        return False
    if type(first) is float:
        return first != 0.0 or len({str(value) for value in values}) == 1
    return type(first) in (int, bool, str) or len({_json(value) for value in values}) == 1


def _values(column: list[Any]) -> list[Any]:
    match column:
        case [0, count, value]:
            return [_from_json(value)] * count
        case [1, *packed]:
            return _from_integers(*packed)
        case [2, power, *packed]:
            scale = 10.0**power
            return [value / scale for value in _from_integers(*packed)]
        case [3, *packed]:
            return array("f", array("i", _from_integers(*packed)).tobytes()).tolist()
        case [4, data]:
            return array("d", _joined(_inflated(data), 8)).tolist()
        case [5, whole, inner]:
            floats = _values(inner)
            return [int(v) if is_int else v for v, is_int in zip(floats, _from_bits(whole, len(floats)), strict=True)]
        case [6, bits, count]:
            return _from_bits(bits, count)
        case [7, data]:
            documents: list[Any] = _from_json(_inflated(data))
            return documents
        case [8, present, count, inner]:
            left = iter(_values(inner))
            return [next(left) if there else None for there in _from_bits(present, count)]
        case [10, negative, inner]:
            floats = _values(inner)
            return [
                -0.0 if is_zero else v for v, is_zero in zip(floats, _from_bits(negative, len(floats)), strict=True)
            ]
    return []


def _floats(values: list[float]) -> list[Any]:
    if 0.0 in values and "-0.0" in (texts := [str(v) if v == 0.0 else "" for v in values]):
        # rounding makes them of small negative numbers, and no integer is like them
        return [ZEROS, _bits([text == "-0.0" for text in texts]), _floats([v or 0.0 for v in values])]
    raw = array("d", values).tobytes()
    for power, scale in enumerate(_POWERS, 1):
        if any(round(v * scale) / scale != v for v in values[:8] if abs(v) < EXACT / scale):
            continue
        if max(map(abs, values)) * scale >= EXACT:
            break
        scaled = [round(v * scale) for v in values]
        if array("d", [v / scale for v in scaled]).tobytes() == raw:
            return [DECIMALS, power, *_integers(scaled)[1:]]
    try:
        singles = array("f", values)
    except OverflowError:
        singles = array("f")
    if array("d", singles.tolist()).tobytes() == raw:
        return [SINGLES, *_integers(array("i", singles.tobytes()).tolist())[1:]]
    return [DOUBLES, _deflated(_split(raw, 8))]


def _integers(values: list[int], orders: tuple[int, ...] = (0, 1)) -> list[Any]:
    """64-bit integers, as they are (order 0), as differences (1) or as differences of differences (2)."""
    best: list[Any] = []
    for order in orders:
        firsts: list[int] = []
        rest = values
        for _ in range(order):
            if rest:
                firsts.append(rest[0])
            rest = list(map(sub, rest[1:], rest))
        base = min(rest, default=0) if order == 0 else 0
        if base:
            rest = [value - base for value in rest]
        if not (width := _width(rest)) or not _width([*firsts, base]):
            continue
        data = _deflated(_split(array(_WIDTHS[width], rest).tobytes(), width))
        if not best or len(data) < len(best[-1]):
            best = [INTEGERS, width, [*firsts, base], data]
    return best or [DOCUMENTS, _deflated(_json(values))]


def _from_integers(width: int, firsts: list[int], data: bytes) -> list[int]:
    values = array(_WIDTHS[width], _joined(_inflated(data), width)).tolist()
    *heads, base = firsts
    if base:
        values = [value + base for value in values]
    for first in reversed(heads):
        values = list(accumulate(values, initial=first))
    return values


def _width(values: list[int]) -> int:
    """The bytes that each of the numbers needs; 0 when it is more than 8."""
    low, high = min(values, default=0), max(values, default=0)
    for width in _WIDTHS:
        limit = 1 << (8 * width - 1)
        if -limit <= low and high < limit:
            return width
    return 0


def _split(raw: bytes, width: int) -> bytes:
    """The first bytes of all numbers, then the second ones, and so on."""
    return raw if width == 1 else b"".join([raw[i::width] for i in range(width)])


def _joined(raw: bytes, width: int) -> bytes:
    if width == 1:
        return raw
    count = len(raw) // width
    whole = bytearray(len(raw))
    for i in range(width):
        whole[i::width] = raw[i * count : (i + 1) * count]
    return bytes(whole)


def _bits(flags: list[bool]) -> bytes:
    """Where the flags change, as text would do, costs little when they rarely do."""
    return _deflated(bytes(flags))


def _from_bits(data: bytes, count: int) -> list[bool]:
    return [flag == 1 for flag in _inflated(data)[:count]]


def _deflated(raw: bytes) -> bytes:
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -15)
    return deflate.compress(raw) + deflate.flush()


def _inflated(data: bytes) -> bytes:
    return zlib.decompress(data, -15)
