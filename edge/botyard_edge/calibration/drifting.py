"""Which profiles are watched for drift, and by what."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from botyard_edge.calibration.drift import SILENCE, DriftWatch
from botyard_edge.calibration.sound import channels_of
from botyard_schemas.calibration import Motor, Profile
from botyard_schemas.clock import Clock

# Seconds that a motor needs to follow a change, within which it is not judged.
SETTLE = 1.0


class Drifting:
    """Sees corrected samples, and says when a profile begins or ceases to drift."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watches: dict[str, tuple[Profile, DriftWatch]] = {}
        self._references: dict[str, tuple[float, float]] = {}
        self._wanted: dict[tuple[str, str], tuple[float, float, float]] = {}  # value, since when, and said last

    def __bool__(self) -> bool:
        return bool(self._watches)

    @property
    def problems(self) -> dict[str, str]:
        """What drifts now, by the profile's name, in words."""
        return {name: _said(watch) for name, (_, watch) in self._watches.items() if watch.drifted}

    def problem(self, name: str) -> str | None:
        """Why the profile counts as drifted, if it does."""
        known = self._watches.get(name)
        return _said(known[1]) if known is not None and known[1].drifted else None

    def follow(self, profiles: Iterable[Profile]) -> None:
        """Watch these. One that is the same as before goes on where it was."""
        before, self._watches = self._watches, {}
        for profile in profiles:
            if profile.drift is not None:
                known = before.get(profile.name)
                same = known is not None and known[0] == profile
                self._watches[profile.name] = known if known and same else (profile, DriftWatch(profile.drift))
        wanted = {watch.drift.reference for _, watch in self._watches.values()}
        self._references = {name: one for name, one in self._references.items() if name in wanted}

    def wanted(self, motor: Motor, value: float) -> None:
        """A motor was told something."""
        key, steady = (motor.command, motor.argument), self._clock.monotonic()
        known = self._wanted.get(key)
        self._wanted[key] = value, known[1] if known is not None and known[0] == value else steady, steady

    def see(self, values: Mapping[str, Any]) -> Iterator[tuple[str, bool, str]]:
        """Corrected samples of one instant. Gives the profiles that changed: name, whether it drifts, and words."""
        steady = self._clock.monotonic()
        for _, watch in self._watches.values():
            reference = watch.drift.reference
            if reference is not None and (value := _number(values.get(reference))) is not None:
                self._references[reference] = value, steady
        for name, (profile, watch) in self._watches.items():
            residual = self._residual(profile, watch, values, steady)
            if residual is not None and watch.see(residual, steady):
                yield name, watch.drifted, _said(watch)

    def _residual(self, profile: Profile, watch: DriftWatch, values: Mapping[str, Any], steady: float) -> float | None:
        reference = watch.drift.reference
        if isinstance(profile.correction, Motor):
            told = self._wanted.get((profile.correction.command, profile.correction.argument))
            if told is None or reference not in values or told[0] == 0.0:
                return None
            value, since, last = told
            settled = steady - since >= SETTLE >= steady - last
            return self._references[reference][0] - value if settled and reference in self._references else None
        names = channels_of(profile.correction)
        parts = [part for channel in names if (part := _number(values.get(channel))) is not None]
        if not parts or len(parts) < len(names):
            return None
        value = parts[0] if len(parts) == 1 else math.hypot(*parts)
        if reference is None:
            return value
        known = self._references.get(reference)
        # A reference that has fallen silent says nothing about now.
        return value - known[0] if known is not None and steady - known[1] <= SILENCE * watch.drift.window else None


def _said(watch: DriftWatch) -> str:
    low, high = watch.drift.band
    what = f"mean difference from {watch.drift.reference}" if watch.drift.reference else "mean"
    where = "outside of" if watch.drifted else "inside of"
    return f"the {what} over {watch.drift.window:g} s is {watch.mean:.4g}, {where} {low:g} to {high:g}"


def _number(value: Any) -> float | None:
    """The value, unless it is no number that can be reckoned with; an integer may be too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
