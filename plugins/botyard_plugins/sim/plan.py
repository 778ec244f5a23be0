"""A site plan with roads: reading it, and finding the shortest way along the roads."""

import functools
import heapq
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

Point = tuple[float, float]

K = TypeVar("K")
V = TypeVar("V")
# Kinds of stations that let one robot pass at a time.
GATES = ("door", "lift")
# Answers of each kind that a plan's roads remember.
REMEMBERED = 4096


class PlanError(ValueError):
    """The plan cannot be used; the sentence says where and why."""


class Zone(msgspec.Struct, frozen=True):
    """An area of the plan; metres."""

    name: str
    kind: str
    polygon: list[Point]


class Station(msgspec.Struct, frozen=True):
    """A named place; metres."""

    name: str
    kind: str
    x: float
    y: float

    @property
    def point(self) -> Point:
        return (self.x, self.y)


class Plan(msgspec.Struct, frozen=True):
    """A site plan. `roads` join stations by name; `access_points` are where the wireless network is sent from."""

    id: str
    name: str
    width: float
    height: float
    walls: list[list[Point]] = []
    zones: list[Zone] = []
    stations: list[Station] = []
    roads: list[tuple[str, str]] = []
    access_points: list[Point] = []


def load_plan(path: Path) -> Plan:
    """Read a plan. Raises PlanError."""
    return load_roads(path).plan


