import asyncio
import errno
import math
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import smbus2
from hypothesis import given
from hypothesis import strategies as st

from botyard_edge.config import load_config
from botyard_edge.driver import Command, CommandFailedError, CommandRejectedError, ConfigurationError, Driver
from botyard_edge.testing import VirtualClock
from botyard_plugins.i2c.bme280 import Trim
from botyard_plugins.i2c.ina219 import calibration
from botyard_plugins.i2c.mpu6050 import GRAVITY
from botyard_plugins.i2c.pca9685 import prescale
from botyard_schemas.settings import SettingsError
from tests.plugins.conftest import Notes

Make = Callable[..., Driver]


class FakeChip:
    """Registers of one byte each, with a pointer that moves on by itself. What begins with power is `power_on`."""

    def __init__(self, **power_on: int) -> None:
        self._power_on = {int(register[1:], 16): value for register, value in power_on.items()}
        self.log: list[tuple[int, list[int]]] = []
        self.there = True
        self.power_cycle()

    def power_cycle(self) -> None:
        self.registers = bytearray(256)
        for register, value in self._power_on.items():
            self.registers[register] = value

    def put(self, register: int, *data: int) -> None:
        self.registers[register : register + len(data)] = bytes(data)

    def read(self, register: int, length: int) -> list[int]:
        return list(self.registers[register : register + length])

    def write(self, register: int, data: Sequence[int]) -> None:
        self.log.append((register, list(data)))
        self.put(register, *data)


class FakeIna219(FakeChip):
    """Registers of two bytes; bit 15 of the first resets all of them."""

    def read(self, register: int, length: int) -> list[int]:
        assert length == 2
        return list(self.registers[2 * register : 2 * register + 2])

    def write(self, register: int, data: Sequence[int]) -> None:
        assert len(data) == 2
        if register == 0 and data[0] & 0x80:
            self.power_cycle()
        else:
            self.put(2 * register, *data)

    def word(self, register: int, value: int) -> None:
        self.put(2 * register, value >> 8, value & 0xFF)


class FakeBus:
    """The transactions of smbus2.SMBus, led to chips by address; an address without a chip is not acknowledged."""

    def __init__(self, chips: dict[int, FakeChip]) -> None:
        self.chips = chips
        self.closed = 0
        self.there = True

    def __call__(self, number: int) -> "FakeBus":
        assert number == 1
        if not self.there:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/dev/i2c-1")
        return self

    def _chip(self, address: int) -> FakeChip:
        chip = self.chips.get(address)
        if chip is None or not chip.there:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        return chip

    def read_byte_data(self, i2c_addr: int, register: int) -> int:
        return self._chip(i2c_addr).read(register, 1)[0]

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        assert 0 <= value <= 255
        self._chip(i2c_addr).write(register, [value])

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        assert 1 <= length <= 32
        return self._chip(i2c_addr).read(register, length)

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: Sequence[int]) -> None:
        assert 1 <= len(data) <= 32
        assert all(0 <= byte <= 255 for byte in data)
        self._chip(i2c_addr).write(register, data)

    def close(self) -> None:
        self.closed += 1


