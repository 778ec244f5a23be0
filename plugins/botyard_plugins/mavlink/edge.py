"""Registers the driver `mavlink`."""

from collections.abc import Iterable

from botyard_edge.driver import DriverSpec, Later
from botyard_edge.hookspecs import hookimpl
from botyard_plugins.mavlink.options import SCHEMA, channels, check


@hookimpl
def botyard_edge_drivers() -> Iterable[DriverSpec]:
    """Vehicles that speak MAVLink."""
    description = "A vehicle with the autopilot PX4 or ArduPilot: aircraft, rovers, boats."
    factory = Later("botyard_plugins.mavlink.driver", "MavlinkDriver")
    return [DriverSpec("mavlink", description, factory, SCHEMA, check, channels, hang_after=10.0, dock=lambda _: "rtl")]
