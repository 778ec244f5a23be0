"""What makes a correction sound, beyond its schema: it inverts no sign, mirrors nothing and can be undone. Pure."""

import itertools
import math
from collections.abc import Iterator, Sequence

from botyard_edge.driver import Found
from botyard_schemas.calibration import Axes, Correction, Draft, Drift, Linear, Matrix, Motor, Polynomial, Wheels

# A matrix whose rows are nearly in one plane would blow noise up; 1 is that of perpendicular rows.
LEAST_VOLUME = 0.05
GAINS, RADII, TRACKS, ASYMMETRY = (0.2, 5.0), (0.001, 10.0), (0.01, 20.0), 1.25
RAW = ".raw"


def problems(draft: Draft) -> list[Found]:
    """All that is wrong with a draft that keeps the schema: the place, and one sentence each."""
    correction = draft.correction
    found = [] if correction is None else [(("correction", *keys), said) for keys, said in _of(correction)]
    if draft.raw and isinstance(correction, Motor | Wheels):
        found.append((("raw",), f"has no meaning for {correction.__struct_config__.tag}, which corrects no channel"))
    if draft.drift is not None:
        found += [(("drift", *keys), said) for keys, said in _of_drift(draft.drift, correction)]
    return found


def channels_of(correction: Correction | None) -> tuple[str, ...]:
    """The channels that it corrects."""
    if isinstance(correction, Linear | Polynomial):
        return (correction.channel,)
    return correction.channels if isinstance(correction, Axes) else ()


def determinant(matrix: Matrix) -> float:
    """Of a 3 by 3 matrix, by the rule of Sarrus."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    return a * e * i + b * f * g + c * d * h - c * e * g - b * d * i - a * f * h


def evaluated(coefficients: Sequence[float], x: float) -> float:
    """The polynomial's value, by Horner's rule; coefficients from the constant up."""
    total = 0.0
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def derived(coefficients: Sequence[float]) -> list[float]:
    """The derivative's coefficients."""
    return [power * coefficient for power, coefficient in enumerate(coefficients)][1:]


def _of(correction: Correction) -> Iterator[Found]:
    match correction:
        case Linear():
            yield from _linear(correction)
        case Polynomial():
            yield from _polynomial(correction)
        case Axes():
            yield from _axes(correction)
        case Motor():
            yield from _motor(correction)
        case Wheels():
            yield from _wheels(correction)


def _linear(one: Linear) -> Iterator[Found]:
    if not math.isfinite(one.offset):
        yield ("offset",), f"{one.offset} is no finite number"
    if not math.isfinite(one.scale):
        yield ("scale",), f"{one.scale} is no finite number"
    elif one.scale < 0.0:
        said = f"{one.scale:g} would invert the sign of {one.channel}, expected above 0"
        yield ("scale",), f"{said} (a sensor that is mounted the other way round is corrected by axes)"
    elif one.scale == 0.0:
        yield ("scale",), f"0 would make every value of {one.channel} the same, expected above 0"


def _polynomial(one: Polynomial) -> Iterator[Found]:
    low, high = one.range
    if not all(map(math.isfinite, (*one.coefficients, low, high))):
        yield ("coefficients",), "expected finite numbers"
    elif low >= high:
        yield ("range",), f"{low:g} to {high:g} is no range, expected the smaller number first"
    elif (flat := _steepest_fall(one.coefficients, low, high)) is not None:
        where, slope = flat
        said = f"would invert the sign of changes of {one.channel}: its slope is {slope:.3g} at a raw value of"
        yield ("coefficients",), f"{said} {where:.4g}, expected above 0 everywhere in the range"


def _steepest_fall(coefficients: Sequence[float], low: float, high: float) -> tuple[float, float] | None:
    """Where in the range the slope is smallest, and how much it is, if that is not above 0."""
    slope = derived(coefficients)
    places = [low, *roots(derived(slope), low, high), high]
    where = min(places, key=lambda x: evaluated(slope, x))
    least = evaluated(slope, where)
    return None if least > 0.0 else (round(where, 9) + 0.0, least)  # and not -0


