"""Corrections and their fits, as properties: what is accepted keeps signs and order, and what was known is found."""

import itertools
import json
import math
from typing import Any

import jsonschema
import jsonschema_rs
import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from botyard_edge import driver as contract
from botyard_edge.calibration.correct import Corrector, aligned, compensated, scalar
from botyard_edge.calibration.doubt import Doubt
from botyard_edge.calibration.drift import DriftWatch
from botyard_edge.calibration.fit import (
    FitError,
    fit_axes,
    fit_linear,
    fit_motor,
    fit_polynomial,
    fit_wheels,
    least_squares,
)
from botyard_edge.calibration.plot import drawn, sparks, svg
from botyard_edge.calibration.sound import determinant, evaluated, problems, roots
from botyard_edge.driver import Motion
from botyard_edge.safety.core import SafetyCore
from botyard_edge.safety.motion import Commanded, capped
from botyard_edge.safety.policy import Limits, Policy
from botyard_schemas.calibration import (
    Axes,
    Draft,
    Drift,
    Linear,
    Motor,
    Polynomial,
    Profile,
    Wheels,
    applied_hash,
    draft_schema,
    profile_schema,
)


def between(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


MODEST = between(-100.0, 100.0)
SCALES = between(0.05, 20.0)
MOTORS = st.builds(
    Motor,
    st.just("drive"),
    st.just("v"),
    gain=between(0.2, 5.0),
    gain_reverse=between(0.2, 5.0),
    dead_band=between(0.0, 1.0),
    dead_band_reverse=between(0.0, 1.0),
)


def made(draft: Draft, version: int = 1) -> Profile:
    return Profile(**{name: getattr(draft, name) for name in Draft.__struct_fields__}, version=version)


# --- what is accepted


@settings(max_examples=300, deadline=None)
@given(st.lists(between(-10.0, 10.0), min_size=2, max_size=6), between(-10.0, 10.0), between(0.1, 10.0), st.data())
def test_polynomial_that_is_accepted_rises_everywhere_and_one_that_is_refused_does_not(
    coefficients: list[float], low: float, width: float, data: st.DataObject
) -> None:
    one = Polynomial("c", coefficients, (low, low + width))
    correct = scalar(one)
    if problems(Draft("p", one)):
        places = [low + width * step / 2000 for step in range(2001)]
        slopes = [sum(k * c * x ** (k - 1) for k, c in enumerate(coefficients) if k) for x in places]
        assert min(slopes) <= 0.01 * max(1.0, *map(abs, slopes))
        return
    a, b = sorted(data.draw(st.lists(between(low - 50.0, low + width + 50.0), min_size=2, max_size=2, unique=True)))
    assume(b - a > 1e-3)
    assert correct(a) <= correct(b)


@settings(max_examples=200, deadline=None)
@given(st.lists(between(-3.0, 3.0), min_size=1, max_size=5))
def test_roots_of_a_product_are_found(wanted: list[float]) -> None:
    assume(all(abs(a - b) > 1e-2 for a, b in itertools.combinations(wanted, 2)))
    coefficients = [1.0]
    for root in wanted:
        coefficients = [b - root * a for a, b in zip([*coefficients, 0.0], [0.0, *coefficients], strict=True)]
    found = roots(coefficients, -3.5, 3.5)
    assert all(min(abs(root - one) for one in found) < 1e-4 for root in wanted)
    assert all(abs(evaluated(coefficients, one)) < 1e-6 for one in found)


@pytest.mark.parametrize(
    ("correction", "place", "sentence"),
    [
        (Linear("c", scale=-2.0), "scale", "-2 would invert the sign of c"),
        (Linear("c", scale=math.nan), "scale", "nan is no finite number"),
        (Linear("c", offset=math.inf), "offset", "inf is no finite number"),
        (Polynomial("c", [0.0, 1.0, -1.0], (0.0, 2.0)), "coefficients", "its slope is -3 at a raw value of 2"),
        (Polynomial("c", [0.0, -1.0, 0.0, 1.0], (-2.0, 2.0)), "coefficients", "its slope is -1 at a raw value of 0"),
        (Polynomial("c", [0.0, 1.0], (2.0, 2.0)), "range", "2 to 2 is no range"),
        (Polynomial("c", [0.0, math.inf], (0.0, 1.0)), "coefficients", "expected finite numbers"),
        (Axes(("x", "y", "z"), ((1, 0, 0), (0, -1, 0), (0, 0, 1))), "matrix", "its determinant is -1, which mirrors"),
        (Axes(("x", "y", "z"), ((1, 0, 0), (1, 0.01, 0), (0, 0, 1))), "matrix", "nearly in one plane"),
        (Axes(("x", "x", "z"), ((1, 0, 0), (0, 1, 0), (0, 0, 1))), "channels", "expected three different channels"),
        (Motor("drive", "v", gain=-1.0), "gain", "-1 would invert the sign of drive.v"),
        (Motor("drive", "v", gain_reverse=9.0), "gain_reverse", "9 is out of bounds, expected 0.2 to 5"),
        (Motor("drive", "v", dead_band=-0.1), "dead_band", "would invert the sign of small values"),
        (Wheels("base", -0.1, 0.1, 0.4), "radius_left", "-0.1 m is no radius of a wheel"),
        (Wheels("base", 0.1, 0.2, 0.4), "radius_right", "differs from the left one by more than 25%"),
        (Wheels("base", 0.1, 0.1, 0.0), "track", "0 m is no track"),
    ],
)
def test_correction_that_makes_no_sense_is_told_with_its_place(correction: Any, place: str, sentence: str) -> None:
    keys, said = problems(Draft("p", correction))[0]
    assert keys == ("correction", place)
    assert sentence in said


@pytest.mark.parametrize(
    ("draft", "place"),
    [
        (Draft("p", Wheels("b", 0.1, 0.1, 0.4), raw=True), ("raw",)),
        (Draft("p", Wheels("b", 0.1, 0.1, 0.4), drift=Drift((0.0, 1.0))), ("drift",)),
        (Draft("p", None, drift=Drift((0.0, 1.0))), ("drift",)),
        (Draft("p", Motor("drive", "v"), drift=Drift((0.0, 1.0))), ("drift", "reference")),
        (Draft("p", Linear("c"), drift=Drift((0.0, 1.0), "c")), ("drift", "reference")),
        (Draft("p", Linear("c"), drift=Drift((1.0, 1.0))), ("drift", "band")),
    ],
)
def test_part_that_has_no_meaning_is_told_with_its_place(draft: Draft, place: tuple[str, ...]) -> None:
    assert problems(draft)[0][0] == place


# --- what is applied


@settings(max_examples=300, deadline=None)
@given(MOTORS, between(-2.0, 2.0), between(-2.0, 2.0), between(0.1, 2.0))
def test_motor_keeps_signs_and_limits_whatever_its_profile_claims(
    motor: Motor, v: float, side: float, most: float
) -> None:
    assert problems(Draft("m", motor)) == []
    given_ = compensated(motor, v)
    assert math.copysign(1.0, given_) == math.copysign(1.0, v)
    assert (given_ == 0.0) == (v == 0.0)
    motion = Motion("velocity", linear=("v", "side"), angular=("w",))
    limits = Limits(max_speed=most, max_angular_speed=1.0)
    kept = capped(motion, {"v": given_, "side": side, "w": -3.0}, limits, last=Commanded(), steady=0.0)
    assert math.hypot(kept["v"], kept["side"]) <= most
    assert kept["w"] == -1.0
    assert kept["v"] * v >= 0.0


VALUES = st.dictionaries(
    st.sampled_from(["a", "b", "x", "y", "z", "other"]), MODEST | st.sampled_from([None, math.nan, "text", True, 7])
)
PROFILES = [
    made(Draft("a", Linear("a", 1.0, 2.0), raw=True)),
    made(Draft("b", Polynomial("b", [0.0, 1.0, 0.001], (-100.0, 100.0)))),
    made(Draft("x", Linear("x", -1.0, 1.0), raw=True)),
    made(Draft("v", Axes(("x", "y", "z"), ((0, -1, 0), (1, 0, 0), (0, 0, 1)), (0.5, 0.0, 0.0)), raw=True)),
]


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_corrector_touches_what_it_is_for_and_keeps_raw_values_beside(values: dict[str, Any]) -> None:
    found = Corrector(PROFILES).corrected(values)
    for name in values:
        if name == "other" or (name in ("a", "b") and isinstance(values[name], str | bool)):
            assert found[name] is values[name]
    if isinstance(value := values.get("a"), float):
        assert found["a"] == pytest.approx(2.0 * value + 1.0, nan_ok=True)
    for name in ("a", "x", "y", "z"):
        assert (f"{name}.raw" in found) == (name in values)
        assert found.get(f"{name}.raw") is values.get(name)
    vector = [values.get(name) for name in "xyz"]
    if all(isinstance(part, float) and math.isfinite(part) for part in vector):
        x, y, z = (float(str(part)) for part in vector)
        assert [found[name] for name in "xyz"] == pytest.approx([-y, x - 1.5, z])
    elif any(name not in values for name in "xyz"):
        assert all(found[name] is None for name in "xyz" if name in values)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.data())
