"""Corrections from samples, by least squares. Plain Python: at most a few thousand samples and a dozen unknowns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from botyard_edge.calibration.correct import aligned, compensated, scalar
from botyard_edge.calibration.draft import CalibrationError
from botyard_schemas.calibration import Axes, Correction, Linear, Motor, Polynomial, Residuals, Vector, Wheels

MAX_SAMPLES = 20_000
MAX_DEGREE = 5
# A column of which so little is left beside the columns before it is taken for a combination of these.
SINGULAR = 1e-9


class FitError(CalibrationError):
    """The samples do not determine what is sought. The sentence says what is missing."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What came out: `points` are pairs of what was measured and its reference, and `curve` runs through them."""

    correction: Correction
    residuals: Residuals
    method: str
    points: list[tuple[float, float]]
    left: list[float]


def least_squares(rows: Sequence[Sequence[float]], targets: Sequence[float]) -> list[float]:
    """The x that makes the sum of squares of `rows` x - `targets` smallest, by Householder reflections (Golub and Van
    Loan, Matrix Computations, 5.3). Raises FitError when there is not one answer."""
    count = len(rows[0]) if rows else 0
    if len(rows) < count or count == 0:
        raise FitError(f"{len(rows)} samples are too few, at least {max(1, count)} are needed")
    matrix = [[*map(float, row), float(target)] for row, target in zip(rows, targets, strict=True)]
    sizes = [math.hypot(*(row[column] for row in matrix)) for column in range(count)]
    for column in range(count):
        _reflect(matrix, column, sizes[column])
    answer = [0.0] * count
    for column in reversed(range(count)):
        rest = sum(matrix[column][other] * answer[other] for other in range(column + 1, count))
        answer[column] = (matrix[column][count] - rest) / matrix[column][column]
    return answer


def _reflect(matrix: list[list[float]], column: int, size: float) -> None:
    """Make everything below the diagonal of a column 0."""
    below = [row[column] for row in matrix[column:]]
    length = math.hypot(*below)
    if not length > SINGULAR * size:
        raise FitError("the samples do not differ enough to tell the unknowns apart")
    below[0] += math.copysign(length, below[0])
    square = sum(value * value for value in below)
    for other in range(column, len(matrix[0])):
        factor = 2.0 * sum(b * row[other] for b, row in zip(below, matrix[column:], strict=True)) / square
        for b, row in zip(below, matrix[column:], strict=True):
            row[other] -= factor * b


def fit_linear(channel: str, raw: Sequence[float], reference: Sequence[float], *, scale: bool = True) -> Fit:
    """Offset and scale, or the offset alone. Raises FitError."""
    _check(raw, reference)
    if scale:
        low, high = _spread(raw)
        # Around the middle, so that large values with small differences lose nothing.
        middle, width = (low + high) / 2.0, (high - low) / 2.0
        at_middle, slope = least_squares([(1.0, (x - middle) / width) for x in raw], reference)
        found = Linear(channel, at_middle - slope / width * middle, slope / width)
    else:
        found = Linear(channel, math.fsum(y - x for x, y in zip(raw, reference, strict=True)) / len(raw))
    return _scalar_fit(found, raw, reference, "offset and scale" if scale else "offset")


def fit_polynomial(channel: str, raw: Sequence[float], reference: Sequence[float], degree: int) -> Fit:
    """A polynomial of this degree, 1 to 5, over the range of the raw values. Raises FitError."""
    _check(raw, reference)
    if not 1 <= degree <= MAX_DEGREE:
        raise FitError(f"a degree of {degree} cannot be fitted, expected 1 to {MAX_DEGREE}")
    if len(set(raw)) <= degree:
        raise FitError(f"{len(set(raw))} different raw values are too few for degree {degree}, {degree + 1} are needed")
    low, high = _spread(raw)
    middle, width = (low + high) / 2.0, (high - low) / 2.0
    scaled = least_squares([[((x - middle) / width) ** power for power in range(degree + 1)] for x in raw], reference)
    found = Polynomial(channel, _expanded(scaled, middle, width), (low, high))
    return _scalar_fit(found, raw, reference, f"polynomial of degree {degree}")


def _expanded(scaled: Sequence[float], middle: float, width: float) -> list[float]:
    """The coefficients in x of a polynomial in (x - middle) / width."""
    coefficients = [0.0] * len(scaled)
    for power, factor in enumerate(scaled):
        for inner in range(power + 1):
            term = math.comb(power, inner) * (-middle) ** (power - inner)
            coefficients[inner] += factor * term / width**power
    return coefficients


