"""Whether a calibration still holds: the mean of what is left, against its band. Pure; told the time."""

import math

from botyard_schemas.calibration import Drift

# Share of the band's width by which the mean has to come back inside, on either side.
HYSTERESIS = 0.1
# Windows without a sample after which the mean begins anew; drivers may publish in large blocks.
SILENCE = 3.0


class DriftWatch:
    """The exponential mean over `window` seconds. Nothing is said before there are as many seconds of samples."""

    def __init__(self, drift: Drift) -> None:
        self.drift = drift
        self.drifted = False
        self.mean: float | None = None
        self._seen = 0.0
        self._at: float | None = None

    def see(self, residual: float, steady: float) -> bool:
        """One residual, at this moment of the steady clock in seconds; whether `drifted` changed."""
        if not math.isfinite(residual):
            return False
        window = self.drift.window
        past = 0.0 if self._at is None else steady - self._at
        # After a silence the mean begins anew: what was before it has nothing to do with what is now.
        if self.mean is None or past > SILENCE * window:
            self.mean, self._seen = residual, 0.0
        elif past > 0.0:
            self.mean += (1.0 - math.exp(-past / window)) * (residual - self.mean)
            self._seen += past
        self._at = steady
        if self._seen < window:
            return False
        low, high = self.drift.band
        margin = HYSTERESIS * (high - low) if self.drifted else 0.0
        drifted = not low + margin <= self.mean <= high - margin
        changed, self.drifted = drifted != self.drifted, drifted
        return changed
