"""Corrections at work: from what drivers measured to what is, and from what is wanted to what a motor needs. Pure."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from botyard_edge.calibration.sound import RAW, derived, evaluated
from botyard_schemas.calibration import Axes, Linear, Motor, Polynomial, Profile

Scalar = Callable[[float], float]
Triple = tuple[float, float, float]


def scalar(correction: Linear | Polynomial) -> Scalar:
    """The correction of one number. What overflows becomes an infinity or NaN, which is no sample."""
    if isinstance(correction, Linear):
        scale, offset = correction.scale, correction.offset
        return lambda raw: scale * raw + offset
    coefficients, (low, high) = tuple(correction.coefficients), correction.range
    slope = derived(coefficients)

    def polynomial(raw: float) -> float:
        # Far outside of what it was made from a polynomial turns wherever it likes; its tangent does not.
        near = min(max(raw, low), high)
        value = evaluated(coefficients, near)
        return value if near == raw else value + evaluated(slope, near) * (raw - near)

    return polynomial


def aligned(correction: Axes) -> Callable[[float, float, float], Triple]:
    """The correction of one vector."""
    (a, b, c), (d, e, f), (g, h, i) = correction.matrix
    x0, y0, z0 = correction.offset

    def align(x: float, y: float, z: float) -> Triple:
        x, y, z = x - x0, y - y0, z - z0
        return a * x + b * y + c * z, d * x + e * y + f * z, g * x + h * y + i * z

    return align


def compensated(correction: Motor, wanted: float) -> float:
    """What the driver gets. 0 stays 0, so that a robot at rest stays at rest, and the sign stays."""
    if wanted > 0.0:
        return correction.gain * wanted + correction.dead_band
    if wanted < 0.0:
        return correction.gain_reverse * wanted - correction.dead_band_reverse
    return wanted


class Corrector:
    """Corrects samples by the profiles that it is made from. Scalars come first, then axes, over their results."""

    def __init__(self, profiles: Iterable[Profile], taken: Iterable[str] = ()) -> None:
        """`taken` are channels of drivers, beside which no raw channel of the same name may be made."""
        names = set(taken)
        self.apart: set[str] = set()  # channels of axes that came without the others, and so could not be aligned
        self._scalars: dict[str, Scalar] = {}
        self._axes: list[tuple[tuple[str, str, str], Callable[[float, float, float], Triple]]] = []
        self._raw: dict[str, str] = {}
        for profile in profiles:
            if isinstance(profile.correction, Linear | Polynomial):
                self._scalars[profile.correction.channel] = scalar(profile.correction)
                raws: Sequence[str] = (profile.correction.channel,)
            elif isinstance(profile.correction, Axes):
                self._axes.append((profile.correction.channels, aligned(profile.correction)))
                raws = profile.correction.channels
            else:
                continue
            if profile.raw:
                self._raw |= {one: one + RAW for one in raws if one + RAW not in names}
        self._touched = frozenset(self._scalars).union(*(names for names, _ in self._axes))

    def __bool__(self) -> bool:
        return bool(self._scalars or self._axes)

    @property
    def raw(self) -> Mapping[str, str]:
        """Channels whose raw values are kept, with the name of the channel that keeps them."""
        return self._raw

    def corrected(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Samples of one instant. What is no number is left as it is, for whoever checks types."""
        touched = self._touched
        if touched.isdisjoint(values):
            return values
        corrected = dict(values)
        for name in values:
            if name not in touched:
                continue
            value = values[name]
            if (raw := self._raw.get(name)) is not None:
                corrected[raw] = value
            if (correct := self._scalars.get(name)) is not None and _is_number(value):
                corrected[name] = _safely(correct, value)
        for names, align in self._axes:
            self._align(corrected, names, align)
        return corrected

    def alone(self, name: str, value: Any) -> Any:
        """A sample of a channel whose vector cannot be aligned: corrected by its scalar profile, or else as it is."""
        correct = self._scalars.get(name)
        scaled = _safely(correct, value) if correct is not None and _is_number(value) else value
        return scaled if not isinstance(scaled, float) or math.isfinite(scaled) else value

    def corrected_columns(self, columns: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        """Samples of many instants, a column for each channel."""
        names = list(columns)
        # What is not equally long is said by whoever takes the columns.
        if self._touched.isdisjoint(names) or len({len(column) for column in columns.values()}) != 1:
            return columns
        rows = [self.corrected(dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        every = [*names, *(raw for name in names if (raw := self._raw.get(name)) is not None)]
        return {name: [row[name] for row in rows] for name in every}

    def _align(
        self, values: dict[str, Any], names: tuple[str, str, str], align: Callable[[float, float, float], Triple]
    ) -> None:
        """Replace the three by the aligned ones; where one of them is missing there is no vector, and so no sample."""
        a, b, c = names
        if not (a in values and b in values and c in values):
            if present := [name for name in names if name in values]:
                self.apart.update(present)
                values.update(dict.fromkeys(present))
            return
        x, y, z = values[a], values[b], values[c]
        if x is None or y is None or z is None:
            values.update(dict.fromkeys(names))
        elif _is_number(x) and _is_number(y) and _is_number(z):
            try:
                values[a], values[b], values[c] = align(float(x), float(y), float(z))
            except OverflowError:  # an integer that no double can hold
                values.update(dict.fromkeys(names))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _safely(correct: Scalar, value: float) -> float:
    try:
        return correct(float(value))
    except OverflowError:  # an integer that no double can hold
        return math.inf
