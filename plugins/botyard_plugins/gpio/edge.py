"""Registers the driver `gpio`."""

from collections.abc import Iterable

from botyard_edge.driver import DriverSpec, Later
from botyard_edge.hookspecs import hookimpl
from botyard_plugins.gpio.options import SCHEMA, channels, check


@hookimpl
def botyard_edge_drivers() -> Iterable[DriverSpec]:
    """What is wired to pins."""
    description = "Switches, motors, emergency stops and ultrasonic sensors on the pins of a single-board computer."
    factory = Later("botyard_plugins.gpio.driver", "GpioDriver")
    return [DriverSpec("gpio", description, factory, SCHEMA, check, channels)]
