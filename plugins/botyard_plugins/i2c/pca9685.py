"""PCA9685, sixteen PWM outputs for servos and the like. NXP PCA9685 (rev. 4), section 7.3."""

import time
from collections.abc import Mapping
from typing import Any

from botyard_edge.driver import Channel, Command, CommandSpec
from botyard_plugins.i2c.chip import Bus, Chip

MODE1, MODE2, LED0_ON_L, ALL_LED_OFF_H, PRE_SCALE = 0x00, 0x01, 0x06, 0xFD, 0xFE
AUTO_INCREMENT, SLEEP, TOTEM_POLE, FULL = 0x20, 0x10, 0x04, 0x10
OSCILLATOR, STEPS = 25e6, 4096
WAKE_UP = 500e-6  # s until the oscillator runs, section 7.3.1.1
COUNT = 16


def prescale(frequency: float) -> int:
    """Equation 1: the register's value for a frequency in Hz."""
    return min(255, max(3, round(OSCILLATOR / (STEPS * frequency)) - 1))


class Pca9685(Chip):
    """Outputs by name, each with a command and a channel of the same name that says what it was set to.

    Options: `frequency` (Hz) and `outputs`: `output` (0 to 15), `kind` servo or pwm; of a servo `min_pulse` and
    `max_pulse` (µs) at `min_angle` and `max_angle` (deg). `on_stop` says what a stop does: off, or hold.
    """

    TITLE, ADDRESS = "PCA9685", 0x40
    OPTIONS = frozenset({"frequency", "outputs"})

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self._prescale = prescale(float(options.get("frequency", 50)))
        self._period = STEPS * (self._prescale + 1) / OSCILLATOR  # s, as the oscillator really gives it
        self._outputs = {f"{name}.{key}": output for key, output in options.get("outputs", {}).items()}
        self._set: dict[str, float] = {}

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(
            Channel(name, unit="deg" if output.get("kind", "servo") == "servo" else "1")
            for name, output in self._outputs.items()
        )

    @property
    def commands(self) -> tuple[CommandSpec, ...]:
        return tuple(_command(name, output) for name, output in self._outputs.items())

    def begin(self, bus: Bus) -> None:
        bus.write_byte_data(self.address, ALL_LED_OFF_H, FULL)
        bus.write_byte_data(self.address, MODE1, AUTO_INCREMENT | SLEEP)  # the prescaler changes in sleep only
        bus.write_byte_data(self.address, PRE_SCALE, self._prescale)
        bus.write_byte_data(self.address, MODE2, TOTEM_POLE)
        bus.write_byte_data(self.address, MODE1, AUTO_INCREMENT)
        time.sleep(WAKE_UP)
        # A chip that comes back after a loss of power moves nothing until somebody asks for it.
        self._set = {}

    def read(self, bus: Bus) -> dict[str, Any]:
        if bus.read_byte_data(self.address, MODE1) & ~0x80 != AUTO_INCREMENT:
            self.begin(bus)
        return dict(self._set)

    def execute(self, bus: Bus, command: Command) -> None:
        name, value = command.name, float(command.args["value"])
        self._write(bus, self._outputs[name]["output"], self._steps(self._outputs[name], value))
        self._set[name] = value

    def rest(self, bus: Bus) -> None:
        for name, output in self._outputs.items():
            # A servo without pulses lets go of what it holds; a motor without them stands.
            hold = output.get("kind", "servo") == "servo"
            if output.get("on_stop", "hold" if hold else "off") == "off":
                self._write(bus, output["output"], 0)
                self._set.pop(name, None)

    def _steps(self, output: Mapping[str, Any], value: float) -> int:
        """How many of the 4096 steps of a period the output is on."""
        if output.get("kind", "servo") == "pwm":
            return round(value * STEPS)
        low, high = float(output.get("min_angle", 0.0)), float(output.get("max_angle", 180.0))
        shortest, longest = float(output.get("min_pulse", 1000.0)), float(output.get("max_pulse", 2000.0))
        pulse = shortest + (longest - shortest) * (value - low) / (high - low)
        return min(STEPS - 1, round(pulse * 1e-6 / self._period * STEPS))

    def _write(self, bus: Bus, output: int, steps: int) -> None:
        on, off = (FULL << 8, 0) if steps >= STEPS else (0, steps or FULL << 8)
        data = [on & 0xFF, on >> 8, off & 0xFF, off >> 8]
        bus.write_i2c_block_data(self.address, LED0_ON_L + 4 * output, data)


def _command(name: str, output: Mapping[str, Any]) -> CommandSpec:
    servo = output.get("kind", "servo") == "servo"
    low, high = (output.get("min_angle", 0.0), output.get("max_angle", 180.0)) if servo else (0.0, 1.0)
    value = {
        "type": "number",
        "minimum": low,
        "maximum": high,
        "description": "Angle in degrees." if servo else "Share of the time that it is on.",
    }
    schema = {"type": "object", "additionalProperties": False, "required": ["value"], "properties": {"value": value}}
    return CommandSpec(name, "Turn the servo." if servo else "Set the output.", schema)
