"""A profile from samples: of a file, of the running robot beside a reference, or at values that somebody types in."""

import argparse
import bisect
import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import yaml

from botyard_edge.calibration.draft import CalibrationError
from botyard_edge.calibration.fit import Fit, FitError, fit_axes, fit_linear, fit_motor, fit_polynomial, fit_wheels
from botyard_edge.calibration.reach import Reach
from botyard_edge.calibration.reading import read_samples
from botyard_edge.calibration.sound import problems
from botyard_schemas.calibration import Draft
from botyard_schemas.validation import field_path

SCALAR, VECTOR = ("raw", "reference"), ("x", "y", "z", "reference_x", "reference_y", "reference_z")
MOTOR, WHEELS = ("given", "measured"), ("left", "right", "way", "turn")
DAY = 86_400_000_000  # us
LATE = 1_000_000  # us; a reference that is older says nothing about a sample


def fitted(arguments: argparse.Namespace, reach: Reach) -> Fit:
    """What the arguments ask for. Raises FitError, CalibrationError, SettingsError and DoorError."""
    if arguments.channel is not None:
        pairs = _scalars(arguments, reach)
        raw, reference = [x for x, _ in pairs], [y for _, y in pairs]
        if arguments.degree is not None:
            return fit_polynomial(arguments.channel, raw, reference, arguments.degree)
        return fit_linear(arguments.channel, raw, reference, scale=not arguments.offset)
    if arguments.degree is not None or arguments.offset:
        raise FitError("--degree and --offset belong to --channel")
    if arguments.axes is not None:
        rows = _from_file(arguments, VECTOR) if arguments.samples else list(_vectors(arguments, reach))
        x, y, z = arguments.axes
        return fit_axes((x, y, z), [(a, b, c) for a, b, c, *_ in rows], [(d, e, f) for *_, d, e, f in rows])
    if arguments.samples is None:
        columns = ", ".join(MOTOR if arguments.motor else WHEELS)
        raise FitError(f"--samples is missing: a file with the columns {columns}")
    if arguments.motor is not None:
        command, _, argument = arguments.motor.rpartition(".")
        if not command:
            raise FitError(f"--motor: {arguments.motor!r} names no argument, expected one such as drive.left")
        rows = _from_file(arguments, MOTOR)
        return fit_motor(command, argument, [u for u, _ in rows], [v for _, v in rows])
    return fit_wheels(arguments.wheels, [(a, b, c, d) for a, b, c, d in _from_file(arguments, WHEELS)])


def profile_of(arguments: argparse.Namespace, fit: Fit) -> Draft:
    """The draft that would be applied. Raises CalibrationError for one that makes no sense."""
    until = None if arguments.valid_days is None else round(time.time() * 1e6 + arguments.valid_days * DAY)
    draft = Draft(
        arguments.name,
        fit.correction,
        raw=arguments.raw,
        method=fit.method,
        note=arguments.note,
        residuals=fit.residuals,
        valid_until=until,
    )
    for keys, said in problems(draft):
        raise CalibrationError(f"what was fitted makes no sense: {field_path(list(keys))}: {said}")
    return draft


def written(draft: Draft) -> str:
    """The draft as people write it."""
    plain = {key: msgspec.to_builtins(getattr(draft, key)) for key in Draft.__struct_fields__}
    kept = {key: value for key, value in plain.items() if key == "correction" or value not in (None, "", False)}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, default_flow_style=None)


def _from_file(arguments: argparse.Namespace, columns: tuple[str, ...]) -> list[tuple[float, ...]]:
    return read_samples(arguments.samples, columns)


def _scalars(arguments: argparse.Namespace, reach: Reach) -> list[tuple[float, ...]]:
    if arguments.samples is not None:
        return _from_file(arguments, SCALAR)
    if arguments.reference is not None:
        raw, references = _sampled(reach, [arguments.channel], arguments.seconds, [arguments.reference])
        return list(_paired(raw[arguments.channel], references[arguments.reference]))
    pairs: list[tuple[float, ...]] = []
    for (reference,) in _asked(1, "Set a known value, type it, and press Enter; an empty line ends: "):
        pairs.append((_mean(reach, arguments, [arguments.channel])[0], reference))
        print(f"  raw {pairs[-1][0]:.6g} at {reference:g}", file=sys.stderr)
    return pairs


def _vectors(arguments: argparse.Namespace, reach: Reach) -> Iterator[tuple[float, ...]]:
    question = "Put it into a known position, type x y z of the reference, and press Enter; an empty line ends: "
    for reference in _asked(3, question):
        yield (*_mean(reach, arguments, arguments.axes), *reference)


def _asked(count: int, question: str) -> Iterator[tuple[float, ...]]:
    """What somebody types in, or what comes through a pipe."""
    while True:
        print(question, end="", file=sys.stderr, flush=True)
        words = sys.stdin.readline().replace(",", " ").split()
        if not words:
            return
        try:
            values = tuple(float(word) for word in words)
        except ValueError:
            values = ()
        if len(values) == count and all(map(math.isfinite, values)):
            yield values
        else:
            print(f"  {' '.join(words)!r} is not understood, expected {count} number(s)", file=sys.stderr)


def _mean(reach: Reach, arguments: argparse.Namespace, channels: list[str]) -> list[float]:
    found, _ = _sampled(reach, channels, arguments.seconds)
    return [sum(value for _, value in found[channel]) / len(found[channel]) for channel in channels]


def _sampled(
    reach: Reach, channels: list[str], seconds: float, references: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Raw samples of channels, and corrected ones of references."""
    answer = reach.ask("samples", channels=channels, references=references, seconds=seconds)
    found: tuple[dict[str, Any], dict[str, Any]] = answer["samples"], answer["references"]
    for channel, samples in [*found[0].items(), *found[1].items()]:
        if not samples:
            raise CalibrationError(f"no numbers came of channel {channel} within {seconds:g} s")
    return found


def _paired(raw: list[tuple[int, float]], reference: list[tuple[int, float]]) -> Iterator[tuple[float, float]]:
    """Each raw sample with the reference that was the latest then."""
    times = [ts for ts, _ in reference]
    for ts, value in raw:
        at = bisect.bisect_right(times, ts) - 1
        if at >= 0 and ts - times[at] <= LATE:
            yield value, reference[at][1]
