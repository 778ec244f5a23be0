"""What goes wrong inside a simulated robot: its clock, its driver, its sensors."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, Self, Unpack, cast

from botyard_edge.driver import Capabilities, Command, Driver, DriverContext, Port, Progress, StateChange
from botyard_plugins.simulation.witness import Step, Witness
from botyard_schemas.clock import Clock, loop_seconds

# What a fault makes of a value; the first argument is how many seconds the fault has lasted.
Distortion = Callable[[float, Any], Any]

# Commands after which a robot that was told to rest still has to.
RESTFUL = ("stop",)


class RobotClock:
    """A robot's own clock: ahead of `base` by `ahead` microseconds, and too fast by `skew` parts per million."""

    def __init__(self, base: Clock) -> None:
        self._base = base
        self._ahead = 0
        self._skew = 0.0
        self._since = base.monotonic()
        self._at = self._since

    def jump(self, seconds: float) -> None:
        """Set the wall clock by so many seconds; the steady clock does not notice."""
        self._ahead += round(seconds * 1e6)

    def drift(self, ppm: float) -> None:
        """Run too fast from now on."""
        self._at, self._since = self.monotonic(), self._base.monotonic()
        self._skew = ppm / 1e6

    def now(self) -> int:
        return self._base.now() + self._ahead + round((self.monotonic() - self._base.monotonic()) * 1e6)

    def monotonic(self) -> float:
        return self._at + (self._base.monotonic() - self._since) * (1.0 + self._skew)

    async def sleep(self, seconds: float) -> None:
        await self._base.sleep(seconds / (1.0 + self._skew))

    def loop_seconds(self, seconds: float) -> float | None:
        return loop_seconds(self._base, seconds / (1.0 + self._skew))


class Body(Protocol):
    """What a driver offers whose robot is simulated, too; others have no body that could fail."""

    def afflict(self, what: str, value: float | None) -> None:
        """Break something, or mend it (None)."""

    def observe(self) -> Sequence[Step]:
        """How the robot really moved since this was asked last."""


