"""INA219, current and voltage of a supply. Texas Instruments SBOS448, section 8.5 (programming) and 8.6 (registers)."""

import math
from collections.abc import Mapping
from typing import Any

from botyard_edge.driver import Channel
from botyard_plugins.i2c.chip import Bus, Chip, signed

CONFIGURATION, SHUNT, BUS, POWER, CURRENT, CALIBRATION = range(6)

# Bus range 32 V, shunt range ±320 mV, both converters 12 bit and 8 samples (4.26 ms), continuous; RST is bit 15.
SETUP = 0b0_0_1_11_1011_1011_111
RESET = 0x8000
SHUNT_LSB, BUS_LSB = 10e-6, 4e-3  # V
OVERFLOW = 0b01


class Ina219(Chip):
    """Voltage of the supply, current through the shunt, and their product as the chip calculates it.

    Options: `shunt` (ohm), `max_current` (A), the largest current that is expected.
    """

    TITLE, ADDRESS = "INA219", 0x40
    OPTIONS = frozenset({"shunt", "max_current"})

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        shunt, most = float(options.get("shunt", 0.1)), float(options.get("max_current", 3.2))
        self.current_lsb, self.calibration = calibration(shunt, most)

    @property
    def channels(self) -> tuple[Channel, ...]:
        return (
            Channel(f"{self.name}.voltage", unit="V"),
            Channel(f"{self.name}.current", unit="A"),
            Channel(f"{self.name}.power", unit="W"),
        )

    def begin(self, bus: Bus) -> None:
        self.write_word(bus, CONFIGURATION, RESET)
        self.write_word(bus, CONFIGURATION, SETUP)
        self.write_word(bus, CALIBRATION, self.calibration)

    def read(self, bus: Bus) -> dict[str, Any]:
        # A chip that lost its power for a moment answers, but without its calibration it measures no current.
        if self.read_word(bus, CALIBRATION) != self.calibration:
            self.begin(bus)
            return {}
        register = self.read_word(bus, BUS)
        values: dict[str, Any] = {f"{self.name}.voltage": (register >> 3) * BUS_LSB}
        if not register & OVERFLOW:  # else current and power mean nothing
            values[f"{self.name}.current"] = signed(self.read_word(bus, CURRENT)) * self.current_lsb
            values[f"{self.name}.power"] = self.read_word(bus, POWER) * 20.0 * self.current_lsb
        return values


def calibration(shunt: float, most: float) -> tuple[float, int]:
    """Amperes per bit and the calibration register: equations 1 and 2 of the data sheet.

    The least bit is `most / 2**15`, but no less than the register can hold, rounded up to three digits.
    """
    least = max(most / 2**15, 0.04096 / (0xFFFE * shunt))
    step = 10.0 ** (math.floor(math.log10(least)) - 2)
    lsb = math.ceil(least / step - 1e-9) * step
    # The lowest bit of the register is always 0; what is cut off there is given back by the least bit.
    register = min(0xFFFE, int(0.04096 / (lsb * shunt) + 1e-9) & 0xFFFE)
    return 0.04096 / (register * shunt), register
