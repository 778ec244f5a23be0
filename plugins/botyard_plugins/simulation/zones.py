"""Where a robot may be, judged from its true position; written apart from the safety node's own geometry on purpose."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from botyard_edge.safety.policy import Limits

Point = tuple[float, float]
Polygon = Sequence[Point]


@dataclass(frozen=True, slots=True)
class Zones:
    """Polygons in metres: the robot is inside one of `fences` (none: anywhere), and outside of all `forbidden`. `kept`
    says that it has to stop before it leaves them, and not only when it has."""

    fences: Sequence[Polygon] = ()
    forbidden: Sequence[Polygon] = ()
    kept: bool = False

    def __bool__(self) -> bool:
        return bool(self.fences or self.forbidden)

    def beyond(self, x: float, y: float) -> float:
        """How many metres it is to a place where the robot may be; 0: it is at one."""
        point = x, y
        outside = 0.0
        if self.fences and not any(_winds(polygon, point) for polygon in self.fences):
            outside = min(_to_edge(polygon, point) for polygon in self.fences)
        inside = [_to_edge(polygon, point) for polygon in self.forbidden if _winds(polygon, point)]
        return max([outside, *inside])


def zones_of(limits: Limits, *, kept: bool) -> Zones:
    """Those that a robot's safety node has to keep."""
    return Zones(limits.geofence.polygons, limits.keep_out.polygons, kept)


def _winds(polygon: Polygon, point: Point) -> bool:
    """Whether the polygon goes around the point: the angles under which its edges are seen add up to a full turn."""
    turn = 0.0
    for a, b in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        seen = math.atan2(b[1] - point[1], b[0] - point[0]) - math.atan2(a[1] - point[1], a[0] - point[0])
        turn += math.remainder(seen, math.tau)
    return abs(turn) > math.pi


def _to_edge(polygon: Polygon, point: Point) -> float:
    return min(_to_segment(a, b, point) for a, b in zip(polygon, [*polygon[1:], polygon[0]], strict=True))


def _to_segment(a: Point, b: Point, point: Point) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    share = ((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / (dx * dx + dy * dy)
    share = min(1.0, max(0.0, share))
    return math.dist(point, (a[0] + share * dx, a[1] + share * dy))
