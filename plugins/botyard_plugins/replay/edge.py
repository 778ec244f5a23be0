"""Registers the driver `replay`."""

from collections.abc import Iterable

from botyard_edge.driver import DriverSpec, Later
from botyard_edge.hookspecs import hookimpl
from botyard_plugins.replay.options import SCHEMA


@hookimpl
def botyard_edge_drivers() -> Iterable[DriverSpec]:
    """The player of recorded files."""
    factory = Later("botyard_plugins.replay.driver", "ReplayDriver")
    return [DriverSpec("replay", "A recorded file (PX4 ULog or CSV), played as if it were the robot.", factory, SCHEMA)]
