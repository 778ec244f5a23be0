"""From a plan's metres to degrees on Earth."""

import math
from collections.abc import Mapping

from botyard_edge.driver import Geo

METRES_PER_DEGREE = 111_320.0  # of latitude, and of longitude at the equator


class Origin:
    """Where a plan lies. Good to a few millimetres over the size of a site."""

    def __init__(self, options: Mapping[str, float]) -> None:
        self._lat = options["lat"]
        self._lon = options["lon"]
        self._alt = options.get("alt")
        self._bearing = math.radians(options.get("bearing", 0.0))

    def geo(self, x: float, y: float, yaw: float) -> Geo:
        """The geographic position and heading of a pose on the plan."""
        east = x * math.cos(self._bearing) + y * math.sin(self._bearing)
        north = y * math.cos(self._bearing) - x * math.sin(self._bearing)
        lon = self._lon + east / (METRES_PER_DEGREE * math.cos(math.radians(self._lat)))
        return Geo(
            lat=self._lat + north / METRES_PER_DEGREE,
            lon=math.remainder(lon, 360.0),
            alt=self._alt,
            heading=(90.0 - math.degrees(yaw) + math.degrees(self._bearing)) % 360.0,
        )