def load_roads(path: Path) -> "Roads":
    """Read a plan with its roads; those of a file that many robots share are made once. Raises PlanError."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from error
    return _load(path, changed)


@functools.lru_cache(maxsize=16)
def _load(path: Path, _changed: int) -> "Roads":
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        plan = msgspec.convert(raw, Plan)
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except msgspec.ValidationError as error:
        raise PlanError(f"{path}: {error}") from error
    names = {station.name for station in plan.stations}
    if len(names) < len(plan.stations):
        raise PlanError(f"{path}: stations: two have the same name")
    for index, road in enumerate(plan.roads):
        for name in road:
            if name not in names:
                raise PlanError(f"{path}: roads[{index}]: there is no station {name!r}")
    if not plan.roads:
        raise PlanError(f"{path}: roads: there are none, so nothing can drive; expected pairs of station names")
    return Roads(plan)


@dataclass(frozen=True, slots=True)
class Place:
    """A point on a road: `share` of the way from station `a` to station `b`."""

    x: float
    y: float
    a: str
    b: str
    share: float

    @property
    def point(self) -> Point:
        return (self.x, self.y)


class Roads:
    """The roads of a plan as a graph. What was asked for is remembered: robots ask for the same again and again."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.stations = {station.name: station for station in plan.stations}
        self._roads = plan.roads
        self._ways: dict[str, set[str]] = {}
        for a, b in plan.roads:
            self._ways.setdefault(a, set()).add(b)
            self._ways.setdefault(b, set()).add(a)
        self._gates = {one.point: one.name for one in plan.stations if one.kind in GATES and one.name in self._ways}
        self._routes: dict[tuple[Place, Place], list[Point]] = {}
        self._nearest: dict[Point, tuple[Place, float]] = {}
        self._joined: set[str] = set()

    def check(self, start: str) -> None:
        """Raises PlanError when a station with a road cannot be reached from this one."""
        if start in self._joined:
            return
        for name in self._ways:
            self.route(self.at(start), self.at(name))
        self._joined.update(self._ways)

    def at(self, name: str) -> Place:
        """The place of a station. Raises PlanError when there is none, or no road leads to it."""
        if name not in self._ways:
            known = ", ".join(sorted(self._ways))
            raise PlanError(f"no road leads to a station {name!r}, known are {known}")
        station = self.stations[name]
        return Place(station.x, station.y, name, min(self._ways[name]), 0.0)

    def nearest(self, x: float, y: float) -> tuple[Place, float]:
        """The point on any road that is nearest, and how far it is, in metres."""
        known = self._nearest.get((x, y))
        if known is None:
            found = ((place, math.dist(place.point, (x, y))) for place in self._projections(x, y))
            known = _keep(self._nearest, (x, y), min(found, key=lambda pair: pair[1]))
        return known

    def destinations(self, wanted: Callable[[Station], bool]) -> list[str]:
        """Names of the stations on roads that are wanted, in order."""
        return sorted(name for name in self._ways if wanted(self.stations[name]))

    def route(self, start: Place, goal: Place) -> list[Point]:
        """The points to drive through after `start`, the last of which is `goal`. Raises PlanError."""
        known = self._routes.get((start, goal))
        return _keep(self._routes, (start, goal), self._route(start, goal)) if known is None else known

    def _route(self, start: Place, goal: Place) -> list[Point]:
        if {start.a, start.b} == {goal.a, goal.b}:
            return [goal.point]
        ends = {name: math.dist(self.stations[name].point, goal.point) for name in (goal.a, goal.b)}
        queue: list[tuple[float, str, tuple[str, ...]]] = [
            (math.dist(start.point, self.stations[n].point), n, (n,)) for n in sorted({start.a, start.b})
        ]
        heapq.heapify(queue)
        done: set[str] = set()
        best: tuple[float, tuple[str, ...]] | None = None
        while queue:
            length, name, path = heapq.heappop(queue)
            if best is not None and length >= best[0]:
                break
            if name in done:
                continue
            done.add(name)
            if name in ends and (best is None or length + ends[name] < best[0]):
                best = (length + ends[name], path)
            for other in sorted(self._ways[name] - done):
                step = math.dist(self.stations[name].point, self.stations[other].point)
                heapq.heappush(queue, (length + step, other, (*path, other)))
        if best is None:
            raise PlanError(f"no road leads from near {start.a!r} to near {goal.a!r}")
        whole = [start.point, *(self.stations[name].point for name in best[1]), goal.point]
        return _without_stops(whole, self._gates)

    def legs(self, start: Point, route: list[Point], before: float) -> list[tuple[list[Point], str | None]]:
        """The route in parts, with the door or lift that each leads through: such a part begins so many metres before
        it and ends as far behind it."""
        legs: list[tuple[list[Point], str | None]] = []
        free: list[Point] = []
        here = start
        for index, point in enumerate(route):
            if (gate := self._gates.get(point)) is None:
                free.append(point)
                here = point
                continue
            if (distance := math.dist(here, point)) > before:
                free.append(_between(here, point, distance - before))
            if free:
                legs.append((free, None))
            through, free = [point], []
            if index + 1 < len(route) and (distance := math.dist(point, route[index + 1])):
                through.append(_between(point, route[index + 1], min(before, distance)))
            legs.append((through, gate))
            here = through[-1]
        return [*legs, (free, None)] if free else legs

    def length(self, start: Place, goal: Place) -> float:
        """Metres along the roads from one place to another. Raises PlanError."""
        points = [start.point, *self.route(start, goal)]
        return sum(math.dist(a, b) for a, b in itertools.pairwise(points))

    def _projections(self, x: float, y: float) -> list[Place]:
        places = []
        for a, b in self._roads:
            (ax, ay), (bx, by) = self.stations[a].point, self.stations[b].point
            square = (bx - ax) ** 2 + (by - ay) ** 2
            share = 0.0 if square == 0 else ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / square
            share = min(1.0, max(0.0, share))
            places.append(Place(ax + share * (bx - ax), ay + share * (by - ay), a, b, share))
        return places


def _keep(memory: dict[K, V], key: K, value: V) -> V:
    if len(memory) >= REMEMBERED:
        memory.clear()
    memory[key] = value
    return value


def _between(a: Point, b: Point, distance: float) -> Point:
    """The point so many metres from `a` on the way to `b`."""
    share = distance / math.dist(a, b)
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _without_stops(points: list[Point], gates: Mapping[Point, str]) -> list[Point]:
    """The points after the first, without those that lie where the robot is already or straight on its way; doors and
    lifts stay."""
    kept = [points[0]]
    for index, point in enumerate(points[1:], 1):
        if math.dist(kept[-1], point) < 1e-9:
            continue
        if index + 1 < len(points) and point not in gates:
            after = points[index + 1]
            cross = (point[0] - kept[-1][0]) * (after[1] - point[1]) - (point[1] - kept[-1][1]) * (after[0] - point[0])
            dot = (point[0] - kept[-1][0]) * (after[0] - point[0]) + (point[1] - kept[-1][1]) * (after[1] - point[1])
            if abs(cross) < 1e-9 and dot >= 0 and math.dist(point, after) > 1e-9:
                continue
        kept.append(point)
    return kept[1:] or [points[-1]]
