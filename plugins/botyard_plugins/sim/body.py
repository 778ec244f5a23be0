"""What a robot has besides its wheels: battery, motors, gripper, camera, radio and signals, each with its noise."""

import functools
import math
import random
from array import array
from collections.abc import Sequence

from botyard_plugins.sim.plan import Point

AMBIENT = 21.0  # Cel
IDLE_POWER = 35.0  # W: computer and sensors


class Battery:
    """A lithium battery of seven cells. `level` from 0 to 1."""

    CAPACITY = 20.0  # A.h
    RESISTANCE = 0.06  # Ohm
    CHARGE_CURRENT = 40.0  # A

    def __init__(self, level: float, drain: float) -> None:
        self.level = level
        self.charging = False
        self.current = 0.0
        self._drain = drain

    @property
    def empty(self) -> bool:
        """Whether nothing can be driven with it any more."""
        return self.level <= 0.0 and not self.charging

    @property
    def voltage(self) -> float:
        """Volts at the terminals: falls with the charge, steeply near its end, and under load."""
        open_circuit = 25.2 + 3.6 * self.level - 2.2 * math.exp(-12.0 * self.level)
        return open_circuit - self.current * self.RESISTANCE

    def step(self, power: float, seconds: float) -> None:
        """Give `power` watts for a while, or take the charger's current. `drain` makes it go faster than in life."""
        if self.charging:
            # The charger lets go towards the end, as lithium wants it.
            self.current = -self.CHARGE_CURRENT * min(1.0, max(0.05, (1.0 - self.level) / 0.2))
        else:
            self.current = power / max(self.voltage, 18.0)
        change = self.current * seconds / 3600.0 / self.CAPACITY * self._drain
        self.level = min(1.0, max(0.0, self.level - change))


class Motor:
    """A wheel's motor: current by torque, and temperature that follows the losses with a lag of minutes."""

    RESISTANCE = 0.35  # Ohm
    HEATING = 0.9  # K/W between winding and air
    LAG = 240.0  # s
    STALL_CURRENT = 18.0  # A

    def __init__(self) -> None:
        self.current = 0.0
        self.temperature = AMBIENT + 2.0

    @property
    def power(self) -> float:
        """Watts taken from the battery."""
        return 24.0 * abs(self.current)

    def stall(self, seconds: float) -> None:
        """Full voltage on a wheel that does not turn."""
        self.current = self.STALL_CURRENT
        goal = AMBIENT + self.HEATING * self.RESISTANCE * self.current * self.current
        self.temperature += (goal - self.temperature) * (1.0 - math.exp(-seconds / self.LAG))

    def step(self, speed: float, acceleration: float, seconds: float, mass: float = 1.0) -> None:
        """`speed` and `acceleration` of the wheel in m/s and m/s2; `mass` as a multiple of the robot's own."""
        speed = abs(speed)
        friction = 1.4 * mass if speed > 0.01 else 0.0
        self.current = 0.15 + friction + 0.8 * speed + 3.2 * mass * max(0.0, acceleration)
        losses = self.RESISTANCE * self.current * self.current + 3.0 * speed
        goal = AMBIENT + self.HEATING * losses
        self.temperature += (goal - self.temperature) * (1.0 - math.exp(-seconds / self.LAG))


class Gripper:
    """A force sensor: weight of what is carried, shaken by the drive."""

    def __init__(self) -> None:
        self.load = 0.0

    def force(self, speed: float, noise: float) -> float:
        """Newtons now; `noise` is a standard normal."""
        return self.load + noise * (0.12 + speed * (0.5 if self.load else 0.15))


class Radio:
    """Wi-Fi of the nearest access point: falls with the logarithm of the distance, and fades slowly."""

    def __init__(self, access_points: Sequence[Point]) -> None:
        self._access_points = access_points
        self._fading = 0.0

    def signal(self, x: float, y: float, noise: Sequence[float]) -> float:
        """dBm now; each call continues the fading. `noise` are two standard normals."""
        distance = min(math.dist((x, y), point) for point in self._access_points)
        self._fading = 0.9 * self._fading + 1.2 * noise[0]
        return max(-95.0, -38.0 - 28.0 * math.log10(max(1.0, distance)) + self._fading + 0.6 * noise[1])


class Camera:
    """What a camera says of its pictures."""

    def __init__(self) -> None:
        self._frame = 0

    def picture(self, speed: float, noise: Sequence[float]) -> dict[str, float]:
        """Of the latest frame: its number (30 per call), exposure in ms, and sharpness from 0 to 1. `noise` are two
        standard normals."""
        self._frame += 30
        sharpness = 0.92 - 0.25 * abs(speed) + 0.02 * noise[0]
        return {
            "frame": self._frame,
            "exposure_ms": round(8.0 + 0.3 * noise[1], 2),
            "sharpness": round(min(1.0, max(0.0, sharpness)), 3),
        }


class Signals:
    """Sensors without a meaning: slow waves around zero, each with a period of its own between 20 and 120 s."""

    NOISE = 0.02

    def __init__(self, count: int) -> None:
        self.names = tuple(f"signal.{number}" for number in range(1, count + 1))
        self._speeds = [math.tau / (20.0 + (37.0 * index) % 100.0) for index in range(count)]

    def values(self, seconds: float, noise: Sequence[float]) -> list[float]:
        """The value of each signal so many seconds after the start. `noise` is a standard normal for each."""
        return [
            round(math.sin(seconds * speed) + self.NOISE * one, 3)
            for speed, one in zip(self._speeds, noise, strict=True)
        ]


class Noise:
    """Standard normals for sensors. They come from one table for all, which is entered anew by chance each time its end
    is reached: what sensors need of randomness, for a tenth of its cost."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._table = _normals()
        self._at = len(self._table)

    def take(self, count: int) -> Sequence[float]:
        """The next ones, at most 1,000."""
        at = self._at
        if at + count > len(self._table):
            at = int(self._rng.random() * (len(self._table) - 1000))
        self._at = at + count
        return self._table[at : self._at]


@functools.cache
def _normals() -> "array[float]":
    rng = random.Random(1)
    return array("d", (rng.gauss(0.0, 1.0) for _ in range(16384)))