def test_columns_are_corrected_like_their_rows(count: int, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(["a", "b", "x", "y", "z", "other"]), min_size=1, unique=True))
    columns = {name: data.draw(st.lists(MODEST, min_size=count, max_size=count)) for name in names}
    corrector = Corrector(PROFILES)
    found = corrector.corrected_columns(columns)
    rows = [corrector.corrected({name: columns[name][at] for name in names}) for at in range(count)]
    assert {name: list(column) for name, column in found.items()} == {
        name: [row[name] for row in rows] for name in rows[0]
    }


def test_columns_that_are_not_equally_long_are_left_to_whoever_checks_them() -> None:
    columns = {"a": [1.0, 2.0], "other": [1.0]}
    assert Corrector(PROFILES).corrected_columns(columns) is columns


def test_numbers_that_are_too_large_become_no_samples() -> None:
    found = Corrector(PROFILES).corrected({"a": 10**400, "x": 10**400, "y": 1.0, "z": 1.0})
    assert found["a"] == math.inf
    assert not any(isinstance(found[name], float) and math.isfinite(found[name]) for name in "xyz")


def test_raw_channel_gives_way_to_a_drivers_own() -> None:
    assert Corrector(PROFILES, taken=["a.raw"]).raw == {"x": "x.raw", "y": "y.raw", "z": "z.raw"}