class Running:
    def __init__(self, driver: Driver, clock: VirtualClock, bus: FakeBus) -> None:
        self.driver = driver
        self.clock = clock
        self.bus = bus
        self.notes = Notes(clock)

    def last(self, channel: str) -> Any:
        return self.notes.samples[channel][-1][1] if channel in self.notes.samples else None

    def events(self) -> list[str]:
        return [event[0] for event in self.notes.events]

    async def until(self, condition: Callable[[], object], step: float = 0.5) -> None:
        """Wait for the bus's thread, which is real; `step` virtual seconds pass meanwhile, each time."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.001)
                await self.clock.advance(step)

    async def command(self, name: str, value: float) -> None:
        async def progress(done: float) -> None: ...

        await self.driver.execute(Command("c1", name, 0, {"value": value}), progress)


@asynccontextmanager
async def running(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch, chips: dict[int, FakeChip], **devices: Any
) -> AsyncIterator[Running]:
    bus = FakeBus(chips)
    monkeypatch.setattr(smbus2, "SMBus", bus)
    clock = VirtualClock()
    async with make_driver("i2c", clock, devices=devices) as driver:
        robot = Running(driver, clock, bus)
        task = asyncio.create_task(driver.run(robot.notes))
        try:
            yield robot
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert bus.closed == 1


# --- INA219


async def test_ina219_reads_the_worked_example_of_its_data_sheet(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SBOS448, table 8: 10 A through 2 mOhm at 11.98 V, 1 mA per bit.
    chip = FakeIna219()
    options = {"chip": "ina219", "shunt": 0.002, "max_current": 32.768}
    async with running(make_driver, monkeypatch, {0x40: chip}, supply=options) as robot:
        await robot.until(lambda: chip.read(5, 2) == [0x50, 0x00])  # 20480
        for register, value in ((1, 0x07D0), (2, 0x5D98), (3, 0x1766), (4, 0x2710)):
            chip.word(register, value)
        await robot.until(lambda: robot.last("supply.current"))
        assert robot.last("supply.current") == pytest.approx(10.0)
        assert robot.last("supply.voltage") == pytest.approx(11.98)
        assert robot.last("supply.power") == pytest.approx(119.8)


async def test_ina219_gives_negative_currents_and_none_that_overflowed(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = FakeIna219()
    async with running(make_driver, monkeypatch, {0x41: chip}, s={"chip": "ina219", "address": 0x41}) as robot:
        await robot.until(lambda: robot.last("s.voltage") is not None)
        chip.word(4, 0x10000 - 1000)
        await robot.until(lambda: (robot.last("s.current") or 0) < 0)
        assert robot.last("s.current") == pytest.approx(-1000 * 3.2 / 2**15, rel=0.01)
        chip.word(2, 0x5D98 | 1)
        count = len(robot.notes.samples["s.current"])
        await robot.until(lambda: robot.last("s.voltage") > 1)
        await robot.clock.advance(1)
        assert len(robot.notes.samples["s.current"]) == count


@given(st.floats(0.0005, 1.0), st.floats(0.01, 200.0))
def test_ina219_calibration_fits_its_register_and_reaches_the_largest_current(shunt: float, most: float) -> None:
    lsb, register = calibration(shunt, most)
    if 0.002 <= shunt * most <= 0.32:  # what the options allow
        assert 0 < register <= 0xFFFE
        assert register % 2 == 0
        assert lsb * 2**15 >= most * 0.999
        assert lsb * register * shunt == pytest.approx(0.04096)


# --- MPU-6050


async def test_mpu6050_gives_acceleration_turn_rate_and_temperature(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = FakeChip(x75=0x68, x6B=0x40)
    options = {"chip": "mpu6050", "accel_range": 8, "gyro_range": 1000, "rate": 50}
    async with running(make_driver, monkeypatch, {0x68: chip}, imu=options) as robot:
        await robot.until(lambda: chip.registers[0x1C] == 2 << 3)
        assert (chip.registers[0x6B], chip.registers[0x1B]) == (1, 2 << 3)
        # RM-MPU-6000A: 4096 LSB/g at 8 g, 32.8 LSB/(deg/s) at 1000 deg/s, 340 LSB per degree and 36.53 at zero.
        words = [4096, -2048, 0, -2190, 328, -328, 0]
        chip.put(0x3B, *(byte for word in words for byte in (word & 0xFFFF).to_bytes(2, "big")))
        await robot.until(lambda: robot.last("imu.acceleration.x"), step=0.02)
        assert robot.last("imu.acceleration.x") == pytest.approx(GRAVITY)
        assert robot.last("imu.acceleration.y") == pytest.approx(-GRAVITY / 2)
        assert robot.last("imu.turn_rate.x") == pytest.approx(math.radians(10.0), rel=1e-3)
        assert robot.last("imu.turn_rate.y") == pytest.approx(-math.radians(10.0), rel=1e-3)
        assert robot.last("imu.temperature") == pytest.approx(30.0889, abs=1e-3)


async def test_chip_that_lost_its_power_is_set_up_again_and_gives_no_zeros(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = FakeChip(x75=0x68, x6B=0x40)
    async with running(make_driver, monkeypatch, {0x68: chip}, imu={"chip": "mpu6050"}) as robot:
        await robot.until(lambda: chip.registers[0x6B] == 1)
        chip.put(0x3B, 0x20, 0x00)
        await robot.until(lambda: robot.last("imu.acceleration.x"))
        del robot.notes.samples["imu.acceleration.x"]
        chip.power_cycle()
        await robot.until(lambda: chip.registers[0x6B] == 1)
        assert 0.0 not in [value for _, value in robot.notes.samples.get("imu.acceleration.x", [])]


# --- BME280

# Trimming and raw values of the worked example in Bosch BST-BMP280-DS001, section 3.12; the BME280 has the same
# formulas for temperature and pressure. Of humidity there is no published example: typical trimming values.
TRIM = Trim(
    (27504, 26435, -1000),
    (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000),
    (75, 362, 0, 315, 50, 30),
)
RAW_T, RAW_P, RAW_H = 519888, 415148, 29000


def bme280() -> FakeChip:
    chip = FakeChip(xD0=0x60)
    words = [*TRIM.t, *TRIM.p]
    chip.put(0x88, *(byte for word in words for byte in (word & 0xFFFF).to_bytes(2, "little")))
    h1, h2, h3, h4, h5, h6 = TRIM.h
    chip.put(0xA1, h1)
    chip.put(0xE1, h2 & 0xFF, h2 >> 8, h3, h4 >> 4, (h5 & 0xF) << 4 | h4 & 0xF, h5 >> 4, h6)
    data = (RAW_P << 4).to_bytes(3, "big") + (RAW_T << 4).to_bytes(3, "big") + RAW_H.to_bytes(2, "big")
    chip.put(0xF7, *data)
    return chip


def humidity_by_integers(trim: Trim, raw: int, fine: int) -> float:
    """The data sheet's other formula for the humidity (section 4.2.3), with integers of 32 bits."""
    h1, h2, h3, h4, h5, h6 = trim.h
    v = fine - 76800
    v = (((raw << 14) - (h4 << 20) - (h5 * v) + 16384) >> 15) * (
        ((((((v * h6) >> 10) * (((v * h3) >> 11) + 32768)) >> 10) + 2097152) * h2 + 8192) >> 14
    )
    v -= ((((v >> 15) * (v >> 15)) >> 7) * h1) >> 4
    return (min(max(v, 0), 419430400) >> 12) / 1024.0