def fit_axes(channels: tuple[str, str, str], raw: Sequence[Vector], reference: Sequence[Vector]) -> Fit:
    """Matrix and offset from vectors in known positions: of six, say, of a sensor of gravity. Raises FitError."""
    _check([x for row in raw for x in row], [x for row in reference for x in row])
    rows = [(*vector, 1.0) for vector in raw]
    answers = [least_squares(rows, [vector[axis] for vector in reference]) for axis in range(3)]
    matrix = tuple((a, b, c) for a, b, c, _ in answers)
    # matrix * raw + shift = matrix * (raw - offset), so the offset solves matrix * offset = -shift.
    offset = least_squares(matrix, [-answer[3] for answer in answers])
    found = Axes(channels, matrix, (offset[0], offset[1], offset[2]))  # type: ignore[arg-type]
    align = aligned(found)
    pairs = [(align(*x), y) for x, y in zip(raw, reference, strict=True)]
    left = [math.dist(mine, theirs) for mine, theirs in pairs]
    points = [(x[axis], y[axis]) for x, y in zip(raw, reference, strict=True) for axis in range(3)]
    return Fit(found, _residuals(left), f"least squares, matrix and offset, {len(raw)} positions", points, left)


def fit_motor(command: str, argument: str, given: Sequence[float], measured: Sequence[float]) -> Fit:
    """Gain and dead band of each direction, from what the driver got and what the motor did. Samples in which it did
    not move tell nothing but that. A direction without samples is taken to be like the other. Raises FitError."""
    _check(given, measured)
    sides: list[tuple[float, float] | None] = []
    for sign in (1.0, -1.0):
        moved = [(sign * u, sign * v) for u, v in zip(given, measured, strict=True) if sign * v > 0.0 < sign * u]
        if len(moved) >= 2:
            band, gain = least_squares([(1.0, v) for _, v in moved], [u for u, _ in moved])
            # Noise may make a motor without a dead band look as if it had less than none.
            gain = gain if band >= 0.0 else least_squares([(v,) for _, v in moved], [u for u, _ in moved])[0]
            sides.append((gain, max(0.0, band)))
        else:
            sides.append(None)
    forward, reverse = sides[0] or sides[1], sides[1] or sides[0]
    if forward is None or reverse is None:
        raise FitError("there are less than two samples in which the motor moved the way it was told to")
    found = Motor(command, argument, forward[0], reverse[0], forward[1], reverse[1])
    pairs = [(v, u) for u, v in zip(given, measured, strict=True) if v * u > 0.0]
    left = [u - compensated(found, v) for v, u in pairs]
    return Fit(found, _residuals(left), f"least squares, gain and dead band, {len(pairs)} samples", pairs, left)


def fit_wheels(driver: str, runs: Sequence[tuple[float, float, float, float]]) -> Fit:
    """Radii and track from runs: by how much the left and the right wheel turned (rad), and the way (m) and the turn
    (rad) of the robot that were measured. Some runs have to turn. Raises FitError."""
    _check([x for run in runs for x in run], [x for run in runs for x in run])
    left_radius, right_radius = least_squares(
        [(a / 2.0, b / 2.0) for a, b, _, _ in runs], [way for _, _, way, _ in runs]
    )
    turns = [(turn, right_radius * b - left_radius * a) for a, b, _, turn in runs]
    track = least_squares([(turn,) for turn, _ in turns], [difference for _, difference in turns])[0]
    found = Wheels(driver, left_radius, right_radius, track)
    points = [((left_radius * a + right_radius * b) / 2.0, way) for a, b, way, _ in runs]
    left = [way - mine for mine, way in points]
    return Fit(found, _residuals(left), f"least squares, radii and track, {len(runs)} runs", points, left)


def _scalar_fit(found: Linear | Polynomial, raw: Sequence[float], reference: Sequence[float], what: str) -> Fit:
    correct = scalar(found)
    left = [y - correct(x) for x, y in zip(raw, reference, strict=True)]
    points = list(zip(raw, reference, strict=True))
    return Fit(found, _residuals(left), f"least squares, {what}, {len(raw)} samples", points, left)


def _residuals(left: Sequence[float]) -> Residuals:
    return Residuals(math.hypot(*left) / math.sqrt(len(left)), max(map(abs, left)), len(left))


def _check(raw: Sequence[float], reference: Sequence[float]) -> None:
    if not raw:
        raise FitError("there are no samples")
    if len(raw) != len(reference):
        raise FitError(f"there are {len(raw)} raw values and {len(reference)} references")
    if len(raw) > 4 * MAX_SAMPLES:
        raise FitError(f"{len(raw)} values are too many, at most {MAX_SAMPLES} samples are fitted")
    if not all(map(math.isfinite, raw)) or not all(map(math.isfinite, reference)):
        raise FitError("the samples hold a value that is not finite")


def _spread(raw: Sequence[float]) -> tuple[float, float]:
    low, high = min(raw), max(raw)
    if not high > low:
        raise FitError(f"all raw values are {low:g}, so a scale cannot be told; fit the offset alone")
    return low, high
