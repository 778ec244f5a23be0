"""Sees how a robot really moves, and compares it with what it may do. It knows nothing of the robot's own view."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from botyard_plugins.simulation.zones import Zones

# What rounding and the discrete steps of the physics may add to a limit, as a share of it.
TOLERANCE = 0.02
MORE = 1.0 + TOLERANCE
# Seconds beyond its way of braking that a robot has to come to rest in.
REACTION = 0.5
MAX_SENTENCES = 20
# Metres beyond an area's edge that the localisation may err by, and that a robot which stops before it may be over it.
NEAR, OVER = 0.1, 0.3
# Seconds until a position has been told, beside those that the robot needs to come to rest.
TOLD = 0.5
# Seconds between two steps at most.
GAP = 0.15

# Steady time in seconds, metres, metres, radians, and whether the wheels are blocked.
Step = tuple[float, float, float, float, bool]


ANYWHERE = Zones()


@dataclass(frozen=True, slots=True)
class MotionLimits:
    """m/s, m/s2 and rad/s that are never exceeded; `heaviest` is the mass with a load, as a multiple of the robot's.
    It stays in the `zones`, and a velocity counts for `velocity_timeout` seconds."""

    speed: float
    acceleration: float
    turn_speed: float = math.inf
    heaviest: float = 1.0
    zones: Zones = ANYWHERE
    velocity_timeout: float = math.inf

    @property
    def braking(self) -> float:
        """Seconds from the highest speed to rest."""
        return self.speed * self.heaviest / self.acceleration


class Witness:
    """Follows one robot. `exceeded`, `restless` and `astray` are what was wrong, in sentences."""

    def __init__(self, robot: str, limits: MotionLimits) -> None:
        self.exceeded: list[str] = []
        self.restless: list[str] = []
        self.astray: list[str] = []
        self.driven = 0.0
        self._robot = robot
        self._limits = limits
        self._last: Step | None = None
        self._speed: float | None = None
        self._stops: list[tuple[float, float]] = []
        self._beyond_since: float | None = None

    def told_to_rest(self, at: float) -> None:
        """The robot has to come to rest, and stay so until `told_to_move`."""
        if self._stops and self._stops[-1][1] == math.inf:
            self._stops[-1] = min(at, self._stops[-1][0]), math.inf
        else:
            self._stops.append((at, math.inf))

    def told_to_move(self, at: float, *, velocity: bool = False) -> None:
        """It may move again; with a velocity, until that has not been repeated in time."""
        if self._stops and self._stops[-1][1] == math.inf:
            since, _ = self._stops.pop()
            if since < at:
                self._stops.append((since, at))
        if velocity and self._limits.velocity_timeout < math.inf:
            self._stops.append((at + self._limits.velocity_timeout, math.inf))

    def see(self, track: Sequence[Step]) -> None:
        """What happened, step by step, since the last time."""
        for step in track:
            if self._last is not None and step[1:4] == self._last[1:4] and not self._speed:
                self._last = step  # it rests
                continue
            self._compare(step)
        if self._last is not None:
            self._stops = [stop for stop in self._stops if stop[1] >= self._last[0]]

    def lost(self) -> None:
        """The driver has ended. Another one is told anew whether it may move."""
        self._last = self._speed = self._beyond_since = None
        self._stops.clear()

    def _compare(self, step: Step) -> None:
        before, self._last = self._last, step
        if before is None or not 0.0 < (seconds := step[0] - before[0]) <= GAP:
            self._speed = None  # it was suspended, and nobody knows how it moved meanwhile
            return
        way = math.dist(before[1:3], step[1:3])
        self.driven += way
        speed, earlier = way / seconds, self._speed
        turning = abs(math.remainder(step[3] - before[3], math.tau)) / seconds
        self._speed = 0.0 if step[4] else speed
        limits = self._limits
        if speed > limits.speed * MORE:
            self._note(speed, limits.speed, "m/s", "its speed was", step[0])
        if turning > limits.turn_speed * MORE:
            self._note(turning, limits.turn_speed, "rad/s", "its angular speed was", step[0])
        if earlier is not None and not step[4]:
            change = abs(speed - earlier) / seconds
            if change > limits.acceleration * MORE:
                self._note(change, limits.acceleration, "m/s2", "its acceleration was", step[0])
        if self._stops and speed > TOLERANCE:
            self._check_rest(step[0], speed)
        if limits.zones:
            self._check_place(step, speed)

    def _note(self, value: float, limit: float, unit: str, what: str, at: float) -> None:
        if len(self.exceeded) < MAX_SENTENCES:
            self.exceeded.append(
                f"{self._robot}: at {at:.1f} s {what} {value:.3f} {unit}, at most {limit:g} are allowed"
            )

    def _check_place(self, step: Step, speed: float) -> None:
        """Beyond its area it has to come to rest, and to stay so."""
        at, zones = step[0], self._limits.zones
        beyond = zones.beyond(step[1], step[2])
        if beyond <= NEAR:
            self._beyond_since = None
            return
        since = self._beyond_since = at if self._beyond_since is None else self._beyond_since
        late = at > since + TOLD + REACTION + self._limits.braking and speed > TOLERANCE
        if (late or (zones.kept and beyond > OVER)) and len(self.astray) < MAX_SENTENCES:
            self.astray.append(
                f"{self._robot}: at {at:.1f} s it moved with {speed:.2f} m/s, {beyond:.2f} m beyond its area, where it "
                f"was since {since:.1f} s"
            )

    def _check_rest(self, at: float, speed: float) -> None:
        for since, until in self._stops:
            due = since + self._limits.braking + REACTION
            if due < at < until and len(self.restless) < MAX_SENTENCES:
                self.restless.append(
                    f"{self._robot}: at {at:.1f} s it moved with {speed:.2f} m/s, although it had been told to rest at "
                    f"{since:.1f} s and needs {self._limits.braking:.1f} s for that"
                )
