"""What a robot decides: where to go next, when to charge, and what becomes of a command."""

import asyncio
import itertools
import math
import random
from dataclasses import dataclass

from botyard_edge.driver import CommandFailedError, CommandRejectedError
from botyard_plugins.sim.body import Battery
from botyard_plugins.sim.drive import Drive
from botyard_plugins.sim.facilities import Facilities
from botyard_plugins.sim.plan import Place, PlanError, Point, Roads, Station

LOW = 0.25
FULL = 0.95
# How far from a road a wanted point may be, and how far from a door the robot waits for it and lets go of it; metres.
REACH = 0.5
BEFORE = 1.0
# Seconds after which a robot that is driven but does not move takes its motors for stalled.
STALLED_AFTER = 2.0

# The highest speeds: m/s, rad/s.
Speeds = tuple[float, float]
ANY: Speeds = (math.inf, math.inf)


@dataclass(slots=True)
class Order:
    """A drive that somebody asked for. `length` is the whole way in metres, `speeds` the highest allowed."""

    name: str
    goal: Place
    done: "asyncio.Future[None]"
    length: float = 0.0
    speeds: Speeds = ANY


class Pilot:
    """Steers along roads: patrols between stations, charges when the battery is low, and obeys orders first.

    Before a door or a lift it waits until that is free and open; a dock it takes only when nobody has it.
    """

    def __init__(
        self,
        roads: Roads,
        drive: Drive,
        battery: Battery,
        rng: random.Random,
        facilities: Facilities,
        *,
        patrol: bool,
    ) -> None:
        self.patrol = patrol
        self.speeds = ANY  # on patrol
        self.docked = False
        self.doing = "waiting"
        self.carrying = False
        self.trouble: str | None = None
        self.order: Order | None = None
        self._roads = roads
        self._drive = drive
        self._battery = battery
        self._rng = rng
        self._facilities = facilities
        self._goal: str | None = None
        self._pause = 0.0
        self._still = 0.0
        # The parts of the way that are left, each up to a door or to the goal; the door that is being gone through.
        self._legs: list[tuple[list[Point], str | None]] = []
        self._way: tuple[str, Speeds] = "", ANY
        self._door: str | None = None
        self._dock: str | None = None

    @property
    def busy(self) -> bool:
        """Whether the robot is on its way to somewhere."""
        return not self._drive.arrived or bool(self._legs)

    def step(self, seconds: float, at: float) -> None:
        """Decide, once per step of time; `at` is the moment on the steady clock."""
        if not self._drive.arrived:
            self._watch(seconds)
            return
        self._still = 0.0
        if self._battery.empty:
            self._give_up("the battery is empty")
        elif self._legs:
            self._next_leg(at)
        elif self.order is not None and not self.order.done.done():
            self._serve(self.order, at)
        elif self._goal is not None:
            self._arrive()
        elif self.docked and (self._battery.level < FULL or not self.patrol):
            self._battery.charging = self._battery.level < 1.0
            self.doing = "charging" if self._battery.charging else "waiting at a dock"
        elif self._pause > 0.0:
            self._pause -= seconds
        elif self.patrol:
            self._set_out(at)
        elif self.doing != "stopped":
            self.doing = "waiting"

    def place(self, goal: str | None, x: float | None, y: float | None) -> Place:
        """The place that a command means. Raises CommandRejectedError."""
        try:
            if goal is not None:
                return self._roads.at(goal)
        except PlanError as error:
            raise CommandRejectedError(f"args.waypoint: {error}") from error
        assert x is not None  # the command's schema sees to it  # noqa: S101
        assert y is not None  # noqa: S101
        place, distance = self._roads.nearest(x, y)
        if distance > REACH:
            raise CommandRejectedError(
                f"args: ({x:g}, {y:g}) is {distance:.1f} m from the nearest road, at most {REACH} m are allowed"
            )
        return place

    def nearest_dock(self) -> str:
        """The name of the dock with the shortest way. Raises CommandRejectedError."""
        if not (docks := self._docks()):
            raise CommandRejectedError("the plan has no dock that a road leads to")
        return docks[0]

    def obey(self, name: str, goal: Place, speeds: Speeds = ANY) -> Order:
        """Drive there as soon as the robot rests. An order that is being served ends as cancelled."""
        self.cancel(f"replaced by an order to {name}")
        self.order = Order(name, goal, asyncio.get_running_loop().create_future(), speeds=speeds)
        self._drop_way()
        return self.order

    def go(self, ahead: float, left: float, turning: float) -> None:
        """Move with this velocity, wherever that leads, until something else is wanted."""
        self.patrol = self.docked = self._battery.charging = False
        self.cancel("driven by hand")
        self._goal, self._legs = None, []
        self.doing = "driven by hand"
        self._drive.go(ahead, left, turning)

    def halt(self) -> None:
        """Come to rest and stay there until the next command."""
        self.patrol = False
        self.cancel("stopped")
        self._drop_way()
        self.doing = "stopped"

    def cancel(self, why: str) -> None:
        """End the order that is being served, if any."""
        self._fail(CommandFailedError(why, cancelled=True))

    def _fail(self, why: CommandFailedError) -> None:
        if self.order is not None and not self.order.done.done():
            self.order.done.set_exception(why)
            self.order.done.exception()  # whoever waits for it sees it; if nobody does, that is no fault
        self.order = None

    def _drop_way(self) -> None:
        self._goal, self._legs = None, []
        self._drive.brake()

    def leave(self, at: float) -> None:
        """The robot is taken away: nothing is held any more."""
        for name in (self._door, self._dock):
            if name is not None:
                self._facilities.leave(name, self, at)

    def _watch(self, seconds: float) -> None:
        """Notice while driving that nothing moves, or that there is no power left."""
        drive = self._drive
        if self._battery.empty:
            self._give_up("the battery is empty")
        self._still = 0.0 if drive.speed or drive.turning else self._still + seconds
        if self._still > STALLED_AFTER:
            self._give_up("the motors are stalled")
        elif not self._still:
            self.trouble = None

    def _give_up(self, why: str) -> None:
        self.trouble = why
        self._fail(CommandFailedError(why))
        self._drop_way()
        self._still = 0.0
        self._pause = 5.0
        self.doing = f"waiting: {why}"

    def _serve(self, order: Order, at: float) -> None:
        if math.dist((self._drive.x, self._drive.y), order.goal.point) < 1e-3:
            order.done.set_result(None)
            self.order = None
            self._goal = None
            self._pause = 10.0
            self.doing = f"at {order.name}"
            self.docked = self._is_dock(order.name)
            return
        if self._is_dock(order.name) and not self._take_dock(order.name, at):
            self.doing = f"waiting for {order.name}"
            return
        order.length = self._go(order.goal, f"driving to {order.name}", order.speeds, at)

    def _arrive(self) -> None:
        goal, self._goal = self._goal, None
        assert goal is not None  # noqa: S101
        if self._is_dock(goal):
            self.docked = True
            return
        self.carrying = not self.carrying if self._roads.stations[goal].kind == "station" else self.carrying
        self._pause = self._rng.uniform(2.0, 8.0)
        self.doing = f"waiting at {goal}"

    def _set_out(self, at: float) -> None:
        here = self._here()
        if self._battery.level < LOW and (docks := self._docks()):
            free = next((name for name in docks if self._take_dock(name, at)), None)
            if free is None:
                self.doing = "waiting for a dock"
                self._pause = 2.0
                return
            goal = free
        else:
            goals = [
                name for name in self._roads.destinations(_is_workplace) if self._roads.at(name).point != here.point
            ]
            goal = self._rng.choice(goals)
        self._goal = goal
        self._go(self._roads.at(goal), f"driving to {goal}", self.speeds, at)

    def _docks(self) -> list[str]:
        """The docks, those with the shortest way first."""
        here, docks = self._here(), self._roads.destinations(lambda station: station.kind == "dock")
        return sorted(docks, key=lambda name: (self._roads.length(here, self._roads.at(name)), name))

    def _take_dock(self, name: str, at: float) -> bool:
        if not self._facilities.claim(name, self, at):
            return False
        if self._dock not in (None, name):
            self._facilities.leave(str(self._dock), self, at)
        self._dock = name
        return True

    # --- ways

    def _go(self, goal: Place, doing: str, speeds: Speeds, at: float) -> float:
        """Set out; gives the length of the way."""
        here = self._here()
        if self._dock is not None and goal.point != self._roads.at(self._dock).point:
            self._facilities.leave(self._dock, self, at)
            self._dock = None
        self.docked = False
        self._battery.charging = False
        points = self._roads.route(here, goal)
        if math.dist(here.point, (self._drive.x, self._drive.y)) > 1e-3:  # it was driven off the roads
            points = [here.point, *points]
        self._legs = self._roads.legs((self._drive.x, self._drive.y), points, BEFORE)
        self._way = doing, speeds
        self._next_leg(at)
        return self._drive.remaining + sum(_length(points) for points, _ in self._legs)

    def _next_leg(self, at: float) -> None:
        """Drive on to the next door or to the goal, once the door before is open."""
        points, door = self._legs[0]
        if door is not None and not (self._facilities.claim(door, self, at) and self._facilities.open(door, self, at)):
            self.doing = f"waiting for {door}"
            return
        if self._door is not None and self._door != door:
            self._facilities.leave(self._door, self, at)
        self._door = door
        self._legs.pop(0)
        self.doing = self._way[0]
        self._drive.follow(points, *self._way[1])

    def _here(self) -> Place:
        return self._roads.nearest(self._drive.x, self._drive.y)[0]

    def _is_dock(self, name: str) -> bool:
        station = self._roads.stations.get(name)
        return station is not None and station.kind == "dock"


def _length(points: list[Point]) -> float:
    return sum(math.dist(a, b) for a, b in itertools.pairwise(points))


def _is_workplace(station: Station) -> bool:
    return station.kind in ("station", "waypoint", "door", "lift")