async def test_bme280_reads_the_worked_example_of_the_data_sheet(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = bme280()
    async with running(make_driver, monkeypatch, {0x76: chip}, cabin={"chip": "bme280"}) as robot:
        await robot.until(lambda: robot.last("cabin.temperature"))
        assert robot.last("cabin.temperature") == pytest.approx(25.08, abs=0.005)
        assert robot.last("cabin.pressure") == pytest.approx(100653.27, abs=0.05)
        assert robot.last("cabin.humidity") == pytest.approx(humidity_by_integers(TRIM, RAW_H, 128422), abs=0.05)
        # ctrl_hum counts only when ctrl_meas is written after it (section 5.4.3).
        assert [register for register, _ in chip.log] == [0xF5, 0xF2, 0xF4]


@given(st.integers(15000, 45000), st.integers(0, 255000))
def test_bme280_humidity_agrees_with_the_data_sheets_integer_formula(raw: int, fine: int) -> None:
    assert TRIM.humidity(raw, fine) == pytest.approx(humidity_by_integers(TRIM, raw, fine), abs=0.1)


@given(st.integers(-2048, 2047), st.integers(-2048, 2047))
def test_bme280_trimming_values_that_share_a_byte_are_told_apart(h4: int, h5: int) -> None:
    shared = [(h4 >> 4) & 0xFF, (h5 & 0xF) << 4 | h4 & 0xF, (h5 >> 4) & 0xFF]
    assert Trim.of([0] * 24, 0, [0, 0, 0, *shared, 0]).h[3:5] == (h4, h5)


async def test_bmp280_in_place_of_a_bme280_is_said(make_driver: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = FakeChip(xD0=0x58)
    async with running(make_driver, monkeypatch, {0x76: chip}, cabin={"chip": "bme280"}) as robot:
        await robot.until(lambda: robot.events())
        assert "what answers there has the id 0x58, expected 0x60" in (robot.notes.events[0][2] or "")


# --- PCA9685

ARM = {
    "chip": "pca9685",
    "outputs": {
        "elbow": {"output": 0},
        "lamp": {"output": 15, "kind": "pwm"},
        "grip": {"output": 1, "min_pulse": 500, "max_pulse": 2500, "min_angle": -90, "max_angle": 90, "on_stop": "off"},
    },
}


def test_pca9685_prescaler_is_that_of_the_data_sheets_example() -> None:
    assert prescale(200) == 0x1E  # section 7.3.5
    assert (prescale(1526), prescale(24)) == (0x03, 0xFD)


async def test_pca9685_command_sets_the_pulse_and_is_published(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = FakeChip(x00=0x11)
    async with running(make_driver, monkeypatch, {0x40: chip}, arm=ARM) as robot:
        await robot.until(lambda: robot.driver._ready)  # type: ignore[attr-defined]
        assert chip.registers[0xFE] == 121
        assert chip.log[0] == (0xFD, [0x10]), "nothing moves at first"
        await robot.command("arm.elbow", 90)
        # 1500 us of 20 ms are 307 of 4096 steps; with the prescaler's rounding, the period is 19.99 ms.
        assert chip.read(0x06, 4) == [0, 0, 307 & 0xFF, 307 >> 8]
        await robot.command("arm.grip", -90)
        assert chip.read(0x0A, 4) == [0, 0, 102, 0]
        await robot.command("arm.lamp", 0.5)
        assert chip.read(0x42, 4) == [0, 0, 0, 8]
        await robot.command("arm.lamp", 1)
        assert chip.read(0x42, 4) == [0, 0x10, 0, 0]
        await robot.command("arm.lamp", 0)
        assert chip.read(0x42, 4) == [0, 0, 0, 0x10]
        await robot.until(lambda: robot.last("arm.elbow") == 90)


async def test_pca9685_stop_switches_pwm_off_and_holds_servos_unless_told_otherwise(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = FakeChip(x00=0x11)
    async with running(make_driver, monkeypatch, {0x40: chip}, arm=ARM) as robot:
        await robot.until(lambda: robot.driver._ready)  # type: ignore[attr-defined]
        for name, value in (("arm.elbow", 90), ("arm.lamp", 0.5), ("arm.grip", 0)):
            await robot.command(name, value)
        await robot.driver.stop()
        off = [0, 0, 0, 0x10]
        assert (chip.read(0x06, 4) == off, chip.read(0x0A, 4) == off, chip.read(0x42, 4) == off) == (False, True, True)


async def test_command_to_a_chip_that_does_not_answer_is_rejected_or_fails(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = FakeChip(x00=0x11)
    async with running(make_driver, monkeypatch, {0x40: chip}, arm=ARM) as robot:
        with pytest.raises(CommandRejectedError, match=r"address 0x40: PCA9685 \(arm\) does not answer"):
            await robot.command("arm.elbow", 90)
        await robot.until(lambda: robot.driver._ready)  # type: ignore[attr-defined]
        chip.there = False
        with pytest.raises(CommandFailedError, match="nothing is there; is it wired and powered"):
            await robot.command("arm.elbow", 90)
        await robot.driver.stop()


# --- chips and busses that are not there


async def test_chip_that_does_not_answer_is_said_once_and_used_when_it_does(
    make_driver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, other = bme280(), FakeChip(x75=0x68)
    away.there = False
    chips: dict[int, FakeChip] = {0x76: away, 0x68: other}
    async with running(make_driver, monkeypatch, chips, cabin={"chip": "bme280"}, imu={"chip": "mpu6050"}) as robot:
        await robot.until(lambda: len(robot.notes.samples.get("imu.temperature", [])) > 100)
        assert robot.notes.events == [
            (
                "i2c.missing",
                "warning",
                (
                    "I²C bus 1, address 0x76: BME280 (cabin) does not answer: nothing is there; is it wired and "
                    "powered?; it is tried again"
                ),
                None,
                {"bus": 1, "address": 0x76, "chip": "BME280", "name": "cabin"},
            )
        ]
        assert robot.notes.state("health") == ["warning"]
        away.there = True
        await robot.until(lambda: robot.last("cabin.temperature"))
        assert robot.events() == ["i2c.missing", "i2c.found"]
        assert robot.notes.state("health") == ["warning", "ok"]


async def test_bus_that_is_not_there_is_said_with_the_cure(make_driver: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = bme280()
    async with running(make_driver, monkeypatch, {0x76: chip}, cabin={"chip": "bme280"}) as robot:
        robot.bus.there = False
        await robot.until(lambda: robot.events())
        assert "there is no such bus; is I²C switched on (raspi-config)?" in (robot.notes.events[0][2] or "")
        robot.bus.there = True
        await robot.until(lambda: robot.last("cabin.temperature"))


async def test_missing_library_is_said_with_the_cure(make_driver: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smbus2", None)
    with pytest.raises(ConfigurationError, match=r"smbus2: pip install 'botyard\[i2c\]'"):
        async with make_driver("i2c", VirtualClock(), devices={"imu": {"chip": "mpu6050"}}):
            pass


# --- robot.yaml


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("{chip: bme680}", 'devices.a.chip: "bme680" is not one of'),
        ("{chip: bme280, shunt: 0.1}", "devices.a.shunt: has no meaning for BME280"),
        ("{chip: ina219, shunt: 0.1, max_current: 20}", "max_current: shunt times max_current is 2000 mV"),
        ("{chip: pca9685}", "devices.a: expected outputs"),
        ("{chip: pca9685, outputs: {x: {output: 1}, y: {output: 1}}}", "y.output: 1 is the output of x as well"),
        ("{chip: pca9685, outputs: {x: {output: 1, min_angle: 180}}}", "x: min_angle is not below max_angle"),
        ("{chip: pca9685, frequency: 500, outputs: {x: {output: 1}}}", "x: max_pulse is longer than a period"),
        ("{chip: mpu6050, address: 0x76}, b: {chip: bme280}", "devices.b.address: 0x76 is the address of a as well"),
    ],
)
def test_options_that_cannot_work_are_said_with_file_line_and_key(tmp_path: Path, device: str, problem: str) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(f"robot: r1\ndrivers:\n  i2c:\n    options:\n      devices: {{a: {device}}}\n")
    with pytest.raises(SettingsError) as caught:
        load_config(path, {})
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"{path}:5: ")