# --- what is fitted


@settings(max_examples=100, deadline=None)
@given(MODEST, SCALES, st.lists(MODEST, min_size=2, max_size=30, unique=True))
def test_fit_finds_offset_and_scale(offset: float, scale: float, raw: list[float]) -> None:
    assume(max(raw) - min(raw) > 0.1)
    found = fit_linear("c", raw, [scale * x + offset for x in raw]).correction
    assert isinstance(found, Linear)
    assert [found.offset, found.scale] == pytest.approx([offset, scale], abs=1e-6)
    shifted = fit_linear("c", raw, [x + offset for x in raw], scale=False)
    assert isinstance(shifted.correction, Linear)
    assert [shifted.correction.offset, shifted.correction.scale] == pytest.approx([offset, 1.0], abs=1e-9)
    assert shifted.residuals.max < 1e-9


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.data())
def test_fit_finds_a_polynomial(degree: int, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(between(-5.0, 5.0), min_size=degree + 1, max_size=degree + 1))
    low, width = data.draw(between(-20.0, 20.0)), data.draw(between(1.0, 20.0))
    raw = [low + width * step / 30 for step in range(31)]
    reference = [evaluated(wanted, x) for x in raw]
    fit = fit_polynomial("c", raw, reference, degree)
    assert isinstance(fit.correction, Polynomial)
    assert list(fit.correction.range) == pytest.approx([raw[0], raw[-1]])
    size = max(1.0, *map(abs, reference))
    assert fit.residuals.max <= 1e-8 * size
    correct = scalar(fit.correction)
    assert all(abs(correct(x) - y) <= 1e-7 * size for x, y in zip(raw, reference, strict=True))


