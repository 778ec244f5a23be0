"""Registers the driver `i2c`."""

from collections.abc import Iterable

from botyard_edge.driver import DriverSpec, Later
from botyard_edge.hookspecs import hookimpl
from botyard_plugins.i2c.options import SCHEMA, channels, check


@hookimpl
def botyard_edge_drivers() -> Iterable[DriverSpec]:
    """Chips on an I²C bus."""
    description = "Chips on an I²C bus: INA219, MPU-6050, BME280, PCA9685."
    factory = Later("botyard_plugins.i2c.driver", "I2cDriver")
    return [DriverSpec("i2c", description, factory, SCHEMA, check, channels)]
