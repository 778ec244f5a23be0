"""MPU-6050, accelerometer and gyroscope. InvenSense RM-MPU-6000A-00 (register map, revision 4.2)."""

import math
from collections.abc import Mapping
from typing import Any

from botyard_edge.driver import Channel
from botyard_plugins.i2c.chip import Bus, Chip, signed

CONFIG, GYRO_CONFIG, ACCEL_CONFIG = 0x1A, 0x1B, 0x1C
ACCEL_XOUT_H, PWR_MGMT_1, WHO_AM_I = 0x3B, 0x6B, 0x75

GRAVITY = 9.80665  # m/s2
FILTER = 3  # DLPF_CFG: 44 Hz
CLOCK_GYRO_X = 1  # CLKSEL: more stable than the internal oscillator; SLEEP cleared

# Full scale to the setting of the register (FS_SEL, AFS_SEL).
GYRO_RANGES = {250: 0, 500: 1, 1000: 2, 2000: 3}  # deg/s
GYRO_SENSITIVITY = (131.0, 65.5, 32.8, 16.4)  # LSB per deg/s, section 4.19
ACCEL_RANGES = {2: 0, 4: 1, 8: 2, 16: 3}  # g; 16384 LSB per g at 2


class Mpu6050(Chip):
    """Acceleration in m/s2, turn rate in rad/s, temperature of the chip.

    Options: `accel_range` (g), `gyro_range` (deg/s). The axes are the chip's.
    """

    TITLE, ADDRESS = "MPU-6050", 0x68
    OPTIONS = frozenset({"accel_range", "gyro_range"})

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self._accel = ACCEL_RANGES[options.get("accel_range", 4)]
        self._gyro = GYRO_RANGES[options.get("gyro_range", 500)]

    @property
    def channels(self) -> tuple[Channel, ...]:
        return (
            *(Channel(f"{self.name}.acceleration.{axis}", unit="m/s2") for axis in "xyz"),
            *(Channel(f"{self.name}.turn_rate.{axis}", unit="rad/s") for axis in "xyz"),
            Channel(f"{self.name}.temperature", unit="Cel"),
        )

    def begin(self, bus: Bus) -> None:
        self.expect(bus, WHO_AM_I, [0x68])
        for register, value in (
            (PWR_MGMT_1, CLOCK_GYRO_X),
            (CONFIG, FILTER),
            (GYRO_CONFIG, self._gyro << 3),
            (ACCEL_CONFIG, self._accel << 3),
        ):
            bus.write_byte_data(self.address, register, value)

    def read(self, bus: Bus) -> dict[str, Any]:
        # After a loss of power the chip sleeps and answers with zeros.
        if bus.read_byte_data(self.address, PWR_MGMT_1) != CLOCK_GYRO_X:
            self.begin(bus)
            return {}
        data = bus.read_i2c_block_data(self.address, ACCEL_XOUT_H, 14)  # in one transaction: all of one instant
        words = [signed(data[at] << 8 | data[at + 1]) for at in range(0, 14, 2)]
        accel, gyro = GRAVITY / (16384 >> self._accel), math.radians(1.0) / GYRO_SENSITIVITY[self._gyro]
        values = {f"{self.name}.temperature": words[3] / 340.0 + 36.53}  # section 4.18
        for axis, acceleration, turn_rate in zip("xyz", words[:3], words[4:], strict=True):
            values[f"{self.name}.acceleration.{axis}"] = acceleration * accel
            values[f"{self.name}.turn_rate.{axis}"] = turn_rate * gyro
        return values