@settings(max_examples=60, deadline=None)
@given(between(-3.0, 3.0), between(-1.4, 1.4), between(-3.0, 3.0), st.lists(SCALES, min_size=3, max_size=3), st.data())
def test_fit_finds_a_turned_and_scaled_vector_sensor(
    yaw: float, pitch: float, roll: float, scales: list[float], data: st.DataObject
) -> None:
    cy, sy, cp, sp, cr, sr = (f(angle) for angle in (yaw, pitch, roll) for f in (math.cos, math.sin))
    turn = (  # Rz Ry Rx
        (cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        (sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        (-sp, cp * sr, cp * cr),
    )
    matrix = tuple(tuple(part * scale for part, scale in zip(row, scales, strict=True)) for row in turn)
    offset = data.draw(st.tuples(*[between(-2.0, 2.0)] * 3))
    known = Axes(("x", "y", "z"), matrix, offset)  # type: ignore[arg-type]
    assert determinant(known.matrix) == pytest.approx(math.prod(scales), rel=1e-6)
    align = aligned(known)
    raw = [(9.8, 0.0, 0.0), (-9.8, 0.1, 0.0), (0.0, 9.8, 0.0), (0.2, -9.8, 0.0), (0.0, 0.0, 9.8), (0.0, 0.0, -9.8)]
    fit = fit_axes(("x", "y", "z"), raw, [align(*vector) for vector in raw])
    assert isinstance(fit.correction, Axes)
    for mine, theirs in zip(fit.correction.matrix, known.matrix, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6)
    assert fit.correction.offset == pytest.approx(offset, abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(MOTORS)
def test_fit_finds_a_motor(motor: Motor) -> None:
    measured = [step / 10 for step in range(-9, 10)]
    fit = fit_motor("drive", "v", [compensated(motor, v) for v in measured], measured)
    assert isinstance(fit.correction, Motor)
    for name in ("gain", "gain_reverse", "dead_band", "dead_band_reverse"):
        assert getattr(fit.correction, name) == pytest.approx(getattr(motor, name), abs=1e-6)
    assert fit.residuals.max < 1e-6


@settings(max_examples=60, deadline=None)
@given(between(0.05, 0.3), between(0.9, 1.1), between(0.2, 1.0), st.data())
def test_fit_finds_wheels(radius: float, ratio: float, track: float, data: st.DataObject) -> None:
    left, right = radius, radius * ratio
    angles = [
        *data.draw(st.lists(st.tuples(between(-50.0, 50.0), between(-50.0, 50.0)), max_size=8)),
        (40.0, 30.0),
        (30.0, 40.0),
    ]
    runs = [(a, b, (left * a + right * b) / 2.0, (right * b - left * a) / track) for a, b in angles]
    found = fit_wheels("base", runs).correction
    assert isinstance(found, Wheels)
    assert [found.radius_left, found.radius_right] == pytest.approx([left, right], rel=1e-6)
    assert found.track == pytest.approx(track, rel=1e-5)


def test_residuals_say_what_is_left() -> None:
    fit = fit_linear("c", [0.0, 1.0, 2.0, 3.0], [0.1, 0.9, 2.1, 2.9])
    assert fit.residuals.count == 4
    assert fit.residuals.rms == pytest.approx(math.sqrt(sum(x * x for x in fit.left) / 4))
    assert fit.residuals.max == max(map(abs, fit.left))


@pytest.mark.parametrize(
    ("fit", "sentence"),
    [
        (lambda: fit_linear("c", [], []), "there are no samples"),
        (lambda: fit_linear("c", [1.0], [1.0, 2.0]), "1 raw values and 2 references"),
        (lambda: fit_linear("c", [1.0, math.nan], [1.0, 2.0]), "not finite"),
        (lambda: fit_linear("c", [1.0, 1.0], [1.0, 2.0]), "all raw values are 1"),
        (lambda: fit_linear("c", [0.0] * 100_000, [0.0] * 100_000), "too many"),
        (lambda: fit_polynomial("c", [0.0, 1.0], [0.0, 1.0], 2), "2 different raw values are too few for degree 2"),
        (lambda: fit_polynomial("c", [0.0, 1.0], [0.0, 1.0], 9), "a degree of 9 cannot be fitted"),
        (lambda: fit_axes(("x", "y", "z"), [(1, 0, 0)] * 6, [(1, 0, 0)] * 6), "do not differ enough"),
        (lambda: fit_motor("d", "v", [0.1, 0.2], [0.0, 0.0]), "less than two samples"),
        (lambda: fit_wheels("b", [(1.0, 1.0, 0.1, 0.0)] * 3), "do not differ enough"),
        (lambda: least_squares([(1.0, 2.0)], [1.0]), "1 samples are too few, at least 2 are needed"),
    ],
)
def test_samples_that_determine_nothing_are_told(fit: Any, sentence: str) -> None:
    with pytest.raises(FitError, match=sentence):
        fit()


def test_motor_that_was_seen_in_one_direction_is_taken_to_be_alike_in_the_other() -> None:
    found = fit_motor("d", "v", [0.3, 0.5], [0.2, 0.4]).correction
    assert isinstance(found, Motor)
    assert [found.gain, found.gain_reverse] == pytest.approx([1.0, 1.0])
    assert [found.dead_band, found.dead_band_reverse] == pytest.approx([0.1, 0.1])


# --- what is drawn


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(MODEST, MODEST), min_size=1, max_size=200))
def test_plot_of_anything_is_drawn_within_its_frame(points: list[tuple[float, float]]) -> None:
    fit = fit_linear("c<&>", [x for x, _ in points], [y for _, y in points], scale=False)
    lines = drawn(fit).splitlines()
    assert max(map(len, lines)) < 100
    assert any("o" in line for line in lines)
    assert svg(fit, "a < b & c").startswith("<svg")
    assert "a &lt; b &amp; c" in svg(fit, "a < b & c")


def test_sparks_show_the_largest_of_many() -> None:
    assert sparks([0.0] * 500 + [1.0] + [0.0] * 500).count("█") == 1
    assert sparks([]).strip() == "±0"


# --- drift


def test_drift_is_told_after_its_window_with_hysteresis_and_forgets_over_a_silence() -> None:
    watch = DriftWatch(Drift((-1.0, 1.0), window=10.0))
    assert not any(watch.see(5.0, float(second)) for second in range(10))
    assert watch.see(5.0, 10.0)
    assert watch.drifted
    changes = [second for second in range(11, 100) if watch.see(0.85, float(second))]
    assert changes == []  # inside of the band, but not by enough
    changes = [second for second in range(100, 200) if watch.see(0.0, float(second))]
    assert len(changes) == 1
    assert not watch.see(math.nan, 200.0)
    assert not watch.see(9.0, 300.0)
    assert watch.mean == 9.0


# --- hash and schema


def test_hash_names_what_is_applied_and_nothing_else() -> None:
    first = made(Draft("q", Linear("c", 1.0, 2.0)))
    same = msgspec.structs.replace(first, version=7, who="x", when=9, note="n", valid_until=5)
    assert applied_hash([first, *PROFILES]) == applied_hash([*reversed(PROFILES), same])
    assert applied_hash([first]) != applied_hash([msgspec.structs.replace(first, raw=True)])
    assert applied_hash([first]) != applied_hash([msgspec.structs.replace(first, correction=Linear("c", 1.0, 2.5))])
    assert applied_hash([]) == applied_hash([msgspec.structs.replace(first, correction=None)])
    # A number that nobody computed here: SHA-256 of `{}`.
    assert applied_hash([]) == "44136fa355b3678a"


def test_schema_of_profiles_describes_what_the_classes_carry() -> None:
    whole = profile_schema()
    jsonschema.Draft202012Validator.check_schema(whole)
    assert set(whole["properties"]) == set(Profile.__struct_fields__)
    kinds = {cls.__struct_config__.tag: cls for cls in (Linear, Polynomial, Axes, Motor, Wheels)}
    assert set(whole["$defs"]) == set(kinds)
    for kind, part in whole["$defs"].items():
        assert set(part["properties"]) == {"kind", *kinds[kind].__struct_fields__}
        for example in part["examples"]:
            jsonschema.Draft202012Validator(part).validate(example)
            correction = msgspec.convert(example, kinds[kind])
            assert problems(Draft("p", correction)) == []  # type: ignore[arg-type]
            written = {"name": "p", "correction": example}
            assert jsonschema_rs.Draft202012Validator(draft_schema(written)).is_valid(written)
    for example in whole["examples"]:
        jsonschema.Draft202012Validator(whole).validate(example)
        profile = msgspec.convert(example, Profile)
        jsonschema.Draft202012Validator(whole).validate(json.loads(msgspec.json.encode(profile)))


DESIGN = contract.Wheels(0.1, 0.1, 0.4)
share = st.floats(0.75, 1.25)
DRIVEN = contract.Motion("velocity", linear=("v",), angular=("w",))


def really(measured: contract.Wheels, v: float, w: float) -> tuple[float, float]:
    """How a robot moves and turns whose driver reckons with wheels that it does not have: wheel by wheel."""
    left = (v - w * measured.track / 2) / measured.radius_left * DESIGN.radius_left
    right = (v + w * measured.track / 2) / measured.radius_right * DESIGN.radius_right
    return (left + right) / 2, (right - left) / DESIGN.track


@given(
    shares=st.tuples(share, share, share),
    wishes=st.lists(st.tuples(st.floats(-2, 2), st.floats(-3, 3), st.floats(0.01, 0.7)), min_size=1, max_size=8),
)
def test_wheels_that_were_measured_wrong_make_a_robot_no_faster_than_its_limits(
    shares: tuple[float, float, float], wishes: list[tuple[float, float, float]]
) -> None:
    measured = contract.Wheels(0.1 * shares[0], 0.1 * shares[1], 0.4 * shares[2])
    most = dict.fromkeys(("max_speed", "max_angular_speed", "max_acceleration"), "clamp")
    limits = Limits(max_speed=1.0, max_angular_speed=1.5, max_acceleration=0.8, on_violation=most)  # type: ignore[arg-type]
    core = SafetyCore(Policy(limits))
    steady, before = 0.0, 0.0
    for v, w, later in wishes:
        steady += later
        wanted = {"v": max(-1.0, min(1.0, v)), "w": max(-1.5, min(1.5, w))}
        given_ = core.capped(DRIVEN, wanted, Doubt(measured, DESIGN).real, steady=steady)
        for speed, turning in ((given_["v"], given_["w"]), really(measured, given_["v"], given_["w"])):
            assert abs(speed) <= 1.0 + 1e-9
            assert abs(turning) <= 1.5 + 1e-9
        after = really(measured, given_["v"], given_["w"])[0]
        gained = abs(after) - (abs(before) if after * before > 0 else 0.0)
        assert gained <= 0.8 * min(later, 0.5) + 1e-9
        before = after


@given(shares=st.tuples(share, share, share), v=st.floats(0, 1), w=st.floats(0, 1.5))
def test_goal_of_a_robot_whose_wheels_were_measured_wrong_is_driven_to_within_the_limits(
    shares: tuple[float, float, float], v: float, w: float
) -> None:
    measured = contract.Wheels(0.1 * shares[0], 0.1 * shares[1], 0.4 * shares[2])
    motion = contract.Motion("goal", linear=("speed",), angular=("turn",), ends="here")
    core = SafetyCore(Policy(Limits(max_speed=1.0, max_angular_speed=1.5)))
    got = core.capped(motion, {"speed": v, "turn": w}, Doubt(measured, DESIGN).real, steady=0.0)
    for turning in (-got["turn"], 0.0, got["turn"]):
        speed, turned = really(measured, got["speed"], turning)
        assert abs(speed) <= 1.0 + 1e-9
        assert abs(turned) <= 1.5 + 1e-9
    if shares == (1.0, 1.0, 1.0):
        assert got == {"speed": v, "turn": w}
