"""Registers the driver `serial`."""

from collections.abc import Iterable

from botyard_edge.driver import DriverSpec, Later
from botyard_edge.hookspecs import hookimpl
from botyard_plugins.serial.options import SCHEMA, channels, check


@hookimpl
def botyard_edge_drivers() -> Iterable[DriverSpec]:
    """Devices on serial ports."""
    description = "A device on a serial port: lines of text, or a GPS receiver (NMEA 0183)."
    factory = Later("botyard_plugins.serial.driver", "SerialDriver")
    return [DriverSpec("serial", description, factory, SCHEMA, check, channels, dock=lambda options: options["dock"])]
