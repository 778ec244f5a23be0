"""Simple polygons on a plan: whether one crosses itself, and whether points and ways are inside. Metres."""

import itertools
from collections.abc import Sequence

Point = tuple[float, float]
Polygon = tuple[Point, ...]


def fault(polygon: Sequence[Point]) -> str | None:
    """What makes the corners no simple polygon, as the end of a sentence; None: they are one."""
    if len(polygon) < 3:
        return f"has {len(polygon)} corners, expected at least 3"
    edges = _edges(polygon)
    for (i, a), (j, b) in itertools.combinations(enumerate(edges), 2):
        if a[0] == a[1] or b[0] == b[1]:
            return "has the same corner twice in a row"
        neighbours = j - i == 1 or (i == 0 and j == len(edges) - 1)
        if _overlap(a, b) if neighbours else crosses(*a, *b):
            return f"crosses itself: the edge from corner {i + 1} meets the one from corner {j + 1}"
    return None


def contains(polygon: Sequence[Point], point: Point) -> bool:
    """Whether the point is inside or on the edge (ray casting: an odd number of edges to its right)."""
    x, y = point
    inside = False
    for a, b in _edges(polygon):
        if _turn(a, b, point) == 0.0 and _between(a, b, point):
            return True
        if (a[1] > y) != (b[1] > y) and x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0]:
            inside = not inside
    return inside


def meets(polygon: Sequence[Point], a: Point, b: Point) -> bool:
    """Whether the straight way from a to b has a point in common with the polygon."""
    return contains(polygon, a) or contains(polygon, b) or any(crosses(a, b, *edge) for edge in _edges(polygon))


def stays(polygons: Sequence[Polygon], a: Point, b: Point) -> bool:
    """Whether the straight way from a to b stays in the polygons, taken together.

    Where the way crosses no edge nothing changes, so a point of each part between two crossings speaks for it.
    """
    edges = [edge for polygon in polygons for edge in _edges(polygon)]
    cuts = sorted({0.0, 1.0, *(at for edge in edges for at in _crossings(a, b, *edge))})
    shares = [*((one + other) / 2 for one, other in itertools.pairwise(cuts)), 0.0, 1.0]
    points = [(a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share) for share in shares]
    return all(any(contains(polygon, point) for polygon in polygons) for point in points)


def crosses(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether two segments have a point in common."""
    t1, t2, t3, t4 = _turn(c, d, a), _turn(c, d, b), _turn(a, b, c), _turn(a, b, d)
    if ((t1 > 0) != (t2 > 0)) and ((t3 > 0) != (t4 > 0)) and 0.0 not in (t1, t2, t3, t4):
        return True
    ends = ((t1, c, d, a), (t2, c, d, b), (t3, a, b, c), (t4, a, b, d))
    return any(turn == 0.0 and _between(p, q, r) for turn, p, q, r in ends)


def _crossings(a: Point, b: Point, c: Point, d: Point) -> list[float]:
    """At which shares of the way from a to b it meets the segment from c to d; for one along it, where that ends."""
    along, edge = (b[0] - a[0], b[1] - a[1]), (d[0] - c[0], d[1] - c[1])
    across = along[0] * edge[1] - along[1] * edge[0]
    if across != 0.0:
        share = ((c[0] - a[0]) * edge[1] - (c[1] - a[1]) * edge[0]) / across
        return [share] if 0.0 < share < 1.0 else []
    length = along[0] ** 2 + along[1] ** 2
    if length == 0.0 or _turn(a, b, c) != 0.0:
        return []
    shares = [((p[0] - a[0]) * along[0] + (p[1] - a[1]) * along[1]) / length for p in (c, d)]
    return [share for share in shares if 0.0 < share < 1.0]


def _edges(polygon: Sequence[Point]) -> list[tuple[Point, Point]]:
    return list(zip(polygon, [*polygon[1:], polygon[0]], strict=True))


def _turn(a: Point, b: Point, c: Point) -> float:
    """Twice the area of the triangle: positive when c is to the left of the way from a to b."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _between(a: Point, b: Point, c: Point) -> bool:
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def _overlap(a: tuple[Point, Point], b: tuple[Point, Point]) -> bool:
    """Whether two edges that share a corner have more than that in common."""
    shared = a[1] if a[1] in b else a[0]
    p = a[0] if shared == a[1] else a[1]
    q = b[0] if shared == b[1] else b[1]
    return _turn(shared, p, q) == 0.0 and (_between(shared, p, q) or _between(shared, q, p))