class Trouble:
    """What is wrong with one robot's driver just now, and who sees what it does."""

    def __init__(self, clock: Clock, rng: random.Random, witness: Witness | None = None) -> None:
        self.witness = witness
        self._broken: dict[str, float] = {}
        self._body: Body | None = None
        self._clock = clock
        self._rng = rng
        self._crash = False
        self._hangs = asyncio.Event()
        self._hangs.set()
        self._sensors: dict[str, tuple[float, Distortion]] = {}

    def __bool__(self) -> bool:
        return self._crash or bool(self._sensors) or not self._hangs.is_set()

    def crash(self) -> None:
        """Let the driver fail when it publishes next."""
        self._crash = True

    def hang(self) -> None:
        """Let the driver hang when it publishes next, until `release`."""
        self._hangs.clear()

    def release(self) -> None:
        """Let go of a driver that hangs."""
        self._hangs.set()

    def enter(self, driver: Driver) -> None:
        """The driver is open: from now on it has what is broken of its robot."""
        if hasattr(driver, "afflict") and hasattr(driver, "observe"):
            self._body = cast("Body", driver)
            for what, value in self._broken.items():
                self._body.afflict(what, value)
            if self.witness is not None:
                self._body.observe()

    def leave(self) -> None:
        """The driver ends."""
        self.look()
        self._body = None
        if self.witness is not None:
            self.witness.lost()

    def look(self) -> None:
        """Let the witness see what has happened."""
        if self._body is not None and self.witness is not None:
            self.witness.see(self._body.observe())

    def afflict(self, what: str, value: float | None) -> None:
        """Break something of the robot's body, or mend it (None)."""
        if value is None:
            self._broken.pop(what, None)
        else:
            self._broken[what] = value
        if self._body is not None:
            self._body.afflict(what, value)

    def distort(self, channel: str, how: Distortion) -> None:
        """Spoil a channel from now on."""
        self._sensors[channel] = self._clock.monotonic(), how

    def cure(self, channel: str) -> None:
        """The channel is right again."""
        self._sensors.pop(channel, None)

    async def befall(self) -> None:
        """Where the driver fails or hangs. Raises RuntimeError."""
        if self._crash:
            self._crash = False
            raise RuntimeError("the simulation made it fail")
        if not self._hangs.is_set():
            await self._hangs.wait()

    def spoiled(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values as the robot's sensors show them."""
        if not self._sensors:
            return values
        spoiled = dict(values)
        for channel, (since, how) in self._sensors.items():
            if isinstance(value := values.get(channel), int | float):
                spoiled[channel] = how(self._clock.monotonic() - since, value)
        return spoiled

    def spoiled_columns(self, ts: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        """As `spoiled`, for samples of many instants, of which the last is now."""
        if not self._sensors:
            return columns
        spoiled = dict(columns)
        now = self._clock.monotonic()
        for channel, (since, how) in self._sensors.items():
            if channel not in columns:
                continue
            ages = [now - (ts[-1] - at) / 1e6 - since for at in ts]
            spoiled[channel] = [
                how(age, value) if age >= 0.0 and isinstance(value, int | float) else value
                for age, value in zip(ages, columns[channel], strict=True)
            ]
        return spoiled


def stuck() -> Distortion:
    """The sensor shows what it showed first, for ever."""
    first: list[Any] = []

    def distort(_: float, value: Any) -> Any:
        first[:] = first or [value]
        return first[0]

    return distort


def drifting(rate: float) -> Distortion:
    """What the sensor shows moves away from what is, by `rate` a second."""
    return lambda seconds, value: value + rate * seconds


def noisy(deviation: float, rng: random.Random) -> Distortion:
    """Gaussian noise is added, of this standard deviation."""
    return lambda _, value: value + rng.gauss(0.0, deviation)


def not_a_number() -> Distortion:
    """The sensor shows nothing sensible."""
    return lambda _, __: float("nan")


class TroubledDriver(Driver):
    """A driver with all of its trouble."""

    def __init__(self, context: DriverContext, inner: Driver, trouble: Trouble) -> None:
        super().__init__(context)
        self._inner = inner
        self._trouble = trouble
        self._velocities: frozenset[str] = frozenset()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        offered = self._inner.capabilities.commands
        self._velocities = frozenset(one.name for one in offered if one.motion and one.motion.kind == "velocity")
        self._trouble.enter(self._inner)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._trouble.leave()
        await self._inner.__aexit__(*exc)

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def run(self, port: Port) -> None:
        await self._inner.run(cast("Port", _TroubledPort(port, self._trouble)))

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        if self._trouble.witness is not None and command.name not in RESTFUL:
            self._trouble.witness.told_to_move(
                self.context.clock.monotonic(), velocity=command.name in self._velocities
            )
        return await self._inner.execute(command, progress)

    async def stop(self) -> None:
        self._told_to_rest()
        await self._inner.stop()

    def halt(self) -> None:
        self._told_to_rest()
        self._inner.halt()

    def _told_to_rest(self) -> None:
        if self._trouble.witness is not None:
            self._trouble.witness.told_to_rest(self.context.clock.monotonic())


class _TroubledPort:
    """The port as it is, but for what is published."""

    def __init__(self, port: Port, trouble: Trouble) -> None:
        self._port = port
        self._trouble = trouble
        self.event, self.flush, self.alive = port.event, port.flush, port.alive

    def update_state(self, **changes: Unpack[StateChange]) -> None:
        self._trouble.look()
        self._port.update_state(**changes)

    def publish(self, values: Mapping[str, Any], *, ts: int | None = None) -> Awaitable[None]:
        return self._publish(values, ts) if self._trouble else self._port.publish(values, ts=ts)

    def publish_columns(self, ts: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> Awaitable[None]:
        return self._publish_columns(ts, columns) if self._trouble else self._port.publish_columns(ts, columns)

    async def _publish(self, values: Mapping[str, Any], ts: int | None) -> None:
        await self._trouble.befall()
        await self._port.publish(self._trouble.spoiled(values), ts=ts)

    async def _publish_columns(self, ts: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> None:
        await self._trouble.befall()
        await self._port.publish_columns(ts, self._trouble.spoiled_columns(ts, columns))
