"""The options of the driver `i2c`, and what is to be said of them beyond their schema."""

from collections.abc import Iterator, Mapping
from typing import Any

from botyard_edge.driver import Found
from botyard_plugins.i2c.bme280 import Bme280
from botyard_plugins.i2c.chip import Chip
from botyard_plugins.i2c.ina219 import Ina219
from botyard_plugins.i2c.mpu6050 import ACCEL_RANGES, GYRO_RANGES, Mpu6050
from botyard_plugins.i2c.pca9685 import COUNT, Pca9685

CHIPS: dict[str, type[Chip]] = {"ina219": Ina219, "mpu6050": Mpu6050, "bme280": Bme280, "pca9685": Pca9685}
COMMON = frozenset({"chip", "address", "rate"})
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$"

_OUTPUT: dict[str, Any] = {
    "type": "object",
    "required": ["output"],
    "additionalProperties": False,
    "properties": {
        "output": {"type": "integer", "minimum": 0, "maximum": COUNT - 1},
        "kind": {"enum": ["servo", "pwm"]},
        "min_pulse": {"type": "number", "minimum": 100, "maximum": 10000},
        "max_pulse": {"type": "number", "minimum": 100, "maximum": 10000},
        "min_angle": {"type": "number", "minimum": -360, "maximum": 360},
        "max_angle": {"type": "number", "minimum": -360, "maximum": 360},
        "on_stop": {"enum": ["hold", "off"]},
    },
}

_DEVICE: dict[str, Any] = {
    "type": "object",
    "required": ["chip"],
    "additionalProperties": False,
    "properties": {
        "chip": {"enum": list(CHIPS)},
        "address": {"type": "integer", "minimum": 0x08, "maximum": 0x77},
        "rate": {"type": "number", "minimum": 0.001, "maximum": 100},
        "shunt": {"type": "number", "exclusiveMinimum": 0, "maximum": 10},
        "max_current": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000},
        "accel_range": {"enum": list(ACCEL_RANGES)},
        "gyro_range": {"enum": list(GYRO_RANGES)},
        "frequency": {"type": "number", "minimum": 24, "maximum": 1526},
        "outputs": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": COUNT,
            "propertyNames": {"pattern": NAME},
            "additionalProperties": _OUTPUT,
        },
    },
}

SCHEMA: dict[str, Any] = {
    "title": "Options of the driver i2c",
    "description": "Chips on one I²C bus.",
    "type": "object",
    "required": ["devices"],
    "additionalProperties": False,
    "properties": {
        "bus": {
            "title": "Bus",
            "description": "Number of the bus: 1 is /dev/i2c-1, the pins 3 and 5 of a Raspberry Pi.",
            "type": "integer",
            "minimum": 0,
            "maximum": 255,
            "default": 1,
            "examples": [1],
        },
        "devices": {
            "title": "Devices",
            "description": "The chips, by a name that their channels begin with: chip (ina219, mpu6050, bme280, "
            "pca9685), address, rate (Hz), and what the chip asks for.",
            "type": "object",
            "minProperties": 1,
            "maxProperties": 64,
            "propertyNames": {"pattern": NAME},
            "additionalProperties": _DEVICE,
            "examples": [{"battery": {"chip": "ina219", "address": 64, "shunt": 0.1}}],
        },
    },
    "examples": [{"bus": 1, "devices": {"cabin": {"chip": "bme280", "address": 118}}}],
}


def make(options: Mapping[str, Any]) -> dict[str, Chip]:
    """The chips by name."""
    return {name: CHIPS[part["chip"]](name, part) for name, part in options["devices"].items()}


def check(options: Mapping[str, Any]) -> Iterator[Found]:
    """What is wrong although the schema allows it."""
    addresses: dict[int, str] = {}
    for name, part in options["devices"].items():
        chip, keys = CHIPS[part["chip"]], ("devices", name)
        for key in sorted(set(part) - COMMON - chip.OPTIONS):
            yield (*keys, key), f"has no meaning for {chip.TITLE}"
        address = part.get("address", chip.ADDRESS)
        if address in addresses:
            yield (*keys, "address"), f"{address:#04x} is the address of {addresses[address]} as well"
        addresses.setdefault(address, name)
        if chip is Ina219:
            yield from _check_shunt(keys, part)
        if chip is Pca9685:
            yield from _check_outputs(keys, part)


def channels(options: Mapping[str, Any]) -> Iterator[Found]:
    """The names of the channels, with the place that asks for each."""
    for name, chip in make(options).items():
        for channel in chip.channels:
            yield ("devices", name), channel.name


def _check_shunt(keys: tuple[str, str], part: Mapping[str, Any]) -> Iterator[Found]:
    drop = part.get("shunt", 0.1) * part.get("max_current", 3.2)
    if not 0.002 <= drop <= 0.32 + 1e-9:
        yield (
            (*keys, "max_current" if "max_current" in part else "shunt"),
            f"shunt times max_current is {drop * 1000:.4g} mV, and the chip measures 2 to 320 mV",
        )


def _check_outputs(keys: tuple[str, str], part: Mapping[str, Any]) -> Iterator[Found]:
    if "outputs" not in part:
        yield keys, "expected outputs, since without them the chip does nothing"
    taken: dict[int, str] = {}
    for name, output in part.get("outputs", {}).items():
        at = (*keys, "outputs", name)
        if output["output"] in taken:
            yield (*at, "output"), f"{output['output']} is the output of {taken[output['output']]} as well"
        taken.setdefault(output["output"], name)
        if output.get("min_angle", 0) >= output.get("max_angle", 180):
            yield at, "min_angle is not below max_angle"
        if output.get("min_pulse", 1000) >= output.get("max_pulse", 2000):
            yield at, "min_pulse is not below max_pulse"
        if output.get("max_pulse", 2000) * part.get("frequency", 50) >= 1e6 and output.get("kind") != "pwm":
            yield at, "max_pulse is longer than a period of the frequency"