def roots(coefficients: Sequence[float], low: float, high: float) -> list[float]:
    """Where the polynomial is 0 within an interval: between its extremes, which are its derivative's roots, it has one
    at most, which is bisected."""
    if len(coefficients) < 2:
        return []
    ends = [low, *roots(derived(coefficients), low, high), high]
    return [found for a, b in itertools.pairwise(ends) if (found := _bisected(coefficients, a, b)) is not None]


def _bisected(coefficients: Sequence[float], a: float, b: float) -> float | None:
    at_a, at_b = evaluated(coefficients, a), evaluated(coefficients, b)
    if at_a == 0.0 or at_b == 0.0:
        return a if at_a == 0.0 else b
    if (at_a < 0.0) == (at_b < 0.0):
        return None
    for _ in range(60):
        middle = (a + b) / 2.0
        if middle in (a, b):
            break
        if (evaluated(coefficients, middle) < 0.0) == (at_a < 0.0):
            a = middle
        else:
            b = middle
    return (a + b) / 2.0


def _axes(one: Axes) -> Iterator[Found]:
    if len(set(one.channels)) != len(one.channels):
        yield ("channels",), "expected three different channels"
    if not all(map(math.isfinite, (*itertools.chain(*one.matrix), *one.offset))):
        yield ("matrix",), "expected finite numbers"
        return
    size = math.prod(math.hypot(*row) for row in one.matrix)
    volume = determinant(one.matrix)
    if volume < 0.0:
        said = f"would invert the sign of an axis: its determinant is {volume:.3g}, which mirrors"
        yield ("matrix",), f"{said}; expected a rotation, with a determinant above 0"
    elif volume <= LEAST_VOLUME * size:
        yield ("matrix",), f"its rows are nearly in one plane (determinant {volume:.3g}), so it cannot be undone"


def _motor(one: Motor) -> Iterator[Found]:
    for key, gain in (("gain", one.gain), ("gain_reverse", one.gain_reverse)):
        if gain <= 0.0:
            yield (key,), f"{gain:g} would invert the sign of {one.command}.{one.argument}, expected {_span(GAINS)}"
        elif not GAINS[0] <= gain <= GAINS[1]:
            yield (key,), f"{gain:g} is out of bounds, expected {_span(GAINS)}"
    for key, band in (("dead_band", one.dead_band), ("dead_band_reverse", one.dead_band_reverse)):
        if not 0.0 <= band < math.inf:
            yield (key,), f"{band:g} would invert the sign of small values, expected 0 or more"


def _wheels(one: Wheels) -> Iterator[Found]:
    for key in ("radius_left", "radius_right"):
        radius = getattr(one, key)
        if not RADII[0] <= radius <= RADII[1]:
            yield (key,), f"{radius:g} m is no radius of a wheel, expected {_span(RADII)} m"
    if not TRACKS[0] <= one.track <= TRACKS[1]:
        yield ("track",), f"{one.track:g} m is no track, expected {_span(TRACKS)} m"
    small, large = sorted((one.radius_left, one.radius_right))
    if small > 0.0 and large > small * ASYMMETRY:
        yield ("radius_right",), f"differs from the left one by more than {ASYMMETRY - 1:.0%}"


def _of_drift(drift: Drift, correction: Correction | None) -> Iterator[Found]:
    low, high = drift.band
    if correction is None or isinstance(correction, Wheels):
        yield (), "has no meaning here, expected it with a sensor, axes or a motor"
    elif isinstance(correction, Motor) and drift.reference is None:
        yield ("reference",), "is missing: the channel that measures what the motor does"
    elif drift.reference is not None and drift.reference in channels_of(correction):
        yield ("reference",), f"{drift.reference} is what is corrected, expected another channel"
    if not low < high:
        yield ("band",), f"{low:g} to {high:g} is no band, expected the smaller number first"


def _span(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}"
