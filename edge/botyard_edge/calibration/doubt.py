"""What a robot does whose measured wheels are wrong: a mistake in them must not make it faster than it may be.

A differential drive that is to move at v and turn at w lets its wheels turn at (v ∓ w b / 2) / r, with the measured
radii r and track b. If the wheels really are those of the design, with the radii R and the track B, it goes at

    v' = v (p + q) / 2 + w b (q - p) / 4        w' = v (q - p) / B + w b (p + q) / (2 B)

with p = R / r of the left wheel, and q of the right one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from botyard_edge.driver import Motion, Wheels


@dataclass(frozen=True, slots=True)
class Doubt:
    """A driver reckons with the wheels `measured`, and they may be those of the `design`."""

    measured: Wheels
    design: Wheels

    def real(self, motion: Motion, args: Mapping[str, float], turning: float) -> tuple[dict[str, float], float]:
        """The velocity, m/s by component, and the angular speed, rad/s, that arguments may lead to. Of goals the most
        on their way, on which the robot may turn at `turning` where no argument says how fast."""
        design, measured = self.design, self.measured
        p, q = design.radius_left / measured.radius_left, design.radius_right / measured.radius_right
        cross, drift = measured.track * (q - p) / 4.0, (q - p) / design.track
        turns = measured.track * (p + q) / 2.0 / design.track
        linear, angular = ({name: args[name] for name in names} for names in (motion.linear, motion.angular))
        if motion.kind == "velocity" and len(linear) == 1 and len(angular) <= 1:
            (name, v), w = next(iter(linear.items())), sum(angular.values())
            velocity = {name: v * (p + q) / 2.0 + w * cross}
            return velocity, v * drift + w * turns
        # Speeds on a way, or of single wheels: the most that they can come to.
        v, w = math.hypot(*linear.values()), math.hypot(*angular.values()) if angular else turning
        if motion.kind == "velocity":
            velocity = {name: value * max(p, q) for name, value in linear.items()}
        else:
            velocity = {"": v * (p + q) / 2.0 + w * abs(cross)}
        return velocity, v * abs(drift) + w * turns
