"""How a robot moves along its route, within its limits of speed and acceleration.

With two driven wheels it rolls straight ahead and turns on the spot at corners. A holonomic one (mecanum or omni
wheels) moves in any direction, so it sets out at once and turns while it drives.
"""

import math
from dataclasses import dataclass

from botyard_plugins.sim.plan import Point

# Nearer than this to the end of a way (metres) or of a turn (radians), the robot is there.
THERE = 1e-6


@dataclass(frozen=True, slots=True)
class Limits:
    """Metres, radians and seconds."""

    speed: float = 1.0
    acceleration: float = 0.5
    turn_speed: float = 1.2
    turn_acceleration: float = 2.0


class Drive:
    """Pose and motion. `step` moves on along the route; speed and its change never exceed the limits.

    `mass` is that of the robot with its load, as a multiple of the robot's own: the motors' force stays the same, so a
    heavier robot accelerates and brakes more slowly. While `blocked` no wheel turns, whatever is wanted.
    """

    def __init__(self, x: float, y: float, yaw: float, limits: Limits, *, holonomic: bool = False) -> None:
        self.x = x
        self.y = y
        self.yaw = yaw
        self.speed = 0.0
        self.turning = 0.0
        self.acceleration = 0.0
        self.driven = 0.0
        self.mass = 1.0
        self.braking = False
        self.blocked = False
        self.arrived = True
        self._limits = limits
        self._holonomic = holonomic
        self._route: list[Point] = []
        # Metres per second that are wanted ahead and to the left, and radians per second; None: a route is followed.
        self._wish: tuple[float, float, float] | None = None
        self._velocity = 0.0, 0.0
        self._most = limits.speed, limits.turn_speed
        # Of the way to the next point: what is left of it, its direction, and what is left to turn.
        self._left = 0.0
        self._cos, self._sin = 1.0, 0.0
        self._error = 0.0

    @property
    def remaining(self) -> float:
        """Metres to the end of the route."""
        rest = sum(math.dist(a, b) for a, b in zip(self._route, self._route[1:], strict=False))
        return self._left + rest

    def follow(self, route: list[Point], speed: float = math.inf, turn_speed: float = math.inf) -> None:
        """Drive through these points from now on, at most with these speeds; the first must be reachable in a straight
        line. Only at rest."""
        self._route = list(route)
        self._most = min(speed, self._limits.speed), min(turn_speed, self._limits.turn_speed)
        self.braking = False
        self.arrived = False
        self._set_out()

    def go(self, ahead: float, left: float, turning: float) -> None:
        """Move with this velocity from now on, in the robot's frame and within its limits; without a route."""
        if self._wish is None:
            heading = math.atan2(self._sin, self._cos) - self.yaw if self._holonomic else 0.0
            self._velocity = self.speed * math.cos(heading), self.speed * math.sin(heading)
            self._route, self._left, self._error = [], 0.0, 0.0
        self._wish = ahead, left if self._holonomic else 0.0, turning
        self.braking = self.arrived = False

    def brake(self) -> None:
        """Come to rest as fast as the limits allow, and forget the route."""
        if self._wish is not None:
            self._wish = 0.0, 0.0, 0.0
        self.braking = not self.arrived

    def step(self, seconds: float) -> None:
        """Let time pass."""
        if self.arrived:
            self.acceleration = 0.0
            return
        before = self.speed
        if self.blocked:
            self.speed = self.turning = 0.0
            self._velocity = 0.0, 0.0
            if self.braking:
                self._come_to_rest()
        elif self._wish is not None:
            self._do_as_wished(*self._wish, seconds)
        elif self.braking:
            self._slow_down(seconds)
        else:
            self._go_on(seconds)
        self.acceleration = (self.speed - before) / seconds

    def _go_on(self, seconds: float) -> None:
        limits, mass = self._limits, self.mass
        if self._error:
            size, rate = abs(self._error), limits.turn_acceleration / mass
            self.turning = approach(abs(self.turning), size, self._most[1], rate, seconds)
            self._turn(min(size, self.turning * seconds))
            if not self._holonomic:
                return
        if self._left:
            self.speed = approach(self.speed, self._left, self._most[0], limits.acceleration / mass, seconds)
            self._roll(min(self._left, self.speed * seconds))
        if not self._left and not self._error:
            self._set_out()

    def _do_as_wished(self, ahead: float, left: float, turning: float, seconds: float) -> None:
        limits, mass = self._limits, self.mass
        wanted, size = (ahead, left), math.hypot(ahead, left)
        if size > limits.speed:
            wanted = ahead / size * limits.speed, left / size * limits.speed
        self._velocity = _towards(self._velocity, wanted, limits.acceleration / mass * seconds)
        change = limits.turn_acceleration / mass * seconds
        turning = min(max(turning, -limits.turn_speed), limits.turn_speed)
        self.turning = min(max(turning, self.turning - change), self.turning + change)
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        vx, vy = self._velocity
        self.x += (vx * cos - vy * sin) * seconds
        self.y += (vx * sin + vy * cos) * seconds
        self.yaw = wrap(self.yaw + self.turning * seconds)
        self.speed = math.hypot(vx, vy)
        self.driven += self.speed * seconds
        if not any((ahead, left, turning, self.speed, self.turning)):
            self._come_to_rest()

    def _slow_down(self, seconds: float) -> None:
        limits, mass = self._limits, self.mass
        before = self.speed
        self.speed = max(0.0, before - limits.acceleration / mass * seconds)
        self.turning = max(0.0, abs(self.turning) - limits.turn_acceleration / mass * seconds)
        self._turn(min(abs(self._error), self.turning * seconds))
        self._roll(min(self._left, (before + self.speed) / 2.0 * seconds))
        if self.speed == 0.0 and self.turning == 0.0:
            self._come_to_rest()

    def _come_to_rest(self) -> None:
        self._route, self._wish = [], None
        self._left = self._error = 0.0
        self.braking = False
        self.arrived = True

    def _roll(self, distance: float) -> None:
        self._left -= distance
        self.driven += distance
        if self._left > THERE or self.braking:
            self.x += distance * self._cos
            self.y += distance * self._sin
        else:  # on the very point, so that errors do not add up
            self.x, self.y = self._route[0]
            self._left = self.speed = 0.0

    def _turn(self, angle: float) -> None:
        turned = math.copysign(angle, self._error)
        self.turning = math.copysign(self.turning, self._error)
        self._error -= turned
        if abs(self._error) <= THERE:
            turned += self._error
            self._error = self.turning = 0.0
        self.yaw = wrap(self.yaw + turned)

    def _set_out(self) -> None:
        """Begin the way to the next point that is not here; there may be none."""
        if self._route and math.dist((self.x, self.y), self._route[0]) <= THERE:
            self._route.pop(0)
        if not self._route:
            self._come_to_rest()
            return
        ahead_x, ahead_y = self._route[0][0] - self.x, self._route[0][1] - self.y
        self._left = math.hypot(ahead_x, ahead_y)
        self._cos, self._sin = ahead_x / self._left, ahead_y / self._left
        self._error = wrap(math.atan2(ahead_y, ahead_x) - self.yaw)
        if abs(self._error) <= THERE:
            self._error = 0.0


def _towards(now: Point, wanted: Point, most: float) -> Point:
    """The velocity after a change of at most so much."""
    size = math.dist(now, wanted)
    if size <= most:
        return wanted
    return now[0] + (wanted[0] - now[0]) * most / size, now[1] + (wanted[1] - now[1]) * most / size


def approach(speed: float, distance: float, highest: float, rate: float, seconds: float) -> float:
    """The speed of the next step on the way to a stop after `distance`: as high as allowed, and low enough to stop in
    time with changes of at most `rate` per second, counting the way of this step."""
    step = rate * seconds
    allowed = math.sqrt(step * step + 2.0 * rate * distance) - step
    wanted = min(speed + step, highest, allowed)
    return max(wanted, speed - step, 0.0)


def wrap(angle: float) -> float:
    """The angle between -pi and pi."""
    return math.remainder(angle, math.tau)
