"""How a differential-drive robot moves: straight along its route, turning on the spot at corners, within limits."""

import itertools
import math
from dataclasses import dataclass

from botyard_plugins.sim.plan import Point

# A corner flatter than this is driven through; radians.
STRAIGHT = 0.01


@dataclass(frozen=True, slots=True)
class Limits:
    """Metres, radians and seconds."""

    speed: float = 1.0
    acceleration: float = 0.5
    turn_speed: float = 1.2
    turn_acceleration: float = 2.0


class Drive:
    """Pose and motion. `step` moves on along the route; speed and its change never exceed the limits."""

    def __init__(self, x: float, y: float, yaw: float, limits: Limits) -> None:
        self.x = x
        self.y = y
        self.yaw = yaw
        self.speed = 0.0
        self.turning = 0.0
        self.acceleration = 0.0
        self.driven = 0.0
        self.braking = False
        self._limits = limits
        self._route: list[Point] = []

    @property
    def arrived(self) -> bool:
        """Whether the robot rests and has nowhere to go."""
        return not self._route and self.speed == 0.0 and self.turning == 0.0

    @property
    def remaining(self) -> float:
        """Metres to the end of the route."""
        points = [(self.x, self.y), *self._route]
        return sum(math.dist(a, b) for a, b in itertools.pairwise(points))

    def follow(self, route: list[Point]) -> None:
        """Drive through these points from now on; the first must be reachable in a straight line. Only at rest."""
        self._route = list(route)
        self.braking = False

    def brake(self) -> None:
        """Come to rest as fast as the limits allow, and forget the route."""
        self.braking = True

    def step(self, seconds: float) -> None:
        """Let time pass."""
        before = self.speed
        if self.braking:
            self._come_to_rest(seconds)
        elif self._route:
            self._advance(seconds)
        else:
            self._turn(0.0, seconds)
        self.acceleration = (self.speed - before) / seconds

    def _advance(self, seconds: float) -> None:
        distance = math.dist((self.x, self.y), self._route[0])
        if distance < 1e-6:
            self._reach()
            return
        heading = math.atan2(self._route[0][1] - self.y, self._route[0][0] - self.x)
        error = wrap(heading - self.yaw)
        if abs(error) > 1e-9 and self.speed == 0.0:
            self._turn(error, seconds)
            return
        self._roll(distance, seconds)

    def _roll(self, distance: float, seconds: float) -> None:
        limits = self._limits
        # The fastest from which the robot still stops in time, counting the way of this step.
        step = limits.acceleration * seconds
        allowed = max(0.0, math.sqrt(step * step + 2.0 * limits.acceleration * distance) - step)
        speed = min(limits.speed, self.speed + step, allowed)
        self.speed = max(speed, self.speed - step, 0.0)
        self._move(min(distance, self.speed * seconds))
        if distance - self.speed * seconds < 1e-6:
            self._reach()

    def _come_to_rest(self, seconds: float) -> None:
        if self.turning != 0.0:
            self._turn(0.0, seconds)
        before = self.speed
        self.speed = max(0.0, self.speed - self._limits.acceleration * seconds)
        ahead = math.dist((self.x, self.y), self._route[0]) if self._route else 0.0
        self._move(min(ahead, (before + self.speed) / 2.0 * seconds))
        if self.speed == 0.0 and self.turning == 0.0:
            self._route = []
            self.braking = False

    def _move(self, distance: float) -> None:
        self.x += distance * math.cos(self.yaw)
        self.y += distance * math.sin(self.yaw)
        self.driven += distance

    def _turn(self, error: float, seconds: float) -> None:
        limits = self._limits
        wanted = math.copysign(min(limits.turn_speed, math.sqrt(2.0 * limits.turn_acceleration * abs(error))), error)
        if error == 0.0:
            wanted = 0.0
        change = limits.turn_acceleration * seconds
        self.turning = min(max(wanted, self.turning - change), self.turning + change)
        if error != 0.0 and abs(error) <= max(abs(self.turning) * seconds, 1e-4):
            self.yaw = wrap(self.yaw + error)
            self.turning = 0.0
        else:
            self.yaw = wrap(self.yaw + self.turning * seconds)

    def _reach(self) -> None:
        """The next point of the route is here: stand on it exactly, so that errors do not add up."""
        self.x, self.y = self._route.pop(0)
        # What is left of the speed (under a step's worth of braking) is taken by the brakes.
        self.speed = 0.0


def wrap(angle: float) -> float:
    """The angle between -pi and pi."""
    return math.remainder(angle, math.tau)
