"""What a robot has that can be calibrated, and whether a profile fits it."""

import logging
from collections.abc import Callable, Iterable, Mapping

from botyard_edge import driver as contract
from botyard_edge.calibration.bounds import bounds
from botyard_edge.calibration.doubt import Doubt
from botyard_edge.calibration.draft import CalibrationError
from botyard_edge.calibration.sound import RAW, channels_of
from botyard_edge.driver import Capabilities, Channel, CommandSpec, Driver
from botyard_schemas.calibration import Draft, Motor, Wheels

log = logging.getLogger(__name__)

# By how much measured wheels may differ from those of the design: a driver reckons speeds with them, so wrong ones make
# a robot faster than it is told to be. And the largest dead band, as a share of the most that a motor may be told.
WORN, STIFF = 0.25, 0.5


class Fitting:
    """Knows the drivers that were ever opened; a channel stays a driver's also while that is being restarted."""

    def __init__(self, expected: Iterable[str], fastest: tuple[float | None, float | None] = (None, None)) -> None:
        """`expected` are the drivers in the settings, `fastest` the limits of speed and angular speed."""
        self._expected = frozenset(expected)
        self._fastest = fastest
        self._drivers: dict[str, Driver] = {}
        self._wheels: dict[str, contract.Wheels] = {}
        self._declare: dict[str, Callable[[Channel], None]] = {}
        self._channels: dict[str, tuple[str, Channel]] = {}
        self._commands: dict[str, CommandSpec] = {}
        self._seen: set[str] = set()
        self._told: dict[str, contract.Wheels] = {}

    @property
    def channels(self) -> Iterable[str]:
        """Channels that drivers publish."""
        return self._channels.keys()

    def opened(self, name: str, driver: Driver, capabilities: Capabilities, declare: Callable[[Channel], None]) -> None:
        """A driver begins."""
        self._seen.add(name)
        self._drivers[name], self._declare[name] = driver, declare
        self._told.pop(name, None)
        self._channels = {key: one for key, one in self._channels.items() if one[0] != name}
        self._channels |= {channel.name: (name, channel) for channel in capabilities.channels}
        self._commands |= {command.name: command for command in capabilities.commands}
        self._wheels.pop(name, None)
        if capabilities.wheels is not None:
            self._wheels[name] = self._told[name] = capabilities.wheels

    def closed(self, name: str, driver: Driver) -> None:
        """A driver has ended; unless another one runs in its place already."""
        if self._drivers.get(name) is driver:
            del self._drivers[name], self._declare[name]

    def check(self, draft: Draft) -> None:
        """Raises CalibrationError for a profile that cannot be applied to this robot."""
        if (problem := self.problem(draft)) and not self.waits(draft):
            raise CalibrationError(f"correction: {problem}")
        if draft.raw and (taken := [name for name in channels_of(draft.correction) if name + RAW in self._channels]):
            raise CalibrationError(f"raw: there is a channel {taken[0] + RAW} of a driver already")

    def waits(self, draft: Draft) -> bool:
        """Whether what is missing may still come with a driver that was not open yet."""
        one = draft.correction
        if isinstance(one, Wheels):
            missing = one.driver not in self._seen and one.driver in self._expected
        elif isinstance(one, Motor):
            missing = one.command not in self._commands and bool(self._expected - self._seen)
        else:
            missing = any(name not in self._channels for name in channels_of(one)) and bool(self._expected - self._seen)
        return missing

    def problem(self, draft: Draft) -> str | None:
        """Why the profile corrects nothing on this robot, if it does not."""
        one = draft.correction
        if isinstance(one, Wheels):
            return self._of_wheels(one)
        if isinstance(one, Motor):
            return self._of_motor(one)
        for name in channels_of(one):
            if name not in self._channels:
                return f"no driver publishes the channel {name}"
            if (kind := self._channels[name][1].type) != "number":
                return f"the channel {name} is of type {kind}, only channels of type number are corrected"
        return None

    def apply(self, raw: Mapping[str, str], wheels: Mapping[str, Wheels]) -> None:
        """Declare the channels of raw values, and tell drivers about their wheels, where that is new to them."""
        for channel, name in raw.items():
            owner, known = self._channels.get(channel, ("", None))
            if known is not None and owner in self._declare:
                self._declare[owner](Channel(name, known.type, known.unit, known.rate, "As measured."))
        for name, driver in self._drivers.items():
            if name not in self._wheels:
                continue
            one = wheels.get(name)
            wanted = contract.Wheels(one.radius_left, one.radius_right, one.track) if one else self._wheels[name]
            if self._told.get(name) == wanted:
                continue
            self._told[name] = wanted
            try:
                driver.measured(wanted)
            except Exception:
                log.exception("driver %s did not take its wheels over", name)

    def doubt(self, driver: Driver) -> Doubt | None:
        """Of a driver that reckons with other wheels than those of its design; None: of one that does not."""
        name = next((name for name, one in self._drivers.items() if one is driver), "")
        design, told = self._wheels.get(name), self._told.get(name)
        return None if design is None or told is None or told == design else Doubt(told, design)

    def limited(self, one: Motor) -> bool:
        """Whether the safety node can keep its limits on what the motor gets."""
        spec = self._commands.get(one.command)
        return (
            spec is not None and spec.motion is not None and one.argument in (*spec.motion.linear, *spec.motion.angular)
        )

    def _of_wheels(self, one: Wheels) -> str | None:
        if (design := self._wheels.get(one.driver)) is None:
            known = ", ".join(sorted(self._wheels)) or "none"
            return f"the driver {one.driver} has no wheels, known are {known}"
        for key in ("radius_left", "radius_right", "track"):
            measured, meant = getattr(one, key), getattr(design, key)
            if abs(measured - meant) > WORN * meant * (1.0 + 1e-9):
                return (
                    f"{key}: {measured:g} m differs by more than {WORN:.0%} from the {meant:g} m that the driver "
                    f"{one.driver} is made for; wheels of another size are set there"
                )
        return None

    def _of_motor(self, one: Motor) -> str | None:
        spec = self._commands.get(one.command)
        if spec is None:
            return f"no driver has the command {one.command}"
        motion = spec.motion
        if motion is None or motion.kind != "velocity":
            return f"the command {one.command} is no velocity command"
        if one.argument not in (names := (*motion.linear, *motion.angular, *motion.other)):
            return f"{one.command} has no velocity {one.argument}, known are {', '.join(names)}"
        return self._of_dead_band(one, spec, motion)

    def _of_dead_band(self, one: Motor, spec: CommandSpec, motion: contract.Motion) -> str | None:
        """One that takes up most of what the motor may be told would make the least wish a great speed."""
        speed, angular = self._fastest
        limit = speed if one.argument in motion.linear else angular if one.argument in motion.angular else None
        least, ahead = bounds(spec, one.argument)
        back = None if least is None else -least
        for key, band, bound in (
            ("dead_band", one.dead_band, back if ahead is None else ahead),
            ("dead_band_reverse", one.dead_band_reverse, ahead if back is None else back),
        ):
            known = [float(value) for value in (bound, limit) if value is not None and value > 0]
            told = f"{one.command}.{one.argument}"
            if band > 0.0 and not known:
                return (
                    f"{key}: {band:g} cannot be judged, since nothing says how much {told} may be at most: neither its "
                    "command's schema nor a limit of the safety node"
                )
            if known and band > STIFF * min(known):
                return f"{key}: {band:g} is more than half of {min(known):g}, which is the most that {told} may be"
        return None
