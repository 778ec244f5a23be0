"""Velocity commands as the robot's motors need them."""

from collections.abc import Iterable, Mapping
from typing import Any

from botyard_edge.calibration.bounds import bounds
from botyard_edge.calibration.correct import compensated
from botyard_edge.calibration.drifting import Drifting
from botyard_edge.driver import CommandSpec
from botyard_schemas.calibration import Motor, Profile


class Motors:
    """The motors of some profiles; `drifting` hears what they were told."""

    def __init__(self, profiles: Iterable[Profile], drifting: Drifting) -> None:
        self._drifting = drifting
        self._motors: dict[str, list[Motor]] = {}
        for one in profiles:
            if isinstance(one.correction, Motor):
                self._motors.setdefault(one.correction.command, []).append(one.correction)

    def commanded(self, spec: CommandSpec, args: Mapping[str, Any]) -> dict[str, Any]:
        """What the driver gets in place of a velocity command's arguments."""
        given = dict(args)
        motion = spec.motion
        if motion is None or motion.kind != "velocity":
            return given
        for motor in self._motors.get(spec.name, ()):
            value = given.get(motor.argument)
            known = motor.argument in (*motion.linear, *motion.angular, *motion.other)
            if known and isinstance(value, int | float) and not isinstance(value, bool):
                given[motor.argument] = _within(spec, motor.argument, compensated(motor, float(value)))
                self._drifting.wanted(motor, float(value))
        return given


def _within(spec: CommandSpec, argument: str, value: float) -> float | int:
    """The value within what the command's own schema allows: a motor gives no more than it can."""
    least, most = bounds(spec, argument)
    value = min(max(value, value if least is None else least), value if most is None else most)
    return round(value) if spec.args.get("properties", {}).get(argument, {}).get("type") == "integer" else value
