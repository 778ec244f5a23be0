"""BME280, temperature, pressure and humidity. Bosch BST-BME280-DS002: memory map in section 5.4, trimming values in
table 16, compensation with floating point numbers in section 8.1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botyard_edge.driver import Channel
from botyard_plugins.i2c.chip import Bus, Chip, signed

TRIM_T_P, TRIM_H1, TRIM_H2, ID = 0x88, 0xA1, 0xE1, 0xD0
CTRL_HUM, CTRL_MEAS, CONFIG, DATA = 0xF2, 0xF4, 0xF5, 0xF7

OVERSAMPLING = 1  # once, for each of the three
NORMAL = 0b11
MEASURE = OVERSAMPLING << 5 | OVERSAMPLING << 2 | NORMAL
STANDBY = 0b000 << 5  # 0.5 ms between measurements, no filter
SKIPPED, SKIPPED_HUMIDITY = 0x80000, 0x8000  # what the registers hold before the first measurement


class Bme280(Chip):
    """Temperature in degrees Celsius, pressure in Pa, relative humidity in percent."""

    TITLE, ADDRESS = "BME280", 0x76

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self._trim: Trim

    @property
    def channels(self) -> tuple[Channel, ...]:
        return (
            Channel(f"{self.name}.temperature", unit="Cel"),
            Channel(f"{self.name}.pressure", unit="Pa"),
            Channel(f"{self.name}.humidity", unit="%"),
        )

    def begin(self, bus: Bus) -> None:
        self.expect(bus, ID, [0x60])
        self._trim = Trim.of(
            bus.read_i2c_block_data(self.address, TRIM_T_P, 24),
            bus.read_byte_data(self.address, TRIM_H1),
            bus.read_i2c_block_data(self.address, TRIM_H2, 7),
        )
        bus.write_byte_data(self.address, CONFIG, STANDBY)
        bus.write_byte_data(self.address, CTRL_HUM, OVERSAMPLING)
        bus.write_byte_data(self.address, CTRL_MEAS, MEASURE)  # last, since it makes the one before count

    def read(self, bus: Bus) -> dict[str, Any]:
        # After a loss of power the chip sleeps and repeats what its registers begin with.
        if bus.read_byte_data(self.address, CTRL_MEAS) != MEASURE:
            self.begin(bus)
            return {}
        data = bus.read_i2c_block_data(self.address, DATA, 8)  # in one transaction: all of one measurement
        pressure = data[0] << 12 | data[1] << 4 | data[2] >> 4
        temperature = data[3] << 12 | data[4] << 4 | data[5] >> 4
        humidity = data[6] << 8 | data[7]
        if temperature == SKIPPED:
            return {}
        fine = self._trim.fine_temperature(temperature)
        values: dict[str, Any] = {f"{self.name}.temperature": fine / 5120.0}
        if pressure != SKIPPED:
            values[f"{self.name}.pressure"] = self._trim.pressure(pressure, fine)
        if humidity != SKIPPED_HUMIDITY:
            values[f"{self.name}.humidity"] = self._trim.humidity(humidity, fine)
        return values


@dataclass(frozen=True, slots=True)
class Trim:
    """The trimming values of one chip, `t[0]` being dig_T1 and so on, and the formulas that use them."""

    t: tuple[int, ...]
    p: tuple[int, ...]
    h: tuple[int, ...]

    @classmethod
    def of(cls, t_p: list[int], h1: int, h2: list[int]) -> "Trim":
        """From the registers 0x88 to 0x9F, 0xA1, and 0xE1 to 0xE7."""
        words = [t_p[at + 1] << 8 | t_p[at] for at in range(0, 24, 2)]
        temperature = (words[0], signed(words[1]), signed(words[2]))
        pressure = (words[3], *(signed(word) for word in words[4:]))
        h4 = signed(h2[3] << 4 | h2[4] & 0x0F, 12)
        h5 = signed(h2[5] << 4 | h2[4] >> 4, 12)
        return cls(temperature, pressure, (h1, signed(h2[1] << 8 | h2[0]), h2[2], h4, h5, signed(h2[6], 8)))

    def fine_temperature(self, raw: int) -> float:
        """t_fine; 5120 of it are a degree."""
        t1, t2, t3 = self.t
        return (raw / 16384.0 - t1 / 1024.0) * t2 + (raw / 131072.0 - t1 / 8192.0) ** 2 * t3

    def pressure(self, raw: int, fine: float) -> float | None:
        """Pa; None when the trimming values would divide by zero."""
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self.p
        var1 = fine / 2.0 - 64000.0
        var2 = var1 * var1 * p6 / 32768.0
        var2 = var2 + var1 * p5 * 2.0
        var2 = var2 / 4.0 + p4 * 65536.0
        var1 = (p3 * var1 * var1 / 524288.0 + p2 * var1) / 524288.0
        var1 = (1.0 + var1 / 32768.0) * p1
        if var1 == 0.0:
            return None
        pressure = (1048576.0 - raw - var2 / 4096.0) * 6250.0 / var1
        var1 = p9 * pressure * pressure / 2147483648.0
        var2 = pressure * p8 / 32768.0
        return pressure + (var1 + var2 + p7) / 16.0

    def humidity(self, raw: int, fine: float) -> float:
        """Percent, 0 to 100."""
        h1, h2, h3, h4, h5, h6 = self.h
        var = fine - 76800.0
        var = (raw - (h4 * 64.0 + h5 / 16384.0 * var)) * (
            h2 / 65536.0 * (1.0 + h6 / 67108864.0 * var * (1.0 + h3 / 67108864.0 * var))
        )
        return min(100.0, max(0.0, var * (1.0 - h1 * var / 524288.0)))
